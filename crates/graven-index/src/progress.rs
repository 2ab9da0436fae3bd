//! How far a log has been read, as the database keeps it: one row a log, written once the runs up to there are durable.
//!
//! ```text
//! row of log id (4 bytes):
//!      0   8  the runs end before this index
//!      8   8  size of a published head that they were read under
//!     16  32  its root
//! ```
//!
//! The head ties the runs to one history: they count only where the log still has that head's tree as its beginning.

use graven_log::{Head, Log};
use graven_merkle::{HASH_BYTES, Hash, TreeSize, verify_consistency};

const ROW_BYTES: usize = 16 + HASH_BYTES;

/// How far a log has been read, and from what tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) end: u64,
    pub(crate) size: TreeSize,
    pub(crate) root: Hash,
}

impl Progress {
    pub(crate) fn under(head: &Head, end: u64) -> Self {
        Self { end, size: head.size(), root: *head.checkpoint.root() }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.end.to_be_bytes()[..], &self.size.get().to_be_bytes(), self.root.as_bytes()].concat()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ROW_BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let (end, size) = (number(0), TreeSize::new(number(8))?);
        let root = Hash::try_from(&bytes[16..]).ok()?;
        (end <= size.get()).then_some(Self { end, size, root })
    }

    /// Whether it is of this log, and not ahead of it.
    pub(crate) fn is_of(&self, log: &Log) -> bool {
        let head = log.head();
        self.size <= head.size()
            && log.consistency(self.size, head.size()).is_ok_and(|proof| {
                let root = head.checkpoint.root();
                verify_consistency(self.size, &self.root, head.size(), root, &proof).is_ok()
            })
    }
}
