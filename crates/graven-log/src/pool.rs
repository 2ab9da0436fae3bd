//! What was accepted and waits for the writer: bounded, first come first served, no timer.
//!
//! The writer takes whatever arrived while its last sync ran: a lone request waits for one sync, and under load
//! batches grow by themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::AppendError;
use crate::log::Log;
use crate::sequencer::Draft;
use crate::window::Claim;

/// Section header and idempotency key of one request in a journal record, rounded up.
pub(crate) const FRAME_BYTES: usize = 160;
/// What one request costs beside its bytes, so that many small ones are bounded too.
const REQUEST_COST: usize = 256;
/// What one entry costs beside its bytes.
const ENTRY_COST: usize = 64;

/// Where a request's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequenced {
    /// Index of the first entry.
    pub first: u64,
    /// Number of entries that were asked for, one after the other; a hook's follow-ups come after them.
    pub count: u32,
    /// Log time, nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether an earlier request with the same idempotency key brought them.
    pub duplicate: bool,
}

/// What a request is to put into its log.
pub(crate) enum Asked {
    /// What the log's hook makes of these.
    Drafts(Vec<Draft>),
    /// A statement about the log's keys, as it is.
    Statement(Bytes),
}

/// One request on its way to the writer.
pub(crate) struct Job {
    pub(crate) log: Arc<Log>,
    pub(crate) asked: Asked,
    pub(crate) claim: Option<Claim>,
    /// How much of a journal record it is expected to need; of raw entries, at most this much.
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Sequenced, AppendError>>,
    /// Gives the room back when the job is done.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Jobs that wait.
pub(crate) struct Pool {
    room: Arc<Semaphore>,
    max_cost: u32,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// A pool of `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let max_cost = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(max_bytes.min(u32::MAX as usize)));
        Self { room, max_cost, waiting: Mutex::default(), arrived: Condvar::new() }
    }

    /// Never more than the whole pool, so that the largest request fits an idle one.
    fn cost(&self, entries: usize, bytes: usize) -> u32 {
        u32::try_from(REQUEST_COST + entries * ENTRY_COST + bytes).unwrap_or(u32::MAX).min(self.max_cost)
    }

    /// Room for a request, or a refusal at once.
    pub(crate) fn try_admit(
        &self,
        entries: usize,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let room = self.room.clone().try_acquire_many_owned(self.cost(entries, bytes));
        room.map_err(|_| AppendError::Overloaded { retry_after: Duration::from_millis(50) })
    }

    /// Room for a request, waiting for it: for streams, whose senders wait with us.
    pub(crate) async fn admit(
        &self,
        entries: usize,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        let room = self.room.clone().acquire_many_owned(self.cost(entries, bytes)).await;
        room.map_err(|_| AppendError::Stopping)
    }

    /// Hands a job to the writer.
    pub(crate) fn push(&self, job: Job) -> Result<(), AppendError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AppendError::Stopping);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes the jobs of the next commit: as many as stay within `max_bytes`, and at least one. Waits up to
    /// `patience` for the first. `None`: the pool is closed and empty.
    pub(crate) fn take(&self, max_bytes: usize, patience: Duration) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.is_empty() && !waiting.closed {
            self.arrived.wait_for(&mut waiting, patience);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(job) = waiting.jobs.front() {
            bytes += job.bytes;
            if bytes > max_bytes && !taken.is_empty() {
                break;
            }
            taken.extend(waiting.jobs.pop_front());
        }
        if taken.is_empty() && waiting.closed { None } else { Some(taken) }
    }

    /// Takes no more jobs; those that wait are still taken out.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes no more jobs and drops those that wait.
    pub(crate) fn abandon(&self) {
        let jobs = {
            let mut waiting = self.waiting.lock();
            waiting.closed = true;
            std::mem::take(&mut waiting.jobs)
        };
        self.arrived.notify_all();
        for job in jobs {
            let _ = job.reply.send(Err(AppendError::Poisoned));
        }
    }
}
