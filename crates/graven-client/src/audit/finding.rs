//! What an audit can find.

use std::{fmt, ops::Range};

use graven_merkle::{
    Hash, LeafIndex, TreeSize,
    tile::{BundleError, BundlePath, TilePath},
};
use thiserror::Error;

use crate::UntrustedHead;

/// Something in a log that is not what its head signs. Whoever stores or serves the log is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Finding {
    /// There is no checkpoint.
    #[error("there is no checkpoint: is this where a log lies?")]
    NoCheckpoint,
    /// The checkpoint is not signed as it must be.
    #[error("the checkpoint is not to be trusted: {0}")]
    Checkpoint(#[from] UntrustedHead),
    /// A tile or bundle is not there.
    #[error("{path} is missing, which covers entries {} to {}", .entries.start, .entries.end - 1)]
    Missing {
        /// Its path.
        path: String,
        /// The entries that it covers.
        entries: Range<u64>,
    },
    /// A tile has not the length that this tree's size gives it.
    #[error("{path} has {found} bytes where it must have {expected}")]
    TileLength {
        /// The tile.
        path: TilePath,
        /// Its length by the signed size.
        expected: usize,
        /// Its length.
        found: usize,
        /// The entries that it covers.
        entries: Range<u64>,
    },
    /// A bundle is not the entries that this tree's size gives it.
    #[error("entry {index}: {path} is damaged: {problem}")]
    Bundle {
        /// The bundle.
        path: BundlePath,
        /// The first entry that cannot be read, or the last one where bytes follow it.
        index: u64,
        /// What is wrong.
        problem: BundleError,
    },
    /// An entry does not hash to the leaf hash stored for it.
    #[error("entry {index}: {altered}; it stands in {bundle}, its hash in {tile}")]
    Entry {
        /// The entry.
        index: u64,
        /// Which of the two is not what was signed.
        altered: Altered,
        /// Where it stands.
        bundle: BundlePath,
        /// Where its hash stands.
        tile: TilePath,
    },
    /// A tile does not hash to what is stored for it one level up.
    #[error("entries {} to {}: {tile} and all below it agree, but do not match {above}", .entries.start, .entries.end - 1)]
    Tile {
        /// The tile.
        tile: TilePath,
        /// The tile that holds its hash.
        above: TilePath,
        /// The entries that the tile covers, one or more of which were altered, unless `above` was.
        entries: Range<u64>,
    },
    /// Everything agrees, but does not lead to the signed root.
    #[error("the {from} of all {size} entries lead to the root {computed}, but the log signed {signed}")]
    Root {
        /// The signed size.
        size: TreeSize,
        /// The signed root.
        signed: Hash,
        /// The root of what is there.
        computed: Hash,
        /// What it was computed from.
        from: RootSource,
    },
    /// An entry as served does not lead to the signed root, while everything before it does.
    #[error(
        "entry {index} is not the one that the log signed, or the server cannot prove it; all entries before it are"
    )]
    NotSigned {
        /// The entry.
        index: u64,
    },
    /// Entries came in another order, or one too many.
    #[error("entry {found} came where entry {expected} should be")]
    Order {
        /// The next entry.
        expected: u64,
        /// The one that came.
        found: LeafIndex,
    },
    /// Entries are missing, or there are too many.
    #[error("there are {found} entries where the log signed {expected}")]
    Count {
        /// The signed size.
        expected: TreeSize,
        /// How many came.
        found: TreeSize,
    },
}

/// Which of an entry and its stored hash is not the one that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Altered {
    /// The entry: its stored hash is vouched for by the tree above.
    Entry,
    /// The stored hash: the entry is vouched for by the tree above.
    StoredHash,
    /// Nothing above vouches for either.
    Either,
}

/// What a root was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// The entries' own bytes.
    Entries,
    /// The stored tiles.
    Tiles,
}

impl Finding {
    /// The first entry that may be bad, where one can be named; no entry before it is.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        match self {
            Self::Missing { entries, .. } | Self::TileLength { entries, .. } | Self::Tile { entries, .. } => {
                Some(entries.start)
            }
            Self::Bundle { index, .. } | Self::Entry { index, .. } | Self::NotSigned { index } => {
                Some(*index)
            }
            Self::Order { expected, .. } => Some(*expected),
            Self::Count { found, .. } => Some(found.get()),
            Self::NoCheckpoint | Self::Checkpoint(_) | Self::Root { .. } => None,
        }
    }
}

impl fmt::Display for RootSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entries => "bytes",
            Self::Tiles => "stored hashes",
        })
    }
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry => "its bytes were altered, they are not what the log signed",
            Self::StoredHash => "its stored hash was altered, its bytes are what the log signed",
            Self::Either => "its bytes or its stored hash were altered, as they do not match",
        })
    }
}
