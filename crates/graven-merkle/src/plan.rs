//! Which hashes a root or a proof needs: plan here, read them at once, then compute.
//!
//! A proof's hash is not always a kept node: along the right edge of a tree it covers an incomplete subtree and is folded
//! from several. So a [`Plan`] lists nodes for one batched read, and turns what was read into the proof's hashes.
//!
//! Every function here answers `None` for a position outside the tree.

use crate::{Hash, LeafIndex, NodeId, Subtree, TreeSize, frontier::fold_peaks, node};
use std::ops::Range;

/// The nodes to read, in order, and how they make up the hashes wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    ids: Vec<NodeId>,
    /// For each hash wanted, how many of the nodes it is folded from.
    parts: Vec<usize>,
}

impl Plan {
    /// Plans one hash for each run of leaves. Each must be a [`Subtree`]'s, and not empty.
    pub(crate) fn of(spans: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut plan = Self::default();
        for span in spans {
            let before = plan.ids.len();
            plan.ids.extend(node::cover(span));
            plan.parts.push(plan.ids.len() - before);
        }
        plan
    }

    /// The nodes to read, all at once. Each is complete in the tree that was planned for.
    pub fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    /// How many hashes [`compute`](Self::compute) gives.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether no hash is wanted: the proof is empty.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The hashes wanted, from the hashes of the [`ids`](Self::ids), or `None` where these are too many or too few.
    pub fn compute(&self, mut nodes: &[Hash]) -> Option<Vec<Hash>> {
        let mut wanted = Vec::with_capacity(self.parts.len());
        for &part in &self.parts {
            let (peaks, rest) = nodes.split_at_checked(part)?;
            wanted.push(fold_peaks(peaks)?);
            nodes = rest;
        }
        nodes.is_empty().then_some(wanted)
    }
}

/// Plans the root of the tree of `size` leaves: one hash, none for the empty tree.
pub fn root(size: TreeSize) -> Plan {
    subtree_root(size.into())
}

/// Plans the hash of a subtree: one hash, none for an empty one.
pub fn subtree_root(subtree: Subtree) -> Plan {
    Plan::of((!subtree.is_empty()).then_some(subtree.leaves()))
}

/// Plans the proof that leaf `index` is in the tree of `size` leaves (RFC 6962 §2.1.1).
pub fn inclusion(index: LeafIndex, size: TreeSize) -> Option<Plan> {
    subtree_inclusion(index, size.into())
}

/// Plans the proof that leaf `index` of the whole tree is in `subtree`.
pub fn subtree_inclusion(index: LeafIndex, subtree: Subtree) -> Option<Plan> {
    let position = subtree.position(index)?.get();
    let width = subtree.width().get();
    let depth = u64::BITS - (width - 1).leading_zeros();
    let spans = (0..depth).filter_map(|level| sibling_span(position >> level, level, width));
    Some(Plan::of(spans.map(|span| subtree.start() + span.start..subtree.start() + span.end)))
}

/// Plans the proof that the tree of `from` leaves is the beginning of that of `to` (RFC 6962 §2.1.2).
///
/// For `from` 0 it is empty: everything begins with nothing (C2SP tlog-witness relies on this; the RFC leaves it open).
pub fn consistency(from: TreeSize, to: TreeSize) -> Option<Plan> {
    subtree_consistency(from.into(), to)
}

/// Plans the proof that `subtree` is part of the tree of `size` leaves
/// (draft-ietf-plants-merkle-tree-certs, "Subtree Consistency Proofs").
pub fn subtree_consistency(subtree: Subtree, size: TreeSize) -> Option<Plan> {
    if subtree.end() > size {
        return None;
    }
    if subtree.is_empty() {
        return Some(Plan::default());
    }
    Some(Plan::of(consistency_spans(subtree.leaves(), size)))
}

/// The leaves below the sibling of node `index` at `level` in a tree of `size` leaves, or `None` where it has no sibling.
///
/// Nothing here overflows: `index << level` is below `size`, so the sibling, too, ends at 2^63 at most.
pub(crate) fn sibling_span(index: u64, level: u32, size: u64) -> Option<Range<u64>> {
    let sibling = index ^ 1;
    let begin = sibling << level;
    (begin < size).then(|| begin..size.min((sibling + 1) << level))
}

/// Descends from the root to the wanted leaves as the definition does, noting what is left behind, and turns that around.
fn consistency_spans(mut wanted: Range<u64>, size: TreeSize) -> Vec<Range<u64>> {
    let mut here = 0..size.get();
    let mut spans = Vec::new();
    // Whether the verifier knows the hash of the wanted leaves, because they are still the whole subtree.
    let mut known = true;
    while here != wanted {
        let middle = here.start + split(here.end - here.start);
        if wanted.end <= middle {
            spans.push(middle..here.end);
            here.end = middle;
            continue;
        }
        spans.push(here.start..middle);
        here.start = middle;
        if wanted.start < middle {
            wanted.start = middle;
            known = false;
        }
    }
    if !known {
        spans.push(here);
    }
    spans.reverse();
    spans
}

/// The largest power of two below `leaves`, which is 2 or more: where RFC 6962 §2.1 splits a tree.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}
