//! Checks: decided and recorded in one step.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_event::facts::DecisionFacts;
use graven_event::payload::Subject;
use graven_event::scopes::{RULES, Reason, Verdict};
use graven_event::{Context, Event, Facts, Frame, Party, Ref, Source, Time};
use graven_log::{AppendError, Patience, Sequenced};

use super::application;
use super::sums::decided;
use crate::audit::Audit;
use crate::book::{Book, producer_name};
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::{place, random, sealed, unsealed, word, words};

/// How often a decision is made anew because something came between it and its place in the log.
const TRIES: u32 = 8;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What the credentials of who asks are called: the producer of the leaf.
    pub caller: &'a str,
    /// The application's OAuth client id.
    pub client: String,
    /// The person in whose name (`sub`).
    pub subject: Option<String>,
    /// What is to be done: a word of the catalogue, or `x.` and more.
    pub action: String,
    /// The scopes that it takes.
    pub scopes: Vec<String>,
    /// Where.
    pub resource: Option<String>,
    /// The token that was shown.
    pub token: Option<ShownToken>,
    /// From where.
    pub context: Context,
    /// How fresh the state has to be.
    pub freshness: Freshness,
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ShownToken {
    pub issuer: String,
    pub id: String,
    pub issued: Option<Time>,
    pub expires: Option<Time>,
    pub scopes: Vec<String>,
}

/// How fresh the state of a decision has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// All that was acknowledged before.
    #[default]
    Latest,
    /// At least so many leaves.
    AtLeast(u64),
    /// Exactly so many: nothing that matters came since.
    Exactly(u64),
    /// A state that was the newest at most so long ago. The one writer's is the newest.
    AtMostOld(Duration),
}

/// A decision that is in the log, or in a sum that will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Why.
    pub reason: Reason,
    /// The grants that allow it.
    pub grants: Vec<Ref>,
    /// The scopes that are lacking.
    pub missing: Vec<String>,
    /// The leaves that were taken into account.
    pub state_size: u64,
    /// When it was decided.
    pub decided_at: Time,
    /// Where, and its leaf; `None`: it will be part of a sum, as its scopes say.
    pub recorded: Option<(Sequenced, Bytes)>,
}

impl Checked {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Granted
    }
}

impl Audit {
    /// Decides whether something is allowed and records that. Returns once the leaf is durable.
    ///
    /// # Errors
    /// It is not recorded, so it is not allowed: [`AuditError::StateBehind`], [`AuditError::StateChanged`], or as for any entry.
    pub async fn check(self: &Arc<Self>, book: &Arc<Book>, asked: Asked<'_>) -> Result<Checked, AuditError> {
        let producer = producer_name(asked.caller, "");
        let mut names = vec![producer.clone(), application(&asked.client).subject()];
        names.extend(asked.subject.as_deref().map(|subject| Party::parse(subject).subject()));
        for _ in 0..TRIES {
            let people = self.named(book, names.clone()).await?;
            let facts = facts(book, &asked, &people)?;
            match self.check_once(book, &asked, &people, people[&producer].reference, facts).await {
                Err(AuditError::Append(AppendError::Refused(refusal))) if refusal.code == refused::STALE => {}
                other => return other,
            }
        }
        Err(AuditError::StateChanged { size: book.state.lock().size })
    }

    async fn check_once(
        &self,
        book: &Book,
        asked: &Asked<'_>,
        people: &HashMap<String, Subject>,
        producer: Ref,
        facts: DecisionFacts,
    ) -> Result<Checked, AuditError> {
        let may_be_summed = asked.context == Context::default() && book.state.lock().scopes.is_summed(&facts);
        let _unchanged = if may_be_summed { Some(book.sums.counting().await) } else { None };
        let (verdict, facts) = self.made(book, asked.freshness, facts)?;
        let outcome = Some(verdict.outcome());
        let mut checked = Checked {
            reason: verdict.reason,
            missing: verdict.missing.iter().map(ToString::to_string).collect(),
            grants: verdict.grants,
            state_size: facts.state_size,
            decided_at: Time(facts.decided_at),
            recorded: None,
        };
        if may_be_summed && checked.is_allowed() && book.sums.count(producer, facts.clone()) {
            return Ok(checked);
        }
        let frame = Frame { outcome, producer, ..bare(Facts::Decision(facts), random()?) };
        let draft = match told(asked) {
            Some(event) => sealed(book, &event, frame, people)?.draft,
            None => unsealed(&frame).map_err(|_| AuditError::Damaged(0))?,
        };
        let sequenced = self.engine.sequence(&book.log, vec![draft], None, Patience::Refuse).await?;
        let leaf = book.log.durable_entries(sequenced.first..sequenced.first + 1)?.pop();
        checked.recorded = Some((sequenced, leaf.ok_or(AuditError::Damaged(sequenced.first))?));
        Ok(checked)
    }

    /// A decision by the newest state, if that is fresh enough.
    fn made(
        &self,
        book: &Book,
        freshness: Freshness,
        facts: DecisionFacts,
    ) -> Result<(Verdict, DecisionFacts), AuditError> {
        let state = book.state.lock();
        let size = state.size;
        let wanted = match freshness {
            Freshness::Latest | Freshness::AtMostOld(_) => 0,
            Freshness::AtLeast(wanted) | Freshness::Exactly(wanted) => wanted,
        };
        if wanted > size {
            return Err(AuditError::StateBehind { size });
        }
        // A clock that was set back does not bring back what is over.
        let now = self.now().max(state.time);
        let facts = DecisionFacts { decided_at: now.0, ..facts };
        let state_size = match freshness {
            Freshness::Exactly(exact) if state.scopes.changed_since(exact, &facts) => {
                return Err(AuditError::StateChanged { size });
            }
            Freshness::Exactly(exact) => exact,
            _ => size,
        };
        let verdict = state.scopes.decide(&facts);
        let facts = decided(facts, &verdict, state_size, now);
        Ok((verdict, facts))
    }

    /// Decides without recording, for what is answered about a token as a whole: why it is good for nothing, or `Granted` and those of its
    /// scopes for which its client has a grant there; with the number of leaves that this follows from.
    pub fn active_scopes(
        &self,
        book: &Book,
        client: &str,
        subject: Option<&str>,
        resource: Option<&str>,
        token: &ShownToken,
    ) -> Result<(Reason, Vec<String>, u64), AuditError> {
        let of = |party: Party| book.named(&party.subject());
        let state = book.state.lock();
        let size = state.size;
        let Some(client) = of(application(client)) else { return Ok((Reason::NoGrant, Vec::new(), size)) };
        let subject = subject.and_then(|subject| of(Party::parse(subject)));
        let presented = words(&token.scopes)?;
        let resource = resource.map(|resource| word("resource", resource)).transpose()?;
        let now = self.now().max(state.time);
        let (mut granted, mut why) = (Vec::new(), Reason::NoScope);
        for scope in &presented {
            let facts = DecisionFacts {
                client,
                subject,
                scopes: vec![scope.clone()],
                resource: resource.clone(),
                presented: presented.clone(),
                decided_at: now.0,
                ..blank(book, token, word("action", "oauth.token.introspect")?)
            };
            let verdict = state.scopes.decide(&facts);
            if verdict.is_allowed() {
                granted.push(scope.to_string());
            } else {
                why = verdict.reason;
            }
        }
        let reason = if granted.is_empty() { why } else { Reason::Granted };
        Ok((reason, granted, size))
    }
}

/// The inputs of a decision.
fn facts(
    book: &Book,
    asked: &Asked<'_>,
    people: &HashMap<String, Subject>,
) -> Result<DecisionFacts, AuditError> {
    let of = |party: Party| people.get(&party.subject()).ok_or(AuditError::Stopping);
    let client = of(application(&asked.client))?;
    let subject = asked.subject.as_deref().map(|subject| of(Party::parse(subject))).transpose()?;
    let token = asked.token.clone().unwrap_or_default();
    let (consistency, bound) = match asked.freshness {
        Freshness::Latest => (1, None),
        Freshness::AtLeast(size) => (2, Some(size)),
        Freshness::Exactly(size) => (3, Some(size)),
        Freshness::AtMostOld(age) => (4, Some(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))),
    };
    let blank = blank(book, &token, word("action", &asked.action)?);
    Ok(DecisionFacts {
        client: client.reference,
        subject: subject.map(|subject| subject.reference),
        token: asked.token.is_some().then_some(blank.token).flatten(),
        scopes: words(&asked.scopes)?,
        presented: words(&token.scopes)?,
        resource: asked.resource.as_ref().map(|resource| word("resource", resource)).transpose()?,
        place: asked.context.ip.as_ref().map(|ip| place(subject.unwrap_or(client), ip)),
        consistency,
        bound,
        ..blank
    })
}

fn blank(book: &Book, token: &ShownToken, action: graven_event::Word) -> DecisionFacts {
    let nothing = Reason::NoScope.word();
    DecisionFacts {
        action,
        client: Ref::default(),
        subject: None,
        token: Some(book.token(&token.issuer, &token.id)),
        issued: token.issued.map(Time::nanoseconds),
        scopes: Vec::new(),
        resource: None,
        state_size: 0,
        decided_at: 0,
        consistency: 1,
        grants: Vec::new(),
        reason: nothing,
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: token.expires.map(Time::nanoseconds),
        presented: Vec::new(),
        rules: RULES,
    }
}

/// What is sealed with a decision, where who asks says where it came from.
fn told(asked: &Asked<'_>) -> Option<Event> {
    if asked.context == Context::default() {
        return None;
    }
    let client = application(&asked.client);
    let actor = asked.subject.as_deref().map_or_else(|| client.clone(), Party::parse);
    Some(Event {
        time: None,
        action: asked.action.clone(),
        actor,
        client: Some(client),
        on_behalf_of: Vec::new(),
        session: None,
        targets: Vec::new(),
        outcome: graven_event::Outcome::Unknown,
        decision: graven_event::Decision::default(),
        token: None,
        scope: graven_event::Scope::default(),
        context: asked.context.clone(),
        changes: Vec::new(),
        source: Source::default(),
        labels: std::collections::BTreeMap::new(),
        about: Vec::new(),
        raw: None,
    })
}
