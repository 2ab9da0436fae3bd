//! Proofs, fetched and verified: of one entry, of many, of growth.

use graven_event::{Invalid, Malformed, query::ParseError};
use graven_merkle::{
    ConsistencyProof, EMPTY_ROOT, Hash, InclusionProof, LeafIndex, MultiProof, TreeSize, VerifyError,
    multi::MultiVerifyError, verify_consistency, verify_inclusion, verify_multi,
};
use graven_note::TlogProof;
use graven_proto::{
    convert::{FieldError, hash, hashes, leaf_index, required},
    limits::MAX_RANGE_ENTRIES,
    v1::{self, get_inclusion_proof_request::Target},
};
use thiserror::Error;

use crate::{
    CallError, HeadError, LogClient, VerifiedHead,
    call::call_log,
    follow::{FetchError, fetch_consistency},
    range::frontier_before,
};

/// Why nothing verified was read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The server did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The tree head is not acceptable.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The answer is malformed: the server is at fault.
    #[error(transparent)]
    Answer(#[from] FieldError),
    /// The answer is about something else than was asked for: the server is at fault.
    #[error("the server answered something else than it was asked for: {0}")]
    WrongAnswer(&'static str),
    /// The answer does not lead to the signed root: what the server sent is not what the log signed.
    #[error("what the server sent is not in the log that was signed: {0}")]
    Proof(#[from] VerifyError),
    /// The proof for many entries does not lead to the signed root, or the indices cannot have one.
    #[error("what the server sent is not in the log that was signed: {0}")]
    Multi(#[from] MultiVerifyError),
    /// What the server says of an event cannot be: the server is at fault.
    #[error("what the server says of an event cannot be: {0}")]
    Event(#[from] Invalid),
    /// A leaf is in the log, and cannot be read: it is damaged, or of a later version.
    #[error("an entry that was found cannot be read: {0}")]
    Leaf(#[from] Malformed),
    /// The text is no query. Nothing was sent.
    #[error("the query cannot be read: {0}")]
    Query(#[from] ParseError),
    /// The caller asked beyond the log.
    #[error("{asked} is beyond the log, which has {size} entries: ask below that, or later")]
    BeyondTree {
        /// The end of what was asked for.
        asked: u64,
        /// The size of the newest verified head.
        size: TreeSize,
    },
    /// The caller asked for nothing, or back to front.
    #[error("the range is empty: its end must be above its start")]
    EmptyRange,
    /// The caller asked for too much at once.
    #[error(
        "{0} entries are too many or too large to fetch at once: ask for fewer, at most {MAX_RANGE_ENTRIES}"
    )]
    RangeTooLong(u64),
}

impl From<FetchError> for ReadError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Call(error) => Self::Call(error),
            FetchError::Answer(error) => Self::Answer(error),
        }
    }
}

/// A proof, verified, that the entry with this hash is in the log.
#[derive(Clone, Debug)]
pub struct VerifiedProof {
    index: LeafIndex,
    leaf_hash: Hash,
    proof: InclusionProof,
    head: VerifiedHead,
}

impl VerifiedProof {
    /// Where the entry stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The entry's hash. To be sure of the entry's bytes, hash them and compare.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The inclusion proof.
    #[must_use]
    pub fn inclusion(&self) -> &InclusionProof {
        &self.proof
    }

    /// The tree head that the proof leads to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// The proof as a bundle to keep beside the entry: with the log's keys it verifies offline.
    #[must_use]
    pub fn bundle(&self) -> TlogProof {
        // A checkpoint that was verified is not empty, which is all that is asked of it.
        TlogProof::new(self.index, self.proof.clone(), self.head.note()).unwrap_or_else(|_| unreachable!())
    }
}

/// One proof, verified, that many entries are in the log.
#[derive(Clone, Debug)]
pub struct VerifiedMulti {
    indices: Vec<LeafIndex>,
    leaf_hashes: Vec<Hash>,
    proof: MultiProof,
    head: VerifiedHead,
}

impl VerifiedMulti {
    /// Where the entries stand, strictly increasing.
    #[must_use]
    pub fn indices(&self) -> &[LeafIndex] {
        &self.indices
    }

    /// The entries' hashes, in the order of the indices.
    #[must_use]
    pub fn leaf_hashes(&self) -> &[Hash] {
        &self.leaf_hashes
    }

    /// The proof.
    #[must_use]
    pub fn proof(&self) -> &MultiProof {
        &self.proof
    }

    /// The tree head that the proof leads to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

/// A proof, verified, that one tree of the log begins another, with the roots that it connects.
#[derive(Clone, Debug)]
pub struct VerifiedConsistency {
    /// The size of the smaller tree.
    pub from: TreeSize,
    /// Its root.
    pub from_root: Hash,
    /// The size of the larger tree.
    pub to: TreeSize,
    /// Its root.
    pub to_root: Hash,
    /// The proof between the two.
    pub proof: ConsistencyProof,
    /// The signed head that both roots were traced to.
    pub head: VerifiedHead,
}

impl LogClient {
    /// Proves that the entry at `index` is in the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn prove(&self, index: LeafIndex) -> Result<VerifiedProof, ReadError> {
        self.prove_target(Target::Index(index.get())).await
    }

    /// Proves that an entry with this hash is in the log: of several, the first one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn prove_leaf(&self, leaf_hash: Hash) -> Result<VerifiedProof, ReadError> {
        let proof = self.prove_target(Target::LeafHash(leaf_hash.as_bytes().to_vec().into())).await?;
        if proof.leaf_hash == leaf_hash {
            Ok(proof)
        } else {
            Err(ReadError::WrongAnswer("another leaf hash"))
        }
    }

    /// Proves that the entries at `indices`, strictly increasing and at most 1,024, are in the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn prove_many(&self, indices: &[LeafIndex]) -> Result<VerifiedMulti, ReadError> {
        let known = self.follower().kept().await?;
        let answer = self.fetch_multi(indices, 0).await?;
        let head = self.follower().accept_message(answer.head, known.as_ref()).await?;
        let leaves = hashes("leaf_hashes", &answer.leaf_hashes)?;
        verified_multi(head, indices.to_vec(), leaves, required("proof", answer.proof)?.to_merkle()?)
    }

    /// Proves that the log's tree of `from` entries begins its tree of `to` entries, and both its newest one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn consistency(&self, from: TreeSize, to: TreeSize) -> Result<VerifiedConsistency, ReadError> {
        if from > to {
            return Err(ReadError::EmptyRange);
        }
        let head = self.tree_head().await?;
        if to > head.size() {
            return Err(ReadError::BeyondTree { asked: to.get(), size: head.size() });
        }
        let (from_root, to_root) = (self.root_at(from, &head).await?, self.root_at(to, &head).await?);
        let proof = fetch_consistency(self.appender(), from, to).await?;
        verify_consistency(from, &from_root, to, &to_root, &proof)?;
        Ok(VerifiedConsistency { from, from_root, to, to_root, proof, head })
    }

    /// Proves that entries with these hashes, known here, are under `head`: at `indices`, strictly increasing and at most 1,024.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn prove_leaves(
        &self,
        head: &VerifiedHead,
        indices: Vec<LeafIndex>,
        leaf_hashes: Vec<Hash>,
    ) -> Result<VerifiedMulti, ReadError> {
        let answer = self.fetch_multi(&indices, head.size().get()).await?;
        verified_multi(head.clone(), indices, leaf_hashes, required("proof", answer.proof)?.to_merkle()?)
    }

    /// The root that the log had with its first `size` entries, traced to `head`.
    async fn root_at(&self, size: TreeSize, head: &VerifiedHead) -> Result<Hash, ReadError> {
        if size == head.size() {
            return Ok(*head.root());
        }
        if size.is_empty() {
            return Ok(EMPTY_ROOT);
        }
        let root = frontier_before(self.appender(), size, head.size()).await?.root();
        let proof = fetch_consistency(self.appender(), size, head.size()).await?;
        verify_consistency(size, &root, head.size(), head.root(), &proof)?;
        Ok(root)
    }

    async fn fetch_multi(
        &self,
        indices: &[LeafIndex],
        tree_size: u64,
    ) -> Result<v1::GetMultiInclusionProofResponse, CallError> {
        let indices = indices.iter().map(|index| index.get()).collect();
        let request = v1::GetMultiInclusionProofRequest { log: self.name(), indices, tree_size };
        call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
            log.get_multi_inclusion_proof(request).await
        })
        .await
    }

    async fn prove_target(&self, target: Target) -> Result<VerifiedProof, ReadError> {
        let known = self.follower().kept().await?;
        let asked = target.clone();
        let request = v1::GetInclusionProofRequest { log: self.name(), target: Some(target), tree_size: 0 };
        let answer = call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
            log.get_inclusion_proof(request).await
        })
        .await?;
        let head = self.follower().accept_message(answer.head, known.as_ref()).await?;
        let message = required("proof", answer.proof)?;
        if matches!(asked, Target::Index(index) if index != message.index) {
            return Err(ReadError::WrongAnswer("a proof of another index"));
        }
        let index = leaf_index("proof.index", message.index)?;
        let leaf_hash = hash("leaf_hash", &answer.leaf_hash)?;
        let proof = message.to_merkle()?;
        verify_inclusion(leaf_hash, index, head.size(), &proof, head.root())?;
        Ok(VerifiedProof { index, leaf_hash, proof, head })
    }
}

/// Checks the one proof that all these leaves are under the head.
pub(crate) fn verified_multi(
    head: VerifiedHead,
    indices: Vec<LeafIndex>,
    leaf_hashes: Vec<Hash>,
    proof: MultiProof,
) -> Result<VerifiedMulti, ReadError> {
    verify_multi(&indices, &leaf_hashes, head.size(), &proof, head.root())?;
    Ok(VerifiedMulti { indices, leaf_hashes, proof, head })
}
