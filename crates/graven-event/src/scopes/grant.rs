//! What a state remembers.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Ref, Word};
use crate::time::Time;

/// What is said of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// How far it reaches: 1 reads, 2 changes, 3 administers; 0: not said.
    pub tier: u8,
    /// Whether allowed decisions are recorded in sums.
    pub is_summed: bool,
    /// Who may approve it; nobody named: any administrator.
    pub approvers: BTreeSet<Ref>,
    /// How many approvals a grant takes, one at least.
    pub approvals: u8,
    /// For how long a grant counts at most, in seconds.
    pub longest: Option<u64>,
    /// Tokens issued before this are refused; `None`: it was never rotated.
    pub issued_before: Option<Time>,
    /// The index of the leaf that defined it last.
    pub index: u64,
    /// The index of the leaf that changed it last, by defining or rotating it.
    pub changed: u64,
}

/// How it stands with a grant, but for its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Status {
    Pending = 1,
    Active = 2,
    Denied = 3,
    Revoked = 4,
}

/// A grant of scopes to an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How often it changed.
    pub revision: u64,
    /// How it stands, but for its times.
    pub status: Status,
    /// The application.
    pub client: Ref,
    /// The person in whose name alone.
    pub subject: Option<Ref>,
    /// Its scopes, with their use.
    pub scopes: BTreeMap<Word, Use>,
    /// Where they count; `None`: everywhere.
    pub resource: Option<Word>,
    /// When it begins to count.
    pub not_before: Option<Time>,
    /// When it ends.
    pub expires: Option<Time>,
    /// Who asked for it.
    pub requester: Ref,
    /// Whose approvals it has: of those who might still give them when the last one was given.
    pub approvers: BTreeSet<Ref>,
    /// The index of the request.
    pub requested: u64,
    /// The index of the leaf that made it active; 0: none did yet.
    pub activated: u64,
    /// Log time of that leaf.
    pub active_since: Time,
    /// Log time of the leaf that denied or revoked it.
    pub ended: Option<Time>,
    /// The index of the leaf that changed it last.
    pub changed: u64,
}

/// The use of a scope because of a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// How many decisions allowed it.
    pub count: u64,
    /// When the newest was decided.
    pub last: Option<Time>,
    /// The index of the first.
    pub first_index: u64,
    /// The index of the newest.
    pub last_index: u64,
}

/// A review of grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The index of the leaf that opened it.
    pub index: u64,
    /// Who opened it.
    pub by: Ref,
    /// Until when it should be done.
    pub due: Option<Time>,
    /// When it was closed.
    pub closed: Option<Time>,
    /// Its grants, each with what was said of it. `None` in a closed one: it was over before anybody said anything.
    pub items: BTreeMap<Ref, Option<Attested>>,
}

/// What was said of a grant in a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Attested {
    Kept = 1,
    Revoked = 2,
}

impl Grant {
    /// Whether decisions at a time may rest on it.
    pub fn counts(&self, at: Time) -> bool {
        self.is_active(at) && self.not_before.is_none_or(|begin| begin <= at)
    }

    /// Whether it counts at a time or will from then on without another leaf.
    pub fn is_active(&self, at: Time) -> bool {
        self.status == Status::Active && !self.is_over(at)
    }

    /// Whether it waits for approval.
    pub fn is_pending(&self, at: Time) -> bool {
        self.status == Status::Pending && !self.is_over(at)
    }

    /// Whether it was denied or revoked, or its time ran out: it will never count again.
    pub fn is_over(&self, at: Time) -> bool {
        self.end().is_some_and(|end| end <= at)
    }

    /// When it began to count, or will; `None`: it is not approved.
    pub fn begun(&self) -> Option<Time> {
        (self.activated != 0)
            .then(|| self.not_before.map_or(self.active_since, |begin| begin.max(self.active_since)))
    }

    /// From when on it is over; `None`: no such time is known.
    pub(super) fn end(&self) -> Option<Time> {
        self.ended.or(self.expires)
    }

    pub(super) fn is_for(&self, party: Ref) -> bool {
        self.client == party || self.subject == Some(party)
    }
}

impl Definition {
    /// Whether it is among what may be approved by whoever is named, or by administrators where nobody is.
    pub(super) fn is_approved_by(&self, party: Ref, is_administrator: bool) -> bool {
        if self.approvers.is_empty() { is_administrator } else { self.approvers.contains(&party) }
    }

    /// Whether a grant may count from one time to another.
    pub(super) fn allows(&self, from: Time, to: Option<Time>) -> bool {
        self.longest.is_none_or(|longest| {
            to.is_some_and(|to| to.0.saturating_sub(from.0) <= Time::from_seconds(longest).0)
        })
    }
}

impl Use {
    /// Counts decisions that a leaf stands for.
    pub(super) fn add(&mut self, index: u64, decided_at: Time, count: u64) {
        if self.count == 0 {
            self.first_index = index;
        }
        self.count = self.count.saturating_add(count);
        self.last = self.last.max(Some(decided_at));
        self.last_index = index;
    }
}
