//! Checks, each held against the leaf that came of it: what its leaf does not allow is not allowed.

use std::time::Duration;

use bytes::Bytes;
use graven_event::{Context, Facts, Frame, Outcome, Ref, Time, Word, facts::DecisionFacts};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_proto::{
    convert::{
        event::{time_of, timestamp},
        leaf_index, required,
    },
    v1::{self, Wait, consistency::Wanted},
};
use tonic::Request;

use super::{ScopeLog, reference, same_words, send::duration};
use crate::{Appender, CallError, LogClient, ReadError, VerifiedProof, call::call_scopes};

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The application that wants to do it: its OAuth client id.
    pub client: String,
    /// The person in whose name.
    pub subject: Option<String>,
    /// What it wants to do: a word of the catalogue, or `x.` and more; empty: `scope.check`.
    pub action: String,
    /// The scopes that it takes: 1 to 64. None: denied.
    pub scopes: Vec<String>,
    /// Where: a resource indicator (RFC 8707).
    pub resource: Option<String>,
    /// The token that was shown, if one was.
    pub token: Option<ShownToken>,
    /// From where, and as part of what.
    pub context: Context,
    /// How fresh the state has to be.
    pub freshness: Freshness,
}

/// What is known of a token that was shown. It has been validated by who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ShownToken {
    pub issuer: String,
    pub id: String,
    pub issued: Option<Time>,
    pub expires: Option<Time>,
    /// None: it is good for nothing.
    pub scopes: Vec<String>,
}

/// How fresh the state of a decision has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// All that was acknowledged before.
    #[default]
    Latest,
    /// At least so many leaves, such as a command's index and one.
    AtLeast(u64),
    /// Exactly so many: nothing that matters came since.
    Exactly(u64),
    /// A state that was the newest at most so long ago.
    AtMostOld(Duration),
}

/// A decision that is in the log, or in a sum that will be.
#[derive(Clone, Debug)]
pub struct Decided {
    allowed: bool,
    reason: String,
    grants: Vec<Ref>,
    missing: Vec<String>,
    state_size: u64,
    decided_at: Time,
    recorded: Option<(LeafIndex, Bytes)>,
}

/// A decision whose leaf was proven to be in a signed tree of the log.
#[derive(Clone, Debug)]
pub struct ProvenDecision {
    decided: Decided,
    proof: VerifiedProof,
}

impl Check {
    /// Whether an application may use these scopes.
    pub fn new<S: Into<String>>(client: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Self { client: client.into(), scopes, ..Self::default() }
    }

    /// The request that asks this of the log with this name.
    #[must_use]
    pub fn request(&self, log: &str, wait: Wait) -> v1::CheckAccessRequest {
        message(log, self, wait)
    }
}

impl Decided {
    /// What was answered, where the leaf in it says what was asked and what is answered.
    ///
    /// # Errors
    /// It does not: nothing is allowed.
    pub fn of(asked: &Check, answer: v1::CheckAccessResponse) -> Result<Self, ReadError> {
        checked(asked, answer)
    }

    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Why, as one word: `granted`, `no-grant`, …
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The grants that allow it.
    #[must_use]
    pub fn grants(&self) -> &[Ref] {
        &self.grants
    }

    /// The scopes that are lacking, as the server says.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The number of leaves that were taken into account.
    #[must_use]
    pub fn state_size(&self) -> u64 {
        self.state_size
    }

    /// When it was decided.
    #[must_use]
    pub fn decided_at(&self) -> Time {
        self.decided_at
    }

    /// Where its leaf stands; `None`: it is part of a sum that is recorded within a second, as its scopes say.
    #[must_use]
    pub fn index(&self) -> Option<LeafIndex> {
        self.recorded.as_ref().map(|(index, _)| *index)
    }

    /// Its leaf.
    #[must_use]
    pub fn leaf(&self) -> Option<&Bytes> {
        self.recorded.as_ref().map(|(_, leaf)| leaf)
    }
}

impl ProvenDecision {
    /// What was decided.
    #[must_use]
    pub fn decided(&self) -> &Decided {
        &self.decided
    }

    /// The proof that its leaf is in the log.
    #[must_use]
    pub fn proof(&self) -> &VerifiedProof {
        &self.proof
    }
}

impl ScopeLog {
    /// Whether something is allowed, decided and recorded in one step: the leaf is durable before the answer. Repeated after a broken
    /// connection, which may record it twice.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing is allowed then.
    pub async fn check(&self, asked: &Check) -> Result<Decided, ReadError> {
        decide(&self.log, asked, Wait::Durable).await
    }

    /// The same, asked once, for whoever waits so long and no longer.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing is allowed then.
    pub async fn check_within(&self, asked: &Check, patience: Duration) -> Result<Decided, ReadError> {
        let mut request = Request::new(asked.request(self.log.name(), Wait::Durable));
        request.set_timeout(patience);
        let answer = self.log.pool().scope_service().check_access(request).await;
        Decided::of(asked, answer.map_err(|status| CallError::new(status, 1))?.into_inner())
    }
}

impl LogClient {
    /// The same as [`ScopeLog::check`], once the leaf was proven to be in a published tree. A decision that is recorded as part of a sum has
    /// no leaf to prove, and is an error.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing is allowed then.
    pub async fn check(&self, asked: &Check) -> Result<ProvenDecision, ReadError> {
        let decided = decide(self.appender(), asked, Wait::Published).await?;
        let unrecorded = ReadError::WrongAnswer("a decision that is recorded in a sum has no entry to prove");
        let (index, leaf) = decided.recorded.clone().ok_or(unrecorded)?;
        let proof = self.prove(index).await?;
        if proof.leaf_hash() != leaf_hash(&leaf) {
            return Err(ReadError::WrongAnswer("another entry than the one it proves"));
        }
        Ok(ProvenDecision { decided, proof })
    }
}

async fn decide(log: &Appender, asked: &Check, wait: Wait) -> Result<Decided, ReadError> {
    let request = message(log.name(), asked, wait);
    let answer = call_scopes(log.pool(), log.pool().retries(), &request, |mut scopes, request| async move {
        scopes.check_access(request).await
    });
    checked(asked, answer.await?)
}

fn message(log: &str, asked: &Check, wait: Wait) -> v1::CheckAccessRequest {
    let wanted = match asked.freshness {
        Freshness::Latest => Wanted::Latest(true),
        Freshness::AtLeast(size) => Wanted::AtLeastSize(size),
        Freshness::Exactly(size) => Wanted::ExactSize(size),
        Freshness::AtMostOld(age) => Wanted::AtMostOld(prost_types::Duration {
            nanos: i32::try_from(age.subsec_nanos()).unwrap_or_default(),
            ..duration(age)
        }),
    };
    let token = asked.token.clone().map(|token| v1::CheckedToken {
        id: token.id,
        issuer: token.issuer,
        issued: token.issued.map(timestamp),
        expires: token.expires.map(timestamp),
        scopes: token.scopes,
    });
    v1::CheckAccessRequest {
        log: log.to_owned(),
        client: asked.client.clone(),
        subject: asked.subject.clone().unwrap_or_default(),
        action: asked.action.clone(),
        scopes: asked.scopes.clone(),
        resource: asked.resource.clone().unwrap_or_default(),
        token,
        context: (!asked.context.is_empty()).then(|| asked.context.clone().into()),
        consistency: Some(v1::Consistency { wanted: Some(wanted) }),
        wait: wait.into(),
    }
}

/// The answer, where its leaf says what was asked and what is answered.
fn checked(asked: &Check, answer: v1::CheckAccessResponse) -> Result<Decided, ReadError> {
    let grants = answer.grants.iter().map(|grant| reference(grant)).collect::<Option<Vec<_>>>();
    let decided = Decided {
        allowed: answer.allowed,
        grants: grants.ok_or(ReadError::WrongAnswer("a grant whose number is none"))?,
        missing: answer.missing,
        state_size: answer.state_size,
        decided_at: time_of("decided_at", required("decided_at", answer.decided_at)?)?,
        recorded: (!answer.aggregated).then_some((leaf_index("index", answer.index)?, answer.leaf)),
        reason: answer.reason,
    };
    if decided.allowed != (decided.reason == GRANTED) || decided.allowed == decided.grants.is_empty() {
        return Err(ReadError::WrongAnswer("a decision that contradicts its reason"));
    }
    let enough = match asked.freshness {
        Freshness::AtLeast(size) => decided.state_size >= size,
        Freshness::Exactly(size) => decided.state_size == size,
        Freshness::Latest | Freshness::AtMostOld(_) => true,
    };
    if !enough {
        return Err(ReadError::WrongAnswer("a decision from another state"));
    }
    match &decided.recorded {
        None if !decided.allowed => Err(ReadError::WrongAnswer("a denial that is no entry of its own")),
        None => Ok(decided),
        Some((index, leaf)) => {
            let frame = Frame::decode(leaf)?;
            let is_so = matches!(&frame.facts, Facts::Decision(facts)
                if asks(facts, asked) && answers(facts, frame.outcome, &decided) && facts.state_size <= index.get());
            if is_so {
                Ok(decided)
            } else {
                Err(ReadError::WrongAnswer("a decision that is not what its leaf says"))
            }
        }
    }
}

const GRANTED: &str = "granted";

/// Whether a leaf says what was asked, as far as it says that in clear.
fn asks(facts: &DecisionFacts, asked: &Check) -> bool {
    let action = if asked.action.is_empty() { "scope.check" } else { &asked.action };
    let token = asked.token.as_ref();
    let time = |time: Option<Time>| time.map(Time::nanoseconds);
    let presented = token.map_or(&[][..], |token| &token.scopes);
    let (consistency, bound) = match asked.freshness {
        Freshness::Latest => (1, None),
        Freshness::AtLeast(size) => (2, Some(size)),
        Freshness::Exactly(size) => (3, Some(size)),
        Freshness::AtMostOld(age) => (4, u64::try_from(age.as_nanos()).ok()),
    };
    facts.action.as_str() == action
        && facts.subject.is_some() == asked.subject.is_some()
        && facts.token.is_some() == token.is_some()
        && facts.issued == token.and_then(|token| time(token.issued))
        && facts.expires == token.and_then(|token| time(token.expires))
        && same_words(&facts.scopes, asked.scopes.iter().map(String::as_str))
        && same_words(&facts.presented, presented.iter().map(String::as_str))
        && facts.resource.as_ref().map(Word::as_str) == asked.resource.as_deref()
        && (facts.consistency, facts.bound) == (consistency, bound)
}

fn answers(facts: &DecisionFacts, outcome: Option<Outcome>, decided: &Decided) -> bool {
    let told = if decided.allowed { Outcome::Success } else { Outcome::Denied };
    outcome == Some(told)
        && facts.reason.as_str() == decided.reason
        && facts.grants == decided.grants
        && facts.state_size == decided.state_size
        && facts.decided_at == decided.decided_at.nanoseconds()
        && facts.count.is_none()
}
