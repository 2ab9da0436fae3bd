//! The one writer: it gives out indices, in the order in which requests arrived.
//!
//! A commit is one journal record. Its steps, and what a crash leaves after each:
//!
//! 1. requests are checked and sequenced, their entries framed into the record — nothing;
//! 2. the record is written and synced — everything in it, for ever;
//! 3. requests are acknowledged — the same;
//! 4. entries join tail and tree — the same: both are rebuilt from the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use graven_merkle::{Frontier, Hash, LeafIndex, NodeId};
use graven_store::journal::{Journal, LogId, RecordBuilder, Section, Stored};
use graven_store::planted;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::{LogClock, micros};
use crate::env::Env;
use crate::error::AppendError;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::pool::{Job, Sequenced};
use crate::sequencer::{Leaf, Sequencer};
use crate::tail::Chunk;
use crate::window::Window;

/// A tail whose oldest entries lie this many segments back is written again, so that those can be used again.
const CARRY_AFTER_SEGMENTS: u64 = 4;
/// Carried entries of one record.
const CARRY_BYTES: usize = 1 << 20;

type Reply = oneshot::Sender<Result<Sequenced, AppendError>>;

/// What the writer alone knows of a log.
pub(crate) struct Lane {
    pub(crate) log: Arc<Log>,
    pub(crate) frontier: Frontier,
    pub(crate) sequencer: Box<dyn Sequencer>,
}

/// The writing end of a server.
pub(crate) struct Writer {
    pub(crate) env: Env,
    pub(crate) journal: Journal,
    /// Shared with whoever asks whether it can be believed.
    pub(crate) clock: Arc<Mutex<LogClock>>,
    pub(crate) window: Window,
    pub(crate) lanes: BTreeMap<LogId, Lane>,
    /// The floor of the window as journalled.
    pub(crate) journalled_floor_ns: u64,
    /// Set once storage has failed, by whoever found out.
    pub(crate) poisoned: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
}

/// A commit in the making.
struct Commit {
    record: RecordBuilder,
    time_ns: u64,
    replies: Vec<(Reply, Sequenced)>,
    /// Leaf hashes by log, in order.
    leaves: Vec<(LogId, Vec<Hash>)>,
}

impl Writer {
    /// Commits jobs. An error means that storage failed: the caller stops the server, and no job is answered with
    /// success after it.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Job>) -> std::io::Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let started = std::time::Instant::now();
        let wanted: usize = jobs.iter().map(|job| job.bytes).sum();
        if wanted > self.journal.room() && self.no_next_segment()? {
            refuse(jobs, &AppendError::DiskFull);
            return Ok(());
        }
        self.make_room(wanted)?;
        let ticked = self.clock.lock().tick(self.env.clock.wall_ns(), self.env.clock.monotonic_ns());
        let time_ns = match ticked {
            Ok(time_ns) => time_ns,
            Err(error) => {
                refuse(jobs, &error.into());
                return Ok(());
            }
        };
        // A section holds the entries of one log; requests of one log keep their order.
        jobs.sort_by_key(|job| job.log.meta.id);
        let count = jobs.len();
        let mut commit = Commit {
            record: RecordBuilder::with_capacity(wanted),
            time_ns,
            replies: Vec::with_capacity(count),
            leaves: Vec::new(),
        };
        for job in jobs {
            self.sequence(job, &mut commit);
        }
        let Commit { record, replies, leaves, .. } = commit;
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("storage failed elsewhere"));
        }
        // Repeats alone need no record: what they repeat is durable.
        let (early, replies) = if record.is_empty() || planted("ack-early") {
            (replies, Vec::new())
        } else {
            (Vec::new(), replies)
        };
        acknowledge(early);
        if record.is_empty() {
            return Ok(());
        }
        let body_bytes = record.body_len();
        let entries = leaves.iter().map(|(_, leaves)| leaves.len()).sum();
        let framed = started.elapsed();
        let stored = self.journal.append(record, time_ns)?;
        let synced = started.elapsed();
        // Durable from here on, whatever happens.
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("storage failed elsewhere"));
        }
        self.fix_sizes(&leaves);
        acknowledge(replies);
        self.integrate(&stored, leaves);
        self.metrics.committed(count, entries, body_bytes, synced - framed);
        tracing::debug!(
            requests = count,
            body_bytes,
            frame_us = micros(framed),
            sync_us = micros(synced - framed),
            "commit"
        );
        Ok(())
    }

    /// Makes entries durable that were sequenced in an earlier life, and takes them in.
    pub(crate) fn restore(
        &mut self,
        log: &Log,
        record: RecordBuilder,
        leaves: Vec<Hash>,
    ) -> std::io::Result<()> {
        self.make_room(record.body_len())?;
        let stored = self.journal.append(record, self.last_ns())?;
        let leaves = vec![(log.meta.id, leaves)];
        self.fix_sizes(&leaves);
        self.integrate(&stored, leaves);
        Ok(())
    }

    /// Checks one request and frames its entries, or answers it.
    fn sequence(&mut self, job: Job, commit: &mut Commit) {
        let Job { log, drafts, claim, reply, .. } = job;
        match self.sequence_drafts(&log, drafts, claim.as_ref(), commit) {
            Ok(sequenced) => commit.replies.push((reply, sequenced)),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn sequence_drafts(
        &mut self,
        log: &Log,
        drafts: Vec<crate::sequencer::Draft>,
        claim: Option<&crate::window::Claim>,
        commit: &mut Commit,
    ) -> Result<Sequenced, AppendError> {
        let time_ns = commit.time_ns;
        if let Some(claim) = claim
            && let Some(known) = self.window.look_up(claim, time_ns)?
        {
            let (first, count, time_ns) = (known.first, known.count, known.time_ns);
            return Ok(Sequenced { first, count, time_ns, duplicate: true });
        }
        if log.is_frozen() {
            return Err(AppendError::Frozen(log.meta.name.to_string()));
        }
        let id = log.meta.id;
        let lane = self.lanes.get_mut(&id).ok_or(AppendError::Stopping)?;
        let pending =
            commit.leaves.last().filter(|(last, _)| *last == id).map_or(0, |(_, leaves)| leaves.len());
        let first = lane.frontier.size().get() + pending as u64;
        let index =
            LeafIndex::new(first).ok_or_else(|| AppendError::Refused("the log is full".to_owned()))?;
        let asked = drafts.len();
        let leaves = lane
            .sequencer
            .sequence(index, time_ns, drafts)
            .map_err(|refusal| AppendError::Refused(refusal.0))?;
        debug_assert!(leaves.len() >= asked);
        let count = u32::try_from(asked).map_err(|_| AppendError::Nothing)?;
        frame(&leaves, id, first, commit);
        if let Some(claim) = claim {
            let offset = u32::try_from(pending).map_err(|_| AppendError::Nothing)?;
            commit.record.key(claim.row(offset, count));
            // If the record does not become durable, the server stops, and the window goes with it.
            self.window.remember(claim, first, count, time_ns, self.journal.active_segment());
        }
        Ok(Sequenced { first, count, time_ns, duplicate: false })
    }

    /// The log time of the newest entry.
    pub(crate) fn last_ns(&self) -> u64 {
        self.clock.lock().last_ns()
    }

    /// Whoever is told of an index finds the log that long, though the tree comes after.
    fn fix_sizes(&self, leaves: &[(LogId, Vec<Hash>)]) {
        for (id, leaves) in leaves {
            let Some(lane) = self.lanes.get(id) else { continue };
            lane.log.sequenced.store(lane.frontier.size().get() + leaves.len() as u64, Ordering::Release);
        }
    }

    /// Takes durable entries into tail and tree.
    fn integrate(&mut self, stored: &Stored, leaves: Vec<(LogId, Vec<Hash>)>) {
        for (id, leaves) in leaves {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            {
                let mut tail = lane.log.tail.write();
                for chunk in Chunk::of(stored, id) {
                    tail.push(chunk);
                }
            }
            let mut nodes: Vec<(NodeId, Hash)> = Vec::with_capacity(leaves.len() * 2 + 8);
            for leaf in leaves {
                lane.frontier.push_with(leaf, |id, hash| nodes.push((id, hash)));
            }
            lane.log.tree.extend(&nodes);
            lane.log.integrated.store(lane.frontier.size().get(), Ordering::Release);
        }
    }

    /// Journals that a log's objects are durable up to `sealed`, lets go of what they replace, and gives segments back.
    pub(crate) fn sealed(&mut self, log: &Log, sealed: u64) -> std::io::Result<()> {
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
    fn no_next_segment(&self) -> std::io::Result<bool> {
        match self.journal.segments().prepare(self.env.random()?) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(true),
            other => other.map(|()| false),
        }
    }

    /// Goes on in a fresh segment where the active one has no room.
    pub(crate) fn make_room(&mut self, body_bytes: usize) -> std::io::Result<()> {
        if body_bytes > self.journal.room() {
            self.roll(CARRY_AFTER_SEGMENTS)?;
        }
        // What was carried may have filled that one too.
        if body_bytes > self.journal.room() { self.begin_segment() } else { Ok(()) }
    }

    /// Begins a new segment, and writes again the tails that lie `carry_after` segments back or more.
    pub(crate) fn roll(&mut self, carry_after: u64) -> std::io::Result<()> {
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
    fn begin_segment(&mut self) -> std::io::Result<()> {
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
    fn carry(&mut self, log: &Log) -> std::io::Result<()> {
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
    fn release(&mut self) -> std::io::Result<()> {
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

fn frame(leaves: &[Leaf], id: LogId, first: u64, commit: &mut Commit) {
    if commit.leaves.last().is_none_or(|(last, _)| *last != id) {
        commit.record.begin_entries(id, first, false);
        commit.leaves.push((id, Vec::new()));
    }
    let Some((_, hashes)) = commit.leaves.last_mut() else { return };
    for leaf in leaves {
        let position = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        commit.record.entry(&leaf.bytes, &leaf.hash);
        for attachment in &leaf.attachments {
            commit.record.attachment(position, attachment);
        }
        hashes.push(leaf.hash);
    }
}

fn acknowledge(replies: Vec<(Reply, Sequenced)>) {
    for (reply, sequenced) in replies {
        // A caller that went away does not undo what it asked for.
        let _ = reply.send(Ok(sequenced));
    }
}

fn refuse(jobs: Vec<Job>, error: &AppendError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
