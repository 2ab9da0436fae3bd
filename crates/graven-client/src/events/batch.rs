//! Recording several events at once: all of them or none.

use std::time::SystemTime;

use graven_event::{Event, Frame};
use graven_merkle::LeafIndex;
use graven_proto::{
    convert::leaf_index,
    limits::MAX_BATCH_ENTRIES,
    v1::{self, Wait},
};

use super::record::{Terms, leaf_of};
use crate::{
    AppendError, AppendTarget, IdempotencyKey, LogClient, ReadError, VerifiedEntries,
    append::{Unproven, log_time},
    call::call_audit,
};

/// A batch of events that waits to be told what to wait for.
#[derive(Debug)]
#[must_use = "nothing is sent before durable() or published() is awaited"]
pub struct RecordBatch<'a, L> {
    log: &'a L,
    events: Vec<Event>,
    terms: Terms,
}

/// The server's promise that the events are on stable storage, one after another from this index on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedBatch {
    /// Where the first one's leaf stands; the others follow in the order given.
    pub first_index: LeafIndex,
    /// How many there are.
    pub count: u64,
    /// The log's time for the batch.
    pub log_time: SystemTime,
    /// The batch had been recorded by an earlier call.
    pub duplicate: bool,
}

/// A batch whose leaves say what was sent, read back and proven to be in a signed tree of the log.
#[derive(Clone, Debug)]
pub struct ProvenRecords {
    recorded: RecordedBatch,
    leaves: VerifiedEntries,
    frames: Vec<Frame>,
}

impl ProvenRecords {
    /// What the server said beside the leaves.
    #[must_use]
    pub fn recorded(&self) -> &RecordedBatch {
        &self.recorded
    }

    /// The leaves, with the head that vouches for them.
    #[must_use]
    pub fn leaves(&self) -> &VerifiedEntries {
        &self.leaves
    }

    /// What the leaves say.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

impl<'a, L: AppendTarget> RecordBatch<'a, L> {
    pub(super) fn new(log: &'a L, events: Vec<Event>) -> Self {
        Self { log, events, terms: Terms::default() }
    }

    /// Sends the events as the numbers from `first` on of this caller's stream.
    pub fn producer(mut self, stream: impl Into<String>, first: u64) -> Self {
        self.terms.producer = Some(v1::ProducerSequence { stream: stream.into(), sequence: first });
        self
    }

    /// Sends the batch under this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.terms.key = Some(key);
        self
    }

    /// Keeps the payloads as this retention class says, instead of the log's default.
    pub fn retention(mut self, class: impl Into<String>) -> Self {
        self.terms.retention = class.into();
        self
    }

    /// Waits until the events are on stable storage.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn durable(self) -> Result<RecordedBatch, AppendError> {
        self.send(Wait::Durable).await
    }

    async fn send(&self, wait: Wait) -> Result<RecordedBatch, AppendError> {
        if self.events.is_empty() || self.events.len() > MAX_BATCH_ENTRIES {
            return Err(AppendError::BatchLength(self.events.len()));
        }
        let appender = self.log.appender();
        let sending = self.terms.sending(appender.pool().retries())?;
        let request = v1::RecordBatchRequest {
            log: appender.name().to_owned(),
            events: self.events.iter().cloned().map(v1::Event::from).collect(),
            producer: self.terms.producer.clone(),
            idempotency_key: sending.key_text(),
            idempotency_issued_at: sending.issued(),
            wait: wait.into(),
            retention: self.terms.retention.clone(),
        };
        let answer =
            call_audit(appender.pool(), sending.retries(), &request, |mut audit, request| async move {
                audit.record_batch(request).await
            })
            .await
            .map_err(|error| sending.failed(error))?;
        if usize::try_from(answer.count) != Ok(self.events.len()) {
            return Err(AppendError::WrongAnswer("it counts other events than were sent"));
        }
        leaf_index("first_index", answer.first_index.saturating_add(answer.count))?;
        Ok(RecordedBatch {
            first_index: leaf_index("first_index", answer.first_index)?,
            count: answer.count,
            log_time: log_time(answer.log_time)?,
            duplicate: answer.duplicate,
        })
    }
}

impl RecordBatch<'_, LogClient> {
    /// Waits until the events are in a published tree, reads their leaves back and verifies them. Needs the grant `read` as well.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn published(self) -> Result<ProvenRecords, AppendError> {
        self.proven(Wait::Published).await
    }

    /// The same, once the log's witnesses cosigned a tree with the events.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn witnessed(self) -> Result<ProvenRecords, AppendError> {
        self.proven(Wait::Witnessed).await
    }

    async fn proven(self, wait: Wait) -> Result<ProvenRecords, AppendError> {
        let recorded = self.send(wait).await?;
        let first = recorded.first_index;
        let unproven = |problem: ReadError| AppendError::Unproven { first, problem: Unproven::Read(problem) };
        let leaves = self.log.entries(first.get()..first.get() + recorded.count).await.map_err(unproven)?;
        let number = |at| self.terms.sequence().map(|sequence| sequence + at);
        let frames = (0_u64..).zip(leaves.iter()).zip(&self.events);
        let frames = frames.map(|((at, (_, leaf)), event)| leaf_of(leaf, event, number(at)));
        let frames = frames.collect::<Result<_, _>>()?;
        Ok(ProvenRecords { recorded, leaves, frames })
    }
}
