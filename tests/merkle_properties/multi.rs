//! Multi-entry proofs: ours are those of `rs_merkle`'s own tree, and nothing that its bare verifier takes by mistake passes.

use crate::{
    flip, rearranged,
    trees::{MemoryTree, index, mth, size},
};
use graven_merkle::{
    Hash, LeafIndex, MAX_MULTI_INDICES, MultiProof, ProveError, TreeSize, leaf_hash,
    multi::{IndicesError, MAX_MULTI_HASHES, MultiVerifyError},
    prove_multi, verify_multi,
};
use proptest::prelude::*;
use rs_merkle::{Hasher, MerkleProof, MerkleTree};
use sha2::{Digest, Sha256};

/// RFC 6962's node hash, written apart from the crate under test.
#[derive(Clone)]
struct Prefixed;

impl Hasher for Prefixed {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::digest(data).into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| Self::hash(&[&[1], left.as_slice(), right].concat()))
    }
}

fn indices(at: &[usize]) -> Vec<LeafIndex> {
    at.iter().map(|&at| index(at as u64)).collect()
}

fn raw(hashes: &[Hash]) -> Vec<[u8; 32]> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

fn proof(hashes: Vec<Hash>) -> MultiProof {
    MultiProof::from_hashes(hashes).expect("a short proof")
}

/// Every set of indices of a small tree; of a larger one, runs, combs and pairs.
fn index_sets(of: usize) -> Vec<Vec<usize>> {
    if of <= 9 {
        let members = |set: usize| (0..of).filter(|at| set >> at & 1 == 1).collect();
        return (1..1 << of).map(members).collect();
    }
    let runs = (0..of).flat_map(|first| [1, 2, 3, 7, of].map(|count| (first..of).take(count).collect()));
    let combs = (2..of).map(|step| (step / 2..of).step_by(step).collect());
    let pairs = (0..of).flat_map(|first| (first + 1..of).map(move |second| vec![first, second]));
    runs.chain(combs).chain(pairs).collect()
}

#[test]
fn every_planned_proof_is_that_of_the_whole_tree_in_rs_merkle() {
    let tree = MemoryTree::of_bytes(40);
    for of in 1..=40 {
        let leaves = &tree.leaves[..of];
        let known = mth(leaves);
        let oracle = MerkleTree::<Prefixed>::from_leaves(&raw(leaves));
        assert_eq!(oracle.root(), Some(*known.as_bytes()));
        for at in index_sets(of) {
            let planned = prove_multi(&tree, &indices(&at), size(of as u64)).expect("a proof");
            assert_eq!(raw(planned.hashes()), oracle.proof(&at).proof_hashes(), "{at:?} of {of}");
            let chosen: Vec<_> = at.iter().map(|&at| leaves[at]).collect();
            assert_eq!(verify_multi(&indices(&at), &chosen, size(of as u64), &planned, &known), Ok(()));
        }
    }
}

#[test]
fn no_changed_proof_leaf_index_size_or_root_is_accepted() {
    let tree = MemoryTree::of_bytes(24);
    let roots: Vec<_> = (0..=24).map(|of| mth(&tree.leaves[..of])).collect();
    for of in 1..=23 {
        for at in index_sets(of) {
            let planned = prove_multi(&tree, &indices(&at), size(of as u64)).expect("a proof");
            let chosen: Vec<_> = at.iter().map(|&at| tree.leaves[at]).collect();
            let accepts = |at: &[usize], chosen: &[Hash], of: usize, hashes: &[Hash], root: &Hash| {
                verify_multi(&indices(at), chosen, size(of as u64), &proof(hashes.to_vec()), root).is_ok()
            };
            let hashes = planned.hashes();
            assert!(accepts(&at, &chosen, of, hashes, &roots[of]));
            assert!(!accepts(&at, &chosen, of, hashes, &flip(&roots[of], 9)));
            for (each, bit) in (0..chosen.len()).zip((3..256).step_by(5).cycle()) {
                let mut changed = chosen.clone();
                changed[each] = flip(&changed[each], bit);
                assert!(!accepts(&at, &changed, of, hashes, &roots[of]));
                for moved in [at[each].wrapping_sub(1), at[each] + 1] {
                    let mut at = at.clone();
                    at[each] = moved.min(of);
                    assert!(!accepts(&at, &chosen, of, hashes, &roots[of]), "{at:?} of {of}");
                }
            }
            for (each, bit) in (0..hashes.len()).zip((1..256).step_by(7).cycle()) {
                let mut changed = hashes.to_vec();
                changed[each] = flip(&changed[each], bit);
                assert!(!accepts(&at, &chosen, of, &changed, &roots[of]));
            }
            rearranged(hashes).iter().for_each(|list| assert!(!accepts(&at, &chosen, of, list, &roots[of])));
            for other in [of - 1, of + 1] {
                assert!(
                    !accepts(&at, &chosen, other, hashes, &roots[other]),
                    "{at:?} of {of} taken for {other}"
                );
            }
        }
    }
}

#[test]
fn a_repeated_index_with_forged_leaves_is_refused() {
    let tree = MemoryTree::of_bytes(2);
    let known = mth(&tree.leaves);
    let forged = [leaf_hash(b"forged"), leaf_hash(b"too")];
    // The bare verifier hashes the two "siblings", which are the genuine leaves, and forgets the claimed ones.
    let bare = MerkleProof::<Prefixed>::new(raw(&tree.leaves));
    assert!(bare.verify(*known.as_bytes(), &[1, 1], &raw(&forged), 2));

    let refusal = verify_multi(&indices(&[1, 1]), &forged, size(2), &proof(tree.leaves), &known);
    let repeated = IndicesError::NotIncreasing { first: index(1), second: index(1) };
    assert_eq!(refusal, Err(MultiVerifyError::Indices(repeated)));
}

#[test]
fn an_index_far_beyond_the_tree_is_refused() {
    let tree = MemoryTree::of_bytes(3);
    let known = mth(&tree.leaves);
    let (far, foreign) = (1 << 40, leaf_hash(b"foreign"));
    let leaves = [tree.leaves[0], leaf_hash(b"forged")];
    // The bare verifier climbs beside the tree from the far leaf, and takes the first of the nodes at the top.
    let hashes = vec![tree.leaves[1], foreign, tree.leaves[2], foreign];
    let bare = MerkleProof::<Prefixed>::new(raw(&hashes));
    assert!(bare.verify(*known.as_bytes(), &[0, far], &raw(&leaves), 3));

    let refusal = verify_multi(&indices(&[0, far]), &leaves, size(3), &proof(hashes), &known);
    let beyond = IndicesError::BeyondTree { index: index(far as u64), size: size(3) };
    assert_eq!(refusal, Err(MultiVerifyError::Indices(beyond)));
}

#[test]
fn trailing_hashes_are_refused() {
    let tree = MemoryTree::of_bytes(5);
    let known = mth(&tree.leaves);
    let mut hashes = prove_multi(&tree, &indices(&[1, 4]), size(5)).expect("a proof").into_hashes();
    let (expected, leaves) = (hashes.len(), [tree.leaves[1], tree.leaves[4]]);
    hashes.push(leaf_hash(b"trailing"));
    let bare = MerkleProof::<Prefixed>::new(raw(&hashes));
    assert!(bare.verify(*known.as_bytes(), &[1, 4], &raw(&leaves), 5));

    let refusal = verify_multi(&indices(&[1, 4]), &leaves, size(5), &proof(hashes), &known);
    assert_eq!(refusal, Err(MultiVerifyError::WrongLength { expected, found: expected + 1 }));
}

#[test]
fn index_lists_that_can_have_no_proof_are_refused_by_prover_and_verifier() {
    let tree = MemoryTree::of_bytes(8);
    let known = mth(&tree.leaves);
    let too_many: Vec<_> = (0..=MAX_MULTI_INDICES).collect();
    let cases: [(&[usize], u64, IndicesError); 5] = [
        (&[], 8, IndicesError::Empty),
        (&[0], 0, IndicesError::BeyondTree { index: index(0), size: TreeSize::ZERO }),
        (&[1, 8, 9], 8, IndicesError::BeyondTree { index: index(8), size: size(8) }),
        (&[4, 2], 8, IndicesError::NotIncreasing { first: index(4), second: index(2) }),
        (&too_many, 5_000, IndicesError::TooMany(MAX_MULTI_INDICES + 1)),
    ];
    for (at, of, reason) in cases {
        let at = indices(at);
        assert_eq!(prove_multi(&tree, &at, size(of)), Err(ProveError::Indices(reason)));
        let leaves = vec![tree.leaves[0]; at.len()];
        let refusal = verify_multi(&at, &leaves, size(of), &proof(vec![]), &known);
        assert_eq!(refusal, Err(MultiVerifyError::Indices(reason)));
    }
    let one_short = verify_multi(&indices(&[1, 2]), &tree.leaves[1..2], size(8), &proof(vec![]), &known);
    assert_eq!(one_short, Err(MultiVerifyError::LeafCount { indices: 2, leaves: 1 }));
    assert!(MultiProof::from_hashes(vec![known; MAX_MULTI_HASHES + 1]).is_err());
}

#[test]
fn as_many_indices_as_are_allowed_make_a_short_proof_when_adjacent() {
    let tree = MemoryTree::of((0..65_536_u32).map(|leaf| leaf_hash(&leaf.to_be_bytes())));
    let known = tree.frontier.root();
    // How the run lies to the subtrees of 1,024 decides how many siblings it lacks.
    for (first, hashes) in [(0, 6), (30_720, 6), (64_512, 6), (1, 16), (31_745, 21)] {
        let at: Vec<_> = (first..first + MAX_MULTI_INDICES).collect();
        let planned = prove_multi(&tree, &indices(&at), size(65_536)).expect("a proof");
        assert_eq!(planned.hashes().len(), hashes, "from {first}");
        let chosen: Vec<_> = at.iter().map(|&at| tree.leaves[at]).collect();
        assert_eq!(verify_multi(&indices(&at), &chosen, size(65_536), &planned, &known), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn planned_proofs_of_larger_trees_are_those_of_rs_merkle(
        of in 1..2_000_usize,
        picks in prop::collection::btree_set(0..2_000_usize, 1..60),
    ) {
        let tree = MemoryTree::of((0..of).map(|leaf| leaf_hash(&leaf.to_be_bytes())));
        let at: Vec<_> = picks.into_iter().map(|at| at % of).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let oracle = MerkleTree::<Prefixed>::from_leaves(&raw(&tree.leaves));
        prop_assert_eq!(oracle.root(), Some(*tree.frontier.root().as_bytes()));
        let planned = prove_multi(&tree, &indices(&at), size(of as u64)).expect("a proof");
        prop_assert_eq!(raw(planned.hashes()), oracle.proof(&at).proof_hashes().to_vec());
    }
}
