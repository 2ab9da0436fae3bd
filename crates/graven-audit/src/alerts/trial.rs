//! What a rule would have raised over a range of the past.

use std::ops::Range;
use std::sync::Arc;

use graven_event::alerts::{Applied, BUILTIN, Watcher};
use graven_event::facts::{AlertFacts, RuleFacts};
use graven_event::scopes::ScopeState;
use graven_event::{Facts, Frame, Group, View};
use graven_rules::{Evaluator, Fields};

use super::{NewRule, checked, rule_of};
use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::read::Opened;
use crate::scopes::Point;

/// Most leaves that one step looks at.
const STEP_LEAVES: u64 = 4096;

/// A rule that is being tried.
pub struct Trial {
    book: Arc<Book>,
    facts: RuleFacts,
    rule: Tested,
    next: u64,
    end: u64,
}

/// Some of what a trial found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What would have been raised, in order.
    pub alerts: Vec<AlertFacts>,
    /// Every leaf below this, from the trial's first on, was looked at.
    pub next: u64,
    /// How many of them could not be read as a whole: erased, dropped or missing.
    pub unreadable: u64,
}

enum Tested {
    Cel(Box<Evaluator>),
    Builtin(Box<(Watcher, ScopeState)>),
}

impl Audit {
    /// Begins to try a rule on the leaves of a range, as if it were applied to them. Nothing is recorded.
    ///
    /// # Errors
    /// It is no rule, or there are not so many leaves.
    pub async fn test_rule(
        self: &Arc<Self>,
        book: &Arc<Book>,
        rule: NewRule<'_>,
        range: Range<u64>,
    ) -> Result<Trial, AuditError> {
        let facts = checked(rule)?;
        let size = book.log.durable_size();
        if range.end > size || range.start > range.end {
            return Err(AuditError::StateBehind { size });
        }
        let rule = if facts.language.as_str() == BUILTIN {
            let (state, _) = self.state_at(book, Point::Size(range.start)).await?;
            Tested::Builtin(Box::new((Watcher::applying(&facts), state.scopes)))
        } else {
            let applied = Applied { index: 0, facts: facts.clone(), fired: 0 };
            let rule = rule_of(&facts.name, &applied).ok_or(AuditError::NoRule)?;
            Tested::Cel(Box::new(Evaluator::new(rule)))
        };
        Ok(Trial { book: book.clone(), facts, rule, next: range.start, end: range.end })
    }
}

impl Trial {
    /// Looks at some more leaves; `None`: at all of them before. It holds up the thread.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn go_on(&mut self) -> Result<Option<Tried>, AuditError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let groups: &[Group] = match &self.rule {
            Tested::Cel(_) => &Group::ALL,
            Tested::Builtin(_) => &[],
        };
        let mut tried = Tried { alerts: Vec::new(), next: self.next, unreadable: 0 };
        let book = self.book.clone();
        for leaf in book.open_range(self.next..self.end.min(self.next + STEP_LEAVES), groups)? {
            let leaf = leaf?;
            tried.next += 1;
            let is_read = leaf.erased.is_empty() && !leaf.is_dropped && !leaf.is_missing;
            tried.unreadable += u64::from(!is_read && !groups.is_empty());
            tried.alerts.extend(self.look(leaf));
        }
        self.next = tried.next;
        Ok(Some(tried))
    }

    fn look(&mut self, leaf: Opened) -> Vec<AlertFacts> {
        let Some(frame) = leaf.frame else { return Vec::new() };
        match &mut self.rule {
            Tested::Cel(evaluator) => {
                let found = step(evaluator, &self.facts, leaf.index, &frame, leaf.view);
                found.into_iter().collect()
            }
            Tested::Builtin(it) => {
                let (watcher, scopes) = &mut **it;
                // What the log says of its rules is not about this trial.
                let is_said = matches!(frame.facts, Facts::Rule(_) | Facts::Alert(_));
                let found = if is_said { Vec::new() } else { watcher.take(leaf.index, &frame, scopes) };
                scopes.take(leaf.index, frame.log_time, &frame.facts);
                found
            }
        }
    }
}

/// Takes a leaf in. Returns the alert that it raises.
fn step(
    evaluator: &mut Evaluator,
    rule: &RuleFacts,
    index: u64,
    frame: &Frame,
    view: View,
) -> Option<AlertFacts> {
    let fields = Fields::of(frame, view)?;
    let fired = evaluator.step(index, frame.log_time, &fields)?;
    Some(super::follower::said(rule, index, fired.leaves, &frame.facts))
}
