//! Bundles that were proven to be part of a tree: what a copy of a log may keep before it has all of it.

use super::{BundleError, BundlePath, EntryBundle, TILE_HEIGHT, TILE_WIDTH};
use crate::{
    ConsistencyProof, Frontier, Hash, Subtree, TreeSize, VerifyError, leaf_hash, verify_subtree_consistency,
};

/// A bundle whose entries are those of a tree with a known root. Nothing but the proof makes one.
///
/// The entries of a bundle are the [`Subtree`] from a multiple of 256 to the bundle's end, so the proof is one of subtree
/// consistency (C2SP tlog-mirror, "Entry packages").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenBundle {
    path: BundlePath,
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
}

/// Why a bundle is not believed. Whoever sent it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnprovenBundle {
    /// Not the entries that it should be.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Other entries than the tree has there, or another tree's proof.
    #[error("its entries are not proven to be in the tree: {0}")]
    Proof(#[from] VerifyError),
}

impl ProvenBundle {
    /// Hashes the entries in `bytes` and checks that the tree of `size` leaves with `root` has them at `path`.
    pub fn prove(
        path: BundlePath,
        bytes: Vec<u8>,
        size: TreeSize,
        root: &Hash,
        proof: &ConsistencyProof,
    ) -> Result<Self, UnprovenBundle> {
        let leaves: Vec<_> = EntryBundle::parse(&bytes, path.width())?.entries().map(leaf_hash).collect();
        let mut subtree_root = Frontier::new();
        subtree_root.append(leaves.iter().copied());
        let first = path.index().checked_mul(TILE_WIDTH.into());
        let leaves_of = |first: u64| Subtree::new(first..first.checked_add(path.width().into())?);
        let beyond = VerifyError::BeyondTree { earlier: TreeSize::MAX.into(), size };
        let subtree = first.and_then(leaves_of).ok_or(beyond)?;
        verify_subtree_consistency(subtree, &subtree_root.root(), size, root, proof)?;
        Ok(Self { path, bytes, leaves })
    }

    /// Where it stands.
    pub const fn path(&self) -> BundlePath {
        self.path
    }

    /// The index of its first entry.
    pub const fn first(&self) -> u64 {
        self.path.index() << TILE_HEIGHT
    }

    /// The bundle as it is served.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The leaf hashes of its entries: the row of its tile.
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// Its entries, each with its leaf hash.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Hash)> {
        let bundle = EntryBundle::parse(&self.bytes, self.path.width());
        bundle.into_iter().flat_map(|bundle| bundle.entries()).zip(&self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::bundle_ranges;
    use crate::{HashReader, NodeId, prove_subtree_consistency};
    use std::{collections::BTreeMap, convert::Infallible};

    struct Nodes(BTreeMap<NodeId, Hash>);

    impl HashReader for Nodes {
        type Error = Infallible;

        fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
            Ok(ids.iter().map(|id| self.0[id]).collect())
        }
    }

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    #[test]
    fn every_bundle_of_a_tree_is_proven_and_no_other() {
        for size in [1, 2, 255, 256, 257, 511, 512, 600, 1_025] {
            let (mut tree, mut nodes) = (Frontier::new(), BTreeMap::new());
            for index in 0..size {
                tree.push_with(leaf_hash(&entry(index)), |id, hash| {
                    nodes.insert(id, hash);
                });
            }
            let (nodes, size, root) = (Nodes(nodes), tree.size(), tree.root());
            for path in bundle_ranges(0..size.get(), size).map(|range| range.bundle) {
                let (first, width) = (path.index() << TILE_HEIGHT, u64::from(path.width()));
                let bytes = EntryBundle::encode((first..first + width).map(entry)).unwrap();
                let subtree = Subtree::new(first..first + width).unwrap();
                let proof = prove_subtree_consistency(&nodes, subtree, size).unwrap();
                let proven = ProvenBundle::prove(path, bytes.clone(), size, &root, &proof).unwrap();
                assert_eq!(proven.entries().count(), usize::from(path.width()));
                assert!(proven.entries().all(|(entry, hash)| leaf_hash(entry) == *hash));

                let mut altered = bytes.clone();
                *altered.last_mut().unwrap() ^= 1;
                let refused = ProvenBundle::prove(path, altered, size, &root, &proof);
                assert!(matches!(refused, Err(UnprovenBundle::Proof(_))));
                for (at, hash) in proof.hashes().iter().enumerate() {
                    let mut hashes = proof.hashes().to_vec();
                    hashes[at] = crate::node_hash(hash, hash);
                    let proof = ConsistencyProof::from_hashes(hashes).unwrap();
                    assert!(ProvenBundle::prove(path, bytes.clone(), size, &root, &proof).is_err());
                }
                let elsewhere = BundlePath::new(path.index() + 1, path.width()).unwrap();
                assert!(ProvenBundle::prove(elsewhere, bytes.clone(), size, &root, &proof).is_err());
                let cut = bytes[..bytes.len() - 1].to_vec();
                let refused = ProvenBundle::prove(path, cut, size, &root, &proof);
                assert!(matches!(refused, Err(UnprovenBundle::Bundle(_))));
            }
        }
    }

    #[test]
    fn a_bundle_at_the_end_of_all_indices_is_refused() {
        let path = BundlePath::new(u64::MAX >> TILE_HEIGHT, 1).unwrap();
        let proof = ConsistencyProof::from_hashes(vec![]).unwrap();
        let bytes = EntryBundle::encode(["x"]).unwrap();
        assert!(ProvenBundle::prove(path, bytes, TreeSize::MAX, &crate::EMPTY_ROOT, &proof).is_err());
    }
}
