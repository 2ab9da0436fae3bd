//! Every size to 130, every proof in it, every bit of every proof.

use crate::{
    flip, rearranged,
    trees::{MemoryTree, Missing, index, mth, path, size, subproof},
};
use graven_merkle::{
    ConsistencyProof, Hash, HashReader, InclusionProof, NodeId, ProveError, Subtree, prove_consistency,
    prove_inclusion, prove_subtree_consistency, prove_subtree_inclusion, root, subtree_root,
    verify_consistency, verify_inclusion, verify_subtree_consistency, verify_subtree_inclusion,
};

/// Two leaves more than the tree of 128, the largest perfect one here.
const LARGEST: u8 = 130;

#[test]
fn roots_by_frontier_by_nodes_and_by_the_rfc_are_one() {
    let whole = MemoryTree::of_bytes(LARGEST);
    for of in 0..=LARGEST {
        let tree = MemoryTree::of_bytes(of);
        let expected = mth(&whole.leaves[..of.into()]);
        assert_eq!(tree.frontier.root(), expected);
        assert_eq!(root(&whole, size(of.into())), Ok(expected));
        assert_eq!(tree.frontier.size(), size(of.into()));
        let peaks = whole.read(&graven_merkle::Frontier::peak_ids(size(of.into())).collect::<Vec<_>>());
        assert_eq!(Ok(tree.frontier.peaks()), peaks.as_deref());
        let restored = graven_merkle::Frontier::from_peaks(size(of.into()), peaks.expect("peaks"));
        assert_eq!(restored.as_ref(), Some(&tree.frontier));
    }
}

#[test]
fn every_inclusion_proof_verifies_and_no_flipped_bit_does() {
    let tree = MemoryTree::of_bytes(LARGEST);
    for of in 1..=u64::from(LARGEST) {
        let leaves = &tree.leaves[..usize::try_from(of).expect("small")];
        let root = mth(leaves);
        for at in 0..of {
            let leaf = leaves[usize::try_from(at).expect("small")];
            let proof = prove_inclusion(&tree, index(at), size(of)).expect("a proof");
            assert_eq!(proof.hashes(), path(usize::try_from(at).expect("small"), leaves));
            let accepts = |leaf: Hash, hashes: Vec<Hash>, root: &Hash| {
                let proof = InclusionProof::from_hashes(hashes).expect("a short proof");
                verify_inclusion(leaf, index(at), size(of), &proof, root).is_ok()
            };
            let hashes = proof.hashes();
            assert!(accepts(leaf, hashes.to_vec(), &root));
            for bit in 0..256 {
                assert!(!accepts(flip(&leaf, bit), hashes.to_vec(), &root));
                assert!(!accepts(leaf, hashes.to_vec(), &flip(&root, bit)));
                for each in 0..hashes.len() {
                    let mut hashes = hashes.to_vec();
                    hashes[each] = flip(&hashes[each], bit);
                    assert!(!accepts(leaf, hashes, &root));
                }
            }
            for hashes in rearranged(hashes) {
                assert!(!accepts(leaf, hashes, &root));
            }
        }
    }
}

#[test]
fn no_inclusion_proof_serves_another_index_or_size() {
    let tree = MemoryTree::of_bytes(LARGEST);
    let roots: Vec<_> = (0..=usize::from(LARGEST)).map(|of| mth(&tree.leaves[..of])).collect();
    for of in 1..=u64::from(LARGEST) {
        for at in 0..of {
            let proof = prove_inclusion(&tree, index(at), size(of)).expect("a proof");
            let leaf = tree.leaves[usize::try_from(at).expect("small")];
            let accepts = |at: u64, of: u64| {
                let root = &roots[usize::try_from(of).expect("small")];
                verify_inclusion(leaf, index(at), size(of), &proof, root).is_ok()
            };
            for other in (0..=of).filter(|&other| other != at) {
                assert!(!accepts(other, of), "{at} in {of} taken for {other}");
            }
            for other in (0..=u64::from(LARGEST)).filter(|&other| other != of) {
                assert!(!accepts(at, other), "{at} in {of} taken for a tree of {other}");
            }
        }
    }
}

#[test]
fn every_consistency_proof_verifies_and_no_flipped_bit_does() {
    let tree = MemoryTree::of_bytes(LARGEST);
    let roots: Vec<_> = (0..=usize::from(LARGEST)).map(|of| mth(&tree.leaves[..of])).collect();
    for to in 0..=usize::from(LARGEST) {
        for from in 0..=to {
            let (from_size, to_size) = (size(from as u64), size(to as u64));
            let proof = prove_consistency(&tree, from_size, to_size).expect("a proof");
            if from > 0 {
                assert_eq!(proof.hashes(), subproof(from, &tree.leaves[..to], true));
            }
            let accepts = |from_root: &Hash, to_root: &Hash, hashes: Vec<Hash>| {
                let proof = ConsistencyProof::from_hashes(hashes).expect("a short proof");
                verify_consistency(from_size, from_root, to_size, to_root, &proof).is_ok()
            };
            let hashes = proof.hashes();
            assert!(accepts(&roots[from], &roots[to], hashes.to_vec()), "{from} -> {to}");
            for bit in 0..256 {
                assert!(!accepts(&flip(&roots[from], bit), &roots[to], hashes.to_vec()));
                // Every tree begins with the empty one.
                let to_is_free = from == 0 && to > 0;
                assert_eq!(accepts(&roots[from], &flip(&roots[to], bit), hashes.to_vec()), to_is_free);
                for each in 0..hashes.len() {
                    let mut hashes = hashes.to_vec();
                    hashes[each] = flip(&hashes[each], bit);
                    assert!(!accepts(&roots[from], &roots[to], hashes));
                }
            }
            for hashes in rearranged(hashes) {
                assert!(!accepts(&roots[from], &roots[to], hashes));
            }
        }
    }
}

#[test]
fn no_consistency_proof_serves_other_sizes() {
    let tree = MemoryTree::of_bytes(LARGEST);
    let roots: Vec<_> = (0..=usize::from(LARGEST)).map(|of| mth(&tree.leaves[..of])).collect();
    for to in 1..=usize::from(LARGEST) {
        for from in 1..to {
            let proof = prove_consistency(&tree, size(from as u64), size(to as u64)).expect("a proof");
            let accepts = |m: usize, m_root: &Hash, n: usize, n_root: &Hash| {
                verify_consistency(size(m as u64), m_root, size(n as u64), n_root, &proof).is_ok()
            };
            for other in (0..=usize::from(LARGEST)).filter(|&other| other != from) {
                assert!(
                    !accepts(other, &roots[other], to, &roots[to]),
                    "{from} -> {to} taken for {other} -> {to}"
                );
                assert!(
                    !accepts(other, &roots[from], to, &roots[to]),
                    "{from} -> {to} taken for {other} -> {to}"
                );
            }
            for other in (0..=usize::from(LARGEST)).filter(|&other| other != to) {
                assert!(
                    !accepts(from, &roots[from], other, &roots[other]),
                    "{from} -> {to} taken for {from} -> {other}"
                );
            }
        }
    }
}

#[test]
fn every_subtree_is_proven_in_every_tree() {
    let largest = 40;
    let tree = MemoryTree::of_bytes(largest);
    let all = (0..=u64::from(largest)).flat_map(|end| (0..=end).map(move |start| start..end));
    for subtree in all.filter_map(Subtree::new) {
        let leaves = subtree.leaves();
        let range =
            usize::try_from(leaves.start).expect("small")..usize::try_from(leaves.end).expect("small");
        let known = mth(&tree.leaves[range]);
        assert_eq!(subtree_root(&tree, subtree), Ok(known));
        for at in leaves.clone() {
            let leaf = tree.leaves[usize::try_from(at).expect("small")];
            let proof = prove_subtree_inclusion(&tree, index(at), subtree).expect("a proof");
            assert_eq!(verify_subtree_inclusion(leaf, index(at), subtree, &proof, &known), Ok(()));
            assert!(verify_subtree_inclusion(flip(&leaf, 0), index(at), subtree, &proof, &known).is_err());
        }
        for of in leaves.end..=u64::from(largest) {
            let root = mth(&tree.leaves[..usize::try_from(of).expect("small")]);
            let proof = prove_subtree_consistency(&tree, subtree, size(of)).expect("a proof");
            let accepts = |known: &Hash, root: &Hash, hashes: Vec<Hash>| {
                let proof = ConsistencyProof::from_hashes(hashes).expect("a short proof");
                verify_subtree_consistency(subtree, known, size(of), root, &proof).is_ok()
            };
            assert!(accepts(&known, &root, proof.hashes().to_vec()), "{subtree} in {of}");
            assert!(!accepts(&flip(&known, 255), &root, proof.hashes().to_vec()), "{subtree} in {of}");
            assert_eq!(
                accepts(&known, &flip(&root, 255), proof.hashes().to_vec()),
                subtree.is_empty() && of > 0
            );
            for each in 0..proof.hashes().len() {
                let mut hashes = proof.hashes().to_vec();
                hashes[each] = flip(&hashes[each], 7);
                assert!(!accepts(&known, &root, hashes), "{subtree} in {of}");
            }
            for hashes in rearranged(proof.hashes()) {
                assert!(!accepts(&known, &root, hashes), "{subtree} in {of}");
            }
        }
    }
}

#[test]
fn what_is_beyond_the_tree_has_no_proof() {
    let tree = MemoryTree::of_bytes(8);
    let beyond = ProveError::IndexBeyondTree { index: index(5), tree: size(5).into() };
    assert_eq!(prove_inclusion(&tree, index(5), size(5)), Err(beyond));
    let beyond = ProveError::BeyondTree { earlier: size(6).into(), size: size(5) };
    assert_eq!(prove_consistency(&tree, size(6), size(5)), Err(beyond));
    assert_eq!(root(&tree, size(9)), Err(ProveError::Read(Missing(NodeId::new(0, 8)))));
    let reversed = std::ops::Range { start: 3, end: 2 };
    for leaves in [1..3, reversed, 2..5, 4..9, 6..10, 0..u64::MAX] {
        assert_eq!(Subtree::new(leaves.clone()), None, "{leaves:?}");
    }
}

#[test]
fn a_reader_that_answers_too_many_or_too_few_hashes_is_an_error() {
    struct Counts(usize);
    impl HashReader for Counts {
        type Error = Missing;

        fn read(&self, _: &[NodeId]) -> Result<Vec<Hash>, Missing> {
            Ok(vec![graven_merkle::EMPTY_ROOT; self.0])
        }
    }
    for found in (0..10).filter(|&found| found != 3) {
        let wrong = ProveError::WrongCount { asked: 3, found };
        assert_eq!(prove_inclusion(&Counts(found), index(2), size(8)), Err(wrong.clone()));
        assert_eq!(root(&Counts(found), size(7)), Err(wrong));
    }
    assert!(prove_inclusion(&Counts(3), index(2), size(8)).is_ok());
}
