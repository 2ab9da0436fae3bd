//! What goes through a stream of appends: groups, their answers, runs, and its end.

use bytes::Bytes;
use graven_log::{AppendError, Sequenced};
use graven_proto::Refusal;
use graven_proto::limits::{MAX_ENTRY_BYTES, STREAM_WINDOW_BYTES, STREAM_WINDOW_ENTRIES};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::log::claim::Claim;
use crate::options::PUBLISH_WAIT_MAX;

/// Groups that the engine has at a time. One is synced while others wait; more would only make them smaller.
pub(super) const MAX_FLIGHTS: usize = 4;
/// Entries of a group: with all flights under way, a window.
const GROUP_ENTRIES: usize = STREAM_WINDOW_ENTRIES / MAX_FLIGHTS;
/// Bytes of a group.
const GROUP_BYTES: usize = STREAM_WINDOW_BYTES / MAX_FLIGHTS;
/// What an entry and a group cost the engine beside their bytes, rounded up.
const FRAMING_BYTES: usize = 4;
const GROUP_FRAMING_BYTES: usize = 1024;

/// An entry that was found in order.
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) bytes: Bytes,
    pub(super) claim: Option<Claim>,
}

/// A number of entries, and their bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Load {
    entries: usize,
    bytes: usize,
}

/// Entries that go to the engine together, all or none of them.
pub(super) struct Group {
    /// The number of the first.
    pub(super) seq: u64,
    pub(super) entries: Vec<Bytes>,
    /// The idempotency key of the one entry that this then is.
    pub(super) claim: Option<Claim>,
    bytes: usize,
}

/// A group that the engine has answered.
pub(super) struct Landed {
    pub(super) seq: u64,
    pub(super) load: Load,
    pub(super) answer: Result<Sequenced, AppendError>,
}

/// Durable entries that one message acknowledges.
pub(super) struct Run {
    pub(super) seq: u64,
    pub(super) load: Load,
    pub(super) appended: Sequenced,
    /// Until when a checkpoint must cover it, where the client waits for that.
    pub(super) deadline: Instant,
}

/// The end of a stream.
pub(super) enum Ending {
    /// The client has said all.
    Closed,
    /// An entry was refused: its number, if it is sure that neither this entry nor any after it is in the log.
    Refused(Box<Refusal>, Option<u64>),
    /// The transport has its own words.
    Broken(Status),
}

impl Load {
    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.entries -= other.entries;
        self.bytes -= other.bytes;
    }

    /// Whether this and `more` leave room in the window for one more entry, whatever its length.
    pub(super) fn has_room(self, more: Self) -> bool {
        self.entries + more.entries < STREAM_WINDOW_ENTRIES
            && self.bytes + more.bytes + MAX_ENTRY_BYTES <= STREAM_WINDOW_BYTES
    }
}

impl From<Entry> for Group {
    fn from(entry: Entry) -> Self {
        let Entry { seq, bytes: entry, claim } = entry;
        Self { seq, bytes: entry.len(), entries: vec![entry], claim }
    }
}

impl Group {
    pub(super) fn push(&mut self, entry: Bytes) {
        self.bytes += entry.len();
        self.entries.push(entry);
    }

    pub(super) fn load(&self) -> Load {
        Load { entries: self.entries.len(), bytes: self.bytes }
    }

    /// Whether one more entry may be too much for it, for a request of the engine, or for what is left of the window.
    pub(super) fn is_full(&self, window: Load, max_request_bytes: usize) -> bool {
        let longest = self.bytes + MAX_ENTRY_BYTES;
        let framed = longest + (self.entries.len() + 1) * FRAMING_BYTES + GROUP_FRAMING_BYTES;
        self.entries.len() >= GROUP_ENTRIES
            || longest > GROUP_BYTES
            || framed > max_request_bytes
            || !window.has_room(self.load())
    }
}

impl Run {
    /// A run that was answered just now.
    pub(super) fn new(seq: u64, load: Load, appended: Sequenced) -> Self {
        Self { seq, load, appended, deadline: Instant::now() + PUBLISH_WAIT_MAX }
    }

    /// Takes in the run behind this one. `false`: they cannot be acknowledged as one.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        let (last, new) = (&mut self.appended, &next.appended);
        let fits = last.first + u64::from(last.count) == new.first
            && last.time_ns == new.time_ns
            && last.duplicate == new.duplicate;
        if fits {
            last.count += new.count;
            self.load.add(next.load);
        }
        fits
    }
}

impl Ending {
    pub(super) fn refused(refusal: Refusal, seq: Option<u64>) -> Self {
        Self::Refused(Box::new(refusal), seq)
    }

    pub(super) fn without_seq(self) -> Self {
        match self {
            Self::Refused(refusal, _) => Self::Refused(refusal, None),
            other => other,
        }
    }

    pub(super) fn into_result(self) -> Result<(), Status> {
        match self {
            Self::Closed => Ok(()),
            Self::Refused(refusal, Some(seq)) => Err(refusal.with_fact("seq", seq).into()),
            Self::Refused(refusal, None) => Err((*refusal).into()),
            // Not a message, or cut off: no fault of ours.
            Self::Broken(status) if matches!(status.code(), Code::Internal | Code::Unknown) => Err(
                Status::invalid_argument("the stream brought something that is no message of this method"),
            ),
            Self::Broken(status) => Err(status),
        }
    }
}
