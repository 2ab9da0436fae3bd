//! The hook through which a kind of log decides what its leaves are.
//!
//! The engine knows nothing of events or scopes: on its one writer, in index order, it hands drafts to the log's
//! sequencer and gets leaves back. A log of bytes has the identity.

use bytes::Bytes;
use graven_merkle::{Hash, LeafIndex, leaf_hash};

/// What a caller wants in the log. The hash was computed by the task that took the request, beside the writer.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The bytes.
    pub bytes: Bytes,
    /// Their leaf hash.
    pub leaf_hash: Hash,
}

impl Draft {
    /// A draft of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        let leaf_hash = leaf_hash(&bytes);
        Self { bytes, leaf_hash }
    }
}

/// What goes into the log.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The entry: 1 to 65,535 bytes.
    pub bytes: Bytes,
    /// Its leaf hash.
    pub hash: Hash,
    /// What is journalled with it, and only with it.
    pub attachments: Vec<Bytes>,
}

/// The sequencer will not have these drafts; the text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Turns drafts into leaves.
pub trait Sequencer: Send {
    /// The leaves of one request that will stand from `first` on, at log time `time_ns`: one for each draft in order,
    /// then any that follow from them. All or nothing: a refusal leaves no trace in the sequencer's state.
    fn sequence(&mut self, first: LeafIndex, time_ns: u64, drafts: Vec<Draft>) -> Result<Vec<Leaf>, Refusal>;

    /// The first leaf that must be [replayed](Self::replay) after a start, if any must be.
    fn replay_from(&self) -> Option<u64>;

    /// Takes in a leaf that is in the log.
    fn replay(&mut self, index: LeafIndex, leaf: &[u8]);
}

/// A log of bytes: a leaf is what the caller sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Sequencer for Identity {
    fn sequence(
        &mut self,
        _first: LeafIndex,
        _time_ns: u64,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Leaf>, Refusal> {
        let leaf = |draft: Draft| Leaf { bytes: draft.bytes, hash: draft.leaf_hash, attachments: Vec::new() };
        Ok(drafts.into_iter().map(leaf).collect())
    }

    fn replay_from(&self) -> Option<u64> {
        None
    }

    fn replay(&mut self, _index: LeafIndex, _leaf: &[u8]) {}
}
