//! The journal's segments, as the writer goes through them: a new one begins with the state of every log, what still lies in
//! old ones is carried forward, and what nobody needs is given back.

use std::io;
use std::sync::atomic::Ordering;

use graven_store::journal::{RecordBuilder, Section};

use crate::log::Log;
use crate::tail::Chunk;
use crate::writer::Writer;

/// A tail whose oldest entries lie this many segments back is written again, so that those can be used again.
const CARRY_AFTER_SEGMENTS: u64 = 4;
/// Carried entries of one record, with their attachments.
const CARRY_BYTES: usize = 1 << 20;

impl Writer {
    /// Journals that a log's objects are durable up to `sealed`, lets go of what they replace, and gives segments back.
    pub(crate) fn sealed(&mut self, log: &Log, sealed: u64) -> io::Result<()> {
        let mut record = RecordBuilder::default();
        record.section(&Section::Sealed { log: log.meta.id, sealed });
        self.make_room(record.body_len())?;
        self.journal.append(record, self.last_ns())?;
        log.sealed.store(sealed, Ordering::Release);
        log.tail.write().drop_before(sealed);
        log.tree.drop_sealed(sealed);
        self.release()
    }

    /// Whether the disk has no room for the next segment. Nothing depends on it yet, so this alone stops no server.
    pub(crate) fn no_next_segment(&self) -> io::Result<bool> {
        match self.journal.segments().prepare(self.env.random()?) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(true),
            other => other.map(|()| false),
        }
    }

    /// Goes on in a fresh segment where the active one has no room.
    pub(crate) fn make_room(&mut self, body_bytes: usize) -> io::Result<()> {
        if body_bytes > self.journal.room() {
            self.roll(CARRY_AFTER_SEGMENTS)?;
        }
        // What was carried may have filled that one too.
        if body_bytes > self.journal.room() { self.begin_segment() } else { Ok(()) }
    }

    /// Begins a new segment, and writes again the tails that lie `carry_after` segments back or more.
    pub(crate) fn roll(&mut self, carry_after: u64) -> io::Result<()> {
        self.begin_segment()?;
        let segment = self.journal.active_segment();
        let logs: Vec<_> = self.lanes.values().map(|lane| lane.log.clone()).collect();
        for log in logs {
            let oldest = log.tail.read().oldest_segment();
            if oldest.is_some_and(|oldest| oldest + carry_after <= segment) {
                self.carry(&log)?;
            }
        }
        self.release()
    }

    /// Begins a new segment with the state of every log.
    fn begin_segment(&mut self) -> io::Result<()> {
        self.journal.roll(self.env.random()?)?;
        let mut record = RecordBuilder::default();
        record.section(&Section::KeyFloor { issued_ns: self.window.floor_ns() });
        for lane in self.lanes.values() {
            record.section(&Section::State {
                log: lane.log.meta.id,
                sequenced: lane.frontier.size().get(),
                sealed: lane.log.sealed_size(),
            });
        }
        self.journal.append(record, self.last_ns())?;
        self.journalled_floor_ns = self.window.floor_ns();
        Ok(())
    }

    /// Writes a tail again, into the active segment and as many after it as it takes.
    fn carry(&mut self, log: &Log) -> io::Result<()> {
        // A publisher that is reading the old places finishes first: they may be overwritten after this.
        let _nothing_is_read = log.signing.lock();
        let mut tail = log.tail.write();
        let mut rest = tail.take();
        while let Some(next) = rest.front() {
            if next.carried_bytes() > self.journal.room() {
                self.begin_segment()?;
            }
            let most = self.journal.room().min(CARRY_BYTES);
            let mut record = RecordBuilder::default();
            while let Some(chunk) = rest
                .pop_front_if(|chunk| record.is_empty() || record.body_len() + chunk.carried_bytes() <= most)
            {
                chunk.carry_into(&mut record, log.meta.id);
            }
            let stored = self.journal.append(record, self.last_ns())?;
            Chunk::of(&stored, log.meta.id).for_each(|chunk| tail.push(chunk));
        }
        Ok(())
    }

    /// Gives back the segments that neither a tail nor the idempotency window needs.
    fn release(&mut self) -> io::Result<()> {
        let active = self.journal.active_segment();
        let tails = self.lanes.values().filter_map(|lane| lane.log.tail.read().oldest_segment());
        let needed = tails.min().unwrap_or(active);
        let keys = self.window.expire(self.last_ns(), active).unwrap_or(active);
        let oldest = needed.min(keys).min(active);
        if oldest <= self.journal.oldest_segment() {
            return Ok(());
        }
        if self.window.floor_ns() > self.journalled_floor_ns {
            // What was forgotten must be known to be forgotten before the segment that said it is overwritten.
            let mut record = RecordBuilder::default();
            record.section(&Section::KeyFloor { issued_ns: self.window.floor_ns() });
            if record.body_len() > self.journal.room() {
                return Ok(());
            }
            self.journal.append(record, self.last_ns())?;
            self.journalled_floor_ns = self.window.floor_ns();
        }
        self.journal.release_before(oldest);
        Ok(())
    }
}
