//! Following a log's heads: each new one must extend the last one that was kept.
//!
//! ```text
//! offered against kept     what must hold                                   otherwise
//! same size                same root                                        SplitView
//! larger                   consistency proof from the kept one; it is kept  SplitView, NotConsistent
//! smaller, fresh answer    never                                            Rollback
//! smaller, older answer    consistency proof to the kept one                SplitView, NotConsistent
//! none at all              the root of no entries                           SplitView
//! ```
//!
//! A proof that fails may just be garbage. It is a split view, with evidence, where the server's own answers show that
//! the larger tree begins with another one than the log signed; [`HeadError::NotConsistent`] says that nothing is
//! shown, for the log or against it.
//!
//! An answer is *fresh* where the larger head was known before the question was asked. A proof that an append
//! or a repeat of one returns may rightly be older.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};

use graven_merkle::{ConsistencyProof, TreeSize, VerifyError, verify_consistency};
use graven_note::{RotationError, VerifiedCheckpoint, VerifiedEvidence};
use graven_proto::{
    convert::{FieldError, required},
    v1,
};
use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};

use crate::{
    Appender, CallError, HeadStore, LogClient, Trust, UntrustedHead, VerifiedHead, call::call_log,
    range::frontier_before, trust::asked_now,
};

/// How often a head is compared anew because another program moved the head store on.
const MAX_STORE_RACES: u32 = 16;

/// Why there is no verified tree head.
#[derive(Debug, Error)]
pub enum HeadError {
    /// The server did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is malformed: the server is at fault.
    #[error(transparent)]
    Answer(#[from] FieldError),
    /// The head is not signed as it must be.
    #[error("the server's tree head is not to be trusted: {0}")]
    Untrusted(#[from] UntrustedHead),
    /// The log went back: it offers a smaller tree than it signed before.
    #[error("rollback: the log offers {} entries, but signed a head of {} before; keep both notes and ask its operator", .offered.size(), .kept.size())]
    Rollback {
        /// The head that was kept.
        kept: VerifiedHead,
        /// The head that is offered now.
        offered: VerifiedHead,
    },
    /// The log signed two trees that cannot be of one log: proof that it shows different people different contents.
    #[error("split view, and it is proven: {0}; publish the evidence")]
    SplitView(Box<VerifiedEvidence>),
    /// The server does not show that the larger of two signed trees extends the smaller. It may be the log or only the
    /// server that is at fault: a proof that fails proves nothing.
    #[error("the server cannot show that the log's tree of {} entries extends the one of {} that was signed before: {reason}; this proves nothing yet, keep both notes and ask the log's operator", .later.size(), .earlier.size())]
    NotConsistent {
        /// The smaller tree.
        earlier: VerifiedHead,
        /// The larger tree.
        later: VerifiedHead,
        /// What is wrong with the proof.
        reason: VerifyError,
    },
    /// The head that was kept is not signed by the keys that are trusted now.
    #[error(
        "the tree head kept from before is not of the keys trusted now: {0}; if the keys were changed on purpose, remove the kept head"
    )]
    Kept(UntrustedHead),
    /// The log's keys changed, and the change cannot be followed.
    #[error("the log's new keys are not to be trusted: {0}; ask its operator")]
    Rotation(#[from] RotationError),
    /// A change of the log's keys is not in the log.
    #[error(
        "the log's new keys are not to be trusted: their announcement is not in the log: {0}; ask its operator"
    )]
    Unannounced(VerifyError),
    /// The head store failed.
    #[error("the last tree head cannot be read or kept: {0}")]
    Store(#[from] io::Error),
}

impl LogClient {
    /// The log's newest tree head: signed as trusted, and an extension of the last one kept.
    ///
    /// # Errors
    /// See [`HeadError`]; [`HeadError::Rollback`] and [`HeadError::SplitView`] mean that the log misbehaves.
    pub async fn tree_head(&self) -> Result<VerifiedHead, HeadError> {
        let known = self.follower().kept().await?;
        let request = v1::GetTreeHeadRequest { log: self.name() };
        let answer = call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
            log.get_tree_head(request).await
        })
        .await?;
        self.follower().accept_message(answer.head, known.as_ref()).await
    }

    /// How the log stands with its witnesses, as its server says: for people to look at, and not verified. `None` where it has
    /// none. Which of them cosigned a head is in the [`VerifiedHead`].
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn witness_state(&self) -> Result<Option<v1::WitnessState>, CallError> {
        let request = v1::GetTreeHeadRequest { log: self.name() };
        let answer = call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
            log.get_tree_head(request).await
        })
        .await?;
        Ok(answer.witnesses)
    }

    /// The last head that was verified and kept, without asking the server. `None` before the first one.
    ///
    /// # Errors
    /// The head store cannot be read, or holds a head of other keys.
    pub async fn kept_head(&self) -> Result<Option<VerifiedHead>, HeadError> {
        self.follower().kept().await
    }
}

/// Holds a log to the last head that it was seen to sign.
pub(crate) struct Follower {
    pub(crate) log: Appender,
    pub(crate) trust: RwLock<Trust>,
    pub(crate) store: Arc<dyn HeadStore>,
    /// Whether the rotations that the store keeps were followed.
    pub(crate) rotations_loaded: OnceCell<()>,
    /// The head in the store as last read, so that its signatures are verified once. One comparison at a time:
    /// many appends that wait for one checkpoint fetch one consistency proof.
    last: Mutex<Option<VerifiedHead>>,
}

impl Follower {
    pub(crate) fn new(log: Appender, trust: Trust, store: Arc<dyn HeadStore>) -> Self {
        let (trust, rotations_loaded) = (RwLock::new(trust), OnceCell::new());
        Self { log, trust, store, rotations_loaded, last: Mutex::new(None) }
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The head kept now. Ask before a request whose answer must not be older.
    pub(crate) async fn kept(&self) -> Result<Option<VerifiedHead>, HeadError> {
        let mut last = self.last.lock().await;
        self.reload(&mut last).await?;
        Ok(last.clone())
    }

    /// Verifies the head of an answer and holds it against the one kept. See [`accept`](Self::accept).
    pub(crate) async fn accept_message(
        &self,
        head: Option<v1::TreeHead>,
        known: Option<&VerifiedHead>,
    ) -> Result<VerifiedHead, HeadError> {
        let head = required("head", head)?;
        self.load_rotations().await?;
        let verified = match self.trust().verify_signed(&head.checkpoint) {
            Ok(verified) => {
                self.follow_new_signers(&verified).await?;
                verified
            }
            // New keys may have signed it that are not known yet.
            Err(_) if self.follow_rotations().await? => self.trust().verify_signed(&head.checkpoint)?,
            Err(refused) => return Err(self.refuse(&head.checkpoint, refused).await),
        };
        let head = self.accept(verified, known).await?;
        // Only now: a head that contradicts another is worth more than one that is old.
        self.trust().check_fresh(&head).map_err(UntrustedHead::from)?;
        Ok(head)
    }

    /// Holds `offered`, whose signatures are good, against the head kept, and keeps it if it is newer.
    /// `known` is the head that was kept before the question was asked, if the answer must not be older.
    pub(crate) async fn accept(
        &self,
        offered: VerifiedHead,
        known: Option<&VerifiedHead>,
    ) -> Result<VerifiedHead, HeadError> {
        if let Some(kept) = known.filter(|known| known.size() > offered.size()) {
            return Err(HeadError::Rollback { kept: kept.clone(), offered });
        }
        let false_empty = VerifiedEvidence::of_empty(offered.verified());
        false_empty.map_or(Ok(()), |evidence| Err(self.split_view(evidence)))?;
        let mut last = self.last.lock().await;
        for _ in 0..MAX_STORE_RACES {
            self.reload(&mut last).await?;
            if let Some(kept) = &*last {
                self.compare(kept, &offered).await?;
                if kept.size() >= offered.size() {
                    return Ok(offered);
                }
            }
            if self.replace(last.as_ref(), &offered).await? {
                *last = Some(offered.clone());
                return Ok(offered);
            }
        }
        Err(io::Error::other("other programs keep changing the kept head").into())
    }

    /// Whether both heads can be of one log: of two sizes, by the server's proof.
    pub(crate) async fn compare(&self, kept: &VerifiedHead, offered: &VerifiedHead) -> Result<(), HeadError> {
        let conflict = VerifiedEvidence::of_heads(kept.verified(), offered.verified());
        conflict.map_or(Ok(()), |evidence| Err(self.split_view(evidence)))?;
        let (earlier, later) = if kept.size() <= offered.size() { (kept, offered) } else { (offered, kept) };
        let proof = fetch_consistency(&self.log, earlier.size(), later.size()).await?;
        let verified = verify_consistency(earlier.size(), earlier.root(), later.size(), later.root(), &proof);
        let Err(reason) = verified else { return Ok(()) };
        match self.other_beginning(earlier.verified(), later.verified(), proof).await {
            Some(evidence) => Err(self.split_view(evidence)),
            None => Err(HeadError::NotConsistent { earlier: earlier.clone(), later: later.clone(), reason }),
        }
    }

    /// Evidence from the server's own answers, where they hold together: the root of the beginning that the later tree
    /// has, and the proof from there.
    async fn other_beginning(
        &self,
        earlier: &VerifiedCheckpoint,
        later: &VerifiedCheckpoint,
        proof: ConsistencyProof,
    ) -> Option<VerifiedEvidence> {
        let (from, to) = (earlier.checkpoint().size(), later.checkpoint().size());
        let beginning = frontier_before(&self.log, from, to).await.ok()?;
        VerifiedEvidence::of_beginning(earlier, later, beginning.root(), proof)
    }

    /// A head that is not believed, for want of its quorum perhaps, may still be the log's own, and contradict what it
    /// signed before: so does whoever stole its key.
    async fn refuse(&self, note: &[u8], refused: UntrustedHead) -> HeadError {
        match self.contradiction(note).await {
            Some(evidence) => self.split_view(evidence),
            None => refused.into(),
        }
    }

    async fn contradiction(&self, note: &[u8]) -> Option<VerifiedEvidence> {
        let trust = self.trust();
        let signed = VerifiedCheckpoint::open(note, trust.origin(), trust.keys()).ok()?;
        let kept = self.kept().await.ok()??;
        let kept = kept.verified();
        let (size, known) = (signed.checkpoint().size(), kept.checkpoint().size());
        if size == known {
            return VerifiedEvidence::of_heads(kept, &signed);
        }
        let (earlier, later) = if known < size { (kept, &signed) } else { (&signed, kept) };
        let proof = fetch_consistency(&self.log, known.min(size), known.max(size)).await.ok()?;
        self.other_beginning(earlier, later, proof).await
    }

    fn split_view(&self, evidence: VerifiedEvidence) -> HeadError {
        let asked = format!("{} for log {:?}, over gRPC", self.log.pool().address(), self.log.name());
        HeadError::SplitView(Box::new(evidence.asking([asked_now(&asked)])))
    }

    async fn reload(&self, last: &mut Option<VerifiedHead>) -> Result<(), HeadError> {
        self.load_rotations().await?;
        let (store, origin) = (Arc::clone(&self.store), self.trust().origin().clone());
        let note = blocking(move || store.load(&origin)).await?;
        let unchanged = last.as_ref().map(|head| head.note().as_bytes()) == note.as_deref();
        if !unchanged {
            // It was fresh when it was kept.
            let head = note.map(|note| self.trust().verify_signed(&note)).transpose();
            *last = head.map_err(HeadError::Kept)?;
        }
        Ok(())
    }

    async fn replace(&self, kept: Option<&VerifiedHead>, new: &VerifiedHead) -> Result<bool, HeadError> {
        let (store, origin) = (Arc::clone(&self.store), self.trust().origin().clone());
        let (kept, new) = (kept.cloned(), new.clone());
        let replaced = blocking(move || {
            store.replace(&origin, kept.as_ref().map(|head| head.note().as_bytes()), new.note().as_bytes())
        });
        Ok(replaced.await?)
    }
}

/// The server's proof that the tree of `from` entries begins that of `to`, not verified. Proofs that are empty
/// anyway are not asked for.
pub(crate) async fn fetch_consistency(
    log: &Appender,
    from: TreeSize,
    to: TreeSize,
) -> Result<ConsistencyProof, FetchError> {
    if let Some(empty) = empty_proof(from, to) {
        return Ok(empty);
    }
    let request = v1::GetConsistencyProofRequest {
        log: log.name().to_owned(),
        first_size: from.get(),
        second_size: to.get(),
    };
    let answer = call_log(log.pool(), log.pool().retries(), &request, |mut log, request| async move {
        log.get_consistency_proof(request).await
    })
    .await?;
    Ok(required("proof", answer.proof)?.to_merkle()?)
}

/// The proof between these sizes where it needs no hash.
pub(crate) fn empty_proof(from: TreeSize, to: TreeSize) -> Option<ConsistencyProof> {
    (from.is_empty() || from == to).then(|| ConsistencyProof::from_hashes(Vec::new()).ok()).flatten()
}

/// Why nothing well-formed was fetched.
#[derive(Debug)]
pub(crate) enum FetchError {
    Call(CallError),
    Answer(FieldError),
}

impl From<CallError> for FetchError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<FieldError> for FetchError {
    fn from(error: FieldError) -> Self {
        Self::Answer(error)
    }
}

impl From<FetchError> for HeadError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Call(error) => Self::Call(error),
            FetchError::Answer(error) => Self::Answer(error),
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
