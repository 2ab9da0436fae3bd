//! The files of a journal: which are in use, which are free, and the one that is ready to be used next.
//!
//! A slot is a file `slot-NNN` of fixed length. It is written once with zeros, so that its blocks exist, and used
//! for one segment after another; a segment begins when its header page is durable. Making the next segment ready
//! happens beside the writer, so that rolling costs it no I/O.
//!
//! Slots are used again, and removed, oldest number first. So whatever a crash leaves, the numbers in a directory have
//! no gap, and a gap means that a file was lost.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::MIN_SEGMENT_BYTES;
use super::layout::PAGE_BYTES;
use super::parse::SegmentHeader;
use crate::fs::{File, Fs, Mode, Open};

/// Slots that wait to be used again under load; more are removed.
const MAX_FREE_SLOTS: usize = 2;
/// Zeros are written in pieces of this size.
const PREWRITE_BYTES: usize = 1 << 20;

/// A segment in its slot.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) nonce: [u8; 16],
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    slot: PathBuf,
}

impl Segment {
    fn of(header: SegmentHeader, file: Arc<dyn File>, slot: PathBuf) -> Self {
        let SegmentHeader { number, nonce, len } = header;
        Self { number, nonce, file, len, slot }
    }

    /// Makes its header durable.
    pub(super) fn begin(&self) -> io::Result<()> {
        let header = SegmentHeader { number: self.number, nonce: self.nonce, len: self.len };
        self.file.write_all_at(&header.page(), 0)?;
        self.file.sync_data()
    }
}

/// What a directory held.
pub(super) struct Discovered {
    /// Segments by number.
    pub(super) segments: Vec<Segment>,
    /// Slots that hold something and have no header, or are shorter than it says.
    pub(super) damaged: Vec<PathBuf>,
}

/// Slots of one journal beside those its writer holds.
pub struct Segments {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_bytes: u64,
    /// Held while a segment is made ready, so that its number is given out once.
    making: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    next_number: u64,
    /// Oldest number first.
    free: VecDeque<PathBuf>,
    ready: Option<Segment>,
}

impl Segments {
    /// `segment_bytes` is rounded to whole pages, at least [`MIN_SEGMENT_BYTES`].
    pub(super) fn new(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64, next_number: u64) -> Self {
        let segment_bytes = segment_bytes.max(MIN_SEGMENT_BYTES) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let state = State { next_number, free: VecDeque::new(), ready: None };
        Self { fs, dir: dir.to_owned(), segment_bytes, making: Mutex::new(()), state: Mutex::new(state) }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(super) fn free(&self, segments: impl Iterator<Item = Segment>) {
        self.state.lock().free.extend(segments.map(|segment| segment.slot));
    }

    /// Whether the next segment is ready, so that rolling will cost no I/O.
    pub fn is_ready(&self) -> bool {
        self.state.lock().ready.is_some()
    }

    /// Makes the next segment ready, if it is not. `StorageFull`: there is no room for another slot, and nothing has
    /// changed.
    pub fn prepare(&self, nonce: [u8; 16]) -> io::Result<()> {
        let _one_at_a_time = self.making.lock();
        let number = {
            let state = self.state.lock();
            if state.ready.is_some() {
                return Ok(());
            }
            state.next_number
        };
        self.trim(MAX_FREE_SLOTS + 1)?;
        let (slot, file) = match self.used_slot()? {
            Some(used) => used,
            None => self.new_slot()?,
        };
        let header = SegmentHeader { number, nonce, len: self.segment_bytes };
        let next = Segment::of(header, file, slot.clone());
        // A crash here leaves the slot's old header or the new one: a segment that is not needed, or an empty one. Old
        // records under a new header do not parse: the nonce is another.
        let begun = next.begin();
        let mut state = self.state.lock();
        match begun {
            Ok(()) => state.ready = Some(next),
            // The same slot is the next one to be tried: numbers go without a gap.
            Err(_) => state.free.push_front(slot),
        }
        begun
    }

    pub(super) fn take_next(&self, nonce: [u8; 16]) -> io::Result<Segment> {
        self.prepare(nonce)?;
        let mut state = self.state.lock();
        let next = state.ready.take().ok_or_else(|| io::Error::other("one writer takes segments"))?;
        state.next_number = next.number + 1;
        Ok(next)
    }

    /// The oldest free slot, if it is as long as segments are now.
    fn used_slot(&self) -> io::Result<Option<(PathBuf, Arc<dyn File>)>> {
        let Some(slot) = self.state.lock().free.front().cloned() else { return Ok(None) };
        let file = match self.fs.open(&slot, Open::ReadWrite) {
            Ok(file) => Some(file).filter(|file| file.len().is_ok_and(|len| len == self.segment_bytes)),
            // Removed, and the sync after that failed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if file.is_none() {
            self.remove(&slot)?;
        }
        self.state.lock().free.pop_front();
        Ok(file.map(|file| (slot, file)))
    }

    fn new_slot(&self) -> io::Result<(PathBuf, Arc<dyn File>)> {
        let names = self.fs.list(&self.dir)?;
        let slot = (0..).map(slot_name).find(|name| !names.contains(name)).unwrap_or_else(|| slot_name(0));
        let path = self.dir.join(slot);
        let file = self.fs.open(&path, Open::New(Mode::Private))?;
        if let Err(error) = self.prewrite(&*file).and_then(|()| self.fs.sync_dir(&self.dir)) {
            // Nothing depends on the slot yet: leave no half of it behind.
            self.fs.remove_file(&path)?;
            return Err(error);
        }
        Ok((path, file))
    }

    fn prewrite(&self, file: &dyn File) -> io::Result<()> {
        let zeros = vec![0; PREWRITE_BYTES];
        let mut at = 0;
        while at < self.segment_bytes {
            let left = usize::try_from(self.segment_bytes - at).unwrap_or(PREWRITE_BYTES);
            let piece = &zeros[..left.min(PREWRITE_BYTES)];
            file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        file.sync_data()
    }

    /// Gives back the disk that slots hold for the next burst: the segment that is ready stays.
    pub fn shrink(&self) -> io::Result<()> {
        let _one_at_a_time = self.making.lock();
        self.trim(0)
    }

    /// Removes the oldest free slots beyond `kept`.
    fn trim(&self, kept: usize) -> io::Result<()> {
        loop {
            let surplus = {
                let state = self.state.lock();
                state.free.front().filter(|_| state.free.len() > kept).cloned()
            };
            let Some(slot) = surplus else { return Ok(()) };
            self.remove(&slot)?;
            self.state.lock().free.pop_front();
        }
    }

    /// Durable before a younger slot is used again: one that came back after a crash would leave a gap behind it.
    fn remove(&self, slot: &Path) -> io::Result<()> {
        match self.fs.remove_file(slot) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.fs.sync_dir(&self.dir),
        }
    }
}

fn slot_name(number: usize) -> String {
    format!("slot-{number:03}")
}

fn is_slot_name(name: &str) -> bool {
    name.strip_prefix("slot-").and_then(|digits| digits.parse().ok()).is_some_and(|n| slot_name(n) == name)
}

/// Reads the headers of a directory's slots, and removes those that were never begun.
pub(super) fn discover(fs: &dyn Fs, dir: &Path) -> io::Result<Discovered> {
    let mut found = Discovered { segments: Vec::new(), damaged: Vec::new() };
    let names = if fs.exists(dir)? { fs.list(dir)? } else { Vec::new() };
    for slot in names.iter().filter(|name| is_slot_name(name)).map(|name| dir.join(name)) {
        let file = fs.open(&slot, Open::ReadWrite)?;
        let len = file.len()?;
        match SegmentHeader::parse(&first_bytes(&*file, len, 0)?) {
            Some(header) if header.len > len => found.damaged.push(slot),
            // A record may have made the file longer than it was made.
            Some(header) => found.segments.push(Segment::of(SegmentHeader { len, ..header }, file, slot)),
            // A slot gets its first header, durably, before its first record, and from then on has a whole copy of one.
            None if first_bytes(&*file, len, PAGE_BYTES as u64)?.iter().any(|byte| *byte != 0) => {
                found.damaged.push(slot);
            }
            None => fs.remove_file(&slot)?,
        }
    }
    found.segments.sort_by_key(|segment| segment.number);
    Ok(found)
}

/// Up to a page of a file of `len` bytes.
fn first_bytes(file: &dyn File, len: u64, offset: u64) -> io::Result<Vec<u8>> {
    let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(PAGE_BYTES);
    let mut bytes = vec![0; left.min(PAGE_BYTES)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
