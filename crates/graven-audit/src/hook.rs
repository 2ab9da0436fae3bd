//! The sequencer of logs of events: on the engine's one writer, in index order.
//!
//! It gives a leaf its place (log time, the producer's leaf before), takes each of a producer's numbers once, and refuses what the
//! leaves before it forbid. A command about scopes is judged here: one that does not count becomes a leaf that says why. A decision is
//! made here again: one that comes out otherwise is not taken. What it knows is [`LogState`], a function of the leaves.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use graven_event::facts::{DecisionFacts, Genesis, KeyText, ScopeCommand};
use graven_event::producers::NumberError;
use graven_event::scopes::{MAX_DECISION_AGE, Refused};
use graven_event::{Facts, Frame, LogState, Outcome, Ref, Time, Unplaced, Word};
use graven_log::{Draft, Kind, Leaf, LogMeta, LogName, Refusal, Sequencer, Sequencers};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_note::{Rotation, VerifierKey};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::record::unsealed;

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
        let origin = Word::new(meta.origin.as_str()).ok();
        Some(Box::new(Hook { state, origin, recovery: meta.recovery.clone() }))
    }
}

struct Hook {
    state: Shared,
    /// Where, and under which key, what nobody in the log may do is authorised.
    origin: Option<Word>,
    recovery: VerifierKey,
}

impl Hook {
    /// Whether a first leaf is this log's, and names nobody whom its recovery key does not.
    fn begins_with(&self, state: &LogState, meta: &Genesis) -> bool {
        let is_signed = || {
            let signature = meta.signature.as_deref().unwrap_or_default();
            self.recovery.verify(&meta.statement(), signature).is_ok()
        };
        state.size == 0
            && self.origin.as_ref() == Some(&meta.origin)
            && meta.recovery.as_str() == self.recovery.to_string()
            && if meta.administrators.is_empty() { meta.signature.is_none() } else { is_signed() }
    }

    /// Whether the log's recovery key signed a command.
    fn is_by_recovery(&self, command: &ScopeCommand) -> bool {
        let (Some(origin), Some(signature)) = (&self.origin, &command.signature) else { return false };
        self.recovery.verify(&command.statement(origin), signature).is_ok()
    }

    /// What becomes of a draft: a command that does not count says why, and all else is as it came.
    fn judged(&self, state: &LogState, log_time: Time, draft: Parsed) -> Result<Parsed, Refusal> {
        let Facts::Scope(command) = &draft.frame.facts else { return Ok(draft) };
        let judged = state.scopes.judge(log_time, command, self.is_by_recovery(command));
        let refused = judged.err().map(Refused::word);
        let outcome = Some(if refused.is_some() { Outcome::Denied } else { Outcome::Success });
        let facts = Facts::Scope(ScopeCommand { refused, ..command.clone() });
        let frame = Frame { outcome, facts, ..draft.frame };
        let unplaced = Unplaced::new(&frame).map_err(not_a_leaf)?;
        Ok(Parsed { frame, unplaced, ..draft })
    }
}

/// A draft, read.
struct Parsed {
    frame: Frame,
    unplaced: Unplaced,
    attachment: Option<Bytes>,
}

impl Parsed {
    fn of(draft: Draft) -> Result<Self, Refusal> {
        let (unplaced, frame) = Unplaced::from_bytes(draft.bytes.into()).map_err(not_a_leaf)?;
        Ok(Self { frame, unplaced, attachment: draft.attachment })
    }
}

fn not_a_leaf(error: graven_event::Malformed) -> Refusal {
    Refusal::new(refused::FRAME, error.to_string())
}

impl Sequencer for Hook {
    fn genesis(&self, meta: &LogMeta) -> Option<Draft> {
        unsealed(&bare(Facts::Genesis(genesis(meta)?), genesis_id(meta))).ok()
    }

    fn sequence(
        &mut self,
        _first: LeafIndex,
        time_ns: u64,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Leaf>, Refusal> {
        let mut state = self.state.lock();
        let log_time = Time(time_ns);
        let mut parsed = drafts.into_iter().map(Parsed::of).collect::<Result<Vec<_>, _>>()?;
        check(&state, log_time, &parsed)?;
        for draft in &parsed {
            if let Facts::Genesis(first) = &draft.frame.facts
                && !self.begins_with(&state, first)
            {
                return Err(Refusal::new(refused::FRAME, "not the first leaf of this log"));
            }
        }
        if let [alone] = &mut parsed[..]
            && matches!(alone.frame.facts, Facts::Scope(_))
        {
            let draft = parsed.remove(0);
            parsed.push(self.judged(&state, log_time, draft)?);
        }
        // From here on nothing is refused.
        let (mut leaves, mut following) = (Vec::with_capacity(parsed.len()), Vec::new());
        for Parsed { frame, unplaced, attachment } in parsed {
            let previous = state.producers.of(frame.producer).map_or([0; 32], |known| known.previous);
            let leaf = Leaf::new(Bytes::from(unplaced.place(log_time, previous)), attachment);
            following.extend(state.take(&Frame { log_time, previous, ..frame }, leaf.hash));
            leaves.push(leaf);
        }
        for (at, facts) in following.into_iter().enumerate() {
            leaves.extend(follow_up(&mut state, facts, log_time, at, leaves.last()));
        }
        Ok(leaves)
    }

    fn replay(&mut self, _index: LeafIndex, leaf: &[u8]) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        match Frame::decode(leaf) {
            Ok(frame) => drop(state.take(&frame, leaf_hash(leaf))),
            Err(_) if is_statement(leaf) => state.pass(),
            Err(error) => return Err(not_a_leaf(error)),
        }
        Ok(())
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(self.state.lock().encode())
    }

    fn restore(&mut self, state: &[u8]) -> bool {
        let decoded = LogState::decode(state);
        decoded.map(|decoded| *self.state.lock() = decoded).is_ok()
    }
}

/// Whether a request may be taken as a whole.
fn check(state: &LogState, log_time: Time, drafts: &[Parsed]) -> Result<(), Refusal> {
    let refuse = |code, error: &dyn fmt::Display| Err(Refusal::new(code, error.to_string()));
    let mut tried = match drafts {
        // Alone it is checked against what there is.
        [_] => None,
        _ => Some(state.producers.only(drafts.iter().map(|draft| draft.frame.producer))),
    };
    for (Parsed { frame, .. }, at) in drafts.iter().zip(0..) {
        let producers = tried.as_ref().unwrap_or(&state.producers);
        let is_admitted = state.producers.admits(frame.producer, frame.sequence);
        match is_admitted.and_then(|()| producers.check(frame.producer, frame.sequence)) {
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
            // A rule says a thing once, and only what it was made to say.
            Facts::Alert(alert) if !state.alerts.admits(state.size + at, alert) => {
                return refuse(refused::STALE, &"the rule is not applied, or has said this");
            }
            // The same for what is sealed with these.
            facts
                if frame.payload.is_some()
                    && people(facts).any(|person| state.rules.erased.contains_key(&person)) =>
            {
                return refuse(refused::STALE, &"somebody whom it is about was erased meanwhile");
            }
            // Each is judged by the state that the one before it left.
            Facts::Scope(_) | Facts::Decision(_) if drafts.len() > 1 => {
                return refuse(refused::FRAME, &"commands and decisions come one by one");
            }
            Facts::Decision(decision) => check_decision(state, log_time, frame.outcome, decision)?,
            _ => {}
        }
        if let Some(tried) = &mut tried {
            tried.take(frame, [0; 32]);
        }
    }
    Ok(())
}

/// Whom a command or decision names.
fn people(facts: &Facts) -> impl Iterator<Item = Ref> + '_ {
    let (one, two, three) = match facts {
        Facts::Scope(command) => (Some(command.by), command.client, command.subject),
        Facts::Decision(decision) => (Some(decision.client), decision.subject, None),
        _ => (None, None, None),
    };
    one.into_iter().chain(two).chain(three)
}

/// Whether a decision is what the leaves before it say: nothing else is ever taken, however it came about.
fn check_decision(
    state: &LogState,
    log_time: Time,
    outcome: Option<Outcome>,
    decision: &DecisionFacts,
) -> Result<(), Refusal> {
    let stale = |why: &str| Err(Refusal::new(refused::STALE, why));
    // A sum may have waited longer: its state shows that nothing came between.
    let most = if decision.count.is_some() { u64::MAX } else { MAX_DECISION_AGE.0 };
    let age = log_time.0.checked_sub(decision.decided_at);
    if age.is_none_or(|age| age > most) {
        return stale("decided too long ago, or in the future");
    }
    if decision.state_size > state.size || state.scopes.changed_since(decision.state_size, decision) {
        return stale("what it depends on changed since its state");
    }
    let again = state.scopes.decide(decision);
    let agrees = outcome == Some(again.outcome())
        && decision.reason == again.reason.word()
        && decision.grants == again.grants;
    if agrees { Ok(()) } else { stale("the leaves before it say otherwise") }
}

/// A leaf that follows from those of a request: a number came after it was said to be missing, a rule fired.
fn follow_up(
    state: &mut LogState,
    facts: Facts,
    log_time: Time,
    at: usize,
    after: Option<&Leaf>,
) -> Option<Leaf> {
    let id = derived_id(&[after?.hash.as_bytes(), &(at as u64).to_be_bytes()[..]].concat());
    let frame = Frame { log_time, ..bare(facts, id) };
    let leaf = Leaf::new(Bytes::from(frame.encode().ok()?), None);
    // Nothing follows from what follows.
    drop(state.take(&frame, leaf.hash));
    Some(leaf)
}

/// The first leaf of a log whose administrators are still to be named.
pub(crate) fn genesis(meta: &LogMeta) -> Option<Genesis> {
    Some(Genesis {
        origin: Word::new(meta.origin.as_str()).ok()?,
        kind: Word::new(meta.kind.to_string()).ok()?,
        recovery: KeyText::new(meta.recovery.to_string()).ok()?,
        administrators: Vec::new(),
        signature: None,
    })
}

/// The id of a log's first leaf.
pub(crate) fn genesis_id(meta: &LogMeta) -> [u8; 16] {
    derived_id(meta.origin.as_str().as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;
    use graven_event::facts::RejectedFacts;
    use graven_event::producers::MAX_PRODUCERS;

    /// Several at once are tried out on a copy of what is known of their producers alone: that has room for everybody.
    #[test]
    fn together_they_find_no_more_room_than_alone() {
        let facts = Facts::Rejected(RejectedFacts { digest: [0; 32], reason: Word::new("x").unwrap() });
        let of = |n: usize, sequence| Frame {
            producer: Ref((n as u128 + 1).to_be_bytes()),
            sequence,
            ..bare(facts.clone(), [0; 16])
        };
        let mut state = LogState::default();
        for n in 0..MAX_PRODUCERS {
            state.take(&of(n, 1), leaf_hash(b""));
        }
        let new = MAX_PRODUCERS;
        let check = |frames: Vec<Frame>| {
            let drafts = frames.iter().map(|frame| Parsed::of(unsealed(frame).unwrap()).ok().unwrap());
            check(&state, Time::default(), &drafts.collect::<Vec<_>>())
        };
        for frames in [vec![of(new, 1)], vec![of(new, 1), of(new, 2)], vec![of(0, 2), of(new, 1)]] {
            assert_eq!(check(frames).unwrap_err().code, refused::PRODUCER);
        }
        for frames in [vec![of(new, 0)], vec![of(new, 0), of(new, 0)], vec![of(0, 2), of(0, 3)]] {
            check(frames).unwrap();
        }
    }
}
