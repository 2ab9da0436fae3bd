//! The hook through which a kind of log decides what its leaves are.
//!
//! The engine knows nothing of events or scopes: on its one writer, in index order, it hands drafts to the log's
//! sequencer and gets leaves back. A log of bytes has the identity. What a hook answers is held to its contract, stated
//! at each method; where it breaks that, the engine stops before anything of it is written.
//!
//! A hook is a state machine over the leaves of its log and nothing else. After a start its state is that of a
//! [snapshot](Sequencer::snapshot), or a new one's, after [`replay`](Sequencer::replay) of every leaf since: so whatever
//! [`sequence`](Sequencer::sequence) changes, replaying the leaves it returned must change as well.

use std::fmt;

use bytes::Bytes;
use graven_merkle::tile::MAX_ENTRY_BYTES;
use graven_merkle::{Hash, LeafIndex, leaf_hash};
use graven_store::journal::{ATTACHMENT_FRAME_BYTES, MAX_BODY_BYTES};

use crate::meta::{Kind, LogMeta};
use crate::pool::FRAME_BYTES;

/// Longest attachment: 256 of these with their entries, 272 MiB, are the most that a log can have and not seal.
pub const MAX_ATTACHMENT_BYTES: usize = 1 << 20;
/// What a hook returns for one request, with what a journal record adds to it: two of these fit one record.
pub const MAX_SEQUENCED_BYTES: usize = MAX_BODY_BYTES / 2;
/// Leaves that a hook returns for one request: what it was asked for, and follow-ups of each.
pub const MAX_SEQUENCED_LEAVES: usize = 4 * crate::config::MAX_REQUEST_ENTRIES;
/// How much longer than its draft a leaf is expected to be, with its share of follow-ups. More is taken too, and may make
/// a journal segment longer than it was prepared for.
pub(crate) const EXPECTED_GROWTH_BYTES: usize = 256;

/// What a caller wants in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The bytes: 1 to 65,535.
    pub bytes: Bytes,
    /// Their leaf hash, where the leaf will be these bytes: computed by the task that took the request, beside the writer.
    pub leaf_hash: Option<Hash>,
    /// What is to be stored with the leaf: 1 byte to [`MAX_ATTACHMENT_BYTES`], of which the first is its class.
    pub attachment: Option<Bytes>,
}

impl Draft {
    /// A draft of these bytes alone.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, leaf_hash: None, attachment: None }
    }

    /// With what is to be stored with its leaf.
    #[must_use]
    pub fn with_attachment(self, attachment: Bytes) -> Self {
        Self { attachment: Some(attachment), ..self }
    }

    /// With its leaf hash.
    pub(crate) fn hashed(self) -> Self {
        Self { leaf_hash: Some(leaf_hash(&self.bytes)), ..self }
    }
}

/// What goes into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The entry: 1 to 65,535 bytes.
    pub bytes: Bytes,
    /// Its leaf hash.
    pub hash: Hash,
    /// What becomes durable with it, and never without it: 1 byte to [`MAX_ATTACHMENT_BYTES`]. Its first byte is its class,
    /// which means nothing to the engine: [whole classes are dropped](crate::Engine::drop_blobs).
    pub attachment: Option<Bytes>,
}

impl Leaf {
    /// A leaf of these bytes, hashed here.
    pub fn new(bytes: Bytes, attachment: Option<Bytes>) -> Self {
        Self { hash: leaf_hash(&bytes), bytes, attachment }
    }
}

/// A hook will not have something. The engine takes it to the caller as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in the hook's own numbering.
    pub code: u32,
    /// Why, for people: no secret, nothing personal.
    pub text: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Turns drafts into leaves. Pure: no clock, no randomness, no file; whatever it needs of these is in the drafts.
pub trait Sequencer: Send {
    /// The first leaf of a log, for one that has none. It goes through [`sequence`](Self::sequence) like any other draft,
    /// and becomes durable before anything else can be appended.
    fn genesis(&self, meta: &LogMeta) -> Option<Draft> {
        let _ = meta;
        None
    }

    /// The leaves of one request that will stand from `first` on, at log time `time_ns` (nanoseconds since 1970): one for
    /// each draft in order, then any that follow from them. Log time grows strictly from one commit to the next; requests
    /// of one commit have the same.
    ///
    /// At most [`MAX_SEQUENCED_LEAVES`] and [`MAX_SEQUENCED_BYTES`].
    ///
    /// # Errors
    /// All or nothing: a refusal leaves no trace in the sequencer's state.
    fn sequence(&mut self, first: LeafIndex, time_ns: u64, drafts: Vec<Draft>) -> Result<Vec<Leaf>, Refusal>;

    /// Takes in a leaf of the log that [`sequence`](Self::sequence) did not return in this life: one of before the start,
    /// or a statement that hands over to new signing keys ([`graven_note::Rotation`]). These the engine appends itself to
    /// logs of every kind, byte for byte, because readers of any log look for them; a hook counts them as leaves that
    /// say nothing to it. Leaves come in index order, without a gap, each of them hashed and found in the tree.
    ///
    /// # Errors
    /// It cannot be read: the log is of a newer version, and does not open. A statement is not appended.
    fn replay(&mut self, index: LeafIndex, leaf: &[u8]) -> Result<(), Refusal>;

    /// Its state after all leaves so far, at most [`MAX_STATE_BYTES`](crate::MAX_STATE_BYTES), in a format of its own that
    /// says its version. `None`: it has no state, and leaves need not be replayed.
    fn snapshot(&self) -> Option<Vec<u8>>;

    /// Takes in a state that a snapshot gave. The engine has checked that it is whole and was taken in this log.
    /// `false`: it is of another version; this hook is thrown away, and another one sees every leaf.
    fn restore(&mut self, state: &[u8]) -> bool;
}

/// Gives each log its sequencer.
pub trait Sequencers: fmt::Debug + Send + Sync {
    /// Whether logs of a kind can be made.
    fn serves(&self, kind: Kind) -> bool;

    /// A new sequencer of a log, as it is before the first leaf. `None`: this build cannot serve the log, and does not
    /// open its data directory.
    fn of(&self, meta: &LogMeta) -> Option<Box<dyn Sequencer>>;
}

/// Serves logs of bytes and no others.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesOnly;

impl Sequencers for BytesOnly {
    fn serves(&self, kind: Kind) -> bool {
        kind == Kind::Bytes
    }

    fn of(&self, meta: &LogMeta) -> Option<Box<dyn Sequencer>> {
        self.serves(meta.kind).then(|| Box::new(Identity) as Box<dyn Sequencer>)
    }
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
        let leaf = |Draft { bytes, leaf_hash: hash, attachment }| {
            let hash = hash.unwrap_or_else(|| leaf_hash(&bytes));
            Leaf { bytes, hash, attachment }
        };
        Ok(drafts.into_iter().map(leaf).collect())
    }

    fn replay(&mut self, _index: LeafIndex, _leaf: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    fn restore(&mut self, _state: &[u8]) -> bool {
        false
    }
}

/// What a hook returned that its contract does not allow, if anything.
pub(crate) fn broken_contract(asked: usize, leaves: &[Leaf]) -> Option<&'static str> {
    if leaves.len() < asked {
        return Some("fewer leaves than drafts");
    }
    if leaves.len() > MAX_SEQUENCED_LEAVES {
        return Some("too many leaves for one request");
    }
    let mut framed = FRAME_BYTES;
    for Leaf { bytes, attachment, .. } in leaves {
        if !(1..=MAX_ENTRY_BYTES).contains(&bytes.len()) {
            return Some("a leaf of no bytes, or of more than 65,535");
        }
        framed += bytes.len() + 2;
        if let Some(attachment) = attachment {
            if !(1..=MAX_ATTACHMENT_BYTES).contains(&attachment.len()) {
                return Some("an attachment of no bytes, or of more than 1 MiB");
            }
            framed += attachment.len() + ATTACHMENT_FRAME_BYTES;
        }
    }
    (framed > MAX_SEQUENCED_BYTES).then_some("too many bytes for one request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_returns_is_held_to_its_contract() {
        let leaf = |bytes: usize, attached: Option<usize>| {
            Leaf::new(vec![1; bytes].into(), attached.map(|bytes| vec![2; bytes].into()))
        };
        let most = MAX_SEQUENCED_BYTES / (MAX_ATTACHMENT_BYTES + 1 + 10);
        for (holds, asked, leaves) in [
            (true, 1, vec![leaf(1, None)]),
            (true, 1, vec![leaf(65_535, Some(MAX_ATTACHMENT_BYTES)), leaf(1, Some(1))]),
            (true, most, vec![leaf(1, Some(MAX_ATTACHMENT_BYTES)); most]),
            (true, 1, vec![leaf(1, None); MAX_SEQUENCED_LEAVES]),
            (false, 2, vec![leaf(1, None)]),
            (false, 1, vec![leaf(0, None)]),
            (false, 1, vec![leaf(65_536, None)]),
            (false, 1, vec![leaf(1, Some(0))]),
            (false, 1, vec![leaf(1, Some(MAX_ATTACHMENT_BYTES + 1))]),
            (false, 1, vec![leaf(1, Some(MAX_ATTACHMENT_BYTES)); most + 1]),
            (false, 1, vec![leaf(1, None); MAX_SEQUENCED_LEAVES + 1]),
        ] {
            assert_eq!(broken_contract(asked, &leaves).is_none(), holds, "{asked} {}", leaves.len());
        }
    }
}
