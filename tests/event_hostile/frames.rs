//! Any frame at all.

use graven_event::facts::{
    AlertFacts, DecisionFacts, ErasureFacts, EventFacts, ExpiryFacts, GapFacts, Genesis, HoldFacts, KeyText,
    Ref, RejectedFacts, ReleaseFacts, RetentionFacts, RuleFacts, ScopeCommand, Word,
};
use graven_event::{Facts, Frame, Outcome, PayloadId, Time};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn word() -> impl Strategy<Value = Word> {
    "[^\\pC\u{2028}\u{2029}\u{feff}]{1,12}".prop_map(|text| Word::new(text).unwrap())
}

fn key() -> impl Strategy<Value = KeyText> {
    "[a-z0-9+/=]{1,600}".prop_map(|text| KeyText::new(text).unwrap())
}

fn reference() -> impl Strategy<Value = Ref> {
    any::<[u8; 16]>().prop_map(Ref)
}

fn references() -> impl Strategy<Value = Vec<Ref>> {
    vec(reference(), 0..4)
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    vec(word(), 0..4)
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    of(vec(any::<u8>(), 0..80))
}

/// A strategy for a struct, field by field.
macro_rules! any_of {
    ($variant:ident($type:ident { $($field:ident: $strategy:expr),+ $(,)? })) => {{
        // Each field by itself: tuples of strategies end at twelve.
        let all = Just(());
        $(let all = (all, $strategy);)+
        all.prop_map(|all| {
            let any_of!(@pattern () $($field)+) = all;
            Facts::$variant($type { $($field),+ })
        })
    }};
    (@pattern $done:tt) => { $done };
    (@pattern $done:tt $field:ident $($rest:ident)*) => { any_of!(@pattern ($done, $field) $($rest)*) };
}

pub(crate) fn any_facts() -> BoxedStrategy<Facts> {
    let event = any_of!(Event(EventFacts {
        action: word(),
        product: of(word()),
        event_time: of(any::<u64>()),
        actor: reference(),
        client: of(reference()),
        targets: references(),
        requested: words(),
        granted: words(),
        used: words(),
        token: of(reference()),
        place: of(reference()),
        on_behalf_of: references(),
        about: references(),
    }));
    let scope = any_of!(Scope(ScopeCommand {
        command: any::<u8>(),
        grant: of(reference()),
        revision: of(any::<u64>()),
        by: reference(),
        client: of(reference()),
        subject: of(reference()),
        scopes: words(),
        resource: of(word()),
        tier: of(any::<u8>()),
        recording: of(any::<u8>()),
        not_before: of(any::<u64>()),
        expires: of(any::<u64>()),
        token: of(reference()),
        review: of(reference()),
        verdict: of(any::<u8>()),
        refused: of(word()),
        issued_before: of(any::<u64>()),
        approvers: references(),
        approvals: of(any::<u8>()),
        longest: of(any::<u64>()),
        rules: any::<u8>(),
        signature: bytes(),
    }));
    let decision = any_of!(Decision(DecisionFacts {
        action: word(),
        client: reference(),
        subject: of(reference()),
        token: of(reference()),
        issued: of(any::<u64>()),
        scopes: words(),
        resource: of(word()),
        state_size: any::<u64>(),
        decided_at: any::<u64>(),
        consistency: any::<u8>(),
        grants: references(),
        reason: word(),
        place: of(reference()),
        count: of(any::<u64>()),
        since: of(any::<u64>()),
        bound: of(any::<u64>()),
        expires: of(any::<u64>()),
        presented: words(),
        rules: any::<u8>(),
    }));
    let gap = || {
        (reference(), any::<u64>(), any::<u64>()).prop_map(|(producer, first, last)| GapFacts {
            producer,
            first,
            last,
        })
    };
    prop_oneof![
        event,
        scope,
        decision,
        any_of!(Genesis(Genesis {
            origin: word(),
            kind: word(),
            recovery: key(),
            administrators: references(),
            signature: bytes(),
        })),
        any_of!(Alert(AlertFacts {
            rule: any::<[u8; 32]>(),
            name: word(),
            severity: any::<u8>(),
            leaves: vec(any::<u64>(), 0..4),
            count: of(any::<u64>()),
            about: references(),
            state_size: any::<u64>(),
        })),
        gap().prop_map(Facts::Gap),
        gap().prop_map(Facts::Filled),
        any_of!(Erasure(ErasureFacts { erased: references(), by: reference(), authority: word() })),
        any_of!(Retention(RetentionFacts {
            class: any::<u8>(),
            name: word(),
            seconds: of(any::<u64>()),
            by: reference(),
        })),
        any_of!(Hold(HoldFacts {
            hold: reference(),
            subjects: references(),
            classes: vec(any::<u8>(), 0..4),
            by: reference(),
            authority: word(),
        })),
        any_of!(Release(ReleaseFacts { hold: reference(), by: reference(), authority: word() })),
        any_of!(Expiry(ExpiryFacts { class: any::<u8>(), before: any::<u64>() })),
        any_of!(Rejected(RejectedFacts { digest: any::<[u8; 32]>(), reason: word() })),
        any_of!(Rule(RuleFacts {
            rule: any::<[u8; 32]>(),
            name: word(),
            language: word(),
            severity: any::<u8>(),
            by: reference(),
            source: bytes(),
        })),
    ]
    .boxed()
}

pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    let payload = (any::<[u8; 32]>(), any::<[u8; 32]>())
        .prop_map(|(commitment, digest)| PayloadId { commitment, digest });
    let header = (any::<u8>(), any::<u64>(), any::<[u8; 16]>(), reference(), any::<u64>(), any::<[u8; 32]>());
    (proptest::sample::select(Outcome::ALL.to_vec()), any::<bool>(), header, of(payload), any_facts())
        .prop_map(
            |(outcome, said, (retention, log_time, id, producer, sequence, previous), payload, facts)| {
                let must = matches!(facts, Facts::Event(_) | Facts::Decision(_));
                let (outcome, log_time) = ((said || must).then_some(outcome), Time(log_time));
                Frame { outcome, retention, log_time, id, producer, sequence, previous, payload, facts }
            },
        )
}
