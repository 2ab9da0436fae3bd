//! Opening a journal: what is there, whether it holds together, and where to go on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::layout::{PAGE_BYTES, Record};
use super::parse::{bundle_spans, parse_record, record_len};
use super::segments::{self, Discovered, Segment, Segments};
use super::{Journal, OpenError, Stored};
use crate::fs::Fs;

const FIRST_PAGE: u64 = PAGE_BYTES as u64;

pub(super) fn open(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    segment_bytes: u64,
    mut visit: impl FnMut(Record, Stored),
) -> Result<Journal, OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    let Discovered { mut segments, damaged } = segments::discover(&**fs, dir).map_err(io)?;
    if let Some(slot) = damaged.into_iter().next() {
        return Err(OpenError::Unreadable { slot });
    }
    let mut unused = split_unused(&mut segments).map_err(io)??;
    let mut walk = Walk::default();
    for (at, segment) in segments.iter().enumerate() {
        walk.segment(segment, &mut visit).map_err(io)??;
        // An older segment needs no such search: the next one's first record names the digest of its last.
        if at + 1 == segments.len() {
            refuse_damage(segment, walk.end, walk.sequence()).map_err(io)??;
        }
    }
    if let Some(last) = &walk.last {
        settle(last).map_err(io)?;
    }
    let active = match segments.pop() {
        Some(active) => active,
        None if unused.is_empty() => return Err(OpenError::Missing(dir.to_owned())),
        None => first_of_all(unused.remove(0)).map_err(io)??,
    };
    let ready = Segments::new(fs.clone(), dir, segment_bytes, active.number + 1);
    // A header that was not synced may never have been: it is written again before the segment is used.
    ready.free(unused.into_iter());
    let (sequence, previous) = walk.chain.unwrap_or_default();
    let end = walk.end.max(FIRST_PAGE);
    Ok(Journal { segments: Arc::new(ready), active, end, older: segments, sequence, previous, failed: false })
}

/// Takes the newest segments that hold no record: one that was prepared, one that was taken and not written yet.
fn split_unused(segments: &mut Vec<Segment>) -> io::Result<Result<Vec<Segment>, OpenError>> {
    let mut used = segments.len();
    while used > 0 && read_record(&segments[used - 1], FIRST_PAGE)?.is_none() {
        used -= 1;
        if let Err(damage) = refuse_damage(&segments[used], FIRST_PAGE, 0)? {
            return Ok(Err(damage));
        }
    }
    Ok(Ok(segments.split_off(used)))
}

/// The segment of a journal that no record was written to yet.
fn first_of_all(segment: Segment) -> io::Result<Result<Segment, OpenError>> {
    if segment.number != 1 {
        return Ok(Err(damaged(&segment, FIRST_PAGE, "the segments before it are missing")));
    }
    segment.begin()?;
    Ok(Ok(segment))
}

/// Where reading is.
#[derive(Default)]
struct Walk {
    /// Number of the segment read last.
    number: Option<u64>,
    /// Sequence number and digest of the record read last.
    chain: Option<(u64, [u8; 32])>,
    /// Where that record ends.
    end: u64,
    last: Option<Stored>,
}

impl Walk {
    fn sequence(&self) -> u64 {
        self.chain.map_or(0, |(sequence, _)| sequence)
    }

    fn segment(
        &mut self,
        segment: &Segment,
        visit: &mut impl FnMut(Record, Stored),
    ) -> io::Result<Result<(), OpenError>> {
        if self.number.is_some_and(|before| before + 1 != segment.number) {
            return Ok(Err(damaged(segment, 0, "the segment before it is missing")));
        }
        if segment.number == 1 {
            self.chain = Some((0, [0; 32]));
        }
        (self.number, self.end) = (Some(segment.number), FIRST_PAGE);
        while let Some((record, stored)) = read_record(segment, self.end)? {
            let follows = |(last, digest)| record.sequence == last + 1 && record.previous == digest;
            if !self.chain.is_none_or(follows) {
                return Ok(Err(damaged(segment, self.end, "its record does not follow the one before")));
            }
            self.chain = Some((record.sequence, record.digest));
            self.end += stored.bytes.len() as u64;
            self.last = Some(stored.clone());
            visit(record, stored);
        }
        let what = "no record where there must be one";
        Ok(if self.end == FIRST_PAGE { Err(damaged(segment, self.end, what)) } else { Ok(()) })
    }
}

/// The last record may be one whose sync never returned, or failed, and that was read from a cache: the disk need not
/// have it. The same bytes over themselves tear nothing, and once they are synced the record counts like any other.
fn settle(last: &Stored) -> io::Result<()> {
    last.file.write_all_at(&last.bytes, last.offset)?;
    last.file.sync_data()
}

fn read_record(segment: &Segment, offset: u64) -> io::Result<Option<(Record, Stored)>> {
    if offset + FIRST_PAGE > segment.len {
        return Ok(None);
    }
    let mut page = vec![0; PAGE_BYTES];
    segment.file.read_exact_at(&mut page, offset)?;
    let Some(len) = record_len(&page, &segment.nonce) else { return Ok(None) };
    if offset + len as u64 > segment.len {
        return Ok(None);
    }
    page.resize(len, 0);
    segment.file.read_exact_at(&mut page[PAGE_BYTES..], offset + FIRST_PAGE)?;
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
    let mut start = end + FIRST_PAGE;
    while start < segment.len {
        let left = usize::try_from(segment.len - start).unwrap_or(CHUNK_BYTES);
        let chunk = &mut chunk[..left.min(CHUNK_BYTES)];
        segment.file.read_exact_at(chunk, start)?;
        for (page, offset) in chunk.chunks(PAGE_BYTES).zip((start..).step_by(PAGE_BYTES)) {
            if record_len(page, &segment.nonce).is_none() {
                continue;
            }
            if read_record(segment, offset)?.is_some_and(|(record, _)| record.sequence > last) {
                return Ok(Err(damaged(segment, end, "a record does not hold, and a later one does")));
            }
        }
        start += chunk.len() as u64;
    }
    Ok(Ok(()))
}

fn damaged(segment: &Segment, offset: u64, what: &'static str) -> OpenError {
    OpenError::Damaged { segment: segment.number, offset, what }
}
