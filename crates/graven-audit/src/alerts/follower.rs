//! One log, read once for each of its rules in CEL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use graven_event::alerts::Applied;
use graven_event::facts::{AlertFacts, RuleFacts};
use graven_event::{Facts, Frame, Group, Ref, Time, View, Word};
use graven_rules::{Evaluator, Fields};

use super::place::{Keeping, Place};
use super::{is_cel, rule_of};
use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::read::Opened;

/// Most leaves of one turn: then it is another log's turn.
const TURN_LEAVES: u64 = 1024;
/// Most people and applications that an alert names.
const MAX_ABOUT: usize = 16;

const ALERT_KIND: u8 = 4;

/// One log, with what its rules remember.
pub(super) struct Follower {
    pub(super) book: Arc<Book>,
    place: Place,
    running: BTreeMap<Word, Running>,
    /// What was found and is not durable yet.
    pub(super) found: Vec<AlertFacts>,
    /// Every leaf below was looked at; `None`: it has not begun.
    position: Option<u64>,
    /// The leaves that were there when it began: of these, alerts were counted before.
    counted: u64,
    /// Whether there was more than one turn looks at.
    pub(super) is_behind: bool,
}

/// A rule at work.
struct Running {
    /// Of the leaf that applies it.
    index: u64,
    facts: RuleFacts,
    evaluator: Evaluator,
    /// From here on leaves are news. Those before it, from `recalled` on, are remembered.
    live: u64,
    recalled: u64,
    /// The state sizes of its alerts about those.
    said: BTreeSet<u64>,
}

impl Follower {
    pub(super) fn new(audit: &Audit, book: &Arc<Book>) -> Self {
        Self {
            book: book.clone(),
            place: Place::new(audit, book),
            running: BTreeMap::new(),
            found: Vec::new(),
            position: None,
            counted: 0,
            is_behind: false,
        }
    }

    /// Looks at some leaves that are new.
    pub(super) fn look(&mut self) -> Result<(), AuditError> {
        if !self.found.is_empty() {
            return Ok(());
        }
        // First the size: what is said of rules below it is in the state by then.
        let end = self.book.log.durable_size();
        let position = match self.position {
            Some(position) => position,
            None => self.begin(end)?,
        };
        self.take_rules(position);
        let (from, to) = (position, end.min(position + TURN_LEAVES));
        let mut next = from;
        while next < to {
            next = if self.running.is_empty() { self.pass(next, to)? } else { self.read(next, to)? };
            self.position = Some(next);
        }
        self.position = Some(next);
        self.is_behind = next < end;
        Ok(())
    }

    /// Finds out where to begin: where the first rule has to remember from.
    fn begin(&mut self, end: u64) -> Result<u64, AuditError> {
        self.counted = end;
        let rules = self.applied();
        for (name, applied) in rules {
            let Some(evaluator) = rule_of(&name, &applied).map(Evaluator::new) else { continue };
            let live = applied.fired.max(self.place.kept).max(applied.index + 1);
            let recalled =
                self.book.reached(live, evaluator.rule().reach())?.max(applied.index + 1).min(live);
            let said = BTreeSet::new();
            let running =
                Running { index: applied.index, facts: applied.facts, evaluator, live, recalled, said };
            self.running.insert(name, running);
        }
        let first = self.running.values().map(|running| running.recalled).fold(end, u64::min);
        self.note_said(first, end)?;
        Ok(first)
    }

    /// The rules in CEL that are applied.
    fn applied(&self) -> Vec<(Word, Applied)> {
        let state = self.book.state.lock();
        let rules = state.alerts.rules().filter(|(_, applied)| is_cel(applied));
        rules.map(|(name, applied)| (name.clone(), applied.clone())).collect()
    }

    /// Begins with rules that are new, and ends those that are not applied any more.
    fn take_rules(&mut self, position: u64) {
        let (mut new, mut kept) = (Vec::new(), BTreeSet::new());
        {
            let state = self.book.state.lock();
            for (name, applied) in state.alerts.rules().filter(|(_, applied)| is_cel(applied)) {
                kept.insert(name.clone());
                if self.running.get(name).is_none_or(|running| running.index != applied.index) {
                    new.push((name.clone(), applied.clone()));
                }
            }
        }
        self.running.retain(|name, _| kept.contains(name));
        for (name, applied) in new {
            // One that cannot be run is told of once, when it begins.
            if applied.index < position {
                continue;
            }
            let Some(evaluator) = rule_of(&name, &applied).map(Evaluator::new) else { continue };
            let (index, live) = (applied.index, applied.index + 1);
            let said = BTreeSet::new();
            let running = Running { index, facts: applied.facts, evaluator, live, recalled: live, said };
            self.running.insert(name, running);
        }
    }

    /// Notes what the rules said of leaves that are only remembered.
    fn note_said(&mut self, from: u64, end: u64) -> Result<(), AuditError> {
        if self.running.values().all(|running| running.recalled == running.live) {
            return Ok(());
        }
        let mut next = from;
        while next < end {
            for leaf in self.book.log.durable_entries(next..end)? {
                next += 1;
                let Some(alert) = alert_of(&leaf) else { continue };
                if let Some(running) = self.running.get_mut(&alert.name)
                    && running.facts.rule == alert.rule
                {
                    running.said.insert(alert.state_size);
                }
            }
        }
        Ok(())
    }

    /// Leaves that no rule looks at: alerts among them are counted. Returns the index after them.
    fn pass(&self, from: u64, to: u64) -> Result<u64, AuditError> {
        let leaves = self.book.log.durable_entries(from..to)?;
        for (leaf, index) in leaves.iter().zip(from..) {
            alert_of(leaf).iter().for_each(|alert| self.count(index, alert));
        }
        Ok(from + leaves.len() as u64)
    }

    /// Leaves that rules look at. Returns the index after them.
    fn read(&mut self, from: u64, to: u64) -> Result<u64, AuditError> {
        let reads_raw = self.running.values().any(|running| running.evaluator.rule().reads_raw());
        let groups = Group::ALL.into_iter().filter(|group| reads_raw || *group != Group::Raw);
        let groups: Vec<Group> = groups.collect();
        let (book, mut next) = (self.book.clone(), from);
        for opened in book.open_range(from..to, &groups)? {
            let leaf = match opened {
                // A payload that is not what it was holds up nobody: the leaf itself is there.
                Err(AuditError::Damaged(index)) => {
                    tracing::error!(log = %book.log.meta().name, index, "rules see nothing of a damaged payload");
                    let leaf = book.log.durable_entries(index..index + 1)?.pop();
                    Opened::closed(index, leaf.ok_or(AuditError::Damaged(index))?)
                }
                other => other?,
            };
            next += 1;
            let Some(frame) = leaf.frame else { continue };
            match &frame.facts {
                Facts::Alert(alert) => self.count(leaf.index, alert),
                _ => self.step(leaf.index, &frame, leaf.view),
            }
        }
        Ok(next)
    }

    fn step(&mut self, index: u64, frame: &Frame, view: View) {
        let Some(fields) = Fields::of(frame, view) else { return };
        for running in self.running.values_mut() {
            if index >= running.live {
                let fired = running.evaluator.step(index, frame.log_time, &fields);
                self.found.extend(fired.map(|fired| said(&running.facts, index, fired.leaves, &frame.facts)));
            } else if index >= running.recalled {
                let has_fired = running.said.contains(&(index + 1));
                running.evaluator.recall(index, frame.log_time, &fields, has_fired);
            }
        }
    }

    fn count(&self, index: u64, alert: &AlertFacts) {
        if index < self.counted {
            return;
        }
        let log = self.book.log.meta().name.to_string();
        let labels =
            [("log", log), ("rule", alert.name.to_string()), ("severity", alert.severity.to_string())];
        metrics::counter!("graven_alerts_total", &labels).increment(1);
        tracing::warn!(
            log = %self.book.log.meta().name, index, rule = %alert.name, severity = alert.severity,
            state_size = alert.state_size, "a rule fired"
        );
    }

    /// What is to be kept of the position now, if it is time.
    pub(super) fn keep(&mut self) -> Option<Keeping> {
        let position = self.position.filter(|_| !self.running.is_empty())?;
        self.place.keep(&self.book, position)
    }
}

impl Book {
    /// The first leaf that is at most so old as the last one before an index.
    fn reached(&self, before: u64, reach: Duration) -> Result<u64, AuditError> {
        if reach.is_zero() {
            return Ok(before);
        }
        for index in (0..before.min(self.log.durable_size())).rev() {
            // A statement has no time.
            if let Some(frame) = self.open_one(index, &[])?.frame {
                let reach = u64::try_from(reach.as_nanos()).unwrap_or(u64::MAX);
                return self.first_since(Time(frame.log_time.0.saturating_sub(reach)), 0);
            }
        }
        Ok(before)
    }
}

/// What an alert of a rule says, that the leaf at an index raised.
pub(super) fn said(rule: &RuleFacts, index: u64, leaves: Vec<u64>, facts: &Facts) -> AlertFacts {
    let mut about = about(facts);
    about.truncate(MAX_ABOUT);
    AlertFacts {
        rule: rule.rule,
        name: rule.name.clone(),
        severity: rule.severity,
        leaves,
        count: None,
        about,
        state_size: index + 1,
    }
}

/// Whom a leaf is about: who did it, through what, to whom.
fn about(facts: &Facts) -> Vec<Ref> {
    let mut about: Vec<Ref> = match facts {
        Facts::Event(event) => event.people().collect(),
        Facts::Decision(decision) => [decision.client].into_iter().chain(decision.subject).collect(),
        Facts::Scope(it) => [it.by].into_iter().chain(it.client).chain(it.subject).collect(),
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    about.retain(|one| seen.insert(*one));
    about
}

/// The alert that a leaf is, told apart by its first bytes.
fn alert_of(leaf: &[u8]) -> Option<AlertFacts> {
    if leaf.get(5) != Some(&ALERT_KIND) {
        return None;
    }
    match Frame::decode(leaf).ok()?.facts {
        Facts::Alert(alert) => Some(alert),
        _ => None,
    }
}
