//! Trees to test against: an oracle straight from the RFC, all nodes of a small tree, and few leaves of an enormous one.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use graven_merkle::{Frontier, Hash, HashReader, LeafIndex, NodeId, TreeSize, leaf_hash, node_hash};
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

/// The Merkle tree hash, by the recursion of RFC 6962 §2.1 over leaf hashes.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => graven_merkle::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D[n]) of RFC 6962 §2.1.1.
pub(crate) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, other) =
        if index < k { (path(index, left), right) } else { (path(index - k, right), left) };
    path.push(mth(other));
    path
}

/// SUBPROOF(m, D[n], b) of RFC 6962 §2.1.2; PROOF(m, D[n]) is that with `known` true.
pub(crate) fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) =
        if m <= k { (subproof(m, left, known), right) } else { (subproof(m - k, right, false), left) };
    proof.push(mth(other));
    proof
}

/// Every node of a tree, as its frontier named them.
#[derive(Default)]
pub(crate) struct MemoryTree {
    pub(crate) leaves: Vec<Hash>,
    pub(crate) frontier: Frontier,
    nodes: HashMap<NodeId, Hash>,
}

impl MemoryTree {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            tree.leaves.push(leaf);
            tree.frontier.push_with(leaf, |id, hash| {
                assert_eq!(tree.nodes.insert(id, hash), None, "node {id} completed twice");
            });
        }
        tree
    }

    /// The tree whose leaf `i` is the one byte `i`.
    pub(crate) fn of_bytes(size: u8) -> Self {
        Self::of((0..size).map(|byte| leaf_hash(&[byte])))
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<Hash> {
        self.nodes.get(&id).copied()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, Hash)> + '_ {
        self.nodes.iter().map(|(id, hash)| (*id, *hash))
    }
}

/// A node that the tree does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) NodeId);

impl HashReader for MemoryTree {
    type Error = Missing;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Missing> {
        ids.iter().map(|&id| self.node(id).ok_or(Missing(id))).collect()
    }
}

/// A tree of up to 2^63 − 1 leaves, all alike but for a few.
pub(crate) struct SparseTree {
    /// The hash of a perfect subtree of common leaves, by level.
    common: Vec<Hash>,
    special: BTreeMap<u64, Hash>,
}

impl SparseTree {
    pub(crate) fn of(special: impl IntoIterator<Item = (u64, Hash)>) -> Self {
        let leaf = leaf_hash(b"common");
        let common = std::iter::successors(Some(leaf), |hash| Some(node_hash(hash, hash))).take(64).collect();
        Self { common, special: special.into_iter().collect() }
    }

    pub(crate) fn leaf(&self, index: LeafIndex) -> Hash {
        self.node(NodeId::leaf(index))
    }

    fn node(&self, id: NodeId) -> Hash {
        let (level, index) = (id.level(), id.index());
        if self.special.range(index << level..(index + 1) << level).next().is_none() {
            return self.common[usize::from(level)];
        }
        if level == 0 {
            return self.special[&index];
        }
        let child = |index| self.node(NodeId::new(level - 1, index));
        node_hash(&child(2 * index), &child(2 * index + 1))
    }
}

impl HashReader for SparseTree {
    type Error = Infallible;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids.iter().map(|&id| self.node(id)).collect())
    }
}

pub(crate) fn size(size: u64) -> TreeSize {
    TreeSize::new(size).expect("a tree size")
}

pub(crate) fn index(index: u64) -> LeafIndex {
    LeafIndex::new(index).expect("a leaf index")
}
