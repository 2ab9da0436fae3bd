//! Appending: what a request goes through before the writer sees it, in the task that took it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_merkle::tile::MAX_ENTRY_BYTES;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::config::MAX_REQUEST_ENTRIES;
use crate::engine::Engine;
use crate::error::AppendError;
use crate::log::Log;
use crate::meta::Kind;
use crate::pool::{FRAME_BYTES, Job, Sequenced};
use crate::sequencer::Draft;
use crate::window::Claim;

/// What names a request, so that a repeat of it is recognised.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey<'a> {
    /// 1 to 128 visible ASCII characters.
    pub key: &'a str,
    /// When the caller first used it, nanoseconds since 1970.
    pub issued_ns: u64,
}

/// What happens when there is no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It is refused at once, before any work is done for it.
    Refuse,
    /// The caller waits: a stream that stops reading makes its sender wait too.
    Wait,
}

impl Engine {
    /// Appends raw entries to a log of bytes, all or nothing, and returns once they are durable.
    pub async fn append(
        &self,
        log: &Arc<Log>,
        entries: Vec<Bytes>,
        key: Option<IdempotencyKey<'_>>,
        patience: Patience,
    ) -> Result<Sequenced, AppendError> {
        let bytes = self.check_entries(log, &entries)?;
        let claim = self.claim(log, key, &entries)?;
        let room = match patience {
            Patience::Refuse => self.admit(log, entries.len(), bytes)?,
            Patience::Wait => self.admit_waiting(log, entries.len(), bytes).await?,
        };
        let reply = self.submit(log, entries, claim, bytes, room)?;
        reply.await.unwrap_or(Err(AppendError::Poisoned))
    }

    /// As [`append`](Self::append), but returns at once with what will hold the answer: for tests that call the steps
    /// themselves.
    pub fn append_later(
        &self,
        log: &Arc<Log>,
        entries: Vec<Bytes>,
        key: Option<IdempotencyKey<'_>>,
    ) -> Result<oneshot::Receiver<Result<Sequenced, AppendError>>, AppendError> {
        let bytes = self.check_entries(log, &entries)?;
        let claim = self.claim(log, key, &entries)?;
        let room = self.admit(log, entries.len(), bytes)?;
        self.submit(log, entries, claim, bytes, room)
    }

    fn check_entries(&self, log: &Log, entries: &[Bytes]) -> Result<usize, AppendError> {
        if log.meta.kind != Kind::Bytes {
            return Err(AppendError::WrongKind { log: log.meta.name.to_string(), kind: log.meta.kind });
        }
        if entries.is_empty() {
            return Err(AppendError::Nothing);
        }
        for (position, entry) in entries.iter().enumerate() {
            match entry.len() {
                0 => return Err(AppendError::Empty(position)),
                bytes if bytes > MAX_ENTRY_BYTES => return Err(AppendError::TooLong { position, bytes }),
                _ => {}
            }
        }
        let bytes = FRAME_BYTES + entries.iter().map(|entry| entry.len() + 2).sum::<usize>();
        let max_bytes = self.max_request_bytes;
        if bytes > max_bytes || entries.len() > MAX_REQUEST_ENTRIES {
            return Err(AppendError::TooMuch { entries: entries.len(), bytes, max_bytes });
        }
        Ok(bytes)
    }

    fn claim(
        &self,
        log: &Log,
        key: Option<IdempotencyKey<'_>>,
        entries: &[Bytes],
    ) -> Result<Option<Claim>, AppendError> {
        let Some(IdempotencyKey { key, issued_ns }) = key else { return Ok(None) };
        let entries = entries.iter().map(|entry| &entry[..]);
        self.digester.claim(log.meta.id, key, issued_ns, entries).map(Some)
    }

    fn admit(&self, log: &Log, entries: usize, bytes: usize) -> Result<OwnedSemaphorePermit, AppendError> {
        if self.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        if log.is_awaiting_witnesses() {
            return Err(AppendError::AwaitingWitnesses);
        }
        if self.is_disk_full() {
            return Err(AppendError::DiskFull);
        }
        if self.is_backlogged(log) {
            return Err(AppendError::Overloaded { retry_after: Duration::from_millis(200) });
        }
        self.pool.try_admit(entries, bytes)
    }

    async fn admit_waiting(
        &self,
        log: &Log,
        entries: usize,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, AppendError> {
        loop {
            let drained = self.drained.notified();
            match self.admit(log, entries, bytes) {
                Err(AppendError::Overloaded { .. }) if self.is_backlogged(log) => drained.await,
                Err(AppendError::Overloaded { .. }) => return self.pool.admit(entries, bytes).await,
                other => return other,
            }
        }
    }

    fn is_backlogged(&self, log: &Log) -> bool {
        log.tail.read().bytes() > self.config.max_unsealed_bytes
    }

    fn submit(
        &self,
        log: &Arc<Log>,
        entries: Vec<Bytes>,
        claim: Option<Claim>,
        bytes: usize,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Sequenced, AppendError>>, AppendError> {
        // Hashing happens here, in the task of the request: the writer only frames.
        let drafts = entries.into_iter().map(Draft::new).collect();
        let (reply, answer) = oneshot::channel();
        self.pool.push(Job { log: log.clone(), drafts, claim, bytes, reply, _room: room })?;
        Ok(answer)
    }
}
