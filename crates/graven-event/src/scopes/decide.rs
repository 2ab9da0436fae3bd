//! Whether something is allowed.

use crate::facts::{DecisionFacts, Ref, Word};
use crate::model::Outcome;
use crate::scopes::ScopeState;

/// What a decision says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why: `Granted`, or why not.
    pub reason: Reason,
    /// The grants that allow it, rising; none where it is denied.
    pub grants: Vec<Ref>,
    /// The scopes that are lacking.
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

impl Reason {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        unimplemented!()
    }

    /// The same, as it stands in a leaf.
    pub fn word(self) -> Word {
        unimplemented!()
    }
}

impl Verdict {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Granted
    }

    /// The outcome of the leaf: success where it is allowed, denied where not.
    pub fn outcome(&self) -> Outcome {
        if self.is_allowed() { Outcome::Success } else { Outcome::Denied }
    }
}

impl ScopeState {
    /// Decides from the inputs of a decision: client, subject, token with its times and scopes, the scopes that it takes, resource and
    /// `decided_at`. What the facts say of the outcome is not looked at.
    pub fn decide(&self, asked: &DecisionFacts) -> Verdict {
        let _ = asked;
        unimplemented!()
    }

    /// Whether a leaf at or after this size changed anything that the decision depends on: its scopes, its token, or a grant of its client.
    pub fn changed_since(&self, size: u64, asked: &DecisionFacts) -> bool {
        let _ = (size, asked);
        unimplemented!()
    }

    /// Whether an allowed decision about these scopes may be recorded in a sum: all of them are defined so.
    pub fn is_summed(&self, asked: &DecisionFacts) -> bool {
        let _ = asked;
        unimplemented!()
    }
}
