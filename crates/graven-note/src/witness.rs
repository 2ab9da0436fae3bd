//! What logs and witnesses say to each other, C2SP tlog-witness.
//!
//! ```text
//! POST add-checkpoint                            POST sign-subtree
//!   old <size>\n                                   subtree <start> <end>\n
//!   base64(<hash: 32 bytes>)\n   0 to 63           base64(<hash of the subtree>)\n
//!   \n                                             base64(<hash: 32 bytes>)\n   0 to 63
//!   <checkpoint: a signed note>                    \n
//!                                                  <checkpoint, signed by the witness>
//! 200  one signature line or more
//! 409  <size>\n, of type text/x.tlog.size
//! ```
//!
//! Sizes are canonical decimals, hashes canonical base64. Parsing accepts exactly what `Display` writes, and verifies nothing:
//! whose signature the checkpoint has is for a witness, or a mirror, to find out. What it does then, and what it answers where
//! it refuses, is the same for both: [`AddCheckpoint::follows`], [`SignSubtree::cosign`] and [`Refused`].

use std::fmt;

use graven_merkle::{
    ConsistencyProof, EMPTY_ROOT, Hash, Subtree, TreeSize, VerifyError, verify_consistency,
    verify_subtree_consistency,
};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::CosignedSubtree;
use crate::name::SignatureType;
use crate::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignatureLine, SignedNote};
use crate::signer::{LocalSigner, SignError, Signer as _};
use crate::verified::{VerifiedCheckpoint, VerifyCheckpointError};
use crate::{base64, decimal};

/// The longest request of either kind: a note, and what precedes it.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + (8 << 10);

/// The longest answer with signature lines.
pub const MAX_ANSWER_BYTES: usize = MAX_NOTE_BYTES;

/// The most hashes of a proof, as the specification has it.
pub const MAX_PROOF_LINES: usize = 63;

/// The content type of a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The content type of everything else.
pub const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// A request to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness cosigned last.
    pub old_size: TreeSize,
    /// That the tree of this size is the beginning of the checkpoint's.
    pub proof: ConsistencyProof,
    /// What is to be cosigned, with the log's signatures.
    pub note: SignedNote,
    /// The checkpoint in the note.
    pub checkpoint: Checkpoint,
}

/// A request to cosign a subtree of a tree that the witness cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignSubtree {
    /// The subtree.
    pub subtree: Subtree,
    /// Its hash.
    pub hash: Hash,
    /// That it is part of the checkpoint's tree.
    pub proof: ConsistencyProof,
    /// The tree, with the witness's own signatures.
    pub note: SignedNote,
    /// The checkpoint in the note.
    pub checkpoint: Checkpoint,
}

/// Why bytes are no such request or answer. Whoever sent them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Longer than any can be.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// The first line of add-checkpoint.
    #[error("the first line is not 'old <size>'")]
    Old,
    /// The first two lines of sign-subtree.
    #[error("it does not begin with 'subtree <start> <end>', a valid subtree, and the line of its hash")]
    Subtree,
    /// A line before the empty one.
    #[error("proof line {0} is not 32 bytes in canonical base64, or is one too many")]
    Proof(usize),
    /// There is no empty line.
    #[error("no empty line before the checkpoint")]
    NoCheckpoint,
    /// What follows is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note holds no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An answer without signature lines, or with too many.
    #[error("not 1 to {MAX_SIGNATURES} signature lines")]
    Lines,
    /// An answer that is no size.
    #[error("not a tree size and a newline")]
    Size,
}

/// Why a witness, or a mirror, does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Not a request.
    #[error("malformed: {0}")]
    Malformed(#[from] WireError),
    /// The old size is larger than the checkpoint's.
    #[error("the old size is larger than the checkpoint's")]
    OldTooLarge,
    /// Nobody made the log known.
    #[error("the log is not known here: the operator can add it")]
    UnknownLog,
    /// Not signed by the log, or not by the cosigner itself where that is asked for.
    #[error("not signed by a key that counts here: {0}")]
    NotSigned(#[from] VerifyCheckpointError),
    /// The old size is not that of the last checkpoint.
    #[error("the last size is {0}")]
    Conflict(TreeSize),
    /// The proof does not show it, or nothing could.
    #[error("not shown to be consistent with what is known: {0}")]
    Inconsistent(VerifyError),
    /// The log has signed what cannot both be true, and a mirror goes on with neither.
    #[error("the log signed two trees that cannot both be: nothing more of it is mirrored")]
    SplitView,
    /// The cosigner has no key that signs subtrees.
    #[error("there is no ML-DSA-44 key here, and no other signs subtrees")]
    NoSubtrees,
    /// More is waiting than is good.
    #[error("too many requests wait: try again")]
    Overloaded,
    /// The cosigner is in trouble.
    #[error("failed: {0}")]
    Failed(String),
}

impl Refused {
    /// The HTTP answer: status, content type and body.
    pub fn answer(&self) -> (u16, &'static str, String) {
        let status = match self {
            Self::Malformed(WireError::TooLarge(_)) => 413,
            Self::Malformed(_) | Self::OldTooLarge | Self::NoSubtrees => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownLog => 404,
            Self::Conflict(size) => return (409, SIZE_TYPE, format!("{}\n", size.get())),
            Self::Inconsistent(_) | Self::SplitView => 422,
            Self::Overloaded => 503,
            // Why is nobody's business but the operator's.
            Self::Failed(_) => return (500, TEXT_TYPE, "failed: the operator's log says why\n".to_owned()),
        };
        (status, TEXT_TYPE, format!("{self}\n"))
    }
}

impl From<SignError> for Refused {
    fn from(error: SignError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl AddCheckpoint {
    /// A request.
    ///
    /// # Errors
    /// The note holds no checkpoint.
    pub fn new(old_size: TreeSize, proof: ConsistencyProof, note: SignedNote) -> Result<Self, WireError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { old_size, proof, note, checkpoint })
    }

    /// Parses a request; nothing is verified.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let (old, rest) = text(bytes)?.split_once('\n').ok_or(WireError::Old)?;
        let old_size = old.strip_prefix("old ").and_then(size).ok_or(WireError::Old)?;
        let (proof, note) = proof_and_note(rest)?;
        Self::new(old_size, proof, note)
    }

    /// Whether the checkpoint, whose signature was verified before, may take the place of `known`, the last one.
    ///
    /// # Errors
    /// [`Refused::OldTooLarge`], [`Refused::Conflict`] or [`Refused::Inconsistent`].
    pub fn follows(&self, known: Option<&Checkpoint>) -> Result<(), Refused> {
        let Self { old_size: old, proof, checkpoint, .. } = self;
        if *old > checkpoint.size() {
            return Err(Refused::OldTooLarge);
        }
        let (size, root) = known.map_or((TreeSize::ZERO, EMPTY_ROOT), |known| (known.size(), *known.root()));
        if *old != size {
            return Err(Refused::Conflict(size));
        }
        verify_consistency(size, &root, checkpoint.size(), checkpoint.root(), proof)
            .map_err(Refused::Inconsistent)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size.get())?;
        write_proof(f, &self.proof)?;
        write!(f, "\n{}", self.note)
    }
}

impl SignSubtree {
    /// Parses a request; nothing is verified but that the subtree is one, and not beyond the checkpoint's tree.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut lines = text(bytes)?.splitn(3, '\n');
        let mut line = || lines.next().ok_or(WireError::Subtree);
        let (range, hash, rest) = (line()?, line()?, line()?);
        let range = range.strip_prefix("subtree ").and_then(|range| range.split_once(' '));
        let (start, end) = range.ok_or(WireError::Subtree)?;
        let (start, end) = decimal::parse(start).zip(decimal::parse(end)).ok_or(WireError::Subtree)?;
        let subtree = Subtree::new(start..end).filter(|subtree| !subtree.is_empty());
        let subtree = subtree.ok_or(WireError::Subtree)?;
        let hash = base64::decode_hash(hash).ok_or(WireError::Subtree)?;
        let (proof, note) = proof_and_note(rest)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if subtree.end() > checkpoint.size() {
            return Err(WireError::Subtree);
        }
        Ok(Self { subtree, hash, proof, note, checkpoint })
    }

    /// Cosigns the subtree, where one of `signers` cosigned the tree that it is shown to be in.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn cosign(&self, signers: &[LocalSigner]) -> Result<SignatureLine, Refused> {
        let Self { subtree, hash, proof, note, checkpoint } = self;
        let keys: Vec<_> = signers.iter().map(|signer| signer.vkey().clone()).collect();
        VerifiedCheckpoint::open(note.as_str().as_bytes(), checkpoint.origin(), &keys)?;
        verify_subtree_consistency(*subtree, hash, checkpoint.size(), checkpoint.root(), proof)
            .map_err(Refused::Inconsistent)?;
        let signs = |signer: &&LocalSigner| signer.vkey().signature_type() == SignatureType::MlDsa44;
        let signer = signers.iter().find(signs).ok_or(Refused::NoSubtrees)?;
        let subtree = CosignedSubtree { origin: checkpoint.origin(), subtree: *subtree, hash };
        Ok(SignatureLine::new(signer.vkey(), signer.sign_subtree(&subtree, 0)?))
    }
}

impl fmt::Display for SignSubtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "subtree {} {}", self.subtree.start(), self.subtree.end().get())?;
        writeln!(f, "{}", base64::encode(self.hash.as_bytes()))?;
        write_proof(f, &self.proof)?;
        write!(f, "\n{}", self.note)
    }
}

/// Parses what a witness answers: signature lines, not verified.
///
/// # Errors
/// See [`WireError`].
pub fn parse_signature_lines(bytes: &[u8]) -> Result<Vec<SignatureLine>, WireError> {
    if bytes.len() > MAX_ANSWER_BYTES {
        return Err(WireError::TooLarge(MAX_ANSWER_BYTES));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?;
    let lines: Vec<_> = text.split_inclusive('\n').take(MAX_SIGNATURES + 1).collect();
    if lines.is_empty() || lines.len() > MAX_SIGNATURES {
        return Err(WireError::Lines);
    }
    let parse = |(at, line)| SignatureLine::parse(line).map_err(|_| NoteError::SignatureLine(at + 1).into());
    lines.into_iter().enumerate().map(parse).collect()
}

/// Parses the size that a witness says it cosigned last.
///
/// # Errors
/// See [`WireError`].
pub fn parse_size(bytes: &[u8]) -> Result<TreeSize, WireError> {
    let text = std::str::from_utf8(bytes).map_err(|_| WireError::Size)?;
    text.strip_suffix('\n').and_then(size).ok_or(WireError::Size)
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    if bytes.len() > MAX_REQUEST_BYTES {
        return Err(WireError::TooLarge(MAX_REQUEST_BYTES));
    }
    std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)
}

fn size(text: &str) -> Option<TreeSize> {
    decimal::parse(text).and_then(TreeSize::new)
}

fn proof_and_note(mut rest: &str) -> Result<(ConsistencyProof, SignedNote), WireError> {
    let mut hashes = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n').ok_or(WireError::NoCheckpoint)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let number = hashes.len() + 1;
        // The limit is asked at each line: nobody makes us decode more of them.
        let hash = base64::decode_hash(line).filter(|_| number <= MAX_PROOF_LINES);
        hashes.push(hash.ok_or(WireError::Proof(number))?);
    }
    let count = hashes.len();
    let proof = ConsistencyProof::from_hashes(hashes).map_err(|_| WireError::Proof(count))?;
    Ok((proof, SignedNote::parse(rest.as_bytes())?))
}

fn write_proof(f: &mut fmt::Formatter<'_>, proof: &ConsistencyProof) -> fmt::Result {
    proof.hashes().iter().try_for_each(|hash| writeln!(f, "{}", base64::encode(hash.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str =
        "example.com/log\n5\nN41DVhbpBTMyvqMw2KQAO4vcy0rCaKgdHF1A3O/TGiA=\n\n— example.com/log AAAAAQ==\n";
    const HASH: &str = "k+2obCebga+wjRemYpPeU2HRtqYWESxv1hwxp+go2z4=\n";

    fn note() -> String {
        NOTE.replace("AAAAAQ==", "AAAAAQI=")
    }

    #[test]
    fn requests_are_what_they_print() {
        let many = HASH.repeat(MAX_PROOF_LINES);
        for text in [
            format!("old 0\n\n{}", note()),
            format!("old 3\n{HASH}\n{}", note()),
            format!("old 5\n{many}\n{}", note()),
        ] {
            assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in
            [format!("subtree 0 5\n{HASH}\n{}", note()), format!("subtree 4 5\n{HASH}{HASH}\n{}", note())]
        {
            assert_eq!(SignSubtree::parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for head in [
            "",
            "\n",
            "old 0",
            "old 00\n\n",
            "old\n\n",
            "old -1\n\n",
            "old 9223372036854775808\n\n",
            "old 1\nAA==\n\n",
        ] {
            assert!(AddCheckpoint::parse(format!("{head}{}", note()).as_bytes()).is_err(), "{head:?}");
        }
        let many = HASH.repeat(MAX_PROOF_LINES + 1);
        assert_eq!(
            AddCheckpoint::parse(format!("old 1\n{many}\n{}", note()).as_bytes()),
            Err(WireError::Proof(64))
        );
        for head in ["subtree 1 5", "subtree 5 5", "subtree 0 6", "subtree 0 05", "subtree 0", "subtree  0 5"]
        {
            assert!(
                SignSubtree::parse(format!("{head}\n{HASH}\n{}", note()).as_bytes()).is_err(),
                "{head:?}"
            );
        }
    }

    #[test]
    fn answers() {
        let line = "— example.com/w AAAAAQI=\n";
        assert_eq!(parse_signature_lines(line.repeat(2).as_bytes()).unwrap().len(), 2);
        for wrong in ["", "\n", "— example.com/w AAAAAQI=", "— example.com/w AAAAAQI=\n\n"] {
            assert!(parse_signature_lines(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(parse_signature_lines(line.repeat(MAX_SIGNATURES + 1).as_bytes()).is_err());
        assert_eq!(parse_size(b"42\n"), Ok(TreeSize::from(42)));
        for wrong in ["", "42", "042\n", "42\n\n", "-1\n", " 42\n"] {
            assert!(parse_size(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
