//! Recording one event, and holding the leaf that came of it against what was sent.

use bytes::Bytes;
use graven_event::{Event, Facts, Frame, Word, facts::EventFacts};
use graven_merkle::{Hash, LeafIndex, leaf_hash};
use graven_note::TlogProof;
use graven_proto::{
    convert::{hash, leaf_index},
    v1::{self, Wait},
};
use std::time::SystemTime;

use crate::{
    Acked, AppendError, AppendTarget, IdempotencyKey, LogClient, VerifiedHead,
    append::{Sending, Unproven, log_time, verify_bundle},
    call::call_audit,
};

/// An event that waits to be told what to wait for.
#[derive(Debug)]
#[must_use = "nothing is sent before durable() or published() is awaited"]
pub struct Record<'a, L> {
    log: &'a L,
    event: Event,
    terms: Terms,
}

/// Under what an event goes out: number, key, retention class.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    pub(super) producer: Option<v1::ProducerSequence>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) retention: String,
}

/// The server's promise that an event is on stable storage under this index, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Where its leaf stands.
    pub index: LeafIndex,
    /// The leaf's hash.
    pub leaf_hash: Hash,
    /// The log's time for it.
    pub log_time: SystemTime,
    /// It had been recorded by an earlier call; this is that call's answer.
    pub duplicate: bool,
}

/// An event whose leaf says what was sent, and was proven to be in a signed tree of the log.
#[derive(Clone, Debug)]
pub struct ProvenRecord {
    recorded: Recorded,
    leaf: Bytes,
    frame: Frame,
    bundle: TlogProof,
    head: VerifiedHead,
}

impl ProvenRecord {
    /// What the server said beside the proof.
    #[must_use]
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// The leaf's bytes: what the bundle proves.
    #[must_use]
    pub fn leaf(&self) -> &Bytes {
        &self.leaf
    }

    /// What the leaf says.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The proof, to be kept beside the leaf: with the log's keys it verifies offline.
    #[must_use]
    pub fn bundle(&self) -> &TlogProof {
        &self.bundle
    }

    /// The tree head that the bundle leads to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

impl<'a, L: AppendTarget> Record<'a, L> {
    pub(super) fn new(log: &'a L, event: Event) -> Self {
        Self { log, event, terms: Terms::default() }
    }

    /// Sends the event as number `sequence` of this caller's stream: then it can be repeated safely, and a gap in the numbers is
    /// noticed by the log.
    pub fn producer(mut self, stream: impl Into<String>, sequence: u64) -> Self {
        self.terms.producer = Some(v1::ProducerSequence { stream: stream.into(), sequence });
        self
    }

    /// Sends the event under this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.terms.key = Some(key);
        self
    }

    /// Keeps the event's payload as this retention class says, instead of the log's default.
    pub fn retention(mut self, class: impl Into<String>) -> Self {
        self.terms.retention = class.into();
        self
    }

    /// Waits until the event is on stable storage.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn durable(self) -> Result<Recorded, AppendError> {
        let (log, event, terms) = (self.log, self.event, self.terms);
        Ok(send(log, event, terms, Wait::Durable).await?.0)
    }
}

impl Record<'_, LogClient> {
    /// Waits until the event is in a published tree, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn published(self) -> Result<ProvenRecord, AppendError> {
        self.proven(Wait::Published).await
    }

    /// Waits until the log's witnesses cosigned a tree with the event, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn witnessed(self) -> Result<ProvenRecord, AppendError> {
        self.proven(Wait::Witnessed).await
    }

    async fn proven(self, wait: Wait) -> Result<ProvenRecord, AppendError> {
        let log = self.log;
        let (recorded, answer) = send(log, self.event.clone(), self.terms.clone(), wait).await?;
        let leaf = answer.leaf;
        if leaf_hash(&leaf) != recorded.leaf_hash {
            return Err(AppendError::WrongAnswer("its leaf is not what its leaf hash is of"));
        }
        let frame = leaf_of(&leaf, &self.event, self.terms.sequence())?;
        let unproven = |problem| AppendError::Unproven { first: recorded.index, problem };
        let Recorded { index, leaf_hash, log_time, duplicate } = recorded;
        let acked = Acked { index, leaf_hash, log_time, duplicate };
        let (bundle, inclusion) = verify_bundle(log, &acked, &answer.proof).await.map_err(unproven)?;
        // The bundle of a repeat may be older than the head kept by now.
        let head = VerifiedHead::trusted(inclusion.checkpoint().clone());
        let accepted = log.follower().accept(head, None).await;
        let head = accepted.map_err(|error| unproven(Unproven::Head(error)))?;
        Ok(ProvenRecord { recorded, leaf, frame, bundle, head })
    }
}

async fn send<L: AppendTarget>(
    log: &L,
    event: Event,
    terms: Terms,
    wait: Wait,
) -> Result<(Recorded, v1::RecordResponse), AppendError> {
    let appender = log.appender();
    let sending = terms.sending(appender.pool().retries())?;
    let request = v1::RecordRequest {
        log: appender.name().to_owned(),
        event: Some(event.into()),
        producer: terms.producer,
        idempotency_key: sending.key_text(),
        idempotency_issued_at: sending.issued(),
        wait: wait.into(),
        retention: terms.retention,
    };
    let answer = call_audit(appender.pool(), sending.retries(), &request, |mut audit, request| async move {
        audit.record(request).await
    })
    .await
    .map_err(|error| sending.failed(error))?;
    let recorded = Recorded {
        index: leaf_index("index", answer.index)?,
        leaf_hash: hash("leaf_hash", &answer.leaf_hash)?,
        log_time: log_time(answer.log_time)?,
        duplicate: answer.duplicate,
    };
    Ok((recorded, answer))
}

impl Terms {
    pub(super) fn sending<'a>(&self, retries: &'a crate::RetryPolicy) -> Result<Sending<'a>, AppendError> {
        match (&self.producer, &self.key) {
            (Some(_), None) => Ok(Sending::numbered(retries)),
            (_, key) => Ok(Sending::new(retries, key.clone())?),
        }
    }

    pub(super) fn sequence(&self) -> Option<u64> {
        self.producer.as_ref().map(|producer| producer.sequence)
    }
}

/// What a leaf says, where that is what the event says in clear.
pub(super) fn leaf_of(leaf: &[u8], event: &Event, sequence: Option<u64>) -> Result<Frame, AppendError> {
    let other = AppendError::WrongAnswer;
    let frame = Frame::decode(leaf).map_err(|_| other("its leaf is none of a log of events"))?;
    let Facts::Event(facts) = &frame.facts else { return Err(other("its leaf is not of an event")) };
    if !says(facts, event) || frame.outcome != Some(event.outcome) {
        return Err(other("its leaf says something else in clear"));
    }
    if sequence.is_some_and(|sequence| sequence != frame.sequence) {
        return Err(other("its leaf has another number of the producer's"));
    }
    Ok(frame)
}

fn says(facts: &EventFacts, event: &Event) -> bool {
    let words = |words: &[Word], texts: &[String]| words.iter().map(Word::as_str).eq(texts.iter());
    facts.action.as_str() == event.action
        && facts.product.as_ref().map(Word::as_str) == event.source.product.as_deref()
        && facts.event_time == event.time.map(|time| time.nanoseconds())
        && words(&facts.requested, &event.scope.requested)
        && words(&facts.granted, &event.scope.granted)
        && words(&facts.used, &event.scope.used)
}
