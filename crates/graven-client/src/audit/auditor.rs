//! The core of an audit: entries in, root out.

use graven_merkle::{Frontier, Hash, LeafIndex, leaf_hash};

use super::{Finding, RootSource};
use crate::VerifiedHead;

/// Hashes entries in order and holds the result against a signed head.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    frontier: Frontier,
    entry_bytes: u64,
}

/// How far an audit has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many entries were checked.
    pub entries: u64,
    /// How many there are.
    pub of_entries: u64,
    /// How many bytes of entries were checked.
    pub entry_bytes: u64,
}

/// A log all of whose entries were hashed again and lead to the signed root.
#[derive(Clone, Debug)]
pub struct Audited {
    head: VerifiedHead,
    entry_bytes: u64,
}

impl Audited {
    pub(super) fn new(head: VerifiedHead, entry_bytes: u64) -> Self {
        Self { head, entry_bytes }
    }

    /// The signed head that all entries lead to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// How many entries were hashed.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.head.size().get()
    }

    /// How many bytes of entries were hashed.
    #[must_use]
    pub fn entry_bytes(&self) -> u64 {
        self.entry_bytes
    }
}

impl Auditor {
    /// An auditor that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the entry at `index` and answers its hash.
    ///
    /// # Errors
    /// It is not the next one.
    pub fn push(&mut self, index: LeafIndex, entry: &[u8]) -> Result<Hash, Finding> {
        let hash = leaf_hash(entry);
        self.push_hash(index, hash, entry.len())?;
        Ok(hash)
    }

    /// Takes an entry of which only the hash is at hand.
    pub(super) fn push_hash(&mut self, index: LeafIndex, hash: Hash, bytes: usize) -> Result<(), Finding> {
        let expected = self.frontier.size().get();
        if index.get() != expected || self.frontier.push(hash).is_none() {
            return Err(Finding::Order { expected, found: index });
        }
        self.entry_bytes = self.entry_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The tree of the entries so far.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(super) fn progress(&self, head: &VerifiedHead) -> Progress {
        let (entries, of_entries) = (self.frontier.size().get(), head.size().get());
        Progress { entries, of_entries, entry_bytes: self.entry_bytes }
    }

    /// Holds the tree of all entries against the signed one.
    ///
    /// # Errors
    /// Their number or their root is another.
    pub fn finish(self, head: &VerifiedHead) -> Result<Audited, Finding> {
        if self.frontier.size() != head.size() {
            return Err(Finding::Count { expected: head.size(), found: self.frontier.size() });
        }
        let computed = self.frontier.root();
        if computed != *head.root() {
            return Err(Finding::Root {
                size: head.size(),
                signed: *head.root(),
                computed,
                from: RootSource::Entries,
            });
        }
        Ok(Audited::new(head.clone(), self.entry_bytes))
    }
}
