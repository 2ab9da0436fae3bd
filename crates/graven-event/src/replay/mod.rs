//! A log of events computed again: what each entry says, against what follows from the entries before it.
//!
//! Judged again: every command and its signature; every decision with its grants, its time and the state that it names; which alerts of
//! built-in rules and which notes of late numbers had to follow, and where; producers' numbers and the entries before theirs; that
//! time does not go back. Not judged: what stands in sealed payloads, and alerts of rules that read those, except that they are
//! of a rule that is applied.
//!
//! ```
//! # use graven_event::{Word, replay::Replay};
//! # fn entries() -> Vec<Vec<u8>> { Vec::new() }
//! let mut replay = Replay::new(Word::new("log.example.com/audit")?, Box::new(|_key, _statement, _signature| false));
//! for (index, entry) in (0..).zip(entries()) {
//!     for mismatch in replay.step(index, &entry) {
//!         eprintln!("{mismatch}");
//!     }
//! }
//! assert!(replay.finish().is_empty());
//! # Ok::<(), graven_event::facts::NoWord>(())
//! ```
//!
//! A log whose entries are not those of its signed head is another log: that is checked elsewhere, or none of this means anything.

mod following;
mod mismatch;
#[cfg(test)]
mod tests;

pub use mismatch::{Mismatch, What};

use graven_merkle::leaf_hash;

use crate::facts::{DecisionFacts, Facts, Genesis, KeyText, Ref, ScopeCommand, Word};
use crate::frame::Frame;
use crate::model::Outcome;
use crate::scopes::{MAX_DECISION_AGE, Reason, Refused};
use crate::state::LogState;
use crate::time::Time;
use following::Following;

/// Whether a key, given as its vkey, signed a statement: statement, then signature.
pub type Verify = Box<dyn Fn(&str, &[u8], &[u8]) -> bool + Send>;

/// A replay under way.
pub struct Replay {
    origin: Word,
    /// How a statement about the log's keys begins.
    statement: String,
    verify: Verify,
    recovery: Option<KeyText>,
    state: LogState,
    log_time: Time,
    following: Following,
    counts: Counts,
}

/// What there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands, refused ones too.
    pub commands: u64,
    /// Decisions, sums as one.
    pub decisions: u64,
    /// Alerts.
    pub alerts: u64,
}

impl Replay {
    /// Of the log of an origin, from its first entry on.
    pub fn new(origin: Word, verify: Verify) -> Self {
        Self {
            statement: format!("graven-rotation/v1\n{origin}\n"),
            origin,
            verify,
            recovery: None,
            state: LogState::default(),
            log_time: Time::default(),
            following: Following::default(),
            counts: Counts::default(),
        }
    }

    /// Takes the next entry. Returns what does not follow, also of entries before it; then it goes on as if they said what does.
    pub fn step(&mut self, index: u64, entry: &[u8]) -> Vec<Mismatch> {
        let mut found = Found(index, Vec::new());
        found.unless(index == self.state.size, || What::NotNext(self.state.size));
        match Frame::decode(entry) {
            Ok(frame) => self.take(frame, entry, &mut found),
            // Whether it is a true one is seen when heads are verified, with the log's keys.
            Err(_) if entry.starts_with(self.statement.as_bytes()) => self.state.pass(),
            Err(error) => {
                found.say(What::Unreadable(error));
                self.state.pass();
            }
        }
        found.1
    }

    /// What still had to follow the last entry.
    pub fn finish(&mut self) -> Vec<Mismatch> {
        self.following.rest().into_iter().map(missing).collect()
    }

    /// The state after the entries so far.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// What there was so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn take(&mut self, frame: Frame, entry: &[u8], found: &mut Found) {
        let index = self.state.size;
        found.unless(self.log_time <= frame.log_time, || What::TimeWentBack);
        self.log_time = self.log_time.max(frame.log_time);
        self.count(&frame.facts);
        let (was_due, not_there) = self.following.meet(&frame);
        found.1.extend(not_there.into_iter().map(missing));
        self.check_producer(&frame, found);
        let facts = if was_due { frame.facts } else { self.again(&frame, found) };
        let outcome = outcome_of(&facts).or(frame.outcome);
        if outcome != frame.outcome {
            found.1.extend(
                outcome.map(|again| Mismatch { index: found.0, what: What::Outcome(frame.outcome, again) }),
            );
        }
        let frame = Frame { outcome, facts, ..frame };
        let due = self.state.take(&frame, leaf_hash(entry));
        // Nothing follows from what follows.
        if !was_due {
            self.following.expect(index, &frame, due);
        }
    }

    /// What an entry that comes by itself would have to say.
    fn again(&mut self, frame: &Frame, found: &mut Found) -> Facts {
        let (index, log_time) = (self.state.size, frame.log_time);
        let is_first = matches!(frame.facts, Facts::Genesis(_));
        found.unless(is_first == (index == 0), || What::NotTheBeginning);
        match &frame.facts {
            Facts::Genesis(genesis) if index == 0 => return Facts::Genesis(self.begin(genesis, found)),
            Facts::Scope(command) => return Facts::Scope(self.judge(log_time, command, found)),
            Facts::Decision(decision) => return Facts::Decision(self.decide(log_time, decision, found)),
            Facts::Alert(alert) => found.unless(self.state.alerts.admits(index, alert), || What::Unfounded),
            Facts::Gap(gap) => found.unless(self.state.producers.is_untold(gap), || What::NoGap),
            Facts::Filled(_) => found.say(What::Unfounded),
            _ => {}
        }
        frame.facts.clone()
    }

    fn begin(&mut self, genesis: &Genesis, found: &mut Found) -> Genesis {
        found.unless(genesis.origin == self.origin, || What::NotTheBeginning);
        self.recovery = Some(genesis.recovery.clone());
        let is_signed = || {
            let signature = genesis.signature.as_deref();
            signature.is_some_and(|signature| self.is_by_recovery(&genesis.statement(), signature))
        };
        let is_authorised = (genesis.administrators.is_empty() && genesis.signature.is_none()) || is_signed();
        found.unless(is_authorised, || What::Unauthorised);
        let signature = genesis.signature.clone().filter(|_| is_authorised);
        Genesis { signature, ..genesis.clone() }
    }

    fn judge(&self, log_time: Time, command: &ScopeCommand, found: &mut Found) -> ScopeCommand {
        let signature = command.signature.as_deref();
        let by_recovery = signature
            .is_some_and(|signature| self.is_by_recovery(&command.statement(&self.origin), signature));
        let refused = self.state.scopes.judge(log_time, command, by_recovery).err().map(Refused::word);
        found.unless(command.refused == refused, || What::Command(command.refused.clone(), refused.clone()));
        ScopeCommand { refused, ..command.clone() }
    }

    fn decide(&self, log_time: Time, decision: &DecisionFacts, found: &mut Found) -> DecisionFacts {
        let scopes = &self.state.scopes;
        let verdict = scopes.decide(decision);
        let (reason, grants) = (verdict.reason.word(), verdict.grants.clone());
        found.unless(decision.reason == reason, || What::Decision(decision.reason.clone(), reason.clone()));
        found.unless(decision.reason != reason || decision.grants == grants, || What::Grants);
        let is_of_now =
            decision.state_size <= self.state.size && !scopes.changed_since(decision.state_size, decision);
        found.unless(is_of_now, || What::StateSize);
        // A sum may have waited longer: its state shows that nothing came between.
        let age = log_time.0.checked_sub(decision.decided_at);
        let is_in_time = age.is_some_and(|age| age <= MAX_DECISION_AGE.0 || decision.count.is_some());
        found.unless(is_in_time, || What::DecidedAt);
        let may_be_sum = verdict.is_allowed() && scopes.is_summed(decision);
        found.unless(decision.count.is_none() || may_be_sum, || What::NoSum);
        DecisionFacts { reason, grants, ..decision.clone() }
    }

    fn check_producer(&self, frame: &Frame, found: &mut Found) {
        let producers = &self.state.producers;
        // The log itself is no producer.
        if frame.producer == Ref::default() {
            return found.unless(frame.sequence == 0 && frame.previous == [0; 32], || What::NotTheOneBefore);
        }
        if let Err(error) = producers.check(frame.producer, frame.sequence) {
            found.say(What::Number(error));
        }
        let before = producers.of(frame.producer).map_or([0; 32], |known| known.previous);
        found.unless(frame.previous == before, || What::NotTheOneBefore);
    }

    fn is_by_recovery(&self, statement: &[u8], signature: &[u8]) -> bool {
        self.recovery.as_ref().is_some_and(|key| (self.verify)(key.as_str(), statement, signature))
    }

    fn count(&mut self, facts: &Facts) {
        match facts {
            Facts::Scope(_) => self.counts.commands += 1,
            Facts::Decision(_) => self.counts.decisions += 1,
            Facts::Alert(_) => self.counts.alerts += 1,
            _ => {}
        }
    }
}

/// What was found at an index.
struct Found(u64, Vec<Mismatch>);

impl Found {
    fn say(&mut self, what: What) {
        self.1.push(Mismatch { index: self.0, what });
    }

    fn unless(&mut self, is_so: bool, what: impl FnOnce() -> What) {
        if !is_so {
            self.say(what());
        }
    }
}

fn missing((index, facts): (u64, Facts)) -> Mismatch {
    Mismatch { index, what: What::Missing(Box::new(facts)) }
}

/// How a leaf of these facts ends, where that follows from them.
fn outcome_of(facts: &Facts) -> Option<Outcome> {
    let is_good = match facts {
        Facts::Scope(command) => command.refused.is_none(),
        Facts::Decision(decision) => decision.reason.as_str() == Reason::Granted.as_str(),
        _ => return None,
    };
    Some(if is_good { Outcome::Success } else { Outcome::Denied })
}
