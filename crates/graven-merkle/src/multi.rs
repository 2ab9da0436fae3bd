//! One compact proof for many entries, verified by `rs_merkle` behind checks that make it sound.
//!
//! The proof is the list of sibling hashes that the chosen leaves lack on their way up, level by level from the leaves, from
//! left to right within a level. A node whose sibling is itself on the way of another chosen leaf needs none, so 1,024
//! adjacent entries of 65,536 take 6 to 21 hashes, by how they lie. Trees and order are those of `rs_merkle` 1.5 with RFC 6962's prefixes; a tree
//! with an odd number of nodes at a level passes its last one up unhashed, exactly as RFC 6962 §2.1 has it.
//!
//! `rs_merkle`'s own verifier is not sound on hostile input: it takes repeated indices, indices beyond the tree and trailing
//! hashes. Here it is only reached by claims of which this is certain:
//!
//! * the size is the caller's, from a signed checkpoint, and not 0;
//! * there are 1 to [`MAX_MULTI_INDICES`] indices, strictly increasing, the last below the size;
//! * there are as many leaf hashes as indices;
//! * the proof has exactly as many hashes as our own plan for these indices and this size.
//!
//! Then its work is bounded by the indices and the depth (k² · log size comparisons), never by the size, and every hash is
//! consumed. Neither proving nor verifying ever builds a tree.

use crate::{
    Hash, LeafIndex, TreeSize, node_hash,
    plan::{Plan, sibling_span},
};
use rs_merkle::{Hasher, MerkleProof};
use std::ops::Range;

/// How many entries one proof may cover: verification takes time that grows with the square of their number.
///
/// At the limit, scattered over the largest trees, it took 22 ms.
pub const MAX_MULTI_INDICES: usize = 1_024;

/// How many hashes any multi-entry proof may have: a whole path for each entry.
pub const MAX_MULTI_HASHES: usize = MAX_MULTI_INDICES * crate::InclusionProof::MAX_HASHES;

/// Shows that several leaves are in a tree, each at its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiProof {
    hashes: Vec<Hash>,
}

/// Why there is no multi-entry proof for these indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndicesError {
    /// No index was named.
    #[error("no indices: name at least one")]
    Empty,
    /// Too many were named.
    #[error("{0} indices are too many: one proof covers at most {MAX_MULTI_INDICES}")]
    TooMany(usize),
    /// An index is not above the one before it.
    #[error("index {second} follows {first}: sort the indices and name each once")]
    NotIncreasing {
        /// The index before.
        first: LeafIndex,
        /// The index that should be larger.
        second: LeafIndex,
    },
    /// An index is not in the tree.
    #[error("index {index} is not in a tree of {size} leaves: name indices below the size")]
    BeyondTree {
        /// The first index outside the tree.
        index: LeafIndex,
        /// The size of the tree.
        size: TreeSize,
    },
}

/// Why a multi-entry proof was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiVerifyError {
    /// The claim is about indices that no proof can be for.
    #[error(transparent)]
    Indices(#[from] IndicesError),
    /// There is not one leaf hash for each index.
    #[error("{leaves} leaf hashes for {indices} indices")]
    LeafCount {
        /// How many indices the claim is about.
        indices: usize,
        /// How many leaf hashes it has.
        leaves: usize,
    },
    /// The proof has not the number of hashes that a proof for these indices has.
    #[error("the proof has {found} hashes where these indices take {expected}")]
    WrongLength {
        /// How many hashes the claim takes.
        expected: usize,
        /// How many hashes the proof has.
        found: usize,
    },
    /// The tree is larger than this machine's word can count.
    #[error("a tree of {0} leaves is too large for this machine")]
    SizeUnsupported(TreeSize),
    /// The proof leads to another root than the one that is known, or to none: a leaf, the proof or the root is not genuine.
    #[error("the proof does not lead to the root {expected}")]
    RootMismatch {
        /// The root that is known.
        expected: Hash,
    },
}

impl MultiProof {
    /// A proof of these hashes, level by level from the leaves.
    ///
    /// This checks the [`MAX_MULTI_HASHES`] limit only: a proof means nothing before it is verified.
    pub fn from_hashes(hashes: Vec<Hash>) -> Result<Self, crate::ProofTooLong> {
        if hashes.len() > MAX_MULTI_HASHES {
            return Err(crate::ProofTooLong { found: hashes.len(), limit: MAX_MULTI_HASHES });
        }
        Ok(Self { hashes })
    }

    /// A proof as planned: plans stay below the limit.
    pub(crate) fn planned(hashes: Vec<Hash>) -> Self {
        debug_assert!(hashes.len() <= MAX_MULTI_HASHES);
        Self { hashes }
    }

    /// The hashes, level by level from the leaves, from left to right within a level.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The hashes, in the order of [`hashes`](Self::hashes).
    pub fn into_hashes(self) -> Vec<Hash> {
        self.hashes
    }
}

impl AsRef<[Hash]> for MultiProof {
    fn as_ref(&self) -> &[Hash] {
        &self.hashes
    }
}

/// Plans the proof that the leaves at `indices`, strictly increasing, are in the tree of `size` leaves.
pub fn plan(indices: &[LeafIndex], size: TreeSize) -> Result<Plan, IndicesError> {
    Ok(Plan::of(spans(indices, size)?))
}

/// Checks that the leaves that hash to `leaves` are those at `indices` of the tree with this size and root.
///
/// Indices are strictly increasing, and each has its leaf hash at the same place of `leaves`.
pub fn verify_multi(
    indices: &[LeafIndex],
    leaves: &[Hash],
    size: TreeSize,
    proof: &MultiProof,
    root: &Hash,
) -> Result<(), MultiVerifyError> {
    let expected = spans(indices, size)?.len();
    if leaves.len() != indices.len() {
        return Err(MultiVerifyError::LeafCount { indices: indices.len(), leaves: leaves.len() });
    }
    let found = proof.hashes.len();
    if found != expected {
        return Err(MultiVerifyError::WrongLength { expected, found });
    }
    let unsupported = MultiVerifyError::SizeUnsupported(size);
    let leaf_count = usize::try_from(size.get()).map_err(|_| unsupported.clone())?;
    let positions: Result<Vec<_>, _> = indices.iter().map(|index| usize::try_from(index.get())).collect();
    let positions = positions.map_err(|_| unsupported)?;

    let proof = MerkleProof::<Rfc6962>::new(bytes(&proof.hashes));
    if proof.verify(*root.as_bytes(), &positions, &bytes(leaves), leaf_count) {
        return Ok(());
    }
    Err(MultiVerifyError::RootMismatch { expected: *root })
}

/// `rs_merkle`'s idea of a hash function, with the prefixes that its own lacks.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        crate::leaf_hash(data).into()
    }

    /// A node without a right sibling goes up as it is.
    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| node_hash(&(*left).into(), &(*right).into()).into())
    }
}

/// The leaves below each sibling that the proof has to name, in its order.
fn spans(indices: &[LeafIndex], size: TreeSize) -> Result<Vec<Range<u64>>, IndicesError> {
    check(indices, size)?;
    let size = size.get();
    let depth = u64::BITS - (size - 1).leading_zeros();
    let mut nodes: Vec<u64> = indices.iter().map(|index| index.get()).collect();
    let mut spans = Vec::new();
    for level in 0..depth {
        // Siblings that are both on the way up stand side by side, as the nodes are sorted.
        let pairs = nodes.chunk_by(|left, right| left ^ 1 == *right);
        let lone = pairs.filter(|pair| pair.len() == 1).flatten();
        spans.extend(lone.filter_map(|&node| sibling_span(node, level, size)));
        nodes.iter_mut().for_each(|node| *node >>= 1);
        nodes.dedup();
    }
    Ok(spans)
}

fn check(indices: &[LeafIndex], size: TreeSize) -> Result<(), IndicesError> {
    let last = indices.last().ok_or(IndicesError::Empty)?;
    if indices.len() > MAX_MULTI_INDICES {
        return Err(IndicesError::TooMany(indices.len()));
    }
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(IndicesError::NotIncreasing { first: pair[0], second: pair[1] });
    }
    if !last.is_within(size) {
        let first_outside = indices.iter().find(|index| !index.is_within(size)).unwrap_or(last);
        return Err(IndicesError::BeyondTree { index: *first_outside, size });
    }
    Ok(())
}

fn bytes(hashes: &[Hash]) -> Vec<[u8; 32]> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}
