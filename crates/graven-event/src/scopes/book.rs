//! Grants by who has them and when they end, and revoked tokens by when they end: all in step, and never more than fit.
//!
//! What is forgotten follows from the leaves alone: only a leaf that adds something makes room for it, by the time that stands in it. The
//! size of the log at which that happened last is remembered, since a decision may depend on what was forgotten.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Ref, Word};
use crate::scopes::grant::{Grant, Use};
use crate::scopes::{MAX_GRANTS, MAX_HELD, MAX_REVOKED_TOKENS};
use crate::time::Time;

/// Who has a grant: client, subject, resource.
type Holder = (Ref, Option<Ref>, Option<Word>);

/// All grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    all: BTreeMap<Ref, Grant>,
    held: BTreeSet<(Holder, Ref)>,
    ends: BTreeSet<(Time, Ref)>,
    /// The size of the log after the leaf that last made one be forgotten; 0: none did.
    pub(super) forgotten: u64,
}

impl Grants {
    pub(super) fn all(&self) -> &BTreeMap<Ref, Grant> {
        &self.all
    }

    pub(super) fn get(&self, number: Ref) -> Option<&Grant> {
        self.all.get(&number)
    }

    /// Those of a client for a person (`None`: for whoever) and a resource (`None`: everywhere), by number.
    pub(super) fn of<'a>(
        &'a self,
        client: Ref,
        subject: Option<Ref>,
        resource: Option<&Word>,
    ) -> impl Iterator<Item = (Ref, &'a Grant)> + use<'a> {
        let holder = (client, subject, resource.cloned());
        let range = (holder.clone(), Ref([0; 16]))..=(holder, Ref([u8::MAX; 16]));
        self.held.range(range).filter_map(|(_, number)| Some((*number, self.all.get(number)?)))
    }

    /// Whether one more can be remembered, if need be instead of one that is over.
    pub(super) fn has_room(
        &self,
        now: Time,
        client: Ref,
        subject: Option<Ref>,
        resource: Option<&Word>,
    ) -> bool {
        let is_over = |(_, grant): (Ref, &Grant)| grant.is_over(now);
        let fits = self.all.len() < MAX_GRANTS || self.ends.first().is_some_and(|(end, _)| *end <= now);
        let mut of_holder = self.of(client, subject, resource);
        fits && (self.of(client, subject, resource).count() < MAX_HELD || of_holder.any(is_over))
    }

    /// Adds one for which there is room.
    pub(super) fn add(&mut self, now: Time, number: Ref, grant: Grant) {
        let size = grant.requested.saturating_add(1);
        let of_holder = || self.of(grant.client, grant.subject, grant.resource.as_ref());
        if of_holder().count() >= MAX_HELD {
            let over = of_holder().filter(|(_, grant)| grant.is_over(now));
            let oldest = over.min_by_key(|(number, grant)| (grant.end(), *number)).map(|(number, _)| number);
            self.forget(oldest, size);
        } else if self.all.len() >= MAX_GRANTS {
            self.forget(self.ends.first().map(|(_, number)| *number), size);
        }
        self.put(number, grant);
    }

    /// Puts one there as it is.
    pub(super) fn put(&mut self, number: Ref, grant: Grant) {
        self.held.insert((holder(&grant), number));
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
    }

    /// The use of one of its scopes. It changes nothing that a decision depends on.
    pub(super) fn use_of(&mut self, number: Ref, scope: &Word) -> Option<&mut Use> {
        self.all.get_mut(&number)?.scopes.get_mut(scope)
    }

    fn forget(&mut self, number: Option<Ref>, size: u64) {
        let Some((number, grant)) = number.and_then(|number| self.all.remove_entry(&number)) else { return };
        self.held.remove(&(holder(&grant), number));
        grant.end().map(|end| self.ends.remove(&(end, number)));
        self.forgotten = size;
    }
}

fn holder(grant: &Grant) -> Holder {
    (grant.client, grant.subject, grant.resource.clone())
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
    all: BTreeMap<Ref, Revoked>,
    ends: BTreeSet<(Time, Ref)>,
    /// As of grants.
    pub(super) forgotten: u64,
}

impl Tokens {
    pub(super) fn all(&self) -> &BTreeMap<Ref, Revoked> {
        &self.all
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
