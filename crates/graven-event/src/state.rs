//! All that the leaves of a log say about the log itself: a function of the first n leaves and nothing else.
//!
//! ```text
//! snapshot, to go on from after a start
//!   0  1  version: 2
//!   1  8  size: leaves that were taken in, big-endian
//!   9  8  log time of the newest of them, big-endian
//!  17  …  four parts, each of a length of 4 bytes, big-endian, and that many: producers, rules of keeping, scopes, alerts (see the
//!         modules of these names)
//! ```

use graven_merkle::Hash;

use crate::alerts::Watcher;
use crate::codec::Malformed;
use crate::facts::Facts;
use crate::frame::Frame;
use crate::producers::Producers;
use crate::rules::Rules;
use crate::scopes::ScopeState;
use crate::time::Time;

const VERSION: u8 = 2;

/// The state of a log of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Leaves that were taken in.
    pub size: u64,
    /// Log time of the newest of them.
    pub time: Time,
    /// Its producers.
    pub producers: Producers,
    /// What it says about keeping.
    pub rules: Rules,
    /// What it says about scopes.
    pub scopes: ScopeState,
    /// What its built-in rules remember.
    pub alerts: Watcher,
}

impl LogState {
    /// Takes in the next leaf. Returns what the leaves that must follow it say, in order, if any must.
    pub fn take(&mut self, frame: &Frame, leaf_hash: Hash) -> Vec<Facts> {
        let late = self.producers.take(frame, *leaf_hash.as_bytes());
        let alerts = self.alerts.take(self.size, frame, &self.scopes);
        self.rules.take(self.size, &frame.facts);
        self.scopes.take(self.size, frame.log_time, &frame.facts);
        self.size += 1;
        self.time = self.time.max(frame.log_time);
        late.map(Facts::Filled).into_iter().chain(alerts.into_iter().map(Facts::Alert)).collect()
    }

    /// Takes in a leaf that says nothing about the log: a statement about its keys.
    pub fn pass(&mut self) {
        self.size += 1;
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [&[VERSION][..], &self.size.to_be_bytes(), &self.time.0.to_be_bytes()].concat();
        for part in [self.producers.encode(), self.rules.encode(), self.scopes.encode(), self.alerts.encode()]
        {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// It is of another version, or not what [`encode`](Self::encode) makes of any state.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(Malformed("a state of another version"))?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
        let (time, mut rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
        let mut part = || {
            let (len, after) = rest.split_first_chunk::<4>().ok_or(CUT)?;
            let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| CUT)?;
            let (part, after) = after.split_at_checked(len).ok_or(CUT)?;
            rest = after;
            Ok(part)
        };
        let state = Self {
            size: u64::from_be_bytes(*size),
            time: Time(u64::from_be_bytes(*time)),
            producers: Producers::decode(part()?)?,
            rules: Rules::decode(part()?)?,
            scopes: ScopeState::decode(part()?)?,
            alerts: Watcher::decode(part()?)?,
        };
        (state.encode() == bytes).then_some(state).ok_or(Malformed("a state that no log has"))
    }
}

const CUT: Malformed = Malformed("a state that is cut short");
