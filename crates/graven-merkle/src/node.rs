//! Names of inner nodes, and how a run of leaves splits into them.

use crate::{LeafIndex, TreeSize};
use std::{fmt, iter, ops::Range};

/// The name of a perfect subtree: the 2^`level` leaves that start at leaf `index` × 2^`level`.
///
/// Level 0 names leaves. A tree of a given size has the node once all its leaves are there
/// ([`is_complete_in`](Self::is_complete_in)); the hash of a node never changes after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    level: u8,
    index: u64,
}

impl NodeId {
    /// The node at `level`, the `index`-th of that level. Any pair is a name; not every name is in some tree.
    pub const fn new(level: u8, index: u64) -> Self {
        Self { level, index }
    }

    /// The node that is the leaf at `index`.
    pub const fn leaf(index: LeafIndex) -> Self {
        Self { level: 0, index: index.get() }
    }

    /// How many levels above the leaves the node is.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The node's zero-based position among those of its level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The node that this one is a child of.
    pub const fn parent(self) -> Self {
        Self { level: self.level.saturating_add(1), index: self.index >> 1 }
    }

    /// Whether a tree of `size` leaves holds every leaf below this node.
    pub const fn is_complete_in(self, size: TreeSize) -> bool {
        self.level < 63 && self.index < size.get() >> self.level
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level, self.index)
    }
}

/// The fewest nodes whose leaves are exactly `leaves`, from left to right: at most 124 of them.
///
/// For `0..size` these are the peaks of the tree of that size, largest first.
pub fn cover(leaves: Range<u64>) -> impl Iterator<Item = NodeId> + Clone {
    let end = leaves.end.min(TreeSize::MAX.get());
    let mut begin = leaves.start;
    iter::from_fn(move || {
        let remaining = end.checked_sub(begin).filter(|&leaves| leaves > 0)?;
        // As large as the alignment of its first leaf and the leaves that remain allow.
        let level = remaining.ilog2().min(begin.trailing_zeros());
        let node = NodeId { level: level_byte(level), index: begin >> level };
        begin += 1 << level;
        Some(node)
    })
}

/// A level as a byte: levels come from bit positions of a `u64`, so they are at most 64.
pub(crate) const fn level_byte(level: u32) -> u8 {
    debug_assert!(level <= 64);
    level.to_le_bytes()[0]
}
