//! From a file's bytes to [`Evidence`], field by field.

use graven_merkle::{ConsistencyProof, Hash};
use thiserror::Error;

use super::{Asked, Evidence, HEADER, MAX_ASKED, MAX_ASKED_BYTES, MAX_EVIDENCE_BYTES, Shows};
use crate::checkpoint::{InvalidOrigin, Origin};
use crate::note::MAX_NOTE_BYTES;
use crate::{base64, decimal};

/// Why bytes are not evidence. Whoever made or altered the file is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseEvidenceError {
    /// Longer than [`MAX_EVIDENCE_BYTES`].
    #[error("an evidence file has at most {MAX_EVIDENCE_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("an evidence file is UTF-8 text, and this is not")]
    NotUtf8,
    /// The first line is another.
    #[error("the first line is not {HEADER:?}")]
    Header,
    /// No origin, or none that a log can have.
    #[error("no line 'origin <origin>' where it has to be")]
    Origin,
    /// A question that is not canonical, or one too many.
    #[error("a line 'asked <seconds> <text>' is not canonical, too long or one too many")]
    Asked,
    /// A claim that this version does not know.
    #[error("no line 'shows two-roots', 'shows other-beginning' or 'shows false-empty' where it has to be")]
    Claim,
    /// The other root is missing or not canonical.
    #[error("no line 'root <base64>' where it has to be")]
    Root,
    /// A hash that is not canonical, or one too many.
    #[error("hash {0} of the proof is not 32 bytes in canonical base64, or is one too many")]
    Hash(usize),
    /// A note that is not there whole.
    #[error("no line 'note <length>' followed by as many bytes: was the file cut short?")]
    Note,
    /// Something after the last note.
    #[error("bytes follow the last note")]
    TrailingBytes,
}

impl From<InvalidOrigin> for ParseEvidenceError {
    fn from(_: InvalidOrigin) -> Self {
        Self::Origin
    }
}

impl Evidence {
    /// Parses a file; nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseEvidenceError> {
        if bytes.len() > MAX_EVIDENCE_BYTES {
            return Err(ParseEvidenceError::TooLarge);
        }
        let mut rest = Rest(std::str::from_utf8(bytes).map_err(|_| ParseEvidenceError::NotUtf8)?);
        rest.field(HEADER).filter(|rest| rest.is_empty()).ok_or(ParseEvidenceError::Header)?;
        let origin = Origin::new(rest.field("origin ").ok_or(ParseEvidenceError::Origin)?)?;
        let mut asked = Vec::new();
        while let Some(line) = rest.field("asked ") {
            let line = (asked.len() < MAX_ASKED).then(|| parse_asked(line)).flatten();
            asked.push(line.ok_or(ParseEvidenceError::Asked)?);
        }
        let shows = parse_shows(&mut rest)?;
        if rest.0.is_empty() {
            Ok(Self { origin, asked, shows })
        } else {
            Err(ParseEvidenceError::TrailingBytes)
        }
    }
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// What follows `word` on the next line, if that begins with it; else nothing is taken.
    fn field(&mut self, word: &str) -> Option<&'a str> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(word)?;
        self.0 = rest;
        Some(value)
    }

    fn note(&mut self) -> Result<String, ParseEvidenceError> {
        let length =
            self.field("note ").and_then(decimal::parse).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| (1..=MAX_NOTE_BYTES).contains(length));
        let parts = length.and_then(|length| self.0.split_at_checked(length));
        let (note, rest) = parts.ok_or(ParseEvidenceError::Note)?;
        self.0 = rest;
        Ok(note.to_owned())
    }
}

fn parse_asked(line: &str) -> Option<Asked> {
    let (time, text) = line.split_once(' ')?;
    let is_canonical = text.len() <= MAX_ASKED_BYTES && !text.chars().any(|c| c.is_ascii_control());
    Some(Asked { time_seconds: decimal::parse(time)?, text: text.to_owned() }).filter(|_| is_canonical)
}

fn parse_shows(rest: &mut Rest<'_>) -> Result<Shows, ParseEvidenceError> {
    match rest.field("shows ") {
        Some("two-roots") => Ok(Shows::TwoRoots { first: rest.note()?, second: rest.note()? }),
        Some("other-beginning") => {
            let root = rest.field("root ").and_then(base64::decode_hash).ok_or(ParseEvidenceError::Root)?;
            let proof = parse_proof(rest)?;
            Ok(Shows::OtherBeginning { earlier: rest.note()?, later: rest.note()?, root, proof })
        }
        Some("false-empty") => Ok(Shows::FalseEmpty { note: rest.note()? }),
        _ => Err(ParseEvidenceError::Claim),
    }
}

/// Hashes up to the first note, whose line no hash looks like.
fn parse_proof(rest: &mut Rest<'_>) -> Result<ConsistencyProof, ParseEvidenceError> {
    let mut hashes: Vec<Hash> = Vec::new();
    while !rest.0.starts_with("note ") {
        let number = hashes.len() + 1;
        let hash = rest.field("").and_then(base64::decode_hash);
        hashes.push(hash.ok_or(ParseEvidenceError::Hash(number))?);
    }
    let count = hashes.len();
    ConsistencyProof::from_hashes(hashes).map_err(|_| ParseEvidenceError::Hash(count))
}
