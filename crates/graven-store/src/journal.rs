//! The journal: the one place where an entry becomes durable, shared by all logs of a server.
//!
//! A commit is one record — the entries of any number of logs, their idempotency keys and attachments —
//! written and synced once. Records lie in preallocated segments that are used again when nothing in them is needed,
//! so that a commit overwrites blocks the file already owns and its `fdatasync` has no metadata to write.
//!
//! What survives a crash: every record whose [`Journal::append`] returned; of the one record that was being written,
//! all or nothing. What is refused at [`Journal::open`]: a record that does not hold *followed by* one that does
//! (damage, not a torn tail), a segment that is missing, cut or without a header, a broken chain. What cannot be told
//! from a torn tail: damage to the very last record, or the loss of the newest files; the signer journal catches it
//! where a checkpoint had covered it.
//!
//! The caller begins every segment with its own state (see [`Section::State`]), so that older segments can go.

mod builder;
mod layout;
mod parse;
mod recover;
mod segments;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use builder::RecordBuilder;
pub use layout::{
    ATTACHMENT_FRAME_BYTES, BundleSpan, EntriesSection, KeyRow, LogId, MAX_BODY_BYTES, Record, Section,
};
pub use parse::{attachments, bundle_leaves};
pub use segments::Segments;

use crate::fs::{File, Fs};
use builder::RecordPlace;
use layout::{DIGEST_BYTES, PAGE_BYTES, RECORD_HEADER_BYTES};
use segments::Segment;

/// Smallest segment: a header page and a few records.
pub const MIN_SEGMENT_BYTES: u64 = 16 * PAGE_BYTES as u64;

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Storage failed.
    #[error("journal in {dir}: {source}")]
    Io {
        /// The journal's directory.
        dir: PathBuf,
        /// What storage said.
        source: io::Error,
    },
    /// Nothing there.
    #[error(
        "there is no journal in {0}: restore it, or get its log back from a mirror with `graven recover --promote`"
    )]
    Missing(PathBuf),
    /// Bytes that were durable are not what they were.
    #[error(
        "journal segment {segment} is damaged at byte {offset} ({what}): restore the data directory from a copy"
    )]
    Damaged {
        /// Segment number.
        segment: u64,
        /// Offset in its file.
        offset: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// A file that held a segment cannot be told apart from one that never did.
    #[error("{slot} has lost its header or its end: restore the data directory from a copy")]
    Unreadable {
        /// The file.
        slot: PathBuf,
    },
}

/// Where a record was written, for reading its bytes again.
#[derive(Clone)]
pub struct Stored {
    /// Number of the segment: the record can be read until that is [released](Journal::release_before).
    pub segment: u64,
    /// Its file.
    pub file: Arc<dyn File>,
    /// Offset of the record's first byte.
    pub offset: u64,
    /// The whole record, padding included.
    pub bytes: Bytes,
    /// Where the bundles and attachments of its entries sections lie within it.
    pub spans: Vec<BundleSpan>,
}

/// The writing end. One exists per journal: it owns the order.
pub struct Journal {
    segments: Arc<Segments>,
    active: Segment,
    /// Where the next record goes.
    end: u64,
    /// Segments that may still be needed, oldest first, without the active one.
    older: Vec<Segment>,
    sequence: u64,
    previous: [u8; 32],
    /// A write or a sync did not succeed: nothing is known of what storage kept.
    failed: bool,
}

impl Journal {
    /// Makes an empty journal in a directory that has none. One that a crash interrupted may be repeated.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64, nonce: [u8; 16]) -> io::Result<()> {
        fs.create_dir_all(dir)?;
        if segments::discover(&*fs, dir)?.damaged.is_empty() && fs.list(dir)?.is_empty() {
            return Segments::new(fs, dir, segment_bytes, 1).prepare(nonce);
        }
        match Self::open(&fs, dir, segment_bytes, |_, _| ()) {
            Ok(journal) if journal.is_empty() => Ok(()),
            Err(OpenError::Io { source, .. }) => Err(source),
            _ => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the journal's directory is not empty")),
        }
    }

    /// Opens a journal and hands every record to `visit`, oldest first. Segments that were released and not used again
    /// yet come back with it.
    ///
    /// Whatever was handed out is durable when this returns `Ok`. Unless it [is empty](Self::is_empty) the caller
    /// [rolls](Self::roll) before it appends, so that what lies behind the last record stays as it was found.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        segment_bytes: u64,
        visit: impl FnMut(Record, Stored),
    ) -> Result<Self, OpenError> {
        recover::open(fs, dir, segment_bytes, visit)
    }

    /// The files behind it, for preparing the next segment beside the writer.
    pub fn segments(&self) -> Arc<Segments> {
        self.segments.clone()
    }

    /// Whether no record was ever written.
    pub fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Longest body that still fits the active segment.
    pub fn room(&self) -> usize {
        let overhead = (RECORD_HEADER_BYTES + DIGEST_BYTES) as u64;
        let left = self.active.len.saturating_sub(self.end).saturating_sub(overhead);
        usize::try_from(left).unwrap_or(usize::MAX).min(MAX_BODY_BYTES)
    }

    /// Longest body that fits an empty segment.
    pub fn max_body_bytes(&self) -> usize {
        let overhead = (PAGE_BYTES + RECORD_HEADER_BYTES + DIGEST_BYTES) as u64;
        usize::try_from(self.segments.segment_bytes() - overhead).unwrap_or(usize::MAX).min(MAX_BODY_BYTES)
    }

    /// Number of the active segment.
    pub fn active_segment(&self) -> u64 {
        self.active.number
    }

    /// Number of the oldest segment that is kept.
    pub fn oldest_segment(&self) -> u64 {
        self.older.first().map_or(self.active.number, |segment| segment.number)
    }

    /// Writes one record and makes it durable; one that is longer than the [`room`](Self::room) makes the file longer,
    /// which is slower and may find the disk full. After an error nothing more may be appended or acknowledged: the
    /// caller stops, and the next start finds out what is there.
    pub fn append(&mut self, record: RecordBuilder, time_ns: u64) -> io::Result<Stored> {
        if record.body_len() > MAX_BODY_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a record's body is longer than is ever read back",
            ));
        }
        self.refuse_after_failure()?;
        let place = RecordPlace {
            nonce: self.active.nonce,
            sequence: self.sequence + 1,
            time_ns,
            previous: self.previous,
        };
        let sealed = record.seal(&place);
        let offset = self.end;
        self.failed = true;
        self.active.file.write_all_at(&sealed.bytes, offset)?;
        if !crate::planted("skip-fsync") {
            self.active.file.sync_data()?;
        }
        // From here on the record survives.
        self.failed = false;
        self.sequence += 1;
        self.previous = sealed.digest;
        self.end += sealed.bytes.len() as u64;
        let (segment, file) = (self.active.number, self.active.file.clone());
        Ok(Stored { segment, file, offset, bytes: sealed.bytes, spans: sealed.spans })
    }

    fn refuse_after_failure(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(
                "an earlier write to the journal failed: start again, from what is on disk",
            ));
        }
        Ok(())
    }

    /// Goes on in a fresh segment; an active one that has no record is that already. `StorageFull` means that there
    /// was no room to make one and nothing has changed.
    pub fn roll(&mut self, nonce: [u8; 16]) -> io::Result<()> {
        self.refuse_after_failure()?;
        if self.end == PAGE_BYTES as u64 {
            return Ok(());
        }
        let next = self.segments.take_next(nonce)?;
        self.older.push(std::mem::replace(&mut self.active, next));
        self.end = PAGE_BYTES as u64;
        Ok(())
    }

    /// Gives back all segments before `number`: nothing in them is needed any more.
    pub fn release_before(&mut self, number: u64) {
        let kept = self.older.partition_point(|segment| segment.number < number);
        self.segments.free(self.older.drain(..kept));
    }
}
