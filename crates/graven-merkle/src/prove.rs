//! Roots and proofs from kept nodes: one plan, one batched read, one computation.

use crate::{
    ConsistencyProof, EMPTY_ROOT, Hash, InclusionProof, LeafIndex, NodeId, Subtree, TreeSize,
    multi::{IndicesError, MultiProof},
    plan::{self, Plan},
};

/// Where the hashes of a tree's nodes are kept.
pub trait HashReader {
    /// Why a read failed.
    type Error;

    /// The hashes of `ids`, in the same order, one for each.
    ///
    /// Provers ask once, for nodes that are complete in the tree they prove for, and check the number of hashes answered.
    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error>;
}

/// Why a root or proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The caller asked about a leaf that the tree, or the subtree, does not have.
    #[error("leaf {index} is not in the tree {tree}: ask for an index inside it")]
    IndexBeyondTree {
        /// The leaf asked about.
        index: LeafIndex,
        /// The tree or subtree asked about.
        tree: Subtree,
    },
    /// The caller asked for the consistency of a tree, or subtree, with one that ends before it does.
    #[error("{earlier} ends beyond the tree of {size} leaves: ask for a size of at least {}", earlier.end())]
    BeyondTree {
        /// The earlier tree, or the subtree.
        earlier: Subtree,
        /// The size of the tree it should be part of.
        size: TreeSize,
    },
    /// The caller asked for a multi-entry proof of indices that cannot have one.
    #[error(transparent)]
    Indices(#[from] IndicesError),
    /// The store's answer is not one hash for each node asked for: a fault of the store.
    #[error("the store answered {found} hashes for {asked} nodes")]
    WrongCount {
        /// How many nodes were asked for.
        asked: usize,
        /// How many hashes came.
        found: usize,
    },
    /// The store could not read.
    #[error("the store could not read nodes of the tree")]
    Read(#[source] E),
}

/// The root of the tree of `size` leaves, from its peaks.
pub fn root<R: HashReader + ?Sized>(reader: &R, size: TreeSize) -> Result<Hash, ProveError<R::Error>> {
    subtree_root(reader, size.into())
}

/// The hash of a subtree, from the nodes that cover it.
pub fn subtree_root<R: HashReader + ?Sized>(
    reader: &R,
    subtree: Subtree,
) -> Result<Hash, ProveError<R::Error>> {
    let hashes = carry_out(reader, &plan::subtree_root(subtree))?;
    Ok(hashes.first().copied().unwrap_or(EMPTY_ROOT))
}

/// Proves that leaf `index` is in the tree of `size` leaves (RFC 6962 §2.1.1).
pub fn prove_inclusion<R: HashReader + ?Sized>(
    reader: &R,
    index: LeafIndex,
    size: TreeSize,
) -> Result<InclusionProof, ProveError<R::Error>> {
    prove_subtree_inclusion(reader, index, size.into())
}

/// Like [`prove_inclusion`], with the leaf's hash, from the same read.
pub fn prove_leaf<R: HashReader + ?Sized>(
    reader: &R,
    index: LeafIndex,
    size: TreeSize,
) -> Result<(Hash, InclusionProof), ProveError<R::Error>> {
    let plan =
        plan::inclusion(index, size).ok_or(ProveError::IndexBeyondTree { index, tree: size.into() })?;
    let mut leaf = carry_out_with_leaves(reader, &[index], &plan)?;
    let proof = InclusionProof::planned(leaf.split_off(1));
    Ok((leaf[0], proof))
}

/// Proves that leaf `index` of the whole tree is in `subtree`.
pub fn prove_subtree_inclusion<R: HashReader + ?Sized>(
    reader: &R,
    index: LeafIndex,
    subtree: Subtree,
) -> Result<InclusionProof, ProveError<R::Error>> {
    let plan = plan::subtree_inclusion(index, subtree)
        .ok_or(ProveError::IndexBeyondTree { index, tree: subtree })?;
    Ok(InclusionProof::planned(carry_out(reader, &plan)?))
}

/// Proves that the tree of `from` leaves is the beginning of that of `to` (RFC 6962 §2.1.2); empty for `from` 0.
pub fn prove_consistency<R: HashReader + ?Sized>(
    reader: &R,
    from: TreeSize,
    to: TreeSize,
) -> Result<ConsistencyProof, ProveError<R::Error>> {
    prove_subtree_consistency(reader, from.into(), to)
}

/// Proves that `subtree` is part of the tree of `size` leaves (draft-ietf-plants-merkle-tree-certs).
pub fn prove_subtree_consistency<R: HashReader + ?Sized>(
    reader: &R,
    subtree: Subtree,
    size: TreeSize,
) -> Result<ConsistencyProof, ProveError<R::Error>> {
    let plan =
        plan::subtree_consistency(subtree, size).ok_or(ProveError::BeyondTree { earlier: subtree, size })?;
    Ok(ConsistencyProof::planned(carry_out(reader, &plan)?))
}

/// Proves that the leaves at `indices` are all in the tree of `size` leaves, by one compact proof (see [`crate::multi`]).
pub fn prove_multi<R: HashReader + ?Sized>(
    reader: &R,
    indices: &[LeafIndex],
    size: TreeSize,
) -> Result<MultiProof, ProveError<R::Error>> {
    let plan = crate::multi::plan(indices, size)?;
    Ok(MultiProof::planned(carry_out(reader, &plan)?))
}

/// Like [`prove_multi`], with the hashes of the leaves, from the same read.
pub fn prove_leaves<R: HashReader + ?Sized>(
    reader: &R,
    indices: &[LeafIndex],
    size: TreeSize,
) -> Result<(Vec<Hash>, MultiProof), ProveError<R::Error>> {
    let plan = crate::multi::plan(indices, size)?;
    let mut leaves = carry_out_with_leaves(reader, indices, &plan)?;
    let proof = MultiProof::planned(leaves.split_off(indices.len()));
    Ok((leaves, proof))
}

/// The leaves' hashes, as many as indices, and after them those that were planned.
fn carry_out_with_leaves<R: HashReader + ?Sized>(
    reader: &R,
    indices: &[LeafIndex],
    plan: &Plan,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    let leaves = indices.iter().map(|index| NodeId::leaf(*index));
    let ids: Vec<_> = leaves.chain(plan.ids().iter().copied()).collect();
    let mut hashes = reader.read(&ids).map_err(ProveError::Read)?;
    let wrong_count = ProveError::WrongCount { asked: ids.len(), found: hashes.len() };
    let planned = hashes.get(indices.len()..).and_then(|nodes| plan.compute(nodes)).ok_or(wrong_count)?;
    hashes.truncate(indices.len());
    hashes.extend(planned);
    Ok(hashes)
}

fn carry_out<R: HashReader + ?Sized>(reader: &R, plan: &Plan) -> Result<Vec<Hash>, ProveError<R::Error>> {
    let asked = plan.ids().len();
    if asked == 0 {
        return Ok(Vec::new());
    }
    let nodes = reader.read(plan.ids()).map_err(ProveError::Read)?;
    plan.compute(&nodes).ok_or(ProveError::WrongCount { asked, found: nodes.len() })
}
