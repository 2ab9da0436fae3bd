//! Grants by who has them and when they end, and revoked tokens by when they end: all in step, and never more than fit.
//!
//! What is forgotten follows from the leaves alone: only a leaf that adds something makes room for it, by the time that stands in it. The
//! size of the log at which that happened last is remembered, since a decision may depend on what was forgotten.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::facts::{Ref, Word};
use crate::scopes::grant::{Grant, Use};
use crate::scopes::{MAX_GRANTS, MAX_HELD, MAX_REVOKED_TOKENS};
use crate::time::Time;

/// Hashed the same each time: nothing here is random. What is in it is bounded, so are collisions that somebody makes.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Who has grants: client, subject, resource.
type Holder = (Ref, Option<Ref>, Option<Word>);

/// All grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    all: Map<Ref, Grant>,
    held: Map<Holder, Held>,
    ends: BTreeSet<(Time, Ref)>,
    /// The size of the log after the leaf that last made one be forgotten; 0: none did.
    pub(super) forgotten: u64,
}

/// The grants of one holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The index of the leaf that last changed one of them.
    pub(super) changed: u64,
    /// By number, each with its scopes as [`bit`]s, so that a decision need not look at those without its own.
    grants: Vec<(Ref, u64)>,
}

impl Grants {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, number: Ref) -> Option<&Grant> {
        self.all.get(&number)
    }

    /// All of them, in any order: for what does not depend on it.
    pub(super) fn each(&self) -> impl Iterator<Item = (Ref, &Grant)> {
        self.all.iter().map(|(number, grant)| (*number, grant))
    }

    /// All of them, by number.
    pub(super) fn in_order(&self) -> Vec<(Ref, &Grant)> {
        in_order(&self.all)
    }

    /// Those of a client for a person (`None`: for whoever) and a resource (`None`: everywhere).
    pub(super) fn held(&self, client: Ref, subject: Option<Ref>, resource: Option<&Word>) -> Option<&Held> {
        self.held.get(&(client, subject, resource.cloned()))
    }

    /// Those among them that have a scope.
    pub(super) fn with_scope<'a>(
        &'a self,
        held: &'a Held,
        scope: &Word,
    ) -> impl Iterator<Item = (Ref, &'a Grant)> {
        let bit = bit(scope);
        let may_have = held.grants.iter().filter(move |(_, bits)| bits & bit != 0);
        let known = may_have.filter_map(|(number, _)| Some((*number, self.all.get(number)?)));
        known.filter(move |(_, grant)| grant.scopes.contains_key(scope))
    }

    /// Whether one more can be remembered, if need be instead of one that is over.
    pub(super) fn has_room(
        &self,
        now: Time,
        client: Ref,
        subject: Option<Ref>,
        resource: Option<&Word>,
    ) -> bool {
        let fits = self.all.len() < MAX_GRANTS || self.ends.first().is_some_and(|(end, _)| *end <= now);
        let held = self.held(client, subject, resource).filter(|held| held.grants.len() >= MAX_HELD);
        fits && held.is_none_or(|held| self.oldest_over(held, now).is_some())
    }

    /// Adds one for which there is room.
    pub(super) fn add(&mut self, now: Time, number: Ref, grant: Grant) {
        let size = grant.requested.saturating_add(1);
        let held = self.held(grant.client, grant.subject, grant.resource.as_ref());
        let full = held.filter(|held| held.grants.len() >= MAX_HELD);
        let of_holder = full.and_then(|held| self.oldest_over(held, now));
        let of_all = || self.ends.first().filter(|_| self.all.len() >= MAX_GRANTS).map(|(_, number)| *number);
        let oldest = of_holder.or_else(of_all);
        self.forget(oldest, size);
        self.put(number, grant);
    }

    /// Puts one there as it is.
    pub(super) fn put(&mut self, number: Ref, grant: Grant) {
        self.held.entry(holder(&grant)).or_default().put(number, &grant);
        self.ends.extend(grant.end().map(|end| (end, number)));
        self.all.insert(number, grant);
    }

    /// Changes one, as the leaf at this index says. Who has it stays.
    pub(super) fn change(&mut self, index: u64, number: Ref, change: impl FnOnce(&mut Grant)) {
        let Some(grant) = self.all.get_mut(&number) else { return };
        let before = grant.end();
        change(grant);
        grant.revision += 1;
        grant.changed = index;
        if grant.end() != before {
            before.map(|end| self.ends.remove(&(end, number)));
            self.ends.extend(grant.end().map(|end| (end, number)));
        }
        self.held.entry(holder(grant)).or_default().put(number, grant);
    }

    /// The use of one of its scopes. It changes nothing that a decision depends on.
    pub(super) fn use_of(&mut self, number: Ref, scope: &Word) -> Option<&mut Use> {
        self.all.get_mut(&number)?.scopes.get_mut(scope)
    }

    fn oldest_over(&self, held: &Held, now: Time) -> Option<Ref> {
        let known = held.grants.iter().filter_map(|(number, _)| Some((self.all.get(number)?, *number)));
        let over = known.filter(|(grant, _)| grant.is_over(now));
        over.min_by_key(|(grant, number)| (grant.end(), *number)).map(|(_, number)| number)
    }

    fn forget(&mut self, number: Option<Ref>, size: u64) {
        let Some((number, grant)) = number.and_then(|number| self.all.remove_entry(&number)) else { return };
        grant.end().map(|end| self.ends.remove(&(end, number)));
        self.forgotten = size;
        let holder = holder(&grant);
        let Some(held) = self.held.get_mut(&holder) else { return };
        held.grants.retain(|(other, _)| *other != number);
        // As if it had never been there: what is restored from a snapshot knows no better.
        let changed = held.grants.iter().filter_map(|(number, _)| Some(self.all.get(number)?.changed));
        match changed.max() {
            Some(changed) => held.changed = changed,
            None => drop(self.held.remove(&holder)),
        }
    }
}

impl Held {
    fn put(&mut self, number: Ref, grant: &Grant) {
        let bits = grant.scopes.keys().fold(0, |bits, scope| bits | bit(scope));
        match self.grants.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(place) => self.grants[place].1 = bits,
            Err(place) => self.grants.insert(place, (number, bits)),
        }
        self.changed = self.changed.max(grant.changed);
    }
}

/// One of 64, by the scope: whoever has a scope has its bit, and seldom somebody else.
fn bit(scope: &Word) -> u64 {
    let mut hasher = DefaultHasher::new();
    scope.hash(&mut hasher);
    1 << (hasher.finish() % 64)
}

fn holder(grant: &Grant) -> Holder {
    (grant.client, grant.subject, grant.resource.clone())
}

fn in_order<V>(all: &Map<Ref, V>) -> Vec<(Ref, &V)> {
    let mut all: Vec<_> = all.iter().map(|(number, one)| (*number, one)).collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    all
}

/// A token that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    /// The index of the leaf that says so.
    pub(super) index: u64,
    /// When it ends by itself, so that it need not be remembered; `None`: nobody said.
    pub(super) expires: Option<Time>,
}

/// All revoked tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    all: Map<Ref, Revoked>,
    ends: BTreeSet<(Time, Ref)>,
    /// As of grants.
    pub(super) forgotten: u64,
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, by number.
    pub(super) fn in_order(&self) -> Vec<(Ref, &Revoked)> {
        in_order(&self.all)
    }

    pub(super) fn get(&self, token: Ref) -> Option<&Revoked> {
        self.all.get(&token)
    }

    /// Whether one more can be remembered, if need be instead of one that has ended. One that is there needs no room.
    pub(super) fn has_room(&self, now: Time, token: Ref) -> bool {
        let is_there = self.all.contains_key(&token);
        is_there
            || self.all.len() < MAX_REVOKED_TOKENS
            || self.ends.first().is_some_and(|(end, _)| *end <= now)
    }

    /// Adds one for which there is room. One that is there is remembered for as long as either leaf says.
    pub(super) fn add(&mut self, token: Ref, mut revoked: Revoked) {
        if let Some(before) = self.all.remove(&token) {
            before.expires.map(|end| self.ends.remove(&(end, token)));
            let expires = before.expires.zip(revoked.expires).map(|(one, other)| one.max(other));
            revoked = Revoked { index: before.index, expires };
        } else if self.all.len() >= MAX_REVOKED_TOKENS
            && let Some((_, oldest)) = self.ends.pop_first()
        {
            self.all.remove(&oldest);
            self.forgotten = revoked.index.saturating_add(1);
        }
        self.put(token, revoked);
    }

    /// Puts one there as it is.
    pub(super) fn put(&mut self, token: Ref, revoked: Revoked) {
        self.ends.extend(revoked.expires.map(|end| (end, token)));
        self.all.insert(token, revoked);
    }
}
