//! Who may do what: OAuth scopes, grants and decisions, as the leaves of a log say.
//!
//! The state is a fold: `state(n)` is a function of the first n leaves and nothing else, and its only clock is the log time that stands in
//! them. A [command](crate::facts::ScopeCommand) is [judged](ScopeState::judge) by the state after all leaves before it and becomes a leaf
//! either way; only one that was not refused [counts](ScopeState::take). A decision is [made](ScopeState::decide) from its inputs and that
//! state, so whoever has the leaves makes it again.
//!
//! People and applications are [references](Ref) here. Whoever is erased keeps theirs in the leaves, so an erasure changes no
//! state; the same name that comes again later is somebody new.

mod apply;
mod book;
mod decide;
mod grant;
mod judge;
mod order;
mod snapshot;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

pub use decide::{Reason, Verdict};
pub use grant::{Attested, Definition, Grant, Review, Status, Use};
pub use judge::Refused;

use crate::facts::{Ref, Word};
use crate::time::Time;
use book::{Grants, Tokens};

/// The version of the rules by which commands are judged and decisions are made. Leaves name theirs; an older one is never changed.
pub const RULES: u8 = 1;
/// Most scopes of a log.
pub const MAX_SCOPES: usize = 4096;
/// Most parties that may approve a scope by name.
pub const MAX_APPROVERS: usize = 64;
/// Most approvals that a scope takes.
pub const MAX_APPROVALS: u8 = 16;
/// Most scopes of a grant.
pub const MAX_GRANT_SCOPES: usize = 64;
/// Most grants that a state remembers. The oldest that are over are forgotten first; where all count or wait, one more is refused.
pub const MAX_GRANTS: usize = 100_000;
/// Most grants of one client for one person and one resource, likewise: a decision looks at all of them.
pub const MAX_HELD: usize = 256;
/// Most administrators.
pub const MAX_ADMINISTRATORS: usize = 64;
/// Most reviews that a state remembers. The closed ones are forgotten first, the oldest of them before.
pub const MAX_REVIEWS: usize = 64;
/// Most grants in all these reviews, likewise: enough for one of everything.
pub const MAX_REVIEW_ITEMS: usize = MAX_GRANTS;
/// Most revoked tokens that a state remembers. Those that ended by themselves are forgotten first.
pub const MAX_REVOKED_TOKENS: usize = 1_000_000;

/// How long before its entry a decision was made at most: a sum of them may have waited longer.
pub const MAX_DECISION_AGE: Time = Time::from_seconds(10);

/// What a log says about scopes after its first leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeState {
    scopes: BTreeMap<Word, Definition>,
    grants: Grants,
    administrators: BTreeMap<Ref, u64>,
    /// How often administrators changed.
    appointments: u64,
    tokens: Tokens,
    reviews: BTreeMap<Ref, Review>,
}

impl ScopeState {
    /// The scopes that are defined.
    pub fn scopes(&self) -> impl Iterator<Item = (&Word, &Definition)> {
        self.scopes.iter()
    }

    /// What is said of a scope; `None`: it is not defined.
    pub fn scope(&self, scope: &Word) -> Option<&Definition> {
        self.scopes.get(scope)
    }

    /// A grant that the state remembers.
    pub fn grant(&self, grant: Ref) -> Option<&Grant> {
        self.grants.get(grant)
    }

    /// The grants that the state remembers, by number.
    pub fn grants(&self) -> impl Iterator<Item = (Ref, &Grant)> {
        self.grants.in_order().into_iter()
    }

    /// The administrators, each with the index of the leaf that appointed them.
    pub fn administrators(&self) -> impl Iterator<Item = (Ref, u64)> {
        self.administrators.iter().map(|(who, index)| (*who, *index))
    }

    /// How often administrators changed: the `revision` of a command that the recovery key signs.
    pub fn appointments(&self) -> u64 {
        self.appointments
    }

    /// The reviews that are open, or were closed not long ago.
    pub fn reviews(&self) -> impl Iterator<Item = (Ref, &Review)> {
        self.reviews.iter().map(|(number, review)| (*number, review))
    }

    /// The index of the leaf that revoked a token; `None`: none did, or it ended by itself long ago.
    pub fn token_revoked(&self, token: Ref) -> Option<u64> {
        self.tokens.get(token).map(|revoked| revoked.index)
    }

    /// Grants that count at `now` and did before `since`, each with those of its scopes that no decision used since then.
    pub fn unused(&self, now: Time, since: Time) -> Vec<(Ref, Vec<Word>)> {
        let lasting = self
            .grants()
            .filter(|(_, grant)| grant.counts(now) && grant.begun().is_some_and(|begun| begun < since));
        let unused = lasting.map(|(number, grant)| {
            let idle = grant.scopes.iter().filter(|(_, used)| used.last.is_none_or(|last| last < since));
            (number, idle.map(|(scope, _)| scope.clone()).collect::<Vec<_>>())
        });
        unused.filter(|(_, scopes)| !scopes.is_empty()).collect()
    }
}
