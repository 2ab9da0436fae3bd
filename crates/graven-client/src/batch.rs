//! Appending several entries at once: all of them or none.

use std::time::SystemTime;

use bytes::Bytes;
use graven_merkle::{Hash, LeafIndex};
use graven_proto::{
    convert::{leaf_index, required},
    v1::{self, Wait},
};

use crate::{
    AppendError, AppendTarget, IdempotencyKey, LogClient, VerifiedHead, VerifiedMulti,
    append::{Sending, Unproven, checked_leaf_hash, log_time},
    call::call_log,
    prove::verified_multi,
};

/// A batch that waits to be told what to wait for.
#[derive(Debug)]
#[must_use = "nothing is sent before durable() or published() is awaited"]
pub struct AppendBatch<'a, L> {
    log: &'a L,
    entries: Vec<Bytes>,
    key: Option<IdempotencyKey>,
}

/// The server's promise that the entries are on stable storage, one after another from this index on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckedBatch {
    /// Where the first entry stands; the others follow in the order given.
    pub first_index: LeafIndex,
    /// The entries' hashes, computed here.
    pub leaf_hashes: Vec<Hash>,
    /// The log's time for the batch.
    pub log_time: SystemTime,
    /// The batch was appended by an earlier call with the same key.
    pub duplicate: bool,
}

/// A batch that was proven to be in a signed tree of the log, by one proof.
#[derive(Clone, Debug)]
pub struct ProvenBatch {
    acked: AckedBatch,
    proof: VerifiedMulti,
}

impl AckedBatch {
    /// The entries' indices, in the order of the entries.
    pub fn indices(&self) -> impl Iterator<Item = LeafIndex> + '_ {
        (self.first_index.get()..).take(self.leaf_hashes.len()).filter_map(LeafIndex::new)
    }
}

impl ProvenBatch {
    /// What the server said beside the proof.
    #[must_use]
    pub fn acked(&self) -> &AckedBatch {
        &self.acked
    }

    /// The one proof for all entries.
    #[must_use]
    pub fn proof(&self) -> &VerifiedMulti {
        &self.proof
    }

    /// The tree head that the proof leads to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        self.proof.head()
    }
}

impl<'a, L: AppendTarget> AppendBatch<'a, L> {
    pub(crate) fn new(log: &'a L, entries: Vec<Bytes>) -> Self {
        Self { log, entries, key: None }
    }

    /// Sends the batch under this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Waits until the entries are on stable storage.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn durable(self) -> Result<AckedBatch, AppendError> {
        Ok(self.send(Wait::Durable).await?.0)
    }

    async fn send(
        self,
        wait: Wait,
    ) -> Result<(AckedBatch, Option<v1::TreeHead>, Option<v1::MultiInclusionProof>), AppendError> {
        let leaf_hashes: Vec<_> =
            self.entries.iter().map(|entry| checked_leaf_hash(entry)).collect::<Result<_, _>>()?;
        let appender = self.log.appender();
        let sending = Sending::new(appender.pool().retries(), self.key)?;
        let request = v1::AppendBatchRequest {
            log: appender.name().to_owned(),
            entries: self.entries,
            idempotency_key: sending.key_text(),
            idempotency_issued_at: sending.issued(),
            wait: wait.into(),
        };
        let answer = call_log(appender.pool(), sending.retries(), &request, |mut log, request| async move {
            log.append_batch(request).await
        })
        .await
        .map_err(|error| sending.failed(error))?;
        if usize::try_from(answer.count) != Ok(leaf_hashes.len()) {
            return Err(AppendError::WrongAnswer("it counts other entries than were sent"));
        }
        let first_index = leaf_index("first_index", answer.first_index)?;
        leaf_index("first_index", answer.first_index.saturating_add(answer.count))?;
        let log_time = log_time(answer.log_time)?;
        let acked = AckedBatch { first_index, leaf_hashes, log_time, duplicate: answer.duplicate };
        Ok((acked, answer.head, answer.proof))
    }
}

impl AppendBatch<'_, LogClient> {
    /// Waits until the entries are in a published tree, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn published(self) -> Result<ProvenBatch, AppendError> {
        self.proven(Wait::Published).await
    }

    /// Waits until the log's witnesses cosigned a tree with the entries, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn witnessed(self) -> Result<ProvenBatch, AppendError> {
        self.proven(Wait::Witnessed).await
    }

    async fn proven(self, wait: Wait) -> Result<ProvenBatch, AppendError> {
        let log = self.log;
        let (acked, head, proof) = self.send(wait).await?;
        let first = acked.first_index;
        let proof = prove(log, &acked, head, proof).await;
        let proof = proof.map_err(|problem| AppendError::Unproven { first, problem })?;
        Ok(ProvenBatch { acked, proof })
    }
}

async fn prove(
    log: &LogClient,
    acked: &AckedBatch,
    head: Option<v1::TreeHead>,
    proof: Option<v1::MultiInclusionProof>,
) -> Result<VerifiedMulti, Unproven> {
    let head = log.follower().accept_message(head, None).await?;
    let proof =
        required("proof", proof).and_then(|proof| proof.to_merkle()).map_err(crate::ReadError::from)?;
    Ok(verified_multi(head, acked.indices().collect(), acked.leaf_hashes.clone(), proof)?)
}
