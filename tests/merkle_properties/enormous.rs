//! Trees of up to 2^63 − 1 leaves, and claims about sizes and indices from all over.

use crate::{
    flip,
    trees::{SparseTree, index, size},
};
use graven_merkle::{
    ConsistencyProof, Frontier, Hash, InclusionProof, LeafIndex, MultiProof, Subtree, TreeSize, leaf_hash,
    plan, prove_consistency, prove_inclusion, prove_multi, root, verify_consistency, verify_inclusion,
    verify_multi, verify_subtree_consistency, verify_subtree_inclusion,
};
use proptest::prelude::*;

const LARGEST: u64 = (1 << 63) - 1;

/// Around each power of two, where trees change shape, up to the largest size.
fn sizes() -> impl Iterator<Item = u64> {
    (2..=63)
        .flat_map(|bits| [-1, 0, 1].map(|by| (1_u64 << bits).saturating_add_signed(by)))
        .filter(|&of| of <= LARGEST)
}

#[test]
fn inclusion_holds_at_every_order_of_magnitude() {
    for of in sizes() {
        for at in [0, 1, of / 3, of / 2, of - 2, of - 1] {
            let around = [at.wrapping_sub(1), at, at + 1].into_iter().filter(|&at| at < of);
            let tree = SparseTree::of(around.clone().map(|at| (at, leaf_hash(&at.to_be_bytes()))));
            let known = root(&tree, size(of)).expect("a root");
            let proof = prove_inclusion(&tree, index(at), size(of)).expect("a proof");
            for claimed in around {
                let outcome =
                    verify_inclusion(tree.leaf(index(at)), index(claimed), size(of), &proof, &known);
                assert_eq!(outcome.is_ok(), claimed == at, "{at} in {of} taken for {claimed}");
            }
        }
    }
}

#[test]
fn consistency_holds_at_every_order_of_magnitude() {
    for to in sizes() {
        let marked = [0, to / 3, to / 2, to - 1].map(|at| (at, leaf_hash(&at.to_be_bytes())));
        let tree = SparseTree::of(marked);
        let to_root = root(&tree, size(to)).expect("a root");
        for from in [1, 2, to / 3, to / 2, to - 1, to].into_iter().filter(|&from| from > 0) {
            let from_root = root(&tree, size(from)).expect("a root");
            let proof = prove_consistency(&tree, size(from), size(to)).expect("a proof");
            let accepts = |from_root: &Hash, to_root: &Hash| {
                verify_consistency(size(from), from_root, size(to), to_root, &proof).is_ok()
            };
            assert!(accepts(&from_root, &to_root), "{from} -> {to}");
            assert!(!accepts(&flip(&from_root, 0), &to_root), "{from} -> {to}");
            assert!(!accepts(&from_root, &flip(&to_root, 0)), "{from} -> {to}");
        }
    }
}

#[test]
fn many_entries_hold_at_every_order_of_magnitude() {
    for of in sizes() {
        let mut at = vec![0, 1, of / 3, of / 3 + 1, of / 2, of - 2, of - 1];
        at.sort_unstable();
        at.dedup();
        let tree = SparseTree::of(at.iter().map(|at| (*at, leaf_hash(&at.to_be_bytes()))));
        let indices: Vec<_> = at.into_iter().map(index).collect();
        let mut leaves: Vec<_> = indices.iter().map(|&index| tree.leaf(index)).collect();
        let known = root(&tree, size(of)).expect("a root");
        let proof = prove_multi(&tree, &indices, size(of)).expect("a proof");
        assert_eq!(verify_multi(&indices, &leaves, size(of), &proof, &known), Ok(()), "of {of}");
        leaves.swap(0, 1);
        assert!(verify_multi(&indices, &leaves, size(of), &proof, &known).is_err(), "of {of}");
    }
}

#[test]
fn plans_ask_for_complete_nodes_and_proofs_stay_in_their_limits() {
    for of in sizes() {
        for at in [0, 1, of / 3, of / 2, of - 2, of - 1] {
            let inclusion = plan::inclusion(index(at), size(of)).expect("a plan");
            let consistency = plan::consistency(size(at), size(of)).expect("a plan");
            assert!(inclusion.len() <= InclusionProof::MAX_HASHES);
            assert!(consistency.len() <= ConsistencyProof::MAX_HASHES);
            let ids = inclusion.ids().iter().chain(consistency.ids());
            ids.for_each(|id| assert!(id.is_complete_in(size(of)), "{id} in {of}"));
        }
    }
    assert!(plan::inclusion(index(LARGEST - 1), size(LARGEST - 1)).is_none());
}

#[test]
fn the_ends_of_the_ranges_are_where_they_should_be() {
    assert_eq!(TreeSize::new(LARGEST), Some(TreeSize::MAX));
    assert_eq!(TreeSize::new(LARGEST + 1), None);
    assert_eq!(TreeSize::new(u64::MAX), None);
    assert_eq!(LeafIndex::new(LARGEST), None);
    assert_eq!(LeafIndex::new(LARGEST - 1).map(LeafIndex::size_through), Some(TreeSize::MAX));
    assert_eq!(TreeSize::MAX.next_index(), None);
    assert_eq!(TreeSize::MAX.checked_add(1), None);
    assert_eq!(TreeSize::ZERO.checked_add(LARGEST), Some(TreeSize::MAX));
}

#[test]
fn a_full_tree_takes_no_more_leaves() {
    let leaf = leaf_hash(b"last");
    let peaks = vec![leaf; 62];
    let mut frontier = Frontier::from_peaks(size(LARGEST - 1), peaks).expect("one peak a bit");
    assert_eq!(frontier.push(leaf), LeafIndex::new(LARGEST - 1));
    let full = frontier.clone();
    assert_eq!(frontier.push(leaf), None);
    assert_eq!((frontier.size(), &frontier), (TreeSize::MAX, &full));
    for wrong in [0, 62, 64] {
        assert_eq!(Frontier::from_peaks(TreeSize::MAX, vec![leaf; wrong]), None);
    }
}

fn any_hashes() -> impl Strategy<Value = Vec<Hash>> {
    prop::collection::vec(any::<[u8; 32]>().prop_map(Hash::from), 0..70)
}

/// All sizes alike, small ones, and those around powers of two.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..40_u64,
        (0..64_u32, 0..3_u64).prop_map(|(bits, by)| (1_u64 << bits) - 1 + by)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever a peer claims, it is refused without a panic.
    #[test]
    fn claims_out_of_nowhere_are_refused(
        (a, b, c) in (any_number(), any_number(), any_number()),
        hashes in any_hashes(),
        known in any::<[u8; 32]>().prop_map(Hash::from),
        wrong in any::<[u8; 32]>().prop_map(Hash::from),
    ) {
        if let Ok(proof) = InclusionProof::from_hashes(hashes.clone()) {
            if let (Some(at), Some(of)) = (LeafIndex::new(a), TreeSize::new(b)) {
                prop_assert!(verify_inclusion(wrong, at, of, &proof, &known).is_err());
            }
            if let (Some(at), Some(subtree)) = (LeafIndex::new(a), Subtree::new(b..c)) {
                prop_assert!(verify_subtree_inclusion(wrong, at, subtree, &proof, &known).is_err());
            }
        }
        if let Ok(proof) = ConsistencyProof::from_hashes(hashes.clone()) {
            if let (Some(from), Some(to)) = (TreeSize::new(a), TreeSize::new(b)) {
                prop_assert!(verify_consistency(from, &wrong, to, &known, &proof).is_err());
            }
            if let (Some(subtree), Some(of)) = (Subtree::new(a..b), TreeSize::new(c)) {
                prop_assert!(verify_subtree_consistency(subtree, &wrong, of, &known, &proof).is_err());
            }
        }
        let proof = MultiProof::from_hashes(hashes).expect("a short proof");
        if let (Some(first), Some(second), Some(of)) = (LeafIndex::new(a), LeafIndex::new(b), TreeSize::new(c)) {
            prop_assert!(verify_multi(&[first, second], &[wrong, known], of, &proof, &known).is_err());
        }
    }
}
