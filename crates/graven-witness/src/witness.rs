//! The rules of a witness, and what it answers.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use graven_merkle::{ConsistencyProof, TreeSize, VerifyError, verify_consistency};
use graven_note::evidence::Asked;
use graven_note::witness::{AddCheckpoint, Refused, SignSubtree, WireError};
use graven_note::{
    Checkpoint, LocalSigner, Origin, SignatureLine, SignedNote, VerifiedCheckpoint, VerifiedEvidence,
    VerifierKey, sign_line,
};
use graven_store::evidence;
use graven_store::fs::{Fs, Lock};
use metrics::counter;
use parking_lot::{Mutex, RwLock};

use crate::home::{self, HomeError, KnownLog};
use crate::memory::{LogHash, MAX_REMEMBERED_BYTES, Memory, MemoryError, Remembered};

/// Seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// For how long what was read of a log counts: an operator who ended a key is obeyed within that time.
const MAX_KNOWN_AGE: Duration = Duration::from_secs(1);

/// A witness that is at work.
pub struct Witness {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    signers: Arc<Vec<LocalSigner>>,
    memory: Arc<Memory>,
    clock: Clock,
    known: RwLock<HashMap<Origin, (Instant, Arc<KnownLog>)>>,
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
        self.add(AddCheckpoint::parse(body)?, "add-checkpoint: what the log wants cosigned").await
    }

    /// Cosigns a checkpoint, if it may, wherever it comes from: `asked` is what evidence says of that.
    pub(crate) async fn add(
        self: &Arc<Self>,
        request: AddCheckpoint,
        asked: &str,
    ) -> Result<Vec<SignatureLine>, Refused> {
        let (old_size, asked) = (request.old_size, asked.to_owned());
        let update = self.blocking(move |witness| witness.check(&request, &asked)).await?;
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

    /// The logs that it knows.
    pub(crate) async fn known_logs(self: &Arc<Self>) -> Result<Vec<KnownLog>, Refused> {
        let read = |witness: &Self| home::known_logs(&*witness.fs, &witness.dir);
        self.blocking(move |witness| read(witness).map_err(|error| Refused::Failed(error.to_string()))).await
    }

    /// A checkpoint of the log with this origin, with the signatures of the log that were verified.
    pub(crate) async fn signed(
        self: &Arc<Self>,
        origin: &Origin,
        note: Bytes,
    ) -> Result<(Checkpoint, SignedNote), Refused> {
        let origin = origin.clone();
        self.blocking(move |witness| {
            let verified = witness.signed_by_log(&origin, &note)?;
            let own = verified.only_verified(&[]).map_err(|error| Refused::Failed(error.to_string()))?;
            Ok((verified.checkpoint().clone(), own))
        })
        .await
    }

    /// Whether the tree of a checkpoint that the log signed is the beginning of what is remembered of it.
    pub(crate) async fn begins(
        self: &Arc<Self>,
        note: SignedNote,
        known: Remembered,
        proof: ConsistencyProof,
        asked: &str,
    ) -> Result<(), Refused> {
        let asked = asked.to_owned();
        self.blocking(move |witness| {
            let earlier = witness.signed_by_log(known.checkpoint.origin(), note.as_str().as_bytes())?;
            let (from, to) = (earlier.checkpoint(), &known.checkpoint);
            verify_consistency(from.size(), from.root(), to.size(), to.root(), &proof).map_err(|error| {
                if let Some(known) = witness.reopen(&known) {
                    witness.accuse(&earlier, &known, &proof, &error, &asked);
                }
                Refused::Inconsistent(error)
            })
        })
        .await
    }

    /// Everything that must hold before an update is remembered, but for the size being the last one still.
    fn check(&self, request: &AddCheckpoint, asked: &str) -> Result<Remembered, Refused> {
        let verified = self.signed_by_log(request.checkpoint.origin(), request.note.as_str().as_bytes())?;
        let known = self.memory.of(&request.checkpoint.origin().sha256());
        if let Err(refused) = request.follows(known.as_ref().map(|known| &known.checkpoint)) {
            let why = known.as_ref().and_then(|known| contradicts(&known.checkpoint, request, &refused));
            if let Some(why) = why
                && let Some(known) = known.and_then(|known| self.reopen(&known))
            {
                self.accuse(&known, &verified, &request.proof, &why, asked);
            }
            return Err(refused);
        }
        let note = verified.only_verified(&[]).map_err(|error| Refused::Failed(error.to_string()))?;
        if note.as_str().len() > MAX_REMEMBERED_BYTES {
            return Err(Refused::Malformed(WireError::TooLarge(MAX_REMEMBERED_BYTES)));
        }
        Ok(Remembered { checkpoint: request.checkpoint.clone(), note, time_seconds: (self.clock)() })
    }

    /// What is remembered, as what the log signed.
    fn reopen(&self, known: &Remembered) -> Option<VerifiedCheckpoint> {
        self.signed_by_log(known.checkpoint.origin(), known.note.as_str().as_bytes()).ok()
    }

    /// Where the log itself signed what cannot both be true, leaves that behind for anybody to check. A proof that merely
    /// fails shows nothing of the kind.
    fn accuse(
        &self,
        earlier: &VerifiedCheckpoint,
        later: &VerifiedCheckpoint,
        proof: &ConsistencyProof,
        error: &VerifyError,
        asked: &str,
    ) {
        let origin = later.checkpoint().origin();
        let evidence = VerifiedEvidence::of_refusal(Some(earlier), later, proof, error);
        let Some(evidence) = evidence else { return };
        counter!("graven_witness_split_views_total").increment(1);
        let asked = Asked::new((self.clock)(), asked);
        let kept = evidence::keep(&*self.fs, &self.dir.join("evidence"), &evidence.asking([asked]));
        match kept.map(|path| path.display().to_string()) {
            Ok(path) => tracing::error!(%origin, path, "SPLIT VIEW: the log signed what cannot both be true"),
            Err(error) => tracing::error!(%origin, %error, "SPLIT VIEW, and its evidence cannot be kept"),
        }
    }

    fn signed_by_log(&self, origin: &Origin, note: &[u8]) -> Result<VerifiedCheckpoint, Refused> {
        let open = |log: &KnownLog| log.current.open(note, origin).map_err(Refused::NotSigned);
        let known = self.known.read().get(origin).cloned();
        if let Some((read, log)) = &known
            && read.elapsed() < MAX_KNOWN_AGE
            && let Ok(verified) = open(log)
        {
            return Ok(verified);
        }
        // The operator may have added the log, or a key, or ended one meanwhile.
        open(&*self.read_log(origin)?)
    }

    fn read_log(&self, origin: &Origin) -> Result<Arc<KnownLog>, Refused> {
        let read = home::known_log(&*self.fs, &self.dir, origin);
        let log = read.map_err(|error| Refused::Failed(error.to_string()))?.ok_or(Refused::UnknownLog)?;
        let log = Arc::new(log);
        self.known.write().insert(origin.clone(), (Instant::now(), log.clone()));
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
        let origin = request.checkpoint.origin();
        if !self.known.read().contains_key(origin) {
            self.read_log(origin)?;
        }
        Ok(vec![request.cosign(&self.signers)?])
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

/// What is wrong with a refused request, where that may be the log's contradiction.
fn contradicts(known: &Checkpoint, request: &AddCheckpoint, refused: &Refused) -> Option<VerifyError> {
    let offered = &request.checkpoint;
    match refused {
        Refused::Inconsistent(why) => Some(why.clone()),
        // Whatever the log believes was cosigned last: of one size there is one root.
        Refused::Conflict(size) if *size == offered.size() => {
            verify_consistency(*size, known.root(), *size, offered.root(), &request.proof).err()
        }
        _ => None,
    }
}
