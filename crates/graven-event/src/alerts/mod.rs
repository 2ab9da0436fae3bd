//! Rules over the leaves of a log, and what the built-in ones find: what follows from the leaves alone, and is said in the log at once.
//!
//! A rule is applied from the leaf on that [says so](crate::facts::RuleFacts), until another of its name does, or one of severity 0. Its
//! alerts follow the leaf that fires it in the same commit, so the log is not one that this software writes if one is missing: whoever
//! [takes in](Watcher::take) the leaves sees which. Rules in other languages are remembered here and found elsewhere; of
//! their alerts this knows which ones [may still come](Watcher::admits), so that none comes twice.
//!
//! # What a watcher remembers
//! Everything is bounded, and what is forgotten is a function of the leaves: of each table, the row that was touched longest ago. A rule
//! remembers nothing from before it was applied, but for tokens that were revoked.

mod builtin;
mod memory;
mod recent;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use builtin::Builtin;

use self::memory::{Leaf, Memory};
use crate::facts::{AlertFacts, Facts, RuleFacts, Word};
use crate::frame::Frame;
use crate::scopes::ScopeState;

/// Most alerts that follow one leaf: the worst ones.
pub const MAX_PER_LEAF: usize = 2;
/// Most rules that are applied at once. One more is not.
pub const MAX_RULES: usize = 64;
/// The language of built-in rules, as it stands in a leaf.
pub const BUILTIN: &str = "builtin";
/// The worst severity.
pub const MAX_SEVERITY: u8 = 4;

/// The tier of scopes that administer.
const ADMINISTERS: u8 = 3;

/// Which rules are applied, and what the built-in ones remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watcher {
    rules: BTreeMap<Word, Applied>,
    /// Of the built-in rules, by number; 0: it is not applied. Follows from `rules`.
    severities: [u8; Builtin::ALL.len()],
    memory: Memory,
}

/// A rule that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The index of the leaf that says so: it is applied to those after it.
    pub index: u64,
    /// What that leaf says.
    pub facts: RuleFacts,
    /// The largest `state_size` of its alerts; 0: it never fired. Not kept for built-in rules.
    pub fired: u64,
}

impl Watcher {
    /// Takes in the leaf at an index, with the state of scopes before it. Returns the alerts that must follow it, in this order.
    pub fn take(&mut self, index: u64, frame: &Frame, before: &ScopeState) -> Vec<AlertFacts> {
        self.step(index, frame, |scope| before.scope(scope).is_some_and(|it| it.tier == ADMINISTERS))
    }

    /// With one rule that is applied from the first leaf on: to try it.
    pub fn applying(rule: &RuleFacts) -> Self {
        let mut watcher = Self::default();
        watcher.apply(0, rule);
        watcher
    }

    /// The rules that are applied, by name.
    pub fn rules(&self) -> impl Iterator<Item = (&Word, &Applied)> {
        self.rules.iter()
    }

    /// Whether an alert may be the leaf at an index by itself: it is of a rule that is applied and not built in, and about leaves that this
    /// rule has not spoken of.
    pub fn admits(&self, index: u64, alert: &AlertFacts) -> bool {
        let is_of = |applied: &Applied| {
            let rule = &applied.facts;
            (rule.rule, rule.severity) == (alert.rule, alert.severity) && rule.language.as_str() != BUILTIN
        };
        let rule = self.rules.get(&alert.name).filter(|applied| is_of(applied));
        rule.is_some_and(|applied| alert.state_size > applied.fired.max(applied.index + 1))
            && alert.state_size <= index
    }

    /// As [`take`](Self::take), where a function says which scopes administer.
    fn step(&mut self, index: u64, frame: &Frame, administers: impl Fn(&Word) -> bool) -> Vec<AlertFacts> {
        match &frame.facts {
            Facts::Rule(rule) => self.apply(index, rule),
            Facts::Alert(alert) => self.note(alert),
            _ => return self.look(index, frame, administers),
        }
        Vec::new()
    }

    fn look(&mut self, index: u64, frame: &Frame, administers: impl Fn(&Word) -> bool) -> Vec<AlertFacts> {
        let severities = self.severities;
        let of = |rule: Builtin| severities[rule.number()];
        let leaf = Leaf { index, frame, administers: &administers, is_applied: &|rule| of(rule) != 0 };
        let mut found = self.memory.look(&leaf);
        found.sort_by_key(|found| (std::cmp::Reverse(of(found.rule)), found.rule));
        let alert = |found: memory::Found| AlertFacts {
            rule: found.rule.hash(),
            name: found.rule.word(),
            severity: of(found.rule),
            leaves: found.leaves,
            count: None,
            about: found.about,
            state_size: index + 1,
        };
        found.into_iter().take(MAX_PER_LEAF).map(alert).collect()
    }

    fn apply(&mut self, index: u64, rule: &RuleFacts) {
        self.rules.remove(&rule.name);
        if let Some(builtin) = Builtin::named(rule.name.as_str()) {
            self.severities[builtin.number()] = 0;
            self.memory.forget(builtin);
        }
        if is_whole(rule) && self.rules.len() < MAX_RULES {
            self.insert(Applied { index, facts: rule.clone(), fired: 0 });
        }
    }

    fn insert(&mut self, applied: Applied) {
        let rule = &applied.facts;
        let builtin = Builtin::named(rule.name.as_str()).filter(|_| rule.language.as_str() == BUILTIN);
        if let Some(builtin) = builtin.filter(|builtin| builtin.hash() == rule.rule) {
            self.severities[builtin.number()] = rule.severity;
        }
        self.rules.insert(rule.name.clone(), applied);
    }

    fn note(&mut self, alert: &AlertFacts) {
        let rule = self.rules.get_mut(&alert.name);
        let is_of = |rule: &RuleFacts| rule.rule == alert.rule && rule.language.as_str() != BUILTIN;
        if let Some(applied) = rule.filter(|applied| is_of(&applied.facts)) {
            applied.fired = applied.fired.max(alert.state_size);
        }
    }
}

/// Whether a rule can be applied: its text is there, and is the one that it is called by.
fn is_whole(rule: &RuleFacts) -> bool {
    let is_text = |source: &Vec<u8>| <[u8; 32]>::from(Sha256::digest(source)) == rule.rule;
    (1..=MAX_SEVERITY).contains(&rule.severity) && rule.source.as_ref().is_some_and(is_text)
}
