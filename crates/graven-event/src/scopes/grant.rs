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
    /// Who approved it.
    pub approvers: BTreeSet<Ref>,
    /// The index of the request.
    pub requested: u64,
    /// The index of the leaf that made it active; 0: none did yet.
    pub activated: u64,
    /// Log time of that leaf.
    pub active_since: Time,
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
    /// Its grants, each with what was said of it.
    pub items: BTreeMap<Ref, Option<Attested>>,
}

/// What was said of a grant in a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Attested {
    Kept,
    Revoked,
}

/// A token that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// The index of the leaf that says so.
    pub(crate) index: u64,
    /// When it ends by itself, so that it need not be remembered.
    pub(crate) expires: Option<Time>,
}
