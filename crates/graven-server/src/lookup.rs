//! Where an entry is, by its leaf hash: asked of an index that may lag and is never trusted.

use graven_merkle::{Hash, LeafIndex, TreeSize};

/// What an index knows about a leaf hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The first entry with this leaf hash, as far as the index goes.
    pub index: Option<LeafIndex>,
    /// How far it goes: it knows all entries below this size, as of before the search.
    pub covered: TreeSize,
}

/// An index could not be read. It can be rebuilt.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the index by leaf hash: {0}")]
pub struct LookupError(pub String);

/// An index by leaf hash. The server compares what it finds with the tree.
pub trait LeafLookup: Send + Sync + 'static {
    /// Looks for the first entry of `log` with this leaf hash. May block.
    ///
    /// # Errors
    /// The index cannot be read.
    fn find(&self, log: &str, leaf: &Hash) -> Result<Sought, LookupError>;

    /// Up to which size the index knows the entries of `log`; `None` where it does not know the log.
    fn covered(&self, log: &str) -> Option<TreeSize>;
}
