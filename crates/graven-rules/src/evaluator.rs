//! A rule at work: which leaves count, and when there are enough of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use graven_event::Time;
use sha2::{Digest, Sha256};

use crate::fields::Fields;
use crate::rule::Rule;

/// Most groups of one rule that are remembered; the one that was touched longest ago is forgotten first.
pub const MAX_GROUPS: usize = 8192;
/// Most leaves of one rule that are remembered, in all groups.
pub const MAX_HITS: usize = 65_536;

/// A rule with what it remembers.
#[derive(Debug)]
pub struct Evaluator {
    rule: Rule,
    groups: BTreeMap<Key, Group>,
    by_age: BTreeSet<(u64, Key)>,
    hits: usize,
}

/// A rule fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The leaves that did it, rising.
    pub leaves: Vec<u64>,
    /// How many they are.
    pub count: u64,
    /// What they have in common: the value of `by`.
    pub group: Option<String>,
}

/// A hash of what a group's leaves have in common: it may be personal, and long.
type Key = [u8; 32];

#[derive(Debug, Default)]
struct Group {
    touched: u64,
    hits: VecDeque<(u64, Time)>,
    quiet_until: Time,
}

impl Evaluator {
    /// A rule that remembers nothing yet.
    pub fn new(rule: Rule) -> Self {
        Self { rule, groups: BTreeMap::new(), by_age: BTreeSet::new(), hits: 0 }
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Takes in the leaf at an index. Indices rise, and times do not fall.
    pub fn step(&mut self, index: u64, log_time: Time, fields: &Fields) -> Option<Fired> {
        let group = self.rule.hit(fields)?;
        let is_alone = self.rule.count == 1 && self.rule.quiet.is_zero();
        let leaves = if is_alone { vec![index] } else { self.add(index, log_time, key(group.as_deref()))? };
        Some(Fired { count: leaves.len() as u64, leaves, group })
    }

    /// Takes in a leaf of which it is known whether it fired: what was said stands, and nothing is said again. Whoever starts again
    /// [so far](Rule::reach) back remembers what the rule did before.
    pub fn recall(&mut self, index: u64, log_time: Time, fields: &Fields, has_fired: bool) {
        let Some(group) = self.rule.hit(fields) else { return };
        let key = key(group.as_deref());
        if has_fired {
            self.fire(index, log_time, key);
        } else if !self.is_quiet(log_time, key) {
            self.push(index, log_time, key);
        }
    }

    fn add(&mut self, index: u64, log_time: Time, key: Key) -> Option<Vec<u64>> {
        if self.is_quiet(log_time, key) {
            return None;
        }
        self.push(index, log_time, key);
        let is_enough = self.groups.get(&key).is_some_and(|group| group.hits.len() >= self.rule.count);
        is_enough.then(|| self.fire(index, log_time, key))
    }

    fn is_quiet(&self, log_time: Time, key: Key) -> bool {
        self.groups.get(&key).is_some_and(|group| log_time < group.quiet_until)
    }

    fn push(&mut self, index: u64, log_time: Time, key: Key) {
        let (within, most) = (self.rule.within, self.rule.count);
        let group = self.touch(index, key);
        let before = group.hits.len();
        group.hits.retain(|(_, time)| log_time.0.saturating_sub(time.0) <= nanoseconds(within));
        // Recalled, there may be more: whatever kept it from firing.
        group.hits.truncate(most - 1);
        group.hits.push_back((index, log_time));
        let after = group.hits.len();
        self.hits = self.hits + after - before;
        self.make_room();
    }

    fn fire(&mut self, index: u64, log_time: Time, key: Key) -> Vec<u64> {
        let until = Time(log_time.0.saturating_add(nanoseconds(self.rule.quiet)));
        let group = self.touch(index, key);
        group.quiet_until = until;
        let hits = std::mem::take(&mut group.hits);
        self.hits -= hits.len();
        self.make_room();
        hits.into_iter().map(|(index, _)| index).collect()
    }

    fn touch(&mut self, index: u64, key: Key) -> &mut Group {
        let group = self.groups.entry(key).or_default();
        self.by_age.remove(&(group.touched, key));
        self.by_age.insert((index, key));
        group.touched = index;
        group
    }

    fn make_room(&mut self) {
        while self.groups.len() > MAX_GROUPS || self.hits > MAX_HITS {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            let forgotten = self.groups.remove(&oldest);
            self.hits -= forgotten.map_or(0, |group| group.hits.len());
        }
    }
}

fn key(group: Option<&str>) -> Key {
    let digest = match group {
        None => Sha256::new(),
        Some(group) => Sha256::new().chain_update([1]).chain_update(group),
    };
    digest.finalize().into()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Evaluator {
    /// Groups, their places by age, and leaves that are remembered.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.groups.len(), self.by_age.len(), self.hits)
    }
}
