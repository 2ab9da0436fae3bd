//! The journal: the one place where an entry becomes durable, shared by all logs of a server.
//!
//! A commit is one [record](format) — the entries of any number of logs, their idempotency keys and attachments —
//! written and synced once. Records lie in preallocated segments that are used again when nothing in them is needed,
//! so that a commit overwrites blocks the file already owns and its `fdatasync` has no metadata to write.
//!
//! What survives a crash: every record whose [`Journal::append`] returned; of the one record that was being written,
//! all or nothing. What is refused at [`Journal::open`]: a record that does not hold *followed by* one that does
//! (damage, not a torn tail), a missing segment, a broken chain. What cannot be told from a torn tail: damage to the
//! very last record; the signer journal catches it where a checkpoint had covered it.
//!
//! The caller begins every segment with its own state (see [`Section::State`]), so that older segments can go.

mod format;
mod segments;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub use format::{
    BundleSpan, EntriesSection, KeyRow, LogId, MAX_BODY_BYTES, Record, RecordBuilder, Section, bundle_leaves,
};
pub use segments::Segments;

use crate::fs::{File, Fs, Open};
use format::{PAGE_BYTES, RECORD_HEADER_BYTES, RecordPlace, bundle_spans, parse_record, record_len};
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
    #[error("there is no journal in {0}: restore it, or start a new log with `graven init`")]
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
    /// Where the bundles of its entries sections lie within it.
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
}

impl Journal {
    /// Makes an empty journal in a directory that has none.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64, nonce: [u8; 16]) -> io::Result<()> {
        fs.create_dir_all(dir)?;
        if !fs.list(dir)?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the journal's directory is not empty"));
        }
        Segments::new(fs, dir, segment_bytes, 1).prepare(nonce)
    }

    /// Opens a journal and hands every record to `visit`, oldest first.
    ///
    /// Unless it [is empty](Self::is_empty) the caller must [`roll`](Self::roll) before it appends: the last record found may be one whose sync never
    /// returned, read from a cache that storage never got, so it has to be written again, elsewhere.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        segment_bytes: u64,
        mut visit: impl FnMut(Record, Stored),
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        let mut found = segments::discover(fs, dir).map_err(io)?;
        let mut chain: Option<(u64, [u8; 32])> = None;
        let mut ends = Vec::new();
        for (at, segment) in found.live.iter().enumerate() {
            let mut end = PAGE_BYTES as u64;
            while let Some((record, stored)) = read_record(segment, end).map_err(io)? {
                let (sequence, previous) = (record.sequence, record.previous);
                if chain.is_some_and(|(last, digest)| sequence != last + 1 || previous != digest) {
                    let what = "its record does not follow the one before";
                    return Err(OpenError::Damaged { segment: segment.number, offset: end, what });
                }
                chain = Some((sequence, record.digest));
                end += stored.bytes.len() as u64;
                visit(record, stored);
            }
            // An older segment needs no such search: the next one's first record names the digest of its last.
            if at + 2 >= found.live.len() {
                refuse_damage(segment, end, chain.map_or(0, |(last, _)| last)).map_err(io)??;
            }
            let is_empty = end == PAGE_BYTES as u64;
            if is_empty && at + 1 < found.live.len() {
                let what = "no record where there must be one";
                return Err(OpenError::Damaged { segment: segment.number, offset: end, what });
            }
            ends.push(end);
        }
        // The newest segment may have been prepared and never used: then the one before it is the active one.
        let ready = match (found.live.len(), ends.last()) {
            (0, _) | (_, None) => return Err(OpenError::Missing(dir.to_owned())),
            (1, _) => None,
            (_, Some(end)) if *end == PAGE_BYTES as u64 => {
                ends.pop();
                found.live.pop()
            }
            _ => None,
        };
        let active = found.live.pop().ok_or_else(|| OpenError::Missing(dir.to_owned()))?;
        let end = ends.pop().unwrap_or(PAGE_BYTES as u64);
        let segments = Segments::new(fs.clone(), dir, segment_bytes, active.number + 1);
        segments.adopt(ready, found.free);
        let (sequence, previous) = chain.unwrap_or((0, [0; 32]));
        Ok(Self { segments: Arc::new(segments), active, end, older: found.live, sequence, previous })
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
        let overhead = (RECORD_HEADER_BYTES + 32) as u64;
        let left = self.active.len.saturating_sub(self.end).saturating_sub(overhead);
        usize::try_from(left).unwrap_or(usize::MAX).min(MAX_BODY_BYTES)
    }

    /// Longest body that fits an empty segment.
    pub fn max_body_bytes(&self) -> usize {
        let overhead = (PAGE_BYTES + RECORD_HEADER_BYTES + 32) as u64;
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

    /// Writes one record and makes it durable. After an error nothing more may be appended or acknowledged: the
    /// caller stops, and the next start finds out what is there.
    pub fn append(&mut self, record: RecordBuilder, time_ns: u64) -> io::Result<Stored> {
        debug_assert!(record.body_len() <= self.room());
        let place = RecordPlace {
            nonce: self.active.nonce,
            sequence: self.sequence + 1,
            time_ns,
            previous: self.previous,
        };
        let sealed = record.seal(&place);
        let offset = self.end;
        self.active.file.write_all_at(&sealed.bytes, offset)?;
        if !crate::planted("skip-fsync") {
            self.active.file.sync_data()?;
        }
        // From here on the record survives.
        self.sequence += 1;
        self.previous = sealed.digest;
        self.end += sealed.bytes.len() as u64;
        let (segment, file) = (self.active.number, self.active.file.clone());
        Ok(Stored { segment, file, offset, bytes: sealed.bytes, spans: sealed.spans })
    }

    /// Goes on in a fresh segment. `StorageFull` means that there was no room to make one and nothing has changed.
    pub fn roll(&mut self, nonce: [u8; 16]) -> io::Result<()> {
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

fn read_record(segment: &Segment, offset: u64) -> io::Result<Option<(Record, Stored)>> {
    if offset + PAGE_BYTES as u64 > segment.len {
        return Ok(None);
    }
    let mut page = vec![0; PAGE_BYTES];
    segment.file.read_exact_at(&mut page, offset)?;
    let Some(len) = record_len(&page, &segment.nonce) else { return Ok(None) };
    if offset + len as u64 > segment.len {
        return Ok(None);
    }
    page.resize(len, 0);
    segment.file.read_exact_at(&mut page[PAGE_BYTES..], offset + PAGE_BYTES as u64)?;
    let bytes = Bytes::from(page);
    let Some(record) = parse_record(&bytes) else { return Ok(None) };
    let spans = bundle_spans(&bytes, &record);
    let stored = Stored { segment: segment.number, file: segment.file.clone(), offset, bytes, spans };
    Ok(Some((record, stored)))
}

/// A record of this segment beyond the place where reading ended means that something before it was damaged: it was
/// written after everything before it had been synced.
fn refuse_damage(segment: &Segment, end: u64, last: u64) -> io::Result<Result<(), OpenError>> {
    const CHUNK_BYTES: usize = 256 * PAGE_BYTES;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut start = end + PAGE_BYTES as u64;
    while start < segment.len {
        let left = usize::try_from(segment.len - start).unwrap_or(CHUNK_BYTES);
        let chunk = &mut chunk[..left.min(CHUNK_BYTES)];
        segment.file.read_exact_at(chunk, start)?;
        for (page, offset) in chunk.chunks(PAGE_BYTES).zip((start..).step_by(PAGE_BYTES)) {
            if record_len(page, &segment.nonce).is_none() {
                continue;
            }
            if read_record(segment, offset)?.is_some_and(|(record, _)| record.sequence > last) {
                let what = "a record does not hold, and a later one does";
                return Ok(Err(OpenError::Damaged { segment: segment.number, offset: end, what }));
            }
        }
        start += chunk.len() as u64;
    }
    Ok(Ok(()))
}

/// A new slot or an old one, as the newest segment of a journal.
fn open_slot(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn File>> {
    fs.open(path, Open::ReadWrite)
}
