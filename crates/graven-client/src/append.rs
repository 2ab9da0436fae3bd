//! Appending one entry, and what an append can end in.

use std::time::SystemTime;

use bytes::Bytes;
use graven_merkle::{Hash, LeafIndex, leaf_hash};
use graven_note::{ParseProofError, TlogProof, VerifiedInclusion};
use graven_proto::{
    convert::{FieldError, hash, leaf_index, required},
    limits::{MAX_BATCH_ENTRIES, MAX_ENTRY_BYTES},
    v1::{self, Wait},
};
use thiserror::Error;

use crate::{
    Appender, CallError, HeadError, IdempotencyKey, IdempotencyKeyError, LogClient, ProofRefused, ReadError,
    RetryPolicy, VerifiedHead, call::call_log,
};

/// An append that waits to be told what to wait for.
#[derive(Debug)]
#[must_use = "nothing is sent before durable() or published() is awaited"]
pub struct Append<'a, L> {
    log: &'a L,
    entry: Bytes,
    key: Option<IdempotencyKey>,
}

/// The server's promise that an entry is on stable storage under this index, for ever.
///
/// Nothing was verified: there is no signed tree yet that holds the entry. Only the leaf hash was computed here,
/// and the server named the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Where the entry stands.
    pub index: LeafIndex,
    /// The entry's hash.
    pub leaf_hash: Hash,
    /// The log's time for it.
    pub log_time: SystemTime,
    /// The entry was appended by an earlier call with the same key; this is that call's answer.
    pub duplicate: bool,
}

/// An entry that was proven to be in a signed tree of the log.
#[derive(Clone, Debug)]
pub struct Proven {
    acked: Acked,
    bundle: TlogProof,
    head: VerifiedHead,
}

impl Proven {
    /// Where the entry stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.acked.index
    }

    /// What the server said beside the proof.
    #[must_use]
    pub fn acked(&self) -> &Acked {
        &self.acked
    }

    /// The proof, to be kept beside the entry: with the log's keys it verifies offline.
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

/// Why an append did not end as asked.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The entry cannot be appended. Nothing was sent.
    #[error("an entry has 1 to {MAX_ENTRY_BYTES} bytes, this one has {0}")]
    EntryLength(usize),
    /// There are none, or too many for a batch. Nothing was sent.
    #[error("a batch has 1 to {MAX_BATCH_ENTRIES} events, this one has {0}")]
    BatchLength(usize),
    /// There is no idempotency key. Nothing was sent.
    #[error(transparent)]
    Key(#[from] IdempotencyKeyError),
    /// The server refused, or gave no answer: then [`CallError::outcome_unknown`] holds, and the same call with
    /// this idempotency key tells whether the entry was appended.
    #[error("{error}{}", advice(.error, .key))]
    Call {
        /// What happened.
        error: CallError,
        /// The key that the append was sent under.
        key: Option<IdempotencyKey>,
    },
    /// The same, for events that go out under a producer's numbers: the same call with the same numbers tells.
    #[error("{}{}", .0, by_number(.0))]
    Numbered(CallError),
    /// The answer is malformed: the server is at fault.
    #[error(transparent)]
    Answer(#[from] FieldError),
    /// The answer is about something else: the server is at fault.
    #[error("the server's answer is about another entry: {0}")]
    WrongAnswer(&'static str),
    /// The server acknowledged the append, but does not prove it. The entry may be in the log all the same.
    #[error("the server acknowledged index {}, but does not prove it: {problem}", .first.get())]
    Unproven {
        /// The index of the entry, or of the first one, as acknowledged.
        first: LeafIndex,
        /// What is wrong with the proof.
        problem: Unproven,
    },
}

/// What is wrong with the proof of an append.
#[derive(Debug, Error)]
pub enum Unproven {
    /// It is no bundle.
    #[error(transparent)]
    Bundle(#[from] ParseProofError),
    /// Its bundle does not verify.
    #[error(transparent)]
    Refused(#[from] ProofRefused),
    /// Its bundle is about another index.
    #[error("the proof is about index {0}")]
    OtherIndex(LeafIndex),
    /// Its head is not acceptable.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The proof for several entries does not verify.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl AppendError {
    /// The call that failed, where one did.
    #[must_use]
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call { error, .. } | Self::Numbered(error) => Some(error),
            _ => None,
        }
    }
}

/// A log that takes appends: an [`Appender`] or a [`LogClient`].
pub trait AppendTarget: sealed::Sealed {
    /// The log without trust.
    fn appender(&self) -> &Appender;
}

impl AppendTarget for Appender {
    fn appender(&self) -> &Appender {
        self
    }
}

impl AppendTarget for LogClient {
    fn appender(&self) -> &Appender {
        Self::appender(self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Appender {}
    impl Sealed for super::LogClient {}
}

impl<'a, L: AppendTarget> Append<'a, L> {
    pub(crate) fn new(log: &'a L, entry: Bytes) -> Self {
        Self { log, entry, key: None }
    }

    /// Sends the append under this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Waits until the entry is on stable storage.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn durable(self) -> Result<Acked, AppendError> {
        Ok(self.send(Wait::Durable).await?.0)
    }

    async fn send(self, wait: Wait) -> Result<(Acked, Bytes), AppendError> {
        let expected = checked_leaf_hash(&self.entry)?;
        let appender = self.log.appender();
        let sending = Sending::new(appender.pool().retries(), self.key)?;
        let request = v1::AppendRequest {
            log: appender.name().to_owned(),
            entry: self.entry,
            idempotency_key: sending.key_text(),
            idempotency_issued_at: sending.issued(),
            wait: wait.into(),
        };
        let answer = call_log(appender.pool(), sending.retries(), &request, |mut log, request| async move {
            log.append(request).await
        })
        .await
        .map_err(|error| sending.failed(error))?;
        if hash("leaf_hash", &answer.leaf_hash)? != expected {
            return Err(AppendError::WrongAnswer("its leaf hash is not the entry's"));
        }
        let acked = Acked {
            index: leaf_index("index", answer.index)?,
            leaf_hash: expected,
            log_time: log_time(answer.log_time)?,
            duplicate: answer.duplicate,
        };
        Ok((acked, answer.proof))
    }
}

impl Append<'_, LogClient> {
    /// Waits until the entry is in a published tree, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn published(self) -> Result<Proven, AppendError> {
        self.proven(Wait::Published).await
    }

    /// Waits until the log's witnesses cosigned a tree with the entry, and verifies the proof of it. Whether
    /// those are the witnesses that count is for the policy of the [`Trust`](crate::Trust) to say.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn witnessed(self) -> Result<Proven, AppendError> {
        self.proven(Wait::Witnessed).await
    }

    async fn proven(self, wait: Wait) -> Result<Proven, AppendError> {
        let log = self.log;
        let (acked, proof) = self.send(wait).await?;
        let unproven = |problem| AppendError::Unproven { first: acked.index, problem };
        let (bundle, inclusion) = verify_bundle(log, &acked, &proof).await.map_err(unproven)?;
        // The bundle of a repeat may be older than the head kept by now.
        let head = VerifiedHead::trusted(inclusion.checkpoint().clone());
        let head = log.follower().accept(head, None).await.map_err(|error| unproven(error.into()))?;
        Ok(Proven { acked, bundle, head })
    }
}

pub(crate) async fn verify_bundle(
    log: &LogClient,
    acked: &Acked,
    proof: &[u8],
) -> Result<(TlogProof, VerifiedInclusion), Unproven> {
    let bundle = TlogProof::parse(proof)?;
    if bundle.index() != acked.index {
        return Err(Unproven::OtherIndex(bundle.index()));
    }
    log.follower().load_rotations().await?;
    let inclusion = match log.trust().verify_proof(&bundle, acked.leaf_hash) {
        // New keys may have signed it that are not known yet.
        Err(refused) if !log.follower().follow_rotations().await? => return Err(refused.into()),
        Err(_) => log.trust().verify_proof(&bundle, acked.leaf_hash)?,
        Ok(inclusion) => inclusion,
    };
    Ok((bundle, inclusion))
}

/// The hash of an entry that a log can take.
pub(crate) fn checked_leaf_hash(entry: &[u8]) -> Result<Hash, AppendError> {
    if entry.is_empty() || entry.len() > MAX_ENTRY_BYTES {
        return Err(AppendError::EntryLength(entry.len()));
    }
    Ok(leaf_hash(entry))
}

/// A time that the server has to state.
pub(crate) fn log_time(time: Option<prost_types::Timestamp>) -> Result<SystemTime, AppendError> {
    let time = required("log_time", time)?;
    SystemTime::try_from(time).map_err(|_| AppendError::WrongAnswer("its log time is none"))
}

/// Under which key an append is sent, and whether it may be repeated: without a key or a producer's number never.
pub(crate) struct Sending<'a> {
    key: Option<IdempotencyKey>,
    numbered: bool,
    retries: &'a RetryPolicy,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        retries: &'a RetryPolicy,
        key: Option<IdempotencyKey>,
    ) -> Result<Self, IdempotencyKeyError> {
        let key = match key {
            None if retries.attempts > 1 => Some(IdempotencyKey::random()?),
            given => given,
        };
        Ok(Self { key, numbered: false, retries })
    }

    /// Under a producer's number, which does what a key does.
    pub(crate) fn numbered(retries: &'a RetryPolicy) -> Self {
        Self { key: None, numbered: true, retries }
    }

    pub(crate) fn key_text(&self) -> String {
        self.key.as_ref().map(IdempotencyKey::to_string).unwrap_or_default()
    }

    pub(crate) fn issued(&self) -> Option<prost_types::Timestamp> {
        self.key.as_ref().map(IdempotencyKey::issued_message)
    }

    pub(crate) fn retries(&self) -> &RetryPolicy {
        if self.numbered || self.key.is_some() { self.retries } else { &RetryPolicy::NEVER }
    }

    pub(crate) fn failed(&self, error: CallError) -> AppendError {
        match self.numbered {
            true => AppendError::Numbered(error),
            false => AppendError::Call { error, key: self.key.clone() },
        }
    }
}

fn by_number(error: &CallError) -> &'static str {
    if error.outcome_unknown() { "; it may have been recorded: repeat it under the same number" } else { "" }
}

fn advice(error: &CallError, key: &Option<IdempotencyKey>) -> String {
    match key {
        _ if !error.outcome_unknown() => String::new(),
        Some(key) => format!("; it may have been appended: repeat it with idempotency key {key}"),
        None => {
            "; it may have been appended: look before you repeat it, as it had no idempotency key".to_owned()
        }
    }
}
