//! Events through the whole of it: checked, split, sealed, opened, disclosed.

use std::collections::HashMap;

use crate::disclosure::{Disclosure, DisclosureError, Record, Shown};
use crate::facts::{EventFacts, Facts, Ref, Word};
use crate::payload::{OpenError, Payload, Sealed, Sealer, SecretKey, Subject};
use crate::{Event, Frame, Group, Party, Time, Unplaced, View};

const ID: [u8; 16] = [9; 16];
const LOG_KEY: SecretKey = SecretKey([3; 32]);

fn event() -> Event {
    let json = r#"{"time": "2026-03-01T09:30:00Z", "action": "admin.role.assign", "actor": "alice", "client": "application:console",
        "on_behalf_of": [{"id": "carol", "name": "Carol"}], "session": "s-1", "outcome": "denied",
        "targets": [{"kind": "user", "id": "bob"}, {"kind": "role", "id": "owner"}],
        "decision": {"reason": "not an owner", "policy": "p7"}, "token": {"id": "jti-1", "amr": ["pwd", "otp"]},
        "scope": {"requested": ["roles.write"], "used": ["roles.write"]}, "context": {"ip": "192.0.2.7", "request_id": "r-1"},
        "changes": [{"field": "role", "before": "", "after": "owner"}], "source": {"service": "console"},
        "labels": {"env": "prod", "region": "eu"}, "raw": {"format": "application/json", "text": "{\"who\": \"alice\"}"}}"#;
    serde_json::from_str(json).unwrap()
}

fn subjects() -> HashMap<String, Subject> {
    let names = ["user:alice", "application:console", "user:carol", "user:bob"];
    let subject = |n: u8| Subject { reference: Ref([50 - n; 16]), key: SecretKey([n; 32]) };
    names.iter().zip(1..).map(|(name, n)| ((*name).to_owned(), subject(n))).collect()
}

fn sealed(event: &Event) -> Sealed {
    let subjects = subjects();
    let of = |party: &Party| subjects.get(&party.subject()).cloned();
    Sealer::default().seal(event, &ID, &[5; 32], &LOG_KEY, of).unwrap()
}

fn key_of(without: &str) -> impl Fn(Ref) -> Option<SecretKey> {
    let subjects = subjects();
    let gone = subjects.get(without).map(|subject| subject.reference);
    move |reference| {
        let found =
            subjects.values().find(|subject| subject.reference == reference && Some(reference) != gone);
        found.map(|subject| subject.key.clone())
    }
}

fn facts(event: &Event) -> EventFacts {
    let words = |words: &[String]| words.iter().map(|word| Word::new(word.as_str()).unwrap()).collect();
    EventFacts {
        action: Word::new(event.action.as_str()).unwrap(),
        product: None,
        event_time: event.time.map(|time| time.0),
        actor: Ref([49; 16]),
        client: Some(Ref([48; 16])),
        targets: vec![Ref([46; 16])],
        requested: words(&event.scope.requested),
        granted: vec![],
        used: words(&event.scope.used),
        token: Some(Ref([1; 16])),
        place: Some(Ref([2; 16])),
        on_behalf_of: Vec::new(),
        about: Vec::new(),
    }
}

fn frame(event: &Event, sealed: &Sealed) -> Frame {
    Frame {
        outcome: Some(event.outcome),
        retention: 0,
        log_time: Time(1_000),
        id: ID,
        producer: Ref([8; 16]),
        sequence: 5,
        previous: [6; 32],
        payload: Some(sealed.id),
        facts: Facts::Event(facts(event)),
    }
}

#[test]
fn an_event_comes_out_as_it_went_in() {
    let event = event();
    event.check(Time::from_seconds(1_800_000_000)).unwrap();
    let sealed = sealed(&event);
    let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
    assert_eq!(payload.groups().collect::<Vec<_>>(), Group::ALL);
    let mut view = View::default();
    for group in payload.groups() {
        view.add(group, &payload.open(group, &LOG_KEY, key_of("")).unwrap().text).unwrap();
    }
    assert_eq!(view.event(&facts(&event), event.outcome), Some(event));
}

#[test]
fn with_one_person_erased_the_others_stay_readable() {
    let sealed = sealed(&event());
    let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
    let readable = |without: &str| {
        payload
            .groups()
            .filter(|group| payload.open(*group, &LOG_KEY, key_of(without)).is_ok())
            .collect::<Vec<_>>()
    };
    assert_eq!(readable("user:bob"), [Group::Actor, Group::Token, Group::Context, Group::Origin]);
    assert_eq!(readable("user:alice"), [Group::Targets, Group::Origin]);
    assert_eq!(readable("application:console").len(), 4);
    let erased = payload.open(Group::Raw, &LOG_KEY, key_of("user:bob"));
    assert_eq!(erased, Err(OpenError::Erased { group: Group::Raw, reference: Ref([46; 16]) }));
}

#[test]
fn no_changed_byte_of_a_payload_opens() {
    let sealed = sealed(&event());
    for at in 0..sealed.bytes.len() {
        let mut changed = sealed.bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Payload::of(&changed, &ID, &sealed.id).unwrap_err(), OpenError::Foreign, "byte {at}");
    }
    let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
    let other = |_| Some(SecretKey([77; 32]));
    assert_eq!(payload.open(Group::Actor, &LOG_KEY, other), Err(OpenError::Mismatch(Group::Actor)));
    let other_id = Payload::of(&sealed.bytes, &[1; 16], &sealed.id).unwrap();
    assert_eq!(other_id.open(Group::Origin, &LOG_KEY, key_of("")), Err(OpenError::Mismatch(Group::Origin)));
}

/// Whoever makes a blob that opens under two keys still has to commit to one text.
#[test]
fn what_opens_to_another_text_than_was_committed_to_is_refused() {
    let event = event();
    let (honest, other) =
        (sealed(&event), sealed(&Event { labels: [("env".into(), "test".into())].into(), ..event }));
    // The other payload's bytes, under the first one's commitment: as if one blob had two openings.
    let claimed = crate::PayloadId { digest: other.id.digest, ..honest.id };
    assert_eq!(Payload::of(&other.bytes, &ID, &claimed).unwrap_err(), OpenError::Foreign);
    // And with the hashes exchanged as well, so that the root is right.
    let (a, b) = (
        Payload::of(&honest.bytes, &ID, &honest.id).unwrap(),
        Payload::of(&other.bytes, &ID, &other.id).unwrap(),
    );
    let mut forged = other.bytes.clone();
    for (from, to) in b.hashes().iter().zip(a.hashes()) {
        if let Some(at) = forged.windows(32).position(|window| window == from) {
            forged[at..at + 32].copy_from_slice(&to);
        }
    }
    let claimed = crate::PayloadId {
        digest: sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            &forged,
        ))
        .into(),
        ..honest.id
    };
    let forged = Payload::of(&forged, &ID, &claimed).unwrap();
    assert_eq!(forged.open(Group::Origin, &LOG_KEY, key_of("")), Err(OpenError::Mismatch(Group::Origin)));
}

#[test]
fn a_frame_has_one_encoding() {
    let event = event();
    let frame = frame(&event, &sealed(&event));
    let bytes = frame.encode().unwrap();
    assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = Frame::decode(&changed) {
                assert_ne!(other, frame, "byte {at}");
                assert_eq!(other.encode(), Ok(changed), "byte {at}");
            }
        }
    }
    for cut in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..cut]).is_err());
    }
    assert!(Frame::decode(&[&bytes[..], &[0]].concat()).is_err());
    let placed = Unplaced::new(&frame).unwrap().place(Time(77), [1; 32]);
    assert_eq!(Frame::decode(&placed), Ok(Frame { log_time: Time(77), previous: [1; 32], ..frame }));
}

#[test]
fn a_disclosure_shows_what_is_chosen_and_nothing_else() {
    let event = event();
    let sealed = sealed(&event);
    let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
    let shown = |groups: &[Group]| {
        let hashes = payload.hashes();
        let of = |group: Group| match groups.contains(&group) {
            true => Shown::Group(payload.open(group, &LOG_KEY, key_of("")).unwrap()),
            false => Shown::Hash(hashes[usize::from(group.number()) - 1]),
        };
        let (leaf, proof) = (frame(&event, &sealed).encode().unwrap(), "proof\n".to_owned());
        Disclosure { leaf, groups: Some(Group::ALL.map(of)), proof }
    };
    let text = shown(&[Group::Actor, Group::Context]).to_string();
    let parsed = Disclosure::parse(&text).unwrap();
    let disclosed = parsed.open(|_| None).unwrap();
    assert_eq!((disclosed.shown, disclosed.record), (vec![Group::Actor, Group::Context], Record::Hidden));
    assert_eq!(
        (disclosed.view.actor, disclosed.view.context),
        (Some(event.actor.clone()), event.context.clone())
    );
    assert_eq!((disclosed.view.raw, disclosed.view.targets), (None, vec![]));

    let with_raw = shown(&[Group::Actor, Group::Raw]);
    assert_eq!(with_raw.open(|_| None).unwrap().record, Record::Unmapped);
    assert_eq!(with_raw.open(|_| Some(event.clone())).unwrap().record, Record::Agrees);
    let liar = Event { actor: Party::new("user", "mallory"), ..event.clone() };
    assert_eq!(with_raw.open(|_| Some(liar.clone())), Err(DisclosureError::Disagrees(Group::Actor)));
    let liar = Event { outcome: crate::Outcome::Success, ..event.clone() };
    assert_eq!(with_raw.open(|_| Some(liar.clone())), Err(DisclosureError::DisagreesWithLeaf));

    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        if let Ok(other) = Disclosure::parse(&changed) {
            let same_leaf = other.leaf == parsed.leaf;
            assert!(!same_leaf || other.proof != parsed.proof || other.open(|_| None).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_is_no_event_is_refused_by_its_field() {
    let now = Time::from_seconds(1_800_000_000);
    let refused = |change: fn(&mut Event)| {
        let mut event = event();
        change(&mut event);
        event.check(now).unwrap_err().field
    };
    assert_eq!(refused(|event| event.actor.id.clear()), "actor");
    assert_eq!(refused(|event| event.actor.id = "  ".into()), "actor");
    assert_eq!(refused(|event| event.actor.id = "x".repeat(1020)), "a party's kind and id");
    assert_eq!(refused(|event| event.action.clear()), "action");
    assert_eq!(refused(|event| event.action = "made.up".into()), "action");
    assert_eq!(refused(|event| event.action = "x.".into()), "action");
    assert_eq!(refused(|event| event.action = "x.a\nb".into()), "action");
    assert_eq!(refused(|event| event.time = Some(Time::from_seconds(1_900_000_000))), "time");
    assert_eq!(refused(|event| event.scope.used = vec!["a\u{1b}".into()]), "scope");
    assert_eq!(refused(|event| event.about = vec![Party::new("user", "x"); 33]), "about");
}

#[test]
fn an_event_is_found_by_the_same_before_it_is_sealed_and_after() {
    use crate::query::{Blinder, terms};

    let least = r#"{"action": "auth.login", "actor": "alice", "outcome": "success"}"#;
    for event in [event(), serde_json::from_str(least).unwrap()] {
        let sealed = sealed(&event);
        let frame = frame(&event, &sealed);
        let blinder = Blinder::new(&LOG_KEY);
        let is_found_by = |group: &Group| !matches!(group, Group::Changes | Group::Raw);
        let about = sealed.about.iter().filter(|(group, _)| is_found_by(group));
        let about = about.map(|(group, people)| (*group, &people[..]));
        let before = terms(&frame, &View::to_find(&event), about, &blinder);

        let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
        let mut view = View::default();
        for group in payload.groups().filter(is_found_by) {
            view.add(group, &payload.open(group, &LOG_KEY, key_of("nobody")).unwrap().text).unwrap();
        }
        let owners = payload.owners().filter(|(group, _)| is_found_by(group));
        assert_eq!(before, terms(&frame, &view, owners, &blinder));
    }
}
