//! Opening notes: from received bytes to a text that known keys signed.
//!
//! For each signature line, in order: no known key of that name and id — kept aside, unverified; one —
//! the signature must verify, or the whole note is refused; two — the caller's key list is ambiguous, and
//! the note is refused, as Go's `x/mod` does. At least one line must verify. Several valid lines of one key
//! count once, with the latest of their times. An invalid line refuses the note even when another line of
//! the same key is valid (Go skips the repetition instead).

use thiserror::Error;

use crate::name::{KeyId, KeyName, SignatureType};
use crate::note::{NoteError, SignatureLine, SignedNote};
use crate::signature::SignatureError;
use crate::vkey::{VerifiedSignature, VerifierKey};

/// A note that at least one known key signed. Only [`SignedNote::verify`] and [`open`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote {
    note: SignedNote,
    signatures: Vec<VerifiedSignature>,
    unverified: Vec<SignatureLine>,
}

/// Why a note was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Not a note.
    #[error(transparent)]
    Malformed(#[from] NoteError),
    /// No signature by a known key.
    #[error("no signature by a known key: is this the right log, and the right key?")]
    Unverified,
    /// A known key's signature is wrong.
    #[error("invalid signature by known key {name}+{key_id}: {source}")]
    InvalidSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        key_id: KeyId,
        /// What is wrong.
        source: SignatureError,
    },
    /// Two of the caller's keys have the name and id of a signature.
    #[error("key {name}+{key_id} was given twice: list each key once")]
    AmbiguousKey {
        /// The keys' name.
        name: KeyName,
        /// The keys' id.
        key_id: KeyId,
    },
}

/// Keys that had to sign and did not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("required signatures are missing: {}", .missing.join(", "))]
pub struct MissingSignatures {
    /// What is missing, for people to read.
    pub missing: Vec<String>,
}

/// Parses and verifies a note.
pub fn open(bytes: &[u8], keys: &[VerifierKey]) -> Result<VerifiedNote, OpenError> {
    SignedNote::parse(bytes)?.verify(keys)
}

impl SignedNote {
    /// Checks the signatures of all `keys` on this note.
    pub fn verify(self, keys: &[VerifierKey]) -> Result<VerifiedNote, OpenError> {
        let mut signatures = Vec::new();
        let mut unverified = Vec::new();
        for line in self.signatures() {
            match known_key(line, keys)? {
                Some(key) => keep_latest(&mut signatures, verify_line(&self, line, key)?),
                None if unverified.contains(line) => {}
                None => unverified.push(line.clone()),
            }
        }
        if signatures.is_empty() {
            return Err(OpenError::Unverified);
        }
        Ok(VerifiedNote { note: self, signatures, unverified })
    }
}

impl VerifiedNote {
    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        self.note.text()
    }

    /// The note's exact bytes.
    pub fn as_str(&self) -> &str {
        self.note.as_str()
    }

    /// The note, whose unverified lines are still in it.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// The signatures that were verified, one per key.
    pub fn signatures(&self) -> &[VerifiedSignature] {
        &self.signatures
    }

    /// Lines by unknown keys, without repetitions. They prove nothing.
    pub fn unverified(&self) -> &[SignatureLine] {
        &self.unverified
    }

    /// The verified signature by `key`, if there is one.
    pub fn signature_by(&self, key: &VerifierKey) -> Option<&VerifiedSignature> {
        self.signatures.iter().find(|signature| signature.key() == key)
    }

    /// Demands that every one of `keys` signed.
    ///
    /// One valid signature opens a note; a verifier who must not depend on a single algorithm asks for all.
    pub fn require_keys(&self, keys: &[VerifierKey]) -> Result<(), MissingSignatures> {
        let absent = keys.iter().filter(|key| self.signature_by(key).is_none());
        none_missing(absent.map(|key| format!("{}+{} ({})", key.name(), key.key_id(), key.signature_type())))
    }

    /// Demands a verified signature of every one of these types.
    pub fn require_types(&self, types: &[SignatureType]) -> Result<(), MissingSignatures> {
        let signed = |wanted: &&SignatureType| {
            self.signatures.iter().any(|signature| signature.key().signature_type() == **wanted)
        };
        none_missing(types.iter().filter(|wanted| !signed(wanted)).map(ToString::to_string))
    }
}

fn known_key<'k>(
    line: &SignatureLine,
    keys: &'k [VerifierKey],
) -> Result<Option<&'k VerifierKey>, OpenError> {
    let mut claimed = keys.iter().filter(|key| line.claims(key));
    match (claimed.next(), claimed.next()) {
        (key, None) => Ok(key),
        _ => Err(OpenError::AmbiguousKey { name: line.name().clone(), key_id: line.key_id() }),
    }
}

fn verify_line(
    note: &SignedNote,
    line: &SignatureLine,
    key: &VerifierKey,
) -> Result<VerifiedSignature, OpenError> {
    key.verify(note.text().as_bytes(), line.signature()).map_err(|source| OpenError::InvalidSignature {
        name: line.name().clone(),
        key_id: line.key_id(),
        source,
    })
}

fn keep_latest(signatures: &mut Vec<VerifiedSignature>, new: VerifiedSignature) {
    match signatures.iter_mut().find(|kept| kept.key() == new.key()) {
        Some(kept) if kept.timestamp() < new.timestamp() => *kept = new,
        Some(_) => {}
        None => signatures.push(new),
    }
}

fn none_missing(missing: impl Iterator<Item = String>) -> Result<(), MissingSignatures> {
    let missing: Vec<String> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(MissingSignatures { missing }) }
}
