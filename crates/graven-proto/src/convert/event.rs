//! Events and what is readable of them: from messages to the types of `graven-event` and back.
//!
//! A message that converts says who, what and how it ended, and its times are times. Whether the texts fit is for
//! [`Event::check`] to say. An empty text of a message is as good as none; every other difference between two events
//! is one between their messages as well.

use graven_event::{
    Change, Context, Decision, Event, Invalid, Outcome, Party, Raw, Scope, Source, Target, Time, Token, View,
    facts::EventFacts,
};
use prost_types::Timestamp;

use crate::v1;

const NANOS: u64 = 1_000_000_000;

/// The event that a message hands in.
///
/// # Errors
/// The actor or the outcome is missing, or a time is none. The field is named as in JSON: `token.expires`.
impl TryFrom<v1::Event> for Event {
    type Error = Invalid;

    fn try_from(mut message: v1::Event) -> Result<Self, Invalid> {
        let outcome = outcome(message.outcome)?;
        let time = message.time.map(|time| time_of("time", time)).transpose()?;
        let action = std::mem::take(&mut message.action);
        let scope = message.scope.take().map_or_else(Scope::default, Scope::from);
        let product = message.source.as_mut().and_then(|source| filled(std::mem::take(&mut source.product)));
        let view = View::try_from(message)?;
        let actor = view.actor.ok_or_else(|| invalid("actor", "actor", "missing: say who"))?;
        Ok(Self {
            time,
            action,
            actor,
            client: view.client,
            on_behalf_of: view.on_behalf_of,
            session: view.session,
            targets: view.targets,
            outcome,
            decision: view.decision,
            token: view.token,
            scope,
            context: view.context,
            changes: view.changes,
            source: Source { product, service: view.service, event_id: view.event_id },
            labels: view.labels,
            about: view.about,
            raw: view.raw,
        })
    }
}

/// What a message says beside the facts of the leaf: of a hit, the groups that its reader may see.
///
/// # Errors
/// A time is none.
impl TryFrom<v1::Event> for View {
    type Error = Invalid;

    fn try_from(message: v1::Event) -> Result<Self, Invalid> {
        let source = message.source.unwrap_or_default();
        Ok(Self {
            actor: message.actor.map(Party::from),
            on_behalf_of: each(message.on_behalf_of),
            session: filled(message.session),
            targets: each(message.targets),
            about: each(message.about),
            client: message.client.map(Party::from),
            token: message.token.map(token).transpose()?,
            context: message.context.map_or_else(Context::default, Context::from),
            decision: Decision { reason: filled(message.reason), policy: filled(message.policy) },
            changes: each(message.changes),
            raw: message.raw.map(Raw::from),
            service: filled(source.service),
            event_id: filled(source.event_id),
            labels: message.labels.into_iter().collect(),
        })
    }
}

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let source = (!event.source.is_empty()).then(|| v1::Source {
            product: event.source.product.unwrap_or_default(),
            service: event.source.service.unwrap_or_default(),
            event_id: event.source.event_id.unwrap_or_default(),
        });
        Self {
            time: event.time.map(timestamp),
            action: event.action,
            actor: Some(event.actor.into()),
            client: event.client.map(v1::Party::from),
            on_behalf_of: each(event.on_behalf_of),
            session: event.session.unwrap_or_default(),
            targets: each(event.targets),
            outcome: v1::Outcome::from(event.outcome).into(),
            reason: event.decision.reason.unwrap_or_default(),
            policy: event.decision.policy.unwrap_or_default(),
            token: event.token.map(v1::Token::from),
            scope: (!event.scope.is_empty()).then(|| event.scope.into()),
            context: (!event.context.is_empty()).then(|| event.context.into()),
            changes: each(event.changes),
            source,
            labels: event.labels.into_iter().collect(),
            about: each(event.about),
            raw: event.raw.map(v1::RawRecord::from),
        }
    }
}

impl v1::Event {
    /// What a reader is told of an event: the facts of its leaf, and the groups that it may see.
    #[must_use]
    pub fn of_view(mut view: View, facts: &EventFacts, outcome: Outcome) -> Self {
        let actor = view.actor.clone().map(v1::Party::from);
        view.actor.get_or_insert_with(|| Party::new(Party::USER, ""));
        let event = view.event(facts, outcome).map(Self::from).unwrap_or_default();
        Self { actor, ..event }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Failure => Self::Failure,
            Outcome::Denied => Self::Denied,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// A time as messages have it.
#[must_use]
pub fn timestamp(time: Time) -> Timestamp {
    // Whole seconds of 64 bits of nanoseconds, and what is left of one, fit both.
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(time.nanoseconds() % NANOS).unwrap_or_default() }
}

/// A time of a message, in the field of this name.
///
/// # Errors
/// It is before 1970, after 2554, or no time at all.
pub fn time_of(field: &str, message: Timestamp) -> Result<Time, Invalid> {
    let seconds = u64::try_from(message.seconds).ok();
    let nanos = u64::try_from(message.nanos).ok().filter(|nanos| *nanos < NANOS);
    let time = || seconds?.checked_mul(NANOS)?.checked_add(nanos?).map(Time);
    time().ok_or_else(|| invalid(field, "time", "not a time from 1970 to 2554"))
}

fn outcome(number: i32) -> Result<Outcome, Invalid> {
    match v1::Outcome::try_from(number) {
        Ok(v1::Outcome::Success) => Ok(Outcome::Success),
        Ok(v1::Outcome::Failure) => Ok(Outcome::Failure),
        Ok(v1::Outcome::Denied) => Ok(Outcome::Denied),
        Ok(v1::Outcome::Unknown) => Ok(Outcome::Unknown),
        Ok(v1::Outcome::Unspecified) => Err(invalid("outcome", "outcome", "missing: say how it ended")),
        Err(_) => Err(invalid("outcome", "outcome", "none of success, failure, denied and unknown")),
    }
}

fn token(message: v1::Token) -> Result<Token, Invalid> {
    Ok(Token {
        id: filled(message.id),
        issuer: filled(message.issuer),
        audience: message.audience,
        grant_type: filled(message.grant_type),
        expires: message.expires.map(|time| time_of("token.expires", time)).transpose()?,
        confirmation: filled(message.confirmation),
        acr: filled(message.acr),
        amr: message.amr,
    })
}

impl From<Token> for v1::Token {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.unwrap_or_default(),
            issuer: token.issuer.unwrap_or_default(),
            audience: token.audience,
            grant_type: token.grant_type.unwrap_or_default(),
            expires: token.expires.map(timestamp),
            confirmation: token.confirmation.unwrap_or_default(),
            acr: token.acr.unwrap_or_default(),
            amr: token.amr,
        }
    }
}

impl From<v1::Party> for Party {
    fn from(message: v1::Party) -> Self {
        let kind = if message.kind.is_empty() { Self::USER.to_owned() } else { message.kind };
        Self { kind, id: message.id, name: filled(message.name) }
    }
}

/// Messages with the same fields as what they stand for: texts that must be there, texts that may, and the rest as it is.
macro_rules! alike {
    ($($type:ident = $message:ident { $(must $must:ident,)* $(may $may:ident,)* $(same $same:ident,)* })+) => { $(
        impl From<v1::$message> for $type {
            fn from(message: v1::$message) -> Self {
                Self {
                    $($must: message.$must,)*
                    $($may: filled(message.$may),)*
                    $($same: message.$same,)*
                }
            }
        }

        impl From<$type> for v1::$message {
            fn from(of: $type) -> Self {
                Self {
                    $($must: of.$must,)*
                    $($may: of.$may.unwrap_or_default(),)*
                    $($same: of.$same,)*
                }
            }
        }
    )+ };
}

alike! {
    Target = Target { must kind, must id, may name, }
    Change = Change { must field, same before, same after, }
    Scope = Scope { same requested, same granted, same used, }
    Context = Context { may request_id, may trace_id, may ip, may user_agent, }
    Raw = RawRecord { must format, must text, }
}

impl From<Party> for v1::Party {
    fn from(party: Party) -> Self {
        Self { kind: party.kind, id: party.id, name: party.name.unwrap_or_default() }
    }
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(B::from).collect()
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn invalid(field: &str, reason: &'static str, what: &str) -> Invalid {
    Invalid { field: field.to_owned(), reason, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection, option, prelude::*};

    fn text() -> impl Strategy<Value = String> {
        "[a-zé\u{0}-\u{1f}\u{202e}]{1,12}"
    }

    fn maybe() -> impl Strategy<Value = Option<String>> {
        option::of(text())
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        collection::vec("[a-z]{0,4}", 0..3)
    }

    fn time() -> impl Strategy<Value = Option<Time>> {
        option::of(any::<u64>().prop_map(Time))
    }

    fn party() -> impl Strategy<Value = Party> {
        (text(), "[a-z]{0,4}", maybe()).prop_map(|(kind, id, name)| Party { kind, id, name })
    }

    prop_compose! {
        fn token()(
            (id, issuer, grant_type, confirmation, acr) in (maybe(), maybe(), maybe(), maybe(), maybe()),
            (audience, amr) in (texts(), texts()),
            expires in time(),
        ) -> Token {
            Token { id, issuer, audience, grant_type, expires, confirmation, acr, amr }
        }
    }

    prop_compose! {
        fn target()(kind in text(), id in text(), name in maybe()) -> Target {
            Target { kind, id, name }
        }
    }

    prop_compose! {
        fn change()(field in text(), before in option::of(".{0,4}"), after in option::of(".{0,4}")) -> Change {
            Change { field, before, after }
        }
    }

    prop_compose! {
        fn event()(
            (time, action, session) in (time(), text(), maybe()),
            (actor, client) in (party(), option::of(party())),
            (on_behalf_of, about) in (collection::vec(party(), 0..3), collection::vec(party(), 0..3)),
            (targets, changes) in (collection::vec(target(), 0..3), collection::vec(change(), 0..3)),
            outcome in prop::sample::select(Outcome::ALL.to_vec()),
            (reason, policy, product, service, event_id) in (maybe(), maybe(), maybe(), maybe(), maybe()),
            token in option::of(token()),
            (requested, granted, used) in (texts(), texts(), texts()),
            (request_id, trace_id, ip, user_agent) in (maybe(), maybe(), maybe(), maybe()),
            labels in collection::btree_map(text(), ".{0,4}", 0..3),
            raw in option::of((text(), ".{0,9}")),
        ) -> Event {
            Event {
                time, action, actor, client, on_behalf_of, session, targets, outcome, token, changes, labels, about,
                decision: Decision { reason, policy },
                scope: Scope { requested, granted, used },
                context: Context { request_id, trace_id, ip, user_agent },
                source: Source { product, service, event_id },
                raw: raw.map(|(format, text)| Raw { format, text }),
            }
        }
    }

    proptest! {
        #[test]
        fn an_event_comes_back_as_it_went(event in event()) {
            let message = v1::Event::from(event.clone());
            prop_assert_eq!(Event::try_from(message), Ok(event));
        }
    }

    fn least() -> v1::Event {
        v1::Event {
            action: "auth.login".to_owned(),
            actor: Some(v1::Party { id: "alice".to_owned(), ..Default::default() }),
            outcome: v1::Outcome::Success.into(),
            ..Default::default()
        }
    }

    fn fault(message: v1::Event) -> (String, &'static str) {
        let invalid = Event::try_from(message).unwrap_err();
        (invalid.field, invalid.reason)
    }

    #[test]
    fn the_least_that_an_event_says_is_enough() {
        let event = Event::try_from(least()).unwrap();
        assert_eq!(event.actor, Party::new(Party::USER, "alice"));
        event.check(Time::from_seconds(0)).unwrap();
    }

    #[test]
    fn who_and_how_it_ended_must_be_said() {
        assert_eq!(fault(v1::Event { actor: None, ..least() }), ("actor".to_owned(), "actor"));
        assert_eq!(fault(v1::Event { outcome: 0, ..least() }), ("outcome".to_owned(), "outcome"));
        assert_eq!(fault(v1::Event { outcome: 5, ..least() }), ("outcome".to_owned(), "outcome"));
    }

    #[test]
    fn a_time_that_is_none_is_named() {
        let last = timestamp(Time(u64::MAX));
        assert_eq!(time_of("time", last), Ok(Time(u64::MAX)));
        for (seconds, nanos) in
            [(-1, 0), (0, -1), (0, 1_000_000_000), (last.seconds, last.nanos + 1), (i64::MAX, 0)]
        {
            let time = Some(Timestamp { seconds, nanos });
            assert_eq!(fault(v1::Event { time, ..least() }), ("time".to_owned(), "time"));
            let token = Some(v1::Token { expires: time, ..Default::default() });
            assert_eq!(fault(v1::Event { token, ..least() }), ("token.expires".to_owned(), "time"));
        }
    }

    #[test]
    fn what_is_hidden_is_absent() {
        let event = Event::try_from(least()).unwrap();
        let facts = EventFacts {
            action: graven_event::Word::new("auth.login").unwrap(),
            product: None,
            event_time: Some(7),
            actor: graven_event::Ref([1; 16]),
            client: None,
            targets: Vec::new(),
            requested: Vec::new(),
            granted: Vec::new(),
            used: Vec::new(),
            token: None,
            place: None,
            on_behalf_of: Vec::new(),
            about: Vec::new(),
        };
        let hidden = v1::Event::of_view(View::default(), &facts, Outcome::Denied);
        assert_eq!(
            (&hidden.actor, hidden.action.as_str(), hidden.outcome()),
            (&None, "auth.login", v1::Outcome::Denied)
        );
        assert_eq!(View::try_from(hidden), Ok(View::default()));

        let view = View { actor: Some(event.actor.clone()), ..View::default() };
        let shown = v1::Event::of_view(view, &facts, Outcome::Success);
        assert_eq!(Event::try_from(shown), Ok(Event { time: Some(Time(7)), ..event }));
    }
}
