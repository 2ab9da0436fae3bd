//! Beside `ct-merkle`: the same roots and proofs, each accepted by the other's verifier.

use crate::trees::{MemoryTree, index, size};
use ct_merkle::{
    ConsistencyProof as CtConsistency, InclusionProof as CtInclusion, RootHash,
    mem_backed_tree::MemoryBackedTree,
};
use graven_merkle::{
    Hash, leaf_hash, prove_consistency, prove_inclusion, root_from_inclusion, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;

type CtTree = MemoryBackedTree<Sha256, [u8; 8]>;

fn entry(at: usize) -> [u8; 8] {
    at.to_be_bytes()
}

fn ct_tree(of: usize) -> CtTree {
    let mut tree = CtTree::new();
    (0..of).for_each(|at| tree.push(entry(at)));
    tree
}

fn known(root: &RootHash<Sha256>) -> Hash {
    Hash::try_from(root.as_bytes().as_slice()).expect("32 bytes")
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(Hash::as_bytes).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn ct_merkle_agrees(of in 1..1_500_usize, at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>()) {
        let tree = MemoryTree::of((0..of).map(|at| leaf_hash(&entry(at))));
        let theirs = ct_tree(of);
        let root = tree.frontier.root();
        prop_assert_eq!(known(&theirs.root()), root);

        let at = at.index(of);
        let proof = prove_inclusion(&tree, index(at as u64), size(of as u64)).expect("a proof");
        prop_assert_eq!(bytes(proof.hashes()), theirs.prove_inclusion(at).as_bytes().to_vec());
        let as_theirs = CtInclusion::<Sha256>::try_from_bytes(bytes(proof.hashes())).expect("whole hashes");
        prop_assert!(theirs.root().verify_inclusion(&entry(at), at as u64, &as_theirs).is_ok());
        let leaf = leaf_hash(&entry(at));
        prop_assert_eq!(verify_inclusion(leaf, index(at as u64), size(of as u64), &proof, &root), Ok(()));
        prop_assert_eq!(root_from_inclusion(leaf, index(at as u64), size(of as u64), &proof), Ok(root));

        let from = 1 + from.index(of);
        let earlier = ct_tree(from).root();
        let proof = prove_consistency(&tree, size(from as u64), size(of as u64)).expect("a proof");
        prop_assert_eq!(bytes(proof.hashes()), theirs.prove_consistency(of - from).as_bytes().to_vec());
        let as_theirs = CtConsistency::<Sha256>::try_from_bytes(bytes(proof.hashes())).expect("whole hashes");
        prop_assert!(theirs.root().verify_consistency(&earlier, &as_theirs).is_ok());
        let verified = verify_consistency(size(from as u64), &known(&earlier), size(of as u64), &root, &proof);
        prop_assert_eq!(verified, Ok(()));
    }
}
