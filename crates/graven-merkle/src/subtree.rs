//! Subtrees: runs of leaves whose hash is a value of its own inside larger trees
//! (draft-ietf-plants-merkle-tree-certs, "Subtrees").

use crate::{LeafIndex, TreeSize};
use std::{fmt, ops::Range};

/// The leaves `[start, end)` where `start` is a multiple of the least power of two that holds them all.
///
/// A tree of `n` leaves is the subtree `[0, n)`; the perfect subtrees of a tree are subtrees too. As in the draft's own
/// test vectors, `[n, n)` is one: it is empty and hashes to [`EMPTY_ROOT`](crate::EMPTY_ROOT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subtree {
    start: u64,
    end: TreeSize,
}

impl Subtree {
    /// The subtree over `leaves`, or `None` where its start is not aligned, is behind its end, or its end is above 2^63 − 1.
    pub fn new(leaves: Range<u64>) -> Option<Self> {
        let end = TreeSize::new(leaves.end)?;
        let width = leaves.end.checked_sub(leaves.start)?;
        let aligned = leaves.start.is_multiple_of(width.next_power_of_two());
        aligned.then_some(Self { start: leaves.start, end })
    }

    /// The index of the first leaf, equal to the end where the subtree is empty.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The size of the smallest tree that has all of the subtree's leaves.
    pub const fn end(self) -> TreeSize {
        self.end
    }

    /// The indices of the leaves.
    pub const fn leaves(self) -> Range<u64> {
        self.start..self.end.get()
    }

    /// How many leaves there are.
    pub const fn width(self) -> TreeSize {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are no leaves.
    pub const fn is_empty(self) -> bool {
        self.start == self.end.get()
    }

    /// Where the leaf at `index` of the whole tree is within the subtree, or `None` where it is outside.
    pub fn position(self, index: LeafIndex) -> Option<LeafIndex> {
        let offset = index.get().checked_sub(self.start)?;
        LeafIndex::new(offset).filter(|offset| offset.is_within(self.width()))
    }
}

impl From<TreeSize> for Subtree {
    fn from(size: TreeSize) -> Self {
        Self { start: 0, end: size }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}
