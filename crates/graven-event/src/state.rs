//! All that the leaves of a log say about the log itself: a function of the first n leaves and nothing else.
//!
//! ```text
//! snapshot, to go on from after a start
//!   0  1  version: 1
//!   1  8  size: leaves that were taken in, big-endian
//!   9  4  length of the producers' part, then that part (see `producers`)
//!   …  …  the rules' part (see `rules`), to the end
//! ```

use graven_merkle::Hash;

use crate::codec::Malformed;
use crate::facts::GapFacts;
use crate::frame::Frame;
use crate::producers::Producers;
use crate::rules::Rules;

const VERSION: u8 = 1;

/// The state of a log of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Leaves that were taken in.
    pub size: u64,
    /// Its producers.
    pub producers: Producers,
    /// What it says about keeping.
    pub rules: Rules,
}

impl LogState {
    /// Takes in the next leaf. Returns the entry that must follow it, if any must.
    pub fn take(&mut self, frame: &Frame, leaf_hash: Hash) -> Option<GapFacts> {
        let follows = self.producers.take(frame, *leaf_hash.as_bytes());
        self.rules.take(self.size, &frame.facts);
        self.size += 1;
        follows
    }

    /// Takes in a leaf that says nothing about the log: a statement about its keys.
    pub fn pass(&mut self) {
        self.size += 1;
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let producers = self.producers.encode();
        let len = u32::try_from(producers.len()).unwrap_or(u32::MAX);
        [&[VERSION][..], &self.size.to_be_bytes(), &len.to_be_bytes(), &producers, &self.rules.encode()]
            .concat()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// It is of another version, or not what [`encode`](Self::encode) makes of any state.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(Malformed("a state of another version"))?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| CUT)?;
        let (producers, rules) = rest.split_at_checked(len).ok_or(CUT)?;
        let (producers, rules) = (Producers::decode(producers)?, Rules::decode(rules)?);
        let state = Self { size: u64::from_be_bytes(*size), producers, rules };
        (state.encode() == bytes).then_some(state).ok_or(Malformed("a state that no log has"))
    }
}

const CUT: Malformed = Malformed("a state that is cut short");
