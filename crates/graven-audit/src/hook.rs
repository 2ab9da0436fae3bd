//! The sequencer of logs of events: on the engine's one writer, in index order.
//!
//! It gives a leaf its place (log time, the producer's leaf before), takes each of a producer's numbers once, and refuses what the
//! leaves before it forbid. What it knows is [`LogState`], a function of the leaves.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use graven_event::facts::{Genesis, KeyText};
use graven_event::producers::NumberError;
use graven_event::{Facts, Frame, LogState, Ref, Time, Unplaced, Word};
use graven_log::{Draft, Kind, Leaf, LogMeta, LogName, Refusal, Sequencer, Sequencers};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_note::Rotation;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Why the hook refuses: the codes of its [`Refusal`]s.
pub mod refused {
    /// Not a leaf of such a log.
    pub const FRAME: u32 = 1;
    /// The producer's number was used.
    pub const NUMBER_USED: u32 = 2;
    /// The producer left out numbers in too many places, or there are too many producers.
    pub const PRODUCER: u32 = 3;
    /// What it says is no longer so.
    pub const STALE: u32 = 4;
    /// A hold covers it.
    pub const HELD: u32 = 5;
}

/// What a log says, as of the newest leaf that was sequenced; that need not be durable yet.
pub(crate) type Shared = Arc<Mutex<LogState>>;

/// Gives logs of events their sequencers, and logs of bytes theirs.
#[derive(Default)]
pub struct Hooks {
    states: Mutex<HashMap<LogName, Shared>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl Hooks {
    /// What a log says.
    pub(crate) fn state(&self, log: &LogName) -> Option<Shared> {
        self.states.lock().get(log).cloned()
    }
}

impl Sequencers for Hooks {
    fn serves(&self, _kind: Kind) -> bool {
        true
    }

    fn of(&self, meta: &LogMeta) -> Option<Box<dyn Sequencer>> {
        if meta.kind == Kind::Bytes {
            return Some(Box::new(graven_log::Identity));
        }
        let state = Shared::default();
        self.states.lock().insert(meta.name.clone(), state.clone());
        Some(Box::new(Hook(state)))
    }
}

struct Hook(Shared);

impl Sequencer for Hook {
    fn genesis(&self, meta: &LogMeta) -> Option<Draft> {
        let word = |text: &str| Word::new(text).ok();
        let facts = Genesis {
            origin: word(meta.origin.as_str())?,
            kind: word(&meta.kind.to_string())?,
            recovery: KeyText::new(meta.recovery.to_string()).ok()?,
            administrators: Vec::new(),
            signature: None,
        };
        let frame = bare(Facts::Genesis(facts), derived_id(meta.origin.as_str().as_bytes()));
        Some(Draft::new(Unplaced::new(&frame).ok()?.as_bytes().to_vec().into()))
    }

    fn sequence(
        &mut self,
        _first: LeafIndex,
        time_ns: u64,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Leaf>, Refusal> {
        let mut state = self.0.lock();
        let (mut unplaced, mut attachments, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for draft in drafts {
            let parsed = Unplaced::from_bytes(draft.bytes.into());
            let (bytes, frame) = parsed.map_err(|error| Refusal::new(refused::FRAME, error.to_string()))?;
            unplaced.push(bytes);
            attachments.push(draft.attachment);
            frames.push(frame);
        }
        check(&state, &frames)?;
        // From here on nothing is refused.
        let (mut leaves, mut late) = (Vec::with_capacity(frames.len()), Vec::new());
        let log_time = Time(time_ns);
        for ((frame, unplaced), attachment) in frames.into_iter().zip(unplaced).zip(attachments) {
            let previous = state.producers.of(frame.producer).map_or([0; 32], |known| known.previous);
            let leaf = Leaf::new(Bytes::from(unplaced.place(log_time, previous)), attachment);
            late.extend(state.take(&Frame { log_time, previous, ..frame }, leaf.hash));
            leaves.push(leaf);
        }
        for (at, facts) in late.into_iter().enumerate() {
            leaves.extend(follow_up(&mut state, facts, log_time, at, leaves.last()));
        }
        Ok(leaves)
    }

    fn replay(&mut self, _index: LeafIndex, leaf: &[u8]) -> Result<(), Refusal> {
        let mut state = self.0.lock();
        match Frame::decode(leaf) {
            Ok(frame) => drop(state.take(&frame, leaf_hash(leaf))),
            Err(_) if is_statement(leaf) => state.pass(),
            Err(error) => return Err(Refusal::new(refused::FRAME, error.to_string())),
        }
        Ok(())
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(self.0.lock().encode())
    }

    fn restore(&mut self, state: &[u8]) -> bool {
        let decoded = LogState::decode(state);
        decoded.map(|decoded| *self.0.lock() = decoded).is_ok()
    }
}

/// Whether a request may be taken as a whole.
fn check(state: &LogState, frames: &[Frame]) -> Result<(), Refusal> {
    let refuse = |code, error: &dyn fmt::Display| Err(Refusal::new(code, error.to_string()));
    let mut tried = match frames {
        // Alone it is checked against what there is.
        [_] => None,
        _ => Some(state.producers.only(frames.iter().map(|frame| frame.producer))),
    };
    for frame in frames {
        let producers = tried.as_ref().unwrap_or(&state.producers);
        match producers.check(frame.producer, frame.sequence) {
            Ok(()) => {}
            Err(error @ NumberError::Used { .. }) => return refuse(refused::NUMBER_USED, &error),
            Err(error) => return refuse(refused::PRODUCER, &error),
        }
        match &frame.facts {
            // Sealed under a key that was destroyed meanwhile, nobody would ever read it.
            Facts::Event(event) if event.people().any(|person| state.rules.erased.contains_key(&person)) => {
                return refuse(refused::STALE, &"somebody whom it is about was erased meanwhile");
            }
            Facts::Gap(gap) if !producers.is_untold(gap) => {
                return refuse(refused::STALE, &"not missing, or told of");
            }
            Facts::Erasure(erasure) => {
                if let Some(hold) = erasure.erased.iter().find_map(|subject| state.rules.hold_on(*subject)) {
                    return refuse(refused::HELD, &format_args!("hold {hold} covers the person"));
                }
            }
            Facts::Expiry(expiry) if state.rules.is_held(expiry.class) => {
                return refuse(refused::HELD, &"a hold covers the class");
            }
            Facts::Release(release) if !state.rules.holds.contains_key(&release.hold) => {
                return refuse(refused::STALE, &"no such hold stands");
            }
            _ => {}
        }
        if let Some(tried) = &mut tried {
            tried.take(frame, [0; 32]);
        }
    }
    Ok(())
}

/// A leaf that follows from those of a request: a number came after it was said to be missing, a rule fired.
fn follow_up(state: &mut LogState, facts: Facts, log_time: Time, at: usize, after: Option<&Leaf>) -> Option<Leaf> {
    let id = derived_id(&[after?.hash.as_bytes(), &(at as u64).to_be_bytes()[..]].concat());
    let frame = Frame { log_time, ..bare(facts, id) };
    let leaf = Leaf::new(Bytes::from(frame.encode().ok()?), None);
    // Nothing follows from what follows.
    drop(state.take(&frame, leaf.hash));
    Some(leaf)
}

/// A leaf by the log itself, without payload.
pub(crate) fn bare(facts: Facts, id: [u8; 16]) -> Frame {
    let (log_time, producer) = (Time::default(), Ref::default());
    let (sequence, previous, payload) = (0, [0; 32], None);
    Frame { outcome: None, retention: 0, log_time, id, producer, sequence, previous, payload, facts }
}

/// Where there is no randomness: an id that nothing else has, from what nothing else has.
fn derived_id(from: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::new().chain_update(b"graven id v1\n").chain_update(from).finalize().into();
    std::array::from_fn(|at| digest[at])
}

/// Whether a leaf is a statement about the log's keys. The engine put it there, and checked it.
pub(crate) fn is_statement(leaf: &[u8]) -> bool {
    Rotation::parse(leaf).is_ok()
}
