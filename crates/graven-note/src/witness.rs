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
//! Sizes are canonical decimals, hashes canonical base64. Parsing accepts exactly what `Display` writes. Nothing here is
//! verified: whose signature the checkpoint has, and what the proof shows, is for a witness to find out.

use std::fmt;

use graven_merkle::{ConsistencyProof, Hash, Subtree, TreeSize};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignatureLine, SignedNote};
use crate::{base64, decimal};

/// The longest request of either kind: a note, and what precedes it.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + (8 << 10);

/// The longest answer with signature lines.
pub const MAX_ANSWER_BYTES: usize = MAX_NOTE_BYTES;

/// The most hashes of a proof, as the specification has it.
pub const MAX_PROOF_LINES: usize = 63;

/// The content type of a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

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
