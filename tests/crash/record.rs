//! What clients were told, held against what the log holds.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use bytes::Bytes;
use graven_client::VerifiedHead;
use graven_merkle::{Frontier, Hash, leaf_hash};

#[derive(Default)]
pub(crate) struct Record {
    /// The log's entries as last read, and where each stands.
    entries: Vec<Bytes>,
    indices: HashMap<Bytes, u64>,
    /// The tree over `entries`, and its root at every size from 1 on.
    frontier: Frontier,
    roots: Vec<Hash>,
    acks: BTreeMap<u64, Bytes>,
    heads: BTreeMap<u64, Hash>,
    /// The size of the head that was released last.
    newest: u64,
    repeats: u64,
}

pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) heads: u64,
    pub(crate) repeats: u64,
    pub(crate) bytes: u64,
}

impl Record {
    /// A client was told that this entry stands there.
    pub(crate) fn acknowledged(&mut self, index: u64, entry: &Bytes) {
        let told = self.acks.entry(index).or_insert_with(|| entry.clone());
        assert_eq!(told, entry, "index {index} was acknowledged for two entries");
    }

    /// A client was told of this head, after all that were recorded before.
    pub(crate) fn released(&mut self, head: &VerifiedHead) {
        let size = head.size().get();
        assert!(size >= self.newest, "the log went back from {} to {size}", self.newest);
        self.newest = size;
        let known = self.heads.entry(size).or_insert(*head.root());
        assert_eq!(known, head.root(), "two trees of {size} entries are signed");
    }

    /// A keyed append was repeated.
    pub(crate) fn repeated(&mut self) {
        self.repeats += 1;
    }

    /// How many entries were read.
    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The log has to have at least this many entries.
    pub(crate) fn promised(&self) -> u64 {
        let acked = self.acks.last_key_value().map_or(0, |(index, _)| index + 1);
        acked.max(self.newest)
    }

    /// The next entry of the log, as read.
    pub(crate) fn read(&mut self, entry: Bytes) {
        let index = self.size();
        if let Some(first) = self.indices.insert(entry.clone(), index) {
            panic!("entry {first} stands at {index} again: {}", String::from_utf8_lossy(&entry));
        }
        self.frontier.push(leaf_hash(&entry)).unwrap();
        self.roots.push(self.frontier.root());
        self.entries.push(entry);
    }

    /// The entry at `index` was read again.
    pub(crate) fn read_again(&self, index: u64, entry: &Bytes) {
        assert_eq!(self.at(index), Some(entry), "entry {index} changed");
    }

    /// Everything that was told from `size` entries on is true.
    pub(crate) fn check_from(&self, size: u64) {
        for (index, entry) in self.acks.range(size..) {
            assert_eq!(self.at(*index), Some(entry), "entry {index} is not what was acknowledged");
        }
        for (size, root) in self.heads.range(size..) {
            assert_eq!(self.root_at(*size), Some(*root), "the head of {size} entries is not theirs");
        }
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        let Some(last) = usize::try_from(size).unwrap().checked_sub(1) else {
            return Some(Frontier::EMPTY.root());
        };
        self.roots.get(last).copied()
    }

    fn at(&self, index: u64) -> Option<&Bytes> {
        self.entries.get(usize::try_from(index).unwrap())
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            acked: self.acks.len() as u64,
            heads: self.heads.len() as u64,
            repeats: self.repeats,
            bytes: self.entries.iter().map(|entry| entry.len() as u64).sum(),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, heads, repeats, bytes } = self;
        write!(f, "{acked} acknowledged, {heads} heads, {repeats} repeats, {} KiB", bytes >> 10)
    }
}
