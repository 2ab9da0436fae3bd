//! The leaf of a log of events, byte by byte. All numbers are big-endian.
//!
//! ```text
//!   0   4  "GRVE"
//!   4   1  version of the frame: 1
//!   5   1  kind (see `facts`)
//!   6   1  outcome: 0 none, 1 success, 2 failure, 3 denied, 4 unknown; an event and a decision have one
//!   7   1  retention class of the payload: 0 is kept for ever, unless the log says otherwise
//!   8   8  log time: nanoseconds since 1970, never less than that of the leaf before
//!  16  16  id, random
//!  32  16  producer: the reference of who brought it; zero: the log itself
//!  48   8  the producer's number for it, from 1; 0: not numbered
//!  56  32  leaf hash of the producer's leaf before; zero: this is its first
//!  88  32  commitment to the payload's groups (see `payload`); zero: no payload
//! 120  32  SHA-256 of the sealed payload; zero: no payload
//! 152   2  format of the payload: 0 none, 1 event
//! 154   2  length of the facts in bytes
//! 156   …  facts, to the end
//! ```
//!
//! Log time and the producer's leaf before are known to the log's one writer only, which fills them in ([`Unplaced::place`]); the rest is
//! ready before. Decoding is strict: whatever decodes encodes to the same bytes.
//!
//! One other kind of leaf is in such a log: a statement of a key rotation (`graven_note::rotation`), which stands as the signed text that it
//! is. It begins with a letter that no frame begins with, so the two are never taken for each other.

use crate::codec::Malformed;
use crate::facts::{Facts, Ref};
use crate::model::Outcome;
use crate::time::Time;

/// Bytes of a frame before its facts.
pub const HEADER_BYTES: usize = 156;
/// Most bytes of facts: with the header well below the 65,535 of an entry.
pub const MAX_FACTS_BYTES: usize = 32 << 10;

const MAGIC: &[u8; 4] = b"GRVE";
const VERSION: u8 = 1;
const TIME_AT: usize = 8;
const PREVIOUS_AT: usize = 56;

/// A leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How what it tells of ended, where that can be said.
    pub outcome: Option<Outcome>,
    /// The retention class of its payload.
    pub retention: u8,
    /// When the log took it in.
    pub log_time: Time,
    /// Its identifier.
    pub id: [u8; 16],
    /// Who brought it.
    pub producer: Ref,
    /// Their number for it, from 1; 0: none.
    pub sequence: u64,
    /// The leaf hash of the one before by the same producer; zero: none.
    pub previous: [u8; 32],
    /// Its payload, if it has one.
    pub payload: Option<PayloadId>,
    /// What stands in clear.
    pub facts: Facts,
}

/// What a leaf says of its payload, and holds it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadId {
    /// The root over its groups.
    pub commitment: [u8; 32],
    /// SHA-256 of the sealed bytes.
    pub digest: [u8; 32],
}

/// A leaf that has no place in a log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced(Vec<u8>);

impl Frame {
    /// The bytes of the leaf.
    ///
    /// # Errors
    /// Its facts are longer than [`MAX_FACTS_BYTES`], or exceed a limit of theirs.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let facts = self.facts.encode();
        let len = u16::try_from(facts.len()).ok().filter(|_| facts.len() <= MAX_FACTS_BYTES);
        let len = len.ok_or(Malformed("the facts are too long"))?;
        let payload = self.payload.unwrap_or(PayloadId { commitment: [0; 32], digest: [0; 32] });
        let mut bytes = Vec::with_capacity(HEADER_BYTES + facts.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, self.facts.kind(), outcome_byte(self.outcome), self.retention]);
        bytes.extend_from_slice(&self.log_time.0.to_be_bytes());
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.producer.0);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(&payload.commitment);
        bytes.extend_from_slice(&payload.digest);
        bytes.extend_from_slice(&u16::from(self.payload.is_some()).to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&facts);
        // What could not be read again must never be written.
        Self::decode(&bytes).map(|_| bytes)
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// The bytes are not what [`encode`](Self::encode) makes of any frame of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, facts) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed("shorter than a frame"))?;
        if header[..4] != *MAGIC {
            return Err(Malformed("not a frame"));
        }
        if header[4] != VERSION {
            return Err(Malformed("a version of the frame that this program does not know"));
        }
        if facts.len() > MAX_FACTS_BYTES
            || usize::from(u16::from_be_bytes([header[154], header[155]])) != facts.len()
        {
            return Err(Malformed("the facts are not as long as it says"));
        }
        let (outcome, facts) = (outcome_of(header[6])?, Facts::decode(header[5], facts)?);
        if outcome.is_none() && matches!(facts, Facts::Event(_) | Facts::Decision(_)) {
            return Err(Malformed("it does not say how it ended"));
        }
        Ok(Self {
            outcome,
            retention: header[7],
            log_time: Time(u64::from_be_bytes(field(header, TIME_AT))),
            id: field(header, 16),
            producer: Ref(field(header, 32)),
            sequence: u64::from_be_bytes(field(header, 48)),
            previous: field(header, PREVIOUS_AT),
            payload: payload_of(header)?,
            facts,
        })
    }
}

impl Unplaced {
    /// A leaf whose place is still to be given; what it says of that is left aside.
    ///
    /// # Errors
    /// As [`Frame::encode`].
    pub fn new(frame: &Frame) -> Result<Self, Malformed> {
        frame.encode().map(Self)
    }

    /// The same, from bytes that went through a queue, with what they say.
    ///
    /// # Errors
    /// As [`Frame::decode`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<(Self, Frame), Malformed> {
        let frame = Frame::decode(&bytes)?;
        Ok((Self(bytes), frame))
    }

    /// Its bytes, to go through a queue.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The leaf, at this log time and after this leaf of its producer.
    pub fn place(mut self, log_time: Time, previous: [u8; 32]) -> Vec<u8> {
        self.0[TIME_AT..TIME_AT + 8].copy_from_slice(&log_time.0.to_be_bytes());
        self.0[PREVIOUS_AT..PREVIOUS_AT + 32].copy_from_slice(&previous);
        self.0
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

fn outcome_byte(outcome: Option<Outcome>) -> u8 {
    match outcome {
        None => 0,
        Some(Outcome::Success) => 1,
        Some(Outcome::Failure) => 2,
        Some(Outcome::Denied) => 3,
        Some(Outcome::Unknown) => 4,
    }
}

fn outcome_of(byte: u8) -> Result<Option<Outcome>, Malformed> {
    match byte {
        0 => Ok(None),
        1 => Ok(Some(Outcome::Success)),
        2 => Ok(Some(Outcome::Failure)),
        3 => Ok(Some(Outcome::Denied)),
        4 => Ok(Some(Outcome::Unknown)),
        _ => Err(Malformed("no such outcome")),
    }
}

fn payload_of(header: &[u8; HEADER_BYTES]) -> Result<Option<PayloadId>, Malformed> {
    let payload = PayloadId { commitment: field(header, 88), digest: field(header, 120) };
    match u16::from_be_bytes([header[152], header[153]]) {
        0 if payload.commitment == [0; 32] && payload.digest == [0; 32] => Ok(None),
        0 => Err(Malformed("it commits to a payload that it does not have")),
        1 => Ok(Some(payload)),
        _ => Err(Malformed("a format of payload that this version does not know")),
    }
}
