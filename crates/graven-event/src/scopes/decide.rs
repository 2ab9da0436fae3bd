//! Whether something is allowed.

use std::cmp::Reverse;

use crate::facts::{DecisionFacts, Ref, Word};
use crate::model::Outcome;
use crate::scopes::ScopeState;
use crate::scopes::book::Held;
use crate::scopes::grant::{Definition, Grant, Status};
use crate::scopes::words::words;
use crate::time::Time;

/// What a decision says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why: `Granted`, or why not.
    pub reason: Reason,
    /// The grants that allow it, rising; none where it is denied.
    pub grants: Vec<Ref>,
    /// The scopes that are lacking, rising; none where the token is at fault as a whole.
    pub missing: Vec<Word>,
}

/// Why something is allowed or not: the word that stands in the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Reason {
    Granted,
    NoScope,
    ScopeUnknown,
    ScopeNotPresented,
    TokenRevoked,
    TokenExpired,
    TokenRotated,
    TokenAgeUnknown,
    NoGrant,
    GrantPending,
    GrantExpired,
    GrantRevoked,
    GrantNotYet,
}

words! { Reason {
    Granted "granted",
    NoScope "no-scope",
    ScopeUnknown "scope-unknown",
    ScopeNotPresented "scope-not-presented",
    TokenRevoked "token-revoked",
    TokenExpired "token-expired",
    TokenRotated "token-rotated",
    TokenAgeUnknown "token-age-unknown",
    NoGrant "no-grant",
    GrantPending "grant-pending",
    GrantExpired "grant-expired",
    GrantRevoked "grant-revoked",
    GrantNotYet "grant-not-yet",
} }

impl Verdict {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Granted
    }

    /// The outcome of the leaf: success where it is allowed, denied where not.
    pub fn outcome(&self) -> Outcome {
        if self.is_allowed() { Outcome::Success } else { Outcome::Denied }
    }

    fn denied(reason: Reason, missing: Vec<Word>) -> Self {
        Self { reason, grants: Vec::new(), missing }
    }
}

impl ScopeState {
    /// Decides from the inputs of a decision: client, subject, token with its times and scopes, the scopes that it takes, resource and
    /// `decided_at`. What the facts say of the outcome is not looked at.
    pub fn decide(&self, asked: &DecisionFacts) -> Verdict {
        self.denied_at_once(asked).unwrap_or_else(|| self.by_grants(asked))
    }

    /// Whether a leaf at or after this size changed anything that the decision depends on: its scopes, its token, or a grant of its client.
    /// False says that deciding at that size comes out the same; true may be said of what does not matter in the end.
    pub fn changed_since(&self, size: u64, asked: &DecisionFacts) -> bool {
        let is_scope_newer =
            |scope| self.scopes.get(scope).is_some_and(|definition| definition.changed >= size);
        asked.scopes.iter().any(is_scope_newer)
            || asked.token.is_some_and(|token| self.is_token_newer(size, token))
            || self.grants.forgotten > size
            || self.held(asked).any(|held| held.changed >= size)
    }

    /// Whether an allowed decision about these scopes may be recorded in a sum: all of them are defined so.
    pub fn is_summed(&self, asked: &DecisionFacts) -> bool {
        let is_summed = |scope| self.scopes.get(scope).is_some_and(|definition| definition.is_summed);
        !asked.scopes.is_empty() && asked.scopes.iter().all(is_summed)
    }

    fn is_token_newer(&self, size: u64, token: Ref) -> bool {
        match self.tokens.get(token) {
            Some(revoked) => revoked.index >= size,
            None => self.tokens.forgotten > size,
        }
    }

    /// All that denies it whatever was granted.
    fn denied_at_once(&self, asked: &DecisionFacts) -> Option<Verdict> {
        let as_a_whole = |reason| Some(Verdict::denied(reason, Vec::new()));
        if asked.scopes.is_empty() {
            return as_a_whole(Reason::NoScope);
        }
        if asked.token.is_some_and(|token| self.tokens.get(token).is_some()) {
            return as_a_whole(Reason::TokenRevoked);
        }
        if asked.expires.is_some_and(|end| end <= asked.decided_at) {
            return as_a_whole(Reason::TokenExpired);
        }
        let (has_token, issued) = (has_token(asked), asked.issued.map(Time));
        let is_young = |before: Time| issued.is_some_and(|issued| issued >= before);
        let is_fine = |scope: &Word, definition: &Definition| {
            !has_token || (asked.presented.contains(scope) && definition.issued_before.is_none_or(is_young))
        };
        let is_all_fine = |scope| self.scopes.get(scope).is_some_and(|definition| is_fine(scope, definition));
        if asked.scopes.iter().all(is_all_fine) { None } else { Some(self.denied_by_scopes(asked)) }
    }

    /// Where a scope is at fault, or its token for it.
    fn denied_by_scopes(&self, asked: &DecisionFacts) -> Verdict {
        let rotated = |scope: &Word| self.scopes.get(scope).and_then(|definition| definition.issued_before);
        let is_old = |scope: &Word| rotated(scope) > asked.issued.map(Time);
        let (reason, missing) = [
            (Reason::ScopeUnknown, lacking(asked, &|scope| !self.scopes.contains_key(scope))),
            (Reason::ScopeNotPresented, lacking(asked, &|scope| !asked.presented.contains(scope))),
        ]
        .into_iter()
        .find(|(_, missing)| !missing.is_empty())
        .unwrap_or_else(|| {
            let reason = if asked.issued.is_some() { Reason::TokenRotated } else { Reason::TokenAgeUnknown };
            (reason, lacking(asked, &is_old))
        });
        Verdict::denied(reason, missing)
    }

    fn by_grants(&self, asked: &DecisionFacts) -> Verdict {
        let at = Time(asked.decided_at);
        let held: Vec<&Held> = self.held(asked).collect();
        let having = |scope| held.iter().flat_map(move |held| self.grants.with_scope(held, scope));
        let (mut grants, mut missing) = (Vec::new(), Vec::new());
        for scope in &asked.scopes {
            let counting = having(scope).filter(|(_, grant)| grant.counts(at));
            match counting.max_by_key(|(number, grant)| grant.preference(*number)) {
                Some((number, _)) => grants.push(number),
                None => missing.push(scope.clone()),
            }
        }
        if missing.is_empty() {
            return Verdict { reason: Reason::Granted, grants: rising(grants), missing };
        }
        let whys = missing.iter().flat_map(having).filter_map(|(_, grant)| grant.why_not(at));
        let most_telling = whys.min_by_key(|why| TELLING.iter().position(|one| one == why));
        Verdict::denied(most_telling.unwrap_or(Reason::NoGrant), rising(missing))
    }

    /// The grants that may allow something of it.
    fn held<'a>(&'a self, asked: &'a DecisionFacts) -> impl Iterator<Item = &'a Held> {
        let subjects = [None].into_iter().chain(asked.subject.map(Some));
        let holders = subjects.flat_map(|subject| {
            let resources = [None].into_iter().chain(asked.resource.as_ref().map(Some));
            resources.map(move |resource| (subject, resource))
        });
        holders.filter_map(|(subject, resource)| self.grants.held(asked.client, subject, resource))
    }
}

/// Why there is no grant in force, the most telling first.
const TELLING: [Reason; 4] =
    [Reason::GrantNotYet, Reason::GrantPending, Reason::GrantRevoked, Reason::GrantExpired];

impl Grant {
    /// Which of several grants a decision rests on: the one that ends last, of these the one with the smallest number.
    pub(super) fn preference(&self, number: Ref) -> (Time, Reverse<Ref>) {
        (self.expires.unwrap_or(Time(u64::MAX)), Reverse(number))
    }

    fn why_not(&self, at: Time) -> Option<Reason> {
        match self.status {
            Status::Active if self.is_over(at) => Some(Reason::GrantExpired),
            Status::Active => Some(Reason::GrantNotYet),
            Status::Pending => self.is_pending(at).then_some(Reason::GrantPending),
            Status::Revoked => Some(Reason::GrantRevoked),
            Status::Denied => None,
        }
    }
}

/// Whether a token was shown: one without an identifier has times or scopes.
fn has_token(asked: &DecisionFacts) -> bool {
    let has_times = asked.issued.is_some() || asked.expires.is_some();
    asked.token.is_some() || has_times || !asked.presented.is_empty()
}

/// Scopes of which something is so, rising.
fn lacking(asked: &DecisionFacts, lacks: &dyn Fn(&Word) -> bool) -> Vec<Word> {
    rising(asked.scopes.iter().filter(|scope| lacks(scope)).cloned().collect())
}

fn rising<T: Ord>(mut some: Vec<T>) -> Vec<T> {
    some.sort_unstable();
    some.dedup();
    some
}
