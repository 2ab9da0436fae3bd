//! Where a leaf is and how many there are: two types, so that neither is ever taken for the other.

use std::fmt;

/// The zero-based position of a leaf, below 2^63 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(u64);

/// The number of leaves of a tree, at most 2^63 − 1, so that every size also fits a signed 64-bit integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeSize(u64);

/// A number that is too large to be the index of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a leaf index: indices are below 2^63 - 1")]
pub struct LeafIndexError(pub u64);

/// A number that is too large to be the size of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a tree size: sizes are at most 2^63 - 1")]
pub struct TreeSizeError(pub u64);

impl LeafIndex {
    /// The index of the first leaf.
    pub const ZERO: Self = Self(0);

    /// The leaf at `index`, or `None` where that is 2^63 − 1 or more.
    pub const fn new(index: u64) -> Option<Self> {
        if index < TreeSize::MAX.0 { Some(Self(index)) } else { None }
    }

    /// The index as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether a tree of `size` leaves has this leaf.
    pub const fn is_within(self, size: TreeSize) -> bool {
        self.0 < size.0
    }

    /// The size of the tree whose last leaf this is.
    pub const fn size_through(self) -> TreeSize {
        TreeSize(self.0 + 1)
    }
}

impl TreeSize {
    /// The size of the empty tree.
    pub const ZERO: Self = Self(0);
    /// The largest size, 2^63 − 1.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// A tree of `size` leaves, or `None` where that is more than 2^63 − 1.
    pub const fn new(size: u64) -> Option<Self> {
        if size <= Self::MAX.0 { Some(Self(size)) } else { None }
    }

    /// The size as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether the tree has no leaves.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The index that the next leaf gets, or `None` where the tree is full.
    pub const fn next_index(self) -> Option<LeafIndex> {
        LeafIndex::new(self.0)
    }

    /// The index of the last leaf, or `None` where the tree is empty.
    pub const fn last_index(self) -> Option<LeafIndex> {
        match self.0.checked_sub(1) {
            Some(last) => Some(LeafIndex(last)),
            None => None,
        }
    }

    /// The size after `leaves` more, or `None` where that is more than 2^63 − 1.
    pub const fn checked_add(self, leaves: u64) -> Option<Self> {
        match self.0.checked_add(leaves) {
            Some(size) => Self::new(size),
            None => None,
        }
    }

    /// The size before the last `leaves` came, 0 where there were not that many.
    pub const fn saturating_sub(self, leaves: u64) -> Self {
        Self(self.0.saturating_sub(leaves))
    }
}

impl From<u32> for LeafIndex {
    fn from(index: u32) -> Self {
        Self(index.into())
    }
}

impl From<u32> for TreeSize {
    fn from(size: u32) -> Self {
        Self(size.into())
    }
}

impl TryFrom<u64> for LeafIndex {
    type Error = LeafIndexError;

    fn try_from(index: u64) -> Result<Self, LeafIndexError> {
        Self::new(index).ok_or(LeafIndexError(index))
    }
}

impl TryFrom<u64> for TreeSize {
    type Error = TreeSizeError;

    fn try_from(size: u64) -> Result<Self, TreeSizeError> {
        Self::new(size).ok_or(TreeSizeError(size))
    }
}

impl From<LeafIndex> for u64 {
    fn from(index: LeafIndex) -> Self {
        index.0
    }
}

impl From<TreeSize> for u64 {
    fn from(size: TreeSize) -> Self {
        size.0
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
