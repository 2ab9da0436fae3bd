//! Appending: what a request goes through before the writer sees it, in the task that took it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_merkle::tile::{MAX_ENTRY_BYTES, TILE_WIDTH};
use graven_store::journal::ATTACHMENT_FRAME_BYTES;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::config::MAX_REQUEST_ENTRIES;
use crate::engine::Engine;
use crate::error::AppendError;
use crate::log::Log;
use crate::meta::Kind;
use crate::pool::{Asked, FRAME_BYTES, Job, Sequenced};
use crate::sequencer::{Draft, EXPECTED_GROWTH_BYTES, MAX_ATTACHMENT_BYTES};
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

/// A request that was checked and waits for room.
struct Request {
    asked: Asked,
    /// Entries that it brings.
    entries: usize,
    /// How much of a journal record they are expected to need.
    bytes: usize,
    claim: Option<Claim>,
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
        let request = self.raw(log, entries, key)?;
        self.answered(log, request, patience).await
    }

    /// As [`append`](Self::append), but returns at once with what will hold the answer: for tests that call the steps
    /// themselves.
    pub fn append_later(
        &self,
        log: &Arc<Log>,
        entries: Vec<Bytes>,
        key: Option<IdempotencyKey<'_>>,
    ) -> Result<oneshot::Receiver<Result<Sequenced, AppendError>>, AppendError> {
        let request = self.raw(log, entries, key)?;
        let room = self.admit(log, &request)?;
        self.submit(log, request, room)
    }

    /// Hands drafts to the hook of a log that is not one of bytes, all or nothing, and returns once what it made of them is
    /// durable, attachments and all. [`Sequenced::count`] counts the drafts: the leaves at `first` and after it are theirs,
    /// one each, and follow-ups come after them.
    ///
    /// `claim` names the request, with the parts of it that a repeat must have in common with it.
    ///
    /// # Errors
    /// [`AppendError::Refused`] is the hook's word; the others are the engine's.
    pub async fn sequence(
        &self,
        log: &Arc<Log>,
        drafts: Vec<Draft>,
        claim: Option<(IdempotencyKey<'_>, &[&[u8]])>,
        patience: Patience,
    ) -> Result<Sequenced, AppendError> {
        let request = self.drafted(log, drafts, claim)?;
        self.answered(log, request, patience).await
    }

    /// As [`sequence`](Self::sequence), but returns at once with what will hold the answer: for tests that call the steps
    /// themselves.
    pub fn sequence_later(
        &self,
        log: &Arc<Log>,
        drafts: Vec<Draft>,
        claim: Option<(IdempotencyKey<'_>, &[&[u8]])>,
    ) -> Result<oneshot::Receiver<Result<Sequenced, AppendError>>, AppendError> {
        let request = self.drafted(log, drafts, claim)?;
        let room = self.admit(log, &request)?;
        self.submit(log, request, room)
    }

    /// Appends a statement about the log's keys, past its hook.
    pub(crate) async fn append_statement(
        &self,
        log: &Arc<Log>,
        statement: Bytes,
    ) -> Result<Sequenced, AppendError> {
        let bytes = FRAME_BYTES + statement.len();
        let request = Request { asked: Asked::Statement(statement), entries: 1, bytes, claim: None };
        self.answered(log, request, Patience::Wait).await
    }

    fn raw(
        &self,
        log: &Log,
        entries: Vec<Bytes>,
        key: Option<IdempotencyKey<'_>>,
    ) -> Result<Request, AppendError> {
        if log.meta.kind != Kind::Bytes {
            return Err(AppendError::WrongKind { log: log.meta.name.to_string(), kind: log.meta.kind });
        }
        let drafts: Vec<_> = entries.into_iter().map(Draft::new).collect();
        let bytes = self.check(&drafts, 0)?;
        let parts = drafts.iter().map(|draft| &draft.bytes[..]);
        let claim = key.map(|key| self.claim(log, key, parts)).transpose()?;
        Ok(Request { entries: drafts.len(), asked: Asked::Drafts(drafts), bytes, claim })
    }

    fn drafted(
        &self,
        log: &Log,
        drafts: Vec<Draft>,
        claim: Option<(IdempotencyKey<'_>, &[&[u8]])>,
    ) -> Result<Request, AppendError> {
        if log.meta.kind == Kind::Bytes {
            return Err(AppendError::WrongKind { log: log.meta.name.to_string(), kind: log.meta.kind });
        }
        let bytes = self.check(&drafts, EXPECTED_GROWTH_BYTES)?;
        let claim = claim.map(|(key, parts)| self.claim(log, key, parts.iter().copied())).transpose()?;
        Ok(Request { entries: drafts.len(), asked: Asked::Drafts(drafts), bytes, claim })
    }

    /// Checks each draft, and returns how much of a journal record they are expected to need.
    fn check(&self, drafts: &[Draft], growth: usize) -> Result<usize, AppendError> {
        if drafts.is_empty() {
            return Err(AppendError::Nothing);
        }
        let mut brought = FRAME_BYTES;
        for (position, Draft { bytes, attachment, .. }) in drafts.iter().enumerate() {
            match bytes.len() {
                0 => return Err(AppendError::Empty(position)),
                bytes if bytes > MAX_ENTRY_BYTES => return Err(AppendError::TooLong { position, bytes }),
                bytes => brought += bytes + 2,
            }
            match attachment.as_ref().map(Bytes::len) {
                None => {}
                Some(bytes @ 1..=MAX_ATTACHMENT_BYTES) => brought += bytes + ATTACHMENT_FRAME_BYTES,
                Some(bytes) => return Err(AppendError::Attachment { position, bytes }),
            }
        }
        let max_bytes = self.max_request_bytes;
        if brought > max_bytes || drafts.len() > MAX_REQUEST_ENTRIES {
            return Err(AppendError::TooMuch { entries: drafts.len(), bytes: brought, max_bytes });
        }
        Ok(brought + drafts.len() * growth)
    }

    fn claim<'a>(
        &self,
        log: &Log,
        IdempotencyKey { key, issued_ns }: IdempotencyKey<'_>,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Claim, AppendError> {
        self.digester.claim(log.meta.id, key, issued_ns, parts)
    }

    async fn answered(
        &self,
        log: &Arc<Log>,
        request: Request,
        patience: Patience,
    ) -> Result<Sequenced, AppendError> {
        let room = match patience {
            Patience::Refuse => self.admit(log, &request)?,
            Patience::Wait => self.admit_waiting(log, &request).await?,
        };
        let reply = self.submit(log, request, room)?;
        reply.await.unwrap_or(Err(AppendError::Poisoned))
    }

    fn admit(&self, log: &Log, request: &Request) -> Result<OwnedSemaphorePermit, AppendError> {
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
        self.pool.try_admit(request.entries, request.bytes)
    }

    async fn admit_waiting(&self, log: &Log, request: &Request) -> Result<OwnedSemaphorePermit, AppendError> {
        loop {
            let drained = self.drained.notified();
            match self.admit(log, request) {
                Err(AppendError::Overloaded { .. }) if self.is_backlogged(log) => drained.await,
                Err(AppendError::Overloaded { .. }) => {
                    return self.pool.admit(request.entries, request.bytes).await;
                }
                other => return other,
            }
        }
    }

    /// Whether sealing has to catch up first. Less than a bundle cannot be sealed, so nothing waits for that.
    fn is_backlogged(&self, log: &Log) -> bool {
        let bundles = |size: u64| size / u64::from(TILE_WIDTH);
        log.tail.read().bytes() > self.config.max_unsealed_bytes
            && bundles(log.durable_size()) > bundles(log.sealed_size())
    }

    fn submit(
        &self,
        log: &Arc<Log>,
        request: Request,
        room: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Sequenced, AppendError>>, AppendError> {
        let Request { asked, bytes, claim, .. } = request;
        let asked = match asked {
            // Hashing happens here, in the task of the request: the writer only frames.
            Asked::Drafts(drafts) if log.meta.kind == Kind::Bytes => {
                Asked::Drafts(drafts.into_iter().map(Draft::hashed).collect())
            }
            other => other,
        };
        let (reply, answer) = oneshot::channel();
        self.pool.push(Job { log: log.clone(), asked, claim, bytes, reply, _room: room })?;
        Ok(answer)
    }
}
