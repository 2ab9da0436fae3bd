//! What the log answered, held against what it was asked.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use graven_event::facts::DecisionFacts;
use graven_event::{Facts, Frame, Outcome, Word};
use graven_merkle::{Hash, leaf_hash};
use graven_proto::v1::{CheckAccessRequest, CheckAccessResponse};
use prost_types::Timestamp;
use thiserror::Error;

use crate::Caller;

/// The action of a decision that none was named for.
const CHECK: &str = "scope.check";

/// This request was allowed, and that stands in the log.
///
/// It is in the extensions of each request that reached its handler by a rule, and there is no other way to get one than through a
/// [`Guard`](crate::Guard).
///
/// ```
/// # use graven_guard::Allowed;
/// # use tonic::{Request, Status};
/// fn who(request: &Request<()>) -> Result<&str, Status> {
///     let allowed = request.extensions().get::<Allowed>().ok_or(Status::internal("this handler has no guard"))?;
///     Ok(&allowed.caller().client)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Allowed {
    caller: Caller,
    grants: Vec<String>,
    state_size: u64,
    decided_at: SystemTime,
    recorded: Option<(u64, Hash)>,
}

/// What the log answered, where that holds together.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allowed(Allowed),
    Denied { reason: String, index: Option<u64> },
}

/// Why an answer that says allowed is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mistrust {
    #[error("it will be recorded later, as part of a sum, and sums are not taken here")]
    Later,
    #[error("its entry is no decision")]
    NoDecision,
    #[error("its entry says something else: {0}")]
    Contradicts(&'static str),
}

impl Allowed {
    /// Who called.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The entry that says so; `None`: it is part of a sum that will be recorded, which the guard was told to take.
    pub fn index(&self) -> Option<u64> {
        self.recorded.map(|(index, _)| index)
    }

    /// The hash of that entry, by which it is found under a signed head.
    pub fn leaf_hash(&self) -> Option<Hash> {
        self.recorded.map(|(_, hash)| hash)
    }

    /// The grants that allow it, as the log names them.
    pub fn grants(&self) -> &[String] {
        &self.grants
    }

    /// How many entries of the log were taken into account.
    pub fn state_size(&self) -> u64 {
        self.state_size
    }

    /// When it was decided.
    pub fn decided_at(&self) -> SystemTime {
        self.decided_at
    }
}

/// What an answer comes to. That something is denied is believed without more: the request is refused in any case.
pub(crate) fn judge(
    asked: &CheckAccessRequest,
    answer: CheckAccessResponse,
    caller: Caller,
    takes_sums: bool,
) -> Result<Verdict, Mistrust> {
    if !answer.allowed {
        let index = (!answer.aggregated).then_some(answer.index);
        return Ok(Verdict::Denied { reason: answer.reason, index });
    }
    let recorded = if answer.aggregated {
        takes_sums.then_some(None).ok_or(Mistrust::Later)?
    } else {
        hold_against_leaf(asked, &answer)?;
        Some((answer.index, leaf_hash(&answer.leaf)))
    };
    Ok(Verdict::Allowed(Allowed {
        caller,
        grants: answer.grants,
        state_size: answer.state_size,
        decided_at: answer
            .decided_at
            .and_then(nanoseconds)
            .map_or(UNIX_EPOCH, |ns| UNIX_EPOCH + Duration::from_nanos(ns)),
        recorded,
    }))
}

/// The leaf has to say in clear whatever was asked and answered. People, clients and tokens are references there, which only
/// the log can tell.
fn hold_against_leaf(asked: &CheckAccessRequest, answer: &CheckAccessResponse) -> Result<(), Mistrust> {
    let frame = Frame::decode(&answer.leaf).map_err(|_| Mistrust::NoDecision)?;
    let Facts::Decision(decision) = frame.facts else { return Err(Mistrust::NoDecision) };
    let holds = |what, holds: bool| if holds { Ok(()) } else { Err(Mistrust::Contradicts(what)) };
    holds("outcome", frame.outcome == Some(Outcome::Success) && decision.reason.as_str() == "granted")?;
    holds("count", decision.count.is_none())?;
    holds("size", decision.state_size == answer.state_size && decision.state_size <= answer.index)?;
    holds("time", Some(decision.decided_at) == answer.decided_at.and_then(nanoseconds))?;
    let grants: Vec<_> = decision.grants.iter().map(ToString::to_string).collect();
    holds("grants", grants == answer.grants && !grants.is_empty())?;
    holds("action", decision.action.as_str() == if asked.action.is_empty() { CHECK } else { &asked.action })?;
    holds("scopes", words(&decision.scopes) == asked.scopes.iter().map(String::as_str).collect())?;
    holds("resource", decision.resource.as_ref().map_or("", Word::as_str) == asked.resource)?;
    holds("subject", decision.subject.is_some() != asked.subject.is_empty())?;
    hold_against_token(asked, &decision).then_some(()).ok_or(Mistrust::Contradicts("token"))
}

fn hold_against_token(asked: &CheckAccessRequest, decision: &DecisionFacts) -> bool {
    let Some(token) = &asked.token else { return decision.token.is_none() };
    decision.token.is_some()
        && decision.issued == token.issued.and_then(nanoseconds)
        && decision.expires == token.expires.and_then(nanoseconds)
        && words(&decision.scopes).is_subset(&words(&decision.presented))
}

fn words(words: &[Word]) -> BTreeSet<&str> {
    words.iter().map(Word::as_str).collect()
}

fn nanoseconds(time: Timestamp) -> Option<u64> {
    let (seconds, nanos) = (u64::try_from(time.seconds).ok()?, u64::try_from(time.nanos).ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}
