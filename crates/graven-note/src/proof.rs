//! Offline proofs, C2SP tlog-proof: an entry's place in a log, with everything needed to check it later.
//!
//! ```text
//! c2sp.org/tlog-proof@v1\n
//! extra base64(<bytes, not authenticated>)\n       only when there are any
//! index <canonical decimal>\n
//! base64(<hash: 32 bytes>)\n                       at most 63, from the leaf's sibling upwards
//! \n
//! <checkpoint: a signed note, verbatim to the end>
//! ```
//!
//! Parsing accepts exactly what `Display` writes. Files end in `.tlog-proof`.

use std::fmt;

use graven_merkle::{Hash, InclusionProof, LeafIndex, verify_inclusion};
use thiserror::Error;

use crate::checkpoint::Origin;
use crate::note::MAX_NOTE_BYTES;
use crate::policy::{Policy, PolicyCheckError, WitnessedCheckpoint};
use crate::vkey::VerifierKey;
use crate::{base64, decimal};

/// The longest proof in bytes: a note, and as much again for extra data and hashes.
pub const MAX_TLOG_PROOF_BYTES: usize = 2 * MAX_NOTE_BYTES;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof as it was received or made; nothing in it is verified before [`TlogProof::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    index: LeafIndex,
    inclusion: InclusionProof,
    checkpoint: String,
}

/// Why bytes are not a proof. Whoever made or altered the file is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseProofError {
    /// Longer than [`MAX_TLOG_PROOF_BYTES`].
    #[error("a tlog-proof has at most {MAX_TLOG_PROOF_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("a tlog-proof is UTF-8 text, and this is not")]
    NotUtf8,
    /// The first line is another.
    #[error("the first line is not {HEADER:?}")]
    Header,
    /// The extra line holds nothing or no base64.
    #[error("the extra line is not canonical base64 of at least one byte")]
    Extra,
    /// The index line is missing or not canonical.
    #[error("no line 'index <decimal>' where it has to be")]
    Index,
    /// A line before the empty one is no hash, or there are more than 63.
    #[error("inclusion hash {0} is not 32 bytes in canonical base64, or is one too many")]
    Hash(usize),
    /// No empty line, or nothing after it.
    #[error("no empty line followed by a checkpoint: was the proof cut short?")]
    Checkpoint,
}

/// Why a proof does not hold for an entry.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// Its checkpoint is not acceptable.
    #[error(transparent)]
    Checkpoint(#[from] PolicyCheckError),
    /// The entry is not at that index of the checkpoint's tree.
    #[error("the entry is not in the log at index {}: it was altered, or this is another entry's proof", .0.get())]
    NotIncluded(LeafIndex),
}

/// An entry that a verified checkpoint includes. Only [`TlogProof`]'s verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedInclusion {
    index: LeafIndex,
    leaf_hash: Hash,
    checkpoint: WitnessedCheckpoint,
}

impl VerifiedInclusion {
    /// Where the entry stands in the log.
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The RFC 6962 hash of the entry.
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The checkpoint that includes the entry, with its witnesses.
    pub fn checkpoint(&self) -> &WitnessedCheckpoint {
        &self.checkpoint
    }
}

impl TlogProof {
    /// A proof without extra data. `checkpoint` is the signed note, verbatim.
    pub fn new(
        index: LeafIndex,
        inclusion: InclusionProof,
        checkpoint: impl Into<String>,
    ) -> Result<Self, ParseProofError> {
        let checkpoint = checkpoint.into();
        if checkpoint.is_empty() {
            return Err(ParseProofError::Checkpoint);
        }
        Ok(Self { extra: Vec::new(), index, inclusion, checkpoint })
    }

    /// The same proof with application data, which no signature covers.
    #[must_use]
    pub fn with_extra(mut self, extra: Vec<u8>) -> Self {
        self.extra = extra;
        self
    }

    /// Parses a proof; nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseProofError> {
        if bytes.len() > MAX_TLOG_PROOF_BYTES {
            return Err(ParseProofError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ParseProofError::NotUtf8)?;
        let (header, rest) = text.split_once('\n').ok_or(ParseProofError::Header)?;
        if header != HEADER {
            return Err(ParseProofError::Header);
        }
        let (extra, rest) = parse_extra(rest)?;
        let (index, rest) = parse_index(rest)?;
        let (inclusion, checkpoint) = parse_hashes(rest)?;
        Ok(Self::new(index, inclusion, checkpoint)?.with_extra(extra))
    }

    /// Checks that the log holds, at [`TlogProof::index`], the entry with this leaf hash, by `policy`.
    ///
    /// For an entry's bytes, the hash is [`graven_merkle::leaf_hash`].
    pub fn verify(&self, leaf_hash: Hash, policy: &Policy) -> Result<VerifiedInclusion, ProofError> {
        self.include(leaf_hash, policy.verify_checkpoint(self.checkpoint.as_bytes())?)
    }

    /// The same for a log that is known otherwise than by the policy, whose witnesses and quorum still count.
    pub fn verify_for_log(
        &self,
        leaf_hash: Hash,
        origin: &Origin,
        log_keys: &[VerifierKey],
        policy: &Policy,
    ) -> Result<VerifiedInclusion, ProofError> {
        self.include(leaf_hash, policy.verify_checkpoint_of(self.checkpoint.as_bytes(), origin, log_keys)?)
    }

    fn include(
        &self,
        leaf_hash: Hash,
        witnessed: WitnessedCheckpoint,
    ) -> Result<VerifiedInclusion, ProofError> {
        let head = witnessed.verified().checkpoint();
        verify_inclusion(leaf_hash, self.index, head.size(), &self.inclusion, head.root())
            .map_err(|_| ProofError::NotIncluded(self.index))?;
        Ok(VerifiedInclusion { index: self.index, leaf_hash, checkpoint: witnessed })
    }

    /// The index that the proof is about.
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The inclusion proof.
    pub fn inclusion(&self) -> &InclusionProof {
        &self.inclusion
    }

    /// The checkpoint note, verbatim and not verified.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Application data that no signature covers; empty when the proof has none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", base64::encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index.get())?;
        for hash in self.inclusion.hashes() {
            writeln!(f, "{}", base64::encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_extra(rest: &str) -> Result<(Vec<u8>, &str), ParseProofError> {
    let Some(rest) = rest.strip_prefix("extra ") else {
        return Ok((Vec::new(), rest));
    };
    let (extra, rest) = rest.split_once('\n').ok_or(ParseProofError::Extra)?;
    let extra = base64::decode(extra).filter(|extra| !extra.is_empty()).ok_or(ParseProofError::Extra)?;
    Ok((extra, rest))
}

fn parse_index(rest: &str) -> Result<(LeafIndex, &str), ParseProofError> {
    let line = rest.strip_prefix("index ").and_then(|rest| rest.split_once('\n'));
    let (index, rest) = line.ok_or(ParseProofError::Index)?;
    let index = decimal::parse(index).and_then(LeafIndex::new).ok_or(ParseProofError::Index)?;
    Ok((index, rest))
}

fn parse_hashes(mut rest: &str) -> Result<(InclusionProof, &str), ParseProofError> {
    let mut hashes = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n').ok_or(ParseProofError::Checkpoint)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let number = hashes.len() + 1;
        hashes.push(base64::decode_hash(line).ok_or(ParseProofError::Hash(number))?);
    }
    let count = hashes.len();
    let inclusion = InclusionProof::from_hashes(hashes).map_err(|_| ParseProofError::Hash(count))?;
    Ok((inclusion, rest))
}
