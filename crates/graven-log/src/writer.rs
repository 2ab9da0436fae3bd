//! The one writer: it gives out indices, in the order in which requests arrived.
//!
//! A commit is one journal record (more only where hooks make more of its requests than fits one). Its steps, and what a
//! crash leaves after each:
//!
//! 1. requests are checked and sequenced, their entries and attachments framed into the record — nothing;
//! 2. the record is written and synced — everything in it, for ever;
//! 3. entries join the tail — the same: it is rebuilt from the journal;
//! 4. requests are acknowledged — the same;
//! 5. entries join the tree — the same: it is rebuilt too.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::vec::IntoIter;

use graven_merkle::tile::MAX_ENTRY_BYTES;
use graven_merkle::{Frontier, Hash, LeafIndex, NodeId};
use graven_store::journal::{Journal, LogId, MAX_BODY_BYTES, RecordBuilder, Stored};
use graven_store::planted;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::{LogClock, micros};
use crate::env::Env;
use crate::error::AppendError;
use crate::log::Log;
use crate::meta::FIRST_LEAF;
use crate::metrics::Metrics;
use crate::pool::{Asked, Job, Sequenced};
use crate::sequencer::{self, Draft, Leaf, MAX_SEQUENCED_BYTES, Sequencer};
use crate::tail::Chunk;
use crate::window::{Claim, Window};

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
#[derive(Default)]
struct Commit {
    record: RecordBuilder,
    time_ns: u64,
    replies: Vec<(Reply, Sequenced)>,
    /// Leaf hashes by log, in order.
    leaves: Vec<(LogId, Vec<Hash>)>,
    /// What a hook did that its contract does not allow: nothing of this commit is written.
    broken: Option<String>,
}

impl Writer {
    /// Commits jobs. An error means that storage failed, or a hook: the caller stops the server, and no job is answered
    /// with success after it.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Job>) -> io::Result<()> {
        // A section holds the entries of one log; requests of one log keep their order.
        jobs.sort_by_key(|job| job.log.meta.id);
        let mut jobs = jobs.into_iter();
        while !jobs.as_slice().is_empty() {
            self.commit_record(&mut jobs)?;
        }
        Ok(())
    }

    /// Commits as many jobs as one record takes, whatever hooks make of them.
    fn commit_record(&mut self, jobs: &mut IntoIter<Job>) -> io::Result<()> {
        let started = Instant::now();
        let wanted: usize = jobs.as_slice().iter().map(|job| job.bytes).sum();
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
        let record = RecordBuilder::with_capacity(wanted);
        let mut commit = Commit { record, time_ns, ..Commit::default() };
        while commit.record.body_len() + MAX_SEQUENCED_BYTES <= MAX_BODY_BYTES
            && let Some(job) = jobs.next()
        {
            self.sequence(job, &mut commit);
        }
        self.store(commit, started)
    }

    /// Makes a commit durable, acknowledges it and takes it in.
    fn store(&mut self, commit: Commit, started: Instant) -> io::Result<()> {
        let Commit { record, time_ns, replies, leaves, broken } = commit;
        if let Some(what) = broken {
            return Err(io::Error::other(what));
        }
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(io::Error::other("storage failed elsewhere"));
        }
        let requests = replies.len();
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
            return Err(io::Error::other("storage failed elsewhere"));
        }
        self.fix_sizes(&stored, &leaves);
        acknowledge(replies);
        self.integrate(leaves);
        self.metrics.committed(requests, entries, body_bytes, synced - framed);
        tracing::debug!(
            requests,
            body_bytes,
            frame_us = micros(framed),
            sync_us = micros(synced - framed),
            "commit"
        );
        Ok(())
    }

    /// Makes entries durable that were sequenced in an earlier life, and takes them in.
    pub(crate) fn restore(&mut self, log: &Log, record: RecordBuilder, leaves: Vec<Hash>) -> io::Result<()> {
        self.make_room(record.body_len())?;
        let stored = self.journal.append(record, self.last_ns())?;
        let leaves = vec![(log.meta.id, leaves)];
        self.fix_sizes(&stored, &leaves);
        self.integrate(leaves);
        Ok(())
    }

    /// Gives a log the first leaf that its hook wants it to have, unless it has one: after this it is durable. A crash
    /// before that leaves an empty log, and the next start makes up for it.
    pub(crate) fn begin(&mut self, id: LogId) -> io::Result<()> {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.frontier.size().is_empty()) else {
            return Ok(());
        };
        let log = lane.log.clone();
        if log.is_frozen() {
            return Ok(());
        }
        let prepared = self.prepared_first(&log)?;
        let Some(draft) = prepared.or_else(|| lane.sequencer.genesis(&log.meta)) else { return Ok(()) };
        let asked = Asked::Drafts(vec![draft]);
        // A clock that cannot be believed stops appends, not a start: the leaf is dated right after the newest entry.
        let (wall_ns, monotonic_ns) = (self.env.clock.wall_ns(), self.env.clock.monotonic_ns());
        let time_ns = self.clock.lock().tick_or_follow(wall_ns, monotonic_ns);
        let mut commit = Commit { time_ns, ..Commit::default() };
        if let Err(error) = self.sequence_asked(&log, asked, None, &mut commit) {
            return Err(io::Error::other(format!("the first leaf of log `{}`: {error}", log.meta.name)));
        }
        self.make_room(commit.record.body_len())?;
        self.store(commit, Instant::now())
    }

    /// The first leaf as whoever made the log wants it, if they left one. Its hook has the last word.
    fn prepared_first(&self, log: &Log) -> io::Result<Option<Draft>> {
        let path = log.site().with_file_name(FIRST_LEAF);
        if !self.env.fs.exists(&path)? {
            return Ok(None);
        }
        let most = u64::try_from(MAX_ENTRY_BYTES).unwrap_or(u64::MAX);
        Ok(Some(Draft::new(self.env.fs.read(&path, most)?.into())))
    }

    /// Checks one request and frames its entries, or answers it.
    fn sequence(&mut self, job: Job, commit: &mut Commit) {
        let Job { log, asked, claim, reply, .. } = job;
        match self.sequence_asked(&log, asked, claim.as_ref(), commit) {
            Ok(sequenced) => commit.replies.push((reply, sequenced)),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn sequence_asked(
        &mut self,
        log: &Log,
        asked: Asked,
        claim: Option<&Claim>,
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
        let index = LeafIndex::new(first).ok_or_else(|| AppendError::Full(log.meta.name.to_string()))?;
        let (count, leaves) = leaves_of(&mut *lane.sequencer, index, time_ns, asked)?;
        if let Some(what) = sequencer::broken_contract(count, &leaves) {
            // Its state may be anything now: only a start from the leaves can tell.
            commit.broken = Some(format!("the sequencer of log `{}` returned {what}", log.meta.name));
            return Err(AppendError::Poisoned);
        }
        let count = u32::try_from(count).map_err(|_| AppendError::Nothing)?;
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

    /// Whoever is told of an index finds the log that long, and what was stored with its entries, though the tree comes
    /// after.
    fn fix_sizes(&self, stored: &Stored, leaves: &[(LogId, Vec<Hash>)]) {
        for (id, leaves) in leaves {
            let Some(lane) = self.lanes.get(id) else { continue };
            let mut tail = lane.log.tail.write();
            Chunk::of(stored, *id).for_each(|chunk| tail.push(chunk));
            drop(tail);
            lane.log.sequenced.store(lane.frontier.size().get() + leaves.len() as u64, Ordering::Release);
        }
    }

    /// Takes durable entries into the tree.
    fn integrate(&mut self, leaves: Vec<(LogId, Vec<Hash>)>) {
        for (id, leaves) in leaves {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let mut nodes: Vec<(NodeId, Hash)> = Vec::with_capacity(leaves.len() * 2 + 8);
            for leaf in leaves {
                lane.frontier.push_with(leaf, |id, hash| nodes.push((id, hash)));
            }
            lane.log.tree.extend(&nodes);
            lane.log.integrated.store(lane.frontier.size().get(), Ordering::Release);
        }
    }
}

/// What is to stand in the log from `first` on, and how many entries of it were asked for.
fn leaves_of(
    sequencer: &mut dyn Sequencer,
    first: LeafIndex,
    time_ns: u64,
    asked: Asked,
) -> Result<(usize, Vec<Leaf>), AppendError> {
    let leaves = match asked {
        Asked::Drafts(drafts) => {
            let count = drafts.len();
            sequencer.sequence(first, time_ns, drafts).map(|leaves| (count, leaves))
        }
        Asked::Statement(bytes) => {
            sequencer.replay(first, &bytes).map(|()| (1, vec![Leaf::new(bytes, None)]))
        }
    };
    leaves.map_err(AppendError::Refused)
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
        if let Some(attachment) = &leaf.attachment {
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

fn refuse(jobs: &mut IntoIter<Job>, error: &AppendError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
