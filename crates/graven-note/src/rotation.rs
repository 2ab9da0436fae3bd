//! Key rotation: a log's keys over its life, and the statement that hands it from one set of keys to the next.
//!
//! A statement is a C2SP signed-note. It is an entry of the log that it is about, so that nobody's keys are changed in
//! secret. Its text, each line ended by a newline:
//!
//! ```text
//! graven-rotation/v1
//! <origin>
//! <last size>          canonical decimal, at most 2^63 − 1
//! old <vkey>           1 to 8 lines: the keys that end
//! new <vkey>           1 to 8 lines: the keys that follow, none of them among the old
//! ```
//!
//! Two signatures make it valid: one by the log's *recovery key*, which is kept offline and is pinned beside the log's keys,
//! and one by a new key, which shows that somebody holds it. The log adds those of its old keys. (ML-DSA-44 keys sign
//! checkpoints alone, so at least one new key is Ed25519 or P-256.)
//!
//! ```text
//!  size 0 ───────── announced ───────── last size ──────────▶
//!  old keys ═══════════════════════════════════╡               sign no head above the last size
//!  new keys            ╞════════════════════════════════════   sign from the announcement on
//! ```
//!
//! A *history* is the rotations of a log in their order, each with the index of its entry:
//!
//! ```text
//! entry <index>        canonical decimal
//! <statement>          the note, verbatim
//! …
//! ```
//!
//! Whoever knows the statement takes a head above the last size from the new keys only. Up to there each key is as good as
//! it was: a head that was signed once is signed for ever.

use std::collections::BTreeSet;
use std::fmt;

use graven_merkle::{LeafIndex, TreeSize};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, InvalidOrigin, Origin};
use crate::note::{NoteError, SignedNote};
use crate::open::OpenError;
use crate::signer::{SignError, Signer, sign_line, sign_note};
use crate::verified::{VerifiedCheckpoint, VerifyCheckpointError};
use crate::vkey::{VerifierKey, VkeyError};
use crate::{SignatureType, decimal};

/// Keys on each side of a statement.
pub const MAX_ROTATED_KEYS: usize = 8;
/// Longest statement: it is an entry of the log.
pub const MAX_ROTATION_BYTES: usize = 65_535;
/// Rotations of one log. At one a week, that is for longer than any of its keys are safe.
pub const MAX_ROTATIONS: usize = 1024;

/// Longest history that is read.
pub const MAX_HISTORY_BYTES: usize = 16 << 20;

const HEADER: &str = "graven-rotation/v1";

/// What a statement says, signed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationText {
    origin: Origin,
    last_size: TreeSize,
    old: Vec<VerifierKey>,
    new: Vec<VerifierKey>,
}

/// A statement as it was received: well formed, and no more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    text: RotationText,
    note: SignedNote,
}

/// A statement that a log's recovery key and one of its new keys signed. Only [`Rotation::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRotation(Rotation);

/// Why bytes are no statement, or not one to be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RotationError {
    /// Too long, or not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not one of this format.
    #[error("no statement of a rotation: {0}")]
    Malformed(&'static str),
    /// Not an origin.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// Not a key.
    #[error(transparent)]
    Vkey(#[from] VkeyError),
    /// The recovery key did not sign it.
    #[error("the log's recovery key did not authorise it: {0}")]
    Unauthorised(OpenError),
    /// None of the new keys signed it.
    #[error("none of the new keys signed it: {0}")]
    Unheld(OpenError),
    /// It is about another log.
    #[error("it is about the log {0}")]
    OtherLog(Origin),
    /// It does not continue the keys that are known.
    #[error("it does not hand over from the keys that are known: a statement before it may be missing")]
    Unconnected,
    /// The last size is not above that of the rotation before.
    #[error("its last size, {found}, is not above that of the rotation before it, {before}")]
    Order {
        /// The last size of the statement.
        found: TreeSize,
        /// The last size of the one before.
        before: TreeSize,
    },
    /// A key would come back.
    #[error("the key {0} was one of the log's before: a key that ended must not come back")]
    Returns(Box<VerifierKey>),
}

impl RotationText {
    /// Says that `new` follow `old`, which sign nothing above `last_size`.
    ///
    /// # Errors
    /// There are too few keys or too many, one is on both sides, or no new key can sign a statement.
    pub fn new(
        origin: Origin,
        last_size: TreeSize,
        old: Vec<VerifierKey>,
        new: Vec<VerifierKey>,
    ) -> Result<Self, RotationError> {
        let fits = |keys: &[VerifierKey]| (1..=MAX_ROTATED_KEYS).contains(&keys.len());
        if !fits(&old) || !fits(&new) {
            return Err(RotationError::Malformed("it has 1 to 8 old and 1 to 8 new keys"));
        }
        let distinct: BTreeSet<_> = old.iter().chain(&new).map(ToString::to_string).collect();
        if distinct.len() != old.len() + new.len() {
            return Err(RotationError::Malformed("a key is named twice"));
        }
        if !new.iter().any(signs_statements) {
            return Err(RotationError::Malformed("none of the new keys is an Ed25519 or P-256 key"));
        }
        Ok(Self { origin, last_size, old, new })
    }

    /// Parses the text of a statement, signed or not.
    ///
    /// # Errors
    /// It is not one, or not as it would be written.
    pub fn parse(text: &str) -> Result<Self, RotationError> {
        const MALFORMED: RotationError = RotationError::Malformed("not the lines that it has");
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(RotationError::Malformed("it does not begin with graven-rotation/v1"));
        }
        let origin = Origin::new(lines.next().ok_or(MALFORMED)?)?;
        let last_size = lines.next().and_then(decimal::parse).and_then(TreeSize::new).ok_or(MALFORMED)?;
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for line in lines {
            let (side, vkey) = line.split_once(' ').ok_or(MALFORMED)?;
            let keys = match side {
                "old" if new.is_empty() => &mut old,
                "new" => &mut new,
                _ => return Err(MALFORMED),
            };
            if keys.len() == MAX_ROTATED_KEYS {
                return Err(RotationError::Malformed("it has 1 to 8 old and 1 to 8 new keys"));
            }
            keys.push(VerifierKey::parse(vkey)?);
        }
        let parsed = Self::new(origin, last_size, old, new)?;
        (parsed.to_string() == text).then_some(parsed).ok_or(MALFORMED)
    }

    /// The log.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The largest tree that the old keys sign.
    pub fn last_size(&self) -> TreeSize {
        self.last_size
    }

    /// The keys that end.
    pub fn old(&self) -> &[VerifierKey] {
        &self.old
    }

    /// The keys that follow.
    pub fn new_keys(&self) -> &[VerifierKey] {
        &self.new
    }

    /// The statement with the signature of the recovery key: authorised, and to be completed by the log.
    ///
    /// # Errors
    /// The key cannot sign it.
    pub fn authorise(&self, recovery: &dyn Signer) -> Result<Rotation, SignError> {
        let note = sign_note(&self.to_string(), &[recovery], 0)?;
        Ok(Rotation { text: self.clone(), note })
    }
}

impl fmt::Display for RotationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\n{}\n{}\n", self.origin, self.last_size)?;
        self.old.iter().try_for_each(|key| writeln!(f, "old {key}"))?;
        self.new.iter().try_for_each(|key| writeln!(f, "new {key}"))
    }
}

/// Whether keys of this type sign any text, and not checkpoints alone.
fn signs_statements(key: &VerifierKey) -> bool {
    matches!(key.signature_type(), SignatureType::Ed25519 | SignatureType::EcdsaP256)
}

impl Rotation {
    /// Parses a statement.
    ///
    /// # Errors
    /// It is longer than [`MAX_ROTATION_BYTES`], not a note, or its text is none of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, RotationError> {
        if bytes.len() > MAX_ROTATION_BYTES {
            return Err(RotationError::Malformed("it is longer than 65,535 bytes"));
        }
        let note = SignedNote::parse(bytes)?;
        Ok(Self { text: RotationText::parse(note.text())?, note })
    }

    /// What it says.
    pub fn text(&self) -> &RotationText {
        &self.text
    }

    /// Its exact bytes: the log's entry.
    pub fn as_bytes(&self) -> &[u8] {
        self.note.as_str().as_bytes()
    }

    /// The same with the signatures of those of `signers` whose keys it names and that can sign statements.
    ///
    /// # Errors
    /// A key cannot sign it.
    pub fn signed_by<'s>(self, signers: impl IntoIterator<Item = &'s dyn Signer>) -> Result<Self, SignError> {
        let Self { text, mut note } = self;
        for signer in signers {
            let key = signer.vkey();
            let is_named = text.old.contains(key) || text.new.contains(key);
            if is_named && signs_statements(key) && !note.signatures().iter().any(|line| line.claims(key)) {
                note = note.with_signature(&sign_line(note.text(), signer, 0)?)?;
            }
        }
        Ok(Self { text, note })
    }

    /// Checks that `recovery`, the recovery key of the log, authorised it.
    ///
    /// # Errors
    /// It did not, or its signature is wrong.
    pub fn check_authorised(&self, recovery: &VerifierKey) -> Result<(), RotationError> {
        let opened = self.note.clone().verify(std::slice::from_ref(recovery));
        opened.map(drop).map_err(RotationError::Unauthorised)
    }

    /// Checks that `recovery`, the recovery key of the log, authorised it, and that a new key signed it.
    ///
    /// # Errors
    /// A signature is missing, or wrong.
    pub fn verify(self, recovery: &VerifierKey) -> Result<VerifiedRotation, RotationError> {
        self.check_authorised(recovery)?;
        self.note.clone().verify(&self.text.new).map_err(RotationError::Unheld)?;
        Ok(VerifiedRotation(self))
    }
}

impl VerifiedRotation {
    /// The statement.
    pub fn rotation(&self) -> &Rotation {
        &self.0
    }

    /// What it says.
    pub fn text(&self) -> &RotationText {
        &self.0.text
    }
}

/// Writes a history.
pub fn format_history<'r>(rotations: impl IntoIterator<Item = (LeafIndex, &'r Rotation)>) -> String {
    rotations
        .into_iter()
        .map(|(index, rotation)| format!("entry {index}\n{}", rotation.note.as_str()))
        .collect()
}

/// Parses a history: well formed, and no more than that.
///
/// # Errors
/// It is longer than [`MAX_HISTORY_BYTES`], has more than [`MAX_ROTATIONS`], or is not as it would be written.
pub fn parse_history(bytes: &[u8]) -> Result<Vec<(LeafIndex, Rotation)>, RotationError> {
    const MALFORMED: RotationError = RotationError::Malformed("not a history of rotations");
    if bytes.len() > MAX_HISTORY_BYTES {
        return Err(RotationError::Malformed("the history is longer than 16 MiB"));
    }
    let mut rest = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
    let mut rotations = Vec::new();
    while !rest.is_empty() {
        let (index, after) =
            rest.strip_prefix("entry ").and_then(|it| it.split_once('\n')).ok_or(MALFORMED)?;
        let index = decimal::parse(index).and_then(LeafIndex::new).ok_or(MALFORMED)?;
        // A text has no empty line, and all that follows it are signature lines.
        let text = after.find("\n\n").ok_or(MALFORMED)? + 2;
        let lines: usize =
            after[text..].split_inclusive('\n').take_while(|line| line.starts_with('—')).map(str::len).sum();
        let (note, others) = after.split_at(text + lines);
        if rotations.len() == MAX_ROTATIONS {
            return Err(RotationError::Malformed("the history has more than 1,024 rotations"));
        }
        rotations.push((index, Rotation::parse(note.as_bytes())?));
        rest = others;
    }
    Ok(rotations)
}

/// The keys of one log: those that somebody pinned, and those that followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKeys {
    /// In the order in which they came.
    keys: Vec<VerifierKey>,
    /// Where sets of keys end: the last size of each, and its end among `keys`. Both ascend.
    ends: Vec<(TreeSize, usize)>,
}

impl LogKeys {
    /// Keys that no rotation is known of. A key that is given twice counts once.
    pub fn new(pinned: Vec<VerifierKey>) -> Self {
        let mut keys: Vec<VerifierKey> = Vec::with_capacity(pinned.len());
        for key in pinned {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Self { keys, ends: Vec::new() }
    }

    /// Follows a rotation of the log `origin`, and tells whether it says anything new.
    ///
    /// It ends the keys that it names. Keys that were pinned ahead of their rotation stay. Of the new keys those count whose type
    /// was pinned before, all where none is of such a type: who trusts one algorithm is not made to trust another.
    ///
    /// # Errors
    /// It is another log's, hands over from other keys, ends before its predecessor or brings a key back.
    pub fn follow(&mut self, rotation: &VerifiedRotation, origin: &Origin) -> Result<bool, RotationError> {
        let text = rotation.text();
        if text.origin != *origin {
            return Err(RotationError::OtherLog(text.origin.clone()));
        }
        let start = self.newest_start();
        let (ended, newest) = self.keys.split_at(start);
        // Each names its old keys, and no key comes back: so it is one that was followed before, or a later one.
        if ended.iter().any(|key| text.old.contains(key)) {
            return Ok(false);
        }
        let (ending, mut staying): (Vec<_>, Vec<_>) =
            newest.iter().cloned().partition(|key| text.old.contains(key));
        if ending.is_empty() {
            return Err(RotationError::Unconnected);
        }
        if let Some((before, _)) = self.ends.last().filter(|(before, _)| text.last_size <= *before) {
            return Err(RotationError::Order { found: text.last_size, before: *before });
        }
        if let Some(back) = text.new.iter().find(|key| ended.contains(key)) {
            return Err(RotationError::Returns(Box::new(back.clone())));
        }
        let is_pinned_type =
            |key: &VerifierKey| newest.iter().any(|known| known.signature_type() == key.signature_type());
        let has_any = text.new.iter().any(is_pinned_type);
        let new = text.new.iter().filter(|key| !has_any || is_pinned_type(key));
        let new: Vec<_> = new.filter(|key| !staying.contains(key)).cloned().collect();
        staying.extend(new);
        self.keys.truncate(start);
        self.keys.extend(ending);
        self.ends.push((text.last_size, self.keys.len()));
        self.keys.extend(staying);
        Ok(true)
    }

    /// These keys after a history of the log `origin`, as far as its recovery key authorised it, and what was new in it.
    ///
    /// # Errors
    /// One of the rotations is not to be followed: see [`RotationError`].
    pub fn after(
        &self,
        history: impl IntoIterator<Item = Rotation>,
        recovery: &VerifierKey,
        origin: &Origin,
    ) -> Result<(Self, Vec<VerifiedRotation>), RotationError> {
        let (mut keys, mut new, mut is_connected) = (self.clone(), Vec::new(), false);
        for rotation in history {
            let rotation = rotation.verify(recovery)?;
            match keys.follow(&rotation, origin) {
                // Those before the keys that were pinned lead up to them.
                Err(RotationError::Unconnected) if !is_connected => continue,
                Ok(true) => new.push(rotation),
                Ok(false) => {}
                Err(error) => return Err(error),
            }
            is_connected = true;
        }
        Ok((keys, new))
    }

    /// All of them, the newest last.
    pub fn all(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Those that no rotation ended.
    pub fn newest(&self) -> &[VerifierKey] {
        &self.keys[self.newest_start()..]
    }

    /// Those whose signature counts under a tree of `size`.
    pub fn valid_at(&self, size: TreeSize) -> &[VerifierKey] {
        &self.keys[self.span(size).0..]
    }

    /// Those that have to sign a tree of `size`: the set that had not ended before it.
    pub fn due_at(&self, size: TreeSize) -> &[VerifierKey] {
        let (start, end) = self.span(size);
        &self.keys[start..end]
    }

    /// Those whose signature counts under a note: all of them where it is no checkpoint.
    pub fn valid_for(&self, note: &[u8]) -> &[VerifierKey] {
        size_of(note).map_or(&self.keys, |size| self.valid_at(size))
    }

    /// Those that have to sign a note: the newest where it is no checkpoint.
    pub fn due_for(&self, note: &[u8]) -> &[VerifierKey] {
        size_of(note).map_or_else(|| self.newest(), |size| self.due_at(size))
    }

    /// The last size of a key, if a rotation ended it.
    pub fn last_size_of(&self, key: &VerifierKey) -> Option<TreeSize> {
        let at = self.keys.iter().position(|known| known == key)?;
        self.ends.iter().find(|(_, end)| at < *end).map(|(last_size, _)| *last_size)
    }

    /// Opens a checkpoint of the log `origin`, as [`VerifiedCheckpoint::open`] does, by the keys that count at its size.
    ///
    /// # Errors
    /// See [`VerifyCheckpointError`]; [`VerifyCheckpointError::Ended`] where only keys that had ended signed it.
    pub fn open(&self, note: &[u8], origin: &Origin) -> Result<VerifiedCheckpoint, VerifyCheckpointError> {
        let valid = self.valid_for(note);
        VerifiedCheckpoint::open(note, origin, valid).map_err(|error| self.explain(note, origin, error))
    }

    /// Why a note was refused: by its keys' end, where they would have done before.
    pub fn explain(
        &self,
        note: &[u8],
        origin: &Origin,
        error: VerifyCheckpointError,
    ) -> VerifyCheckpointError {
        let ended = &self.keys[..self.keys.len() - self.valid_for(note).len()];
        if !matches!(error, VerifyCheckpointError::Note(OpenError::Unverified)) {
            return error;
        }
        let Ok(opened) = VerifiedCheckpoint::open(note, origin, ended) else { return error };
        let signers = opened.note().signatures().iter();
        let last_size = signers.filter_map(|signature| self.last_size_of(signature.key())).max();
        last_size.map_or(error, |last_size| VerifyCheckpointError::Ended { last_size })
    }

    fn newest_start(&self) -> usize {
        self.ends.last().map_or(0, |(_, end)| *end)
    }

    /// Where the set that is due at a size begins and ends.
    fn span(&self, size: TreeSize) -> (usize, usize) {
        let set = self.ends.partition_point(|(last_size, _)| *last_size < size);
        let start = set.checked_sub(1).map_or(0, |before| self.ends[before].1);
        (start, self.ends.get(set).map_or(self.keys.len(), |(_, end)| *end))
    }
}

/// The size that a checkpoint states, verified or not.
fn size_of(note: &[u8]) -> Option<TreeSize> {
    let note = SignedNote::parse(note).ok()?;
    Checkpoint::parse(note.text()).ok().map(|checkpoint| checkpoint.size())
}

impl From<Vec<VerifierKey>> for LogKeys {
    fn from(pinned: Vec<VerifierKey>) -> Self {
        Self::new(pinned)
    }
}
