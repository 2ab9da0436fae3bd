//! The rules of a witness, and what it answers.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use graven_merkle::{
    ConsistencyProof, EMPTY_ROOT, TreeSize, VerifyError, verify_consistency, verify_subtree_consistency,
};
use graven_note::cosignature::CosignedSubtree;
use graven_note::evidence::Asked;
use graven_note::witness::{AddCheckpoint, SignSubtree, WireError};
use graven_note::{
    LocalSigner, Origin, SignError, SignatureLine, SignatureType, SignedNote, Signer as _,
    VerifiedCheckpoint, VerifiedEvidence, VerifierKey, VerifyCheckpointError, sign_line,
};
use graven_store::fs::{Fs, Lock};
use metrics::counter;
use parking_lot::{Mutex, RwLock};

use crate::home::{self, HomeError, KnownLog};
use crate::memory::{LogHash, Memory, MemoryError, Remembered};

/// Seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why nothing was cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a request.
    #[error("malformed: {0}")]
    Malformed(#[from] WireError),
    /// The old size is larger than the checkpoint's.
    #[error("the old size is larger than the checkpoint's")]
    OldTooLarge,
    /// Nobody told the witness of this log.
    #[error("this witness does not know the log: its operator can add it")]
    UnknownLog,
    /// Not signed by the log, or not by this witness where that is asked for.
    #[error("not signed by a key that counts here: {0}")]
    NotSigned(VerifyCheckpointError),
    /// The old size is not that of the last cosigned checkpoint.
    #[error("the last cosigned size is {0}")]
    Conflict(TreeSize),
    /// The proof does not show it, or nothing could.
    #[error("not shown to be consistent with what was cosigned before: {0}")]
    Inconsistent(&'static str),
    /// The witness has no key that signs subtrees.
    #[error("this witness has no ML-DSA-44 key, and no other signs subtrees")]
    NoSubtrees,
    /// More is waiting than is good.
    #[error("too many requests wait: try again")]
    Overloaded,
    /// The witness is in trouble.
    #[error("the witness failed: {0}")]
    Failed(String),
}

/// A witness that is at work.
pub struct Witness {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    signers: Arc<Vec<LocalSigner>>,
    memory: Arc<Memory>,
    clock: Clock,
    known: RwLock<HashMap<Origin, Arc<KnownLog>>>,
    /// What was cosigned last, as it is shown to monitors.
    shown: Mutex<HashMap<LogHash, (TreeSize, u64, SignedNote)>>,
    _lock: Box<dyn Lock>,
}

impl Witness {
    /// Opens the witness in `dir`, and the thread that makes durable what it remembers. The thread ends with
    /// [`close`](Self::close), or with the first error of storage: then the process has to end.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(Arc<Self>, JoinHandle<io::Result<()>>), HomeError> {
        let home = home::open(&fs, dir)?;
        let memory = Arc::new(home.memory);
        let writer = memory.clone();
        let writer = thread::Builder::new().name("graven-witness".to_owned()).spawn(move || writer.run())?;
        let witness = Self {
            fs,
            dir: dir.to_owned(),
            signers: Arc::new(home.signers),
            memory,
            clock: Arc::new(clock),
            known: RwLock::default(),
            shown: Mutex::default(),
            _lock: home.lock,
        };
        Ok((Arc::new(witness), writer))
    }

    /// Lets the writer finish what waits, and end.
    pub fn close(&self) {
        self.memory.close();
    }

    /// The witness's keys.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.signers.iter().map(graven_note::Signer::vkey)
    }

    /// The last checkpoint of a log, as remembered.
    pub fn remembered(&self, origin: &Origin) -> Option<Remembered> {
        self.memory.of(&origin.sha256())
    }

    /// Cosigns a checkpoint, if it may: C2SP tlog-witness, `add-checkpoint`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn add_checkpoint(self: &Arc<Self>, body: &[u8]) -> Result<Vec<SignatureLine>, Refused> {
        let request = AddCheckpoint::parse(body)?;
        let old_size = request.old_size;
        let update = self.blocking(move |witness| witness.check(&request)).await?;
        let time_seconds = self.memory.swap(update.clone(), old_size).await.map_err(|error| match error {
            MemoryError::Conflict(size) => Refused::Conflict(size),
            MemoryError::Overloaded => Refused::Overloaded,
            MemoryError::Failed => Refused::Failed(error.to_string()),
        })?;
        // Only now: it is remembered, whatever happens.
        self.blocking(move |witness| witness.cosign(&Remembered { time_seconds, ..update })).await
    }

    /// Cosigns a subtree of a tree that this witness cosigned: C2SP tlog-witness, `sign-subtree`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn sign_subtree(self: &Arc<Self>, body: &[u8]) -> Result<Vec<SignatureLine>, Refused> {
        let request = SignSubtree::parse(body)?;
        self.blocking(move |witness| witness.cosign_subtree(&request)).await
    }

    /// The last checkpoint of a log with the log's signatures and the witness's.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn checkpoint(self: &Arc<Self>, log: LogHash) -> Result<Option<SignedNote>, Refused> {
        let Some(last) = self.memory.of(&log) else { return Ok(None) };
        if let Some((size, _, note)) = self.shown.lock().get(&log)
            && *size == last.checkpoint.size()
        {
            return Ok(Some(note.clone()));
        }
        // It was cosigned by an earlier process, or is about to be: it is remembered, so it may be.
        self.blocking(move |witness| witness.cosign(&last)).await?;
        Ok(self.shown.lock().get(&log).map(|(_, _, note)| note.clone()))
    }

    /// Everything that must hold before an update is remembered, but for the size being the last one still.
    fn check(&self, request: &AddCheckpoint) -> Result<Remembered, Refused> {
        let verified = self.signed_by_log(request)?;
        let (checkpoint, old) = (&request.checkpoint, request.old_size);
        if old > checkpoint.size() {
            return Err(Refused::OldTooLarge);
        }
        let known = self.memory.of(&checkpoint.origin().sha256());
        let (size, root) = known.as_ref().map_or((TreeSize::ZERO, EMPTY_ROOT), |known| {
            (known.checkpoint.size(), *known.checkpoint.root())
        });
        if old != size {
            return Err(Refused::Conflict(size));
        }
        if checkpoint.size() == TreeSize::ZERO && *checkpoint.root() != EMPTY_ROOT {
            return Err(Refused::Inconsistent("the root of an empty tree is the hash of nothing"));
        }
        let consistent = verify_consistency(old, &root, checkpoint.size(), checkpoint.root(), &request.proof);
        if let Err(error) = consistent {
            if let Some(known) = &known {
                self.accuse(known, &verified, &request.proof, &error);
            }
            return Err(Refused::Inconsistent("the proof does not lead from the cosigned root to this one"));
        }
        let note = only_verified(&verified).map_err(|error| Refused::Failed(error.to_string()))?;
        Ok(Remembered { checkpoint: checkpoint.clone(), note, time_seconds: (self.clock)() })
    }

    /// Where the log itself signed what cannot both be true, leaves that behind for anybody to check. A proof that merely
    /// fails shows nothing of the kind.
    fn accuse(
        &self,
        known: &Remembered,
        offered: &VerifiedCheckpoint,
        proof: &ConsistencyProof,
        error: &VerifyError,
    ) {
        let origin = known.checkpoint.origin();
        let Some(log) = self.known.read().get(origin).cloned() else { return };
        let known = VerifiedCheckpoint::open(known.note.as_str().as_bytes(), origin, &log.keys);
        let Ok(known) = known else { return };
        let evidence = VerifiedEvidence::of_heads(&known, offered).or_else(|| match error {
            VerifyError::EarlierRootMismatch { computed, .. } => {
                VerifiedEvidence::of_beginning(&known, offered, *computed, proof.clone())
            }
            _ => None,
        });
        let Some(evidence) = evidence else { return };
        counter!("graven_witness_split_views_total").increment(1);
        let asked = Asked::new((self.clock)(), "add-checkpoint: what the log wants cosigned");
        let kept = home::keep_evidence(&*self.fs, &self.dir, &evidence.asking([asked]));
        match kept.map(|path| path.display().to_string()) {
            Ok(path) => tracing::error!(%origin, path, "SPLIT VIEW: the log signed what cannot both be true"),
            Err(error) => tracing::error!(%origin, %error, "SPLIT VIEW, and its evidence cannot be kept"),
        }
    }

    fn signed_by_log(&self, request: &AddCheckpoint) -> Result<VerifiedCheckpoint, Refused> {
        let origin = request.checkpoint.origin();
        let open = |log: &KnownLog| {
            VerifiedCheckpoint::open(request.note.as_str().as_bytes(), origin, &log.keys)
                .map_err(Refused::NotSigned)
        };
        let known = self.known.read().get(origin).cloned();
        if let Some(log) = &known
            && let Ok(verified) = open(log)
        {
            return Ok(verified);
        }
        // The operator may have added the log, or a key, meanwhile.
        open(&*self.read_log(origin)?)
    }

    fn read_log(&self, origin: &Origin) -> Result<Arc<KnownLog>, Refused> {
        let read = home::known_log(&*self.fs, &self.dir, origin);
        let log = read.map_err(|error| Refused::Failed(error.to_string()))?.ok_or(Refused::UnknownLog)?;
        let log = Arc::new(log);
        self.known.write().insert(origin.clone(), log.clone());
        Ok(log)
    }

    fn cosign(&self, update: &Remembered) -> Result<Vec<SignatureLine>, Refused> {
        let text = update.note.text();
        let sign = |signer| sign_line(text, signer, update.time_seconds);
        let lines = self.signers.iter().map(|signer| sign(signer)).collect::<Result<Vec<_>, _>>()?;
        let mut note = update.note.clone();
        for line in &lines {
            note = note.with_signature(line).map_err(|error| Refused::Failed(error.to_string()))?;
        }
        let (log, size) = (update.checkpoint.origin().sha256(), update.checkpoint.size());
        let mut shown = self.shown.lock();
        let is_newer =
            shown.get(&log).is_none_or(|(known, time, _)| (*known, *time) <= (size, update.time_seconds));
        if is_newer {
            shown.insert(log, (size, update.time_seconds, note));
        }
        Ok(lines)
    }

    fn cosign_subtree(&self, request: &SignSubtree) -> Result<Vec<SignatureLine>, Refused> {
        let checkpoint = &request.checkpoint;
        let origin = checkpoint.origin();
        if !self.known.read().contains_key(origin) {
            self.read_log(origin)?;
        }
        let own: Vec<_> = self.keys().cloned().collect();
        VerifiedCheckpoint::open(request.note.as_str().as_bytes(), origin, &own)
            .map_err(Refused::NotSigned)?;
        verify_subtree_consistency(
            request.subtree,
            &request.hash,
            checkpoint.size(),
            checkpoint.root(),
            &request.proof,
        )
        .map_err(|_| Refused::Inconsistent("the proof does not show the subtree in the checkpoint's tree"))?;
        let signs = |signer: &&LocalSigner| signer.vkey().signature_type() == SignatureType::MlDsa44;
        let signer = self.signers.iter().find(signs).ok_or(Refused::NoSubtrees)?;
        let subtree = CosignedSubtree { origin, subtree: request.subtree, hash: &request.hash };
        let signature = signer.sign_subtree(&subtree, 0)?;
        Ok(vec![SignatureLine::new(signer.vkey(), signature)])
    }

    /// Runs what takes processor time, away from the threads that serve connections.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let witness = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&witness)).await;
        done.unwrap_or_else(|error| Err(Refused::Failed(error.to_string())))
    }
}

impl From<SignError> for Refused {
    fn from(error: SignError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The note with the lines that were verified, each key's once.
fn only_verified(verified: &VerifiedCheckpoint) -> Result<SignedNote, graven_note::NoteError> {
    let note = verified.note().note();
    let by_log = verified
        .note()
        .signatures()
        .iter()
        .filter_map(|signature| note.signatures().iter().rev().find(|line| line.claims(signature.key())));
    SignedNote::new(note.text(), &by_log.cloned().collect::<Vec<_>>())
}
