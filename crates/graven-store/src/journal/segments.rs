//! The files of a journal: which are in use, which are free, and the one that is ready to be used next.
//!
//! A slot is a file `slot-NNN` of fixed length. It is written once with zeros, so that its blocks exist, and used
//! for one segment after another; a segment begins when its header page is durable. Making the next segment ready
//! happens beside the writer, so that rolling costs it no I/O.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{PAGE_BYTES, parse_segment_header, segment_header};
use super::open_slot;
use crate::fs::{File, Fs, Mode, Open};

/// Slots that wait to be used again; more are removed, so that a burst does not hold disk for ever.
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

/// What a directory held.
pub(super) struct Discovered {
    /// The newest run of segments without a gap, oldest first.
    pub(super) live: Vec<Segment>,
    /// Slots with nothing that is needed.
    pub(super) free: Vec<PathBuf>,
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
    free: VecDeque<PathBuf>,
    ready: Option<Segment>,
}

impl Segments {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64, next_number: u64) -> Self {
        let state = State { next_number, free: VecDeque::new(), ready: None };
        Self { fs, dir: dir.to_owned(), segment_bytes, making: Mutex::new(()), state: Mutex::new(state) }
    }

    pub(super) fn adopt(&self, ready: Option<Segment>, free: Vec<PathBuf>) {
        let mut state = self.state.lock();
        state.ready = ready;
        state.free.extend(free);
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
        let (number, reused) = {
            let mut state = self.state.lock();
            if state.ready.is_some() {
                return Ok(());
            }
            (state.next_number, state.free.pop_front())
        };
        let slot = match reused {
            Some(slot) => slot,
            None => self.new_slot()?,
        };
        let file = open_slot(&*self.fs, &slot)?;
        // A crash here leaves the slot's old header, a torn one, or the new one: a segment that is not needed, no
        // segment, or an empty one. Old records under a new header do not parse: the nonce is another.
        file.write_all_at(&segment_header(number, &nonce), 0)?;
        file.sync_data()?;
        let len = file.len()?;
        self.state.lock().ready = Some(Segment { number, nonce, file, len, slot });
        self.trim()
    }

    pub(super) fn take_next(&self, nonce: [u8; 16]) -> io::Result<Segment> {
        self.prepare(nonce)?;
        let mut state = self.state.lock();
        let next = state.ready.take().ok_or_else(|| io::Error::other("one writer takes segments"))?;
        state.next_number = next.number + 1;
        Ok(next)
    }

    fn new_slot(&self) -> io::Result<PathBuf> {
        let names = self.fs.list(&self.dir)?;
        let slot = (0..).map(slot_name).find(|name| !names.contains(name)).unwrap_or_else(|| slot_name(0));
        let path = self.dir.join(slot);
        let file = self.fs.open(&path, Open::New(Mode::Private))?;
        if let Err(error) = self.prewrite(&*file) {
            // Nothing depends on the slot yet: leave no half of it behind.
            self.fs.remove_file(&path)?;
            return Err(error);
        }
        self.fs.sync_dir(&self.dir)?;
        Ok(path)
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

    fn trim(&self) -> io::Result<()> {
        let surplus: Vec<_> = {
            let mut state = self.state.lock();
            let count = state.free.len().saturating_sub(MAX_FREE_SLOTS);
            state.free.drain(..count).collect()
        };
        for slot in surplus {
            self.fs.remove_file(&slot)?;
        }
        Ok(())
    }
}

fn slot_name(number: usize) -> String {
    format!("slot-{number:03}")
}

/// Sorts the slots of a directory into segments and free ones.
pub(super) fn discover(fs: &Arc<dyn Fs>, dir: &Path) -> io::Result<Discovered> {
    let mut segments = Vec::new();
    let mut free = Vec::new();
    let names = if fs.exists(dir)? { fs.list(dir)? } else { Vec::new() };
    for slot in names.iter().filter(|name| name.starts_with("slot-")).map(|name| dir.join(name)) {
        let file = open_slot(&**fs, &slot)?;
        let len = file.len()?;
        let mut page = vec![0; PAGE_BYTES];
        let header = if len >= PAGE_BYTES as u64 {
            file.read_exact_at(&mut page, 0)?;
            parse_segment_header(&page)
        } else {
            None
        };
        match header {
            Some((number, nonce)) => segments.push(Segment { number, nonce, file, len, slot }),
            // Never begun, or its first page torn while it was: half-made slots are of no use.
            None => fs.remove_file(&slot)?,
        }
    }
    segments.sort_by_key(|segment| segment.number);
    let gap = segments.windows(2).rposition(|pair| pair[0].number + 1 != pair[1].number);
    let live = segments.split_off(gap.map_or(0, |at| at + 1));
    free.extend(segments.into_iter().map(|segment| segment.slot));
    Ok(Discovered { live, free })
}
