//! Verified checkpoints, and what two of them can prove against a log.

use graven_merkle::TreeSize;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::name::SignatureType;
use crate::note::{NoteError, SignatureLine, SignedNote};
use crate::open::{OpenError, VerifiedNote};
use crate::vkey::{VerifiedSignature, VerifierKey};

/// A checkpoint that a log's own key signed, with the exact note it came in.
///
/// Only checking makes one: [`VerifiedCheckpoint::open`], or a [`Policy`](crate::Policy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: VerifiedNote,
    time_seconds: Option<u64>,
}

/// Why a note is not a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyCheckpointError {
    /// Not a note, or not signed as demanded.
    #[error(transparent)]
    Note(#[from] OpenError),
    /// The note's text is not a checkpoint.
    #[error("the note is not a checkpoint: {0}")]
    NotACheckpoint(#[from] CheckpointError),
    /// It is another log's.
    #[error("the checkpoint is of log {found:?}, not of {expected:?}")]
    WrongOrigin {
        /// The log that was asked for.
        expected: String,
        /// The log in the note.
        found: String,
    },
    /// Extension lines under ML-DSA-44 signatures only, which don't cover them.
    #[error("the log's signatures do not cover the checkpoint's extension lines: anyone may have added them")]
    UnsignedExtensions,
    /// Only keys signed it that end at a smaller size.
    #[error(
        "it is signed by keys alone that a rotation ended at {last_size} entries: whoever holds them still may have been \
         robbed, or withholds the log's new keys"
    )]
    Ended {
        /// The largest tree that they may sign.
        last_size: TreeSize,
    },
}

impl From<NoteError> for VerifyCheckpointError {
    fn from(error: NoteError) -> Self {
        Self::Note(error.into())
    }
}

impl VerifiedCheckpoint {
    /// Opens a checkpoint of the log `origin` with the log's keys.
    ///
    /// One valid signature by one of `keys` suffices and an invalid one by any of them refuses the note; see
    /// [`VerifiedNote::require_keys`] to demand more. The keys' names need not be the origin: older logs
    /// differ there, and it is the caller who binds the keys to the origin.
    pub fn open(note: &[u8], origin: &Origin, keys: &[VerifierKey]) -> Result<Self, VerifyCheckpointError> {
        let note = SignedNote::parse(note)?;
        Self::of_note(note.verify(keys)?, origin, keys)
    }

    /// Judges a note that was opened with `log_keys` and perhaps with other keys too.
    pub(crate) fn of_note(
        note: VerifiedNote,
        origin: &Origin,
        log_keys: &[VerifierKey],
    ) -> Result<Self, VerifyCheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != origin {
            let (expected, found) = (origin.to_string(), checkpoint.origin().to_string());
            return Err(VerifyCheckpointError::WrongOrigin { expected, found });
        }
        let by_log: Vec<_> = log_keys.iter().filter_map(|key| note.signature_by(key)).collect();
        if by_log.is_empty() {
            return Err(OpenError::Unverified.into());
        }
        if !checkpoint.extensions().is_empty()
            && by_log.iter().all(|signature| leaves_extensions_out(signature))
        {
            return Err(VerifyCheckpointError::UnsignedExtensions);
        }
        let time_seconds = by_log.iter().filter_map(|signature| signature.timestamp()).max();
        Ok(Self { checkpoint, note, time_seconds })
    }

    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The latest time in the log's own signatures, in seconds since the Unix epoch: how fresh the checkpoint
    /// is. `None` when no signature of the log carries a time.
    pub fn time(&self) -> Option<u64> {
        self.time_seconds
    }

    /// The note, with its exact bytes and the signatures that were verified.
    pub fn note(&self) -> &VerifiedNote {
        &self.note
    }

    /// The note with those lines alone that were verified, or that `more` of the keys verify; of each key one. Whoever keeps a
    /// checkpoint keeps no other lines: forged under some name, they could do harm later.
    pub fn only_verified(&self, more: &[VerifierKey]) -> Result<SignedNote, NoteError> {
        let (note, verified) = (self.note.note(), self.note.signatures());
        let line_of =
            |is_its: &dyn Fn(&SignatureLine) -> bool| note.signatures().iter().rev().find(|it| is_its(it));
        let by_log = verified.iter().filter_map(|signature| line_of(&|line| line.claims(signature.key())));
        let by_more = more.iter().filter_map(|key| {
            line_of(&|line| line.claims(key) && key.verify(note.text().as_bytes(), line.signature()).is_ok())
        });
        SignedNote::new(note.text(), &by_log.chain(by_more).cloned().collect::<Vec<_>>())
    }
}

fn leaves_extensions_out(signature: &VerifiedSignature) -> bool {
    signature.key().signature_type() == SignatureType::MlDsa44
}

/// Proof that a log equivocated: two of its checkpoints of one size with different roots.
///
/// Both notes are kept whole, so that anyone with the log's keys can check the accusation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    first: VerifiedCheckpoint,
    second: VerifiedCheckpoint,
}

impl Equivocation {
    /// The conflict of two checkpoints: one origin, one size, two roots. `None` where there is none to see;
    /// checkpoints of different sizes need a consistency proof instead.
    pub fn between(first: &VerifiedCheckpoint, second: &VerifiedCheckpoint) -> Option<Self> {
        let (a, b) = (first.checkpoint(), second.checkpoint());
        let conflict = a.origin() == b.origin() && a.size() == b.size() && a.root() != b.root();
        conflict.then(|| Self { first: first.clone(), second: second.clone() })
    }

    /// The two checkpoints, in the order they were given.
    pub fn checkpoints(&self) -> (&VerifiedCheckpoint, &VerifiedCheckpoint) {
        (&self.first, &self.second)
    }
}
