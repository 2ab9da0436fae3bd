//! The two sets of real records, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::{Format, carries_secret, map, records};
use super::{now, vectors};
use crate::facts::{EventFacts, Facts, Ref, Word};
use crate::group::View;
use crate::model::{Event, Outcome, Party};
use crate::payload::{Payload, Sealer, SecretKey, Subject};
use crate::{Frame, Time};

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

fn labelled() -> Vec<(Format, String, bool)> {
    let text = unpacked(vectors!(include_bytes, "labelled.jsonl.gz"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all = lines.map(|line| {
        let format = match line["source"].as_str().unwrap() {
            "kubernetes" => Format::Kubernetes,
            word => word.parse().unwrap(),
        };
        (format, line["event"].to_string(), line["expected"].as_bool().unwrap_or_default())
    });
    all.collect()
}

fn digest(party: &Party, what: &str) -> [u8; 32] {
    Sha256::digest(format!("{what} {}", party.subject())).into()
}

fn subject(party: &Party) -> Subject {
    let reference = *digest(party, "reference").first_chunk().unwrap();
    Subject { reference: Ref(reference), key: SecretKey(digest(party, "key")) }
}

/// Seals an event, opens all of it and puts it together again.
pub(super) fn there_and_back(sealer: &mut Sealer, event: &Event) -> Event {
    let (id, log_key) = ([7; 16], SecretKey([9; 32]));
    let sealed = sealer.seal(event, &id, &[5; 32], &log_key, |party| Some(subject(party))).unwrap();
    let keys: BTreeMap<Ref, SecretKey> = crate::group::parties(event)
        .iter()
        .map(subject)
        .map(|subject| (subject.reference, subject.key))
        .collect();
    let payload = Payload::of(&sealed.bytes, &id, &sealed.id).unwrap();
    let mut view = View::default();
    for group in payload.groups() {
        let opened = payload.open(group, &log_key, |reference| keys.get(&reference).cloned()).unwrap();
        view.add(group, &opened.text).unwrap();
    }
    view.event(&facts(event), event.outcome).unwrap()
}

fn facts(event: &Event) -> EventFacts {
    let word = |text: &String| Word::new(text.as_str()).unwrap();
    let words = |texts: &[String]| texts.iter().map(word).collect();
    EventFacts {
        action: word(&event.action),
        product: event.source.product.as_ref().map(word),
        event_time: event.time.map(|time| time.nanoseconds()),
        actor: Ref::default(),
        client: None,
        targets: Vec::new(),
        requested: words(&event.scope.requested),
        granted: words(&event.scope.granted),
        used: words(&event.scope.used),
        token: None,
        place: None,
        on_behalf_of: Vec::new(),
        about: Vec::new(),
    }
}

/// Beside a leaf and its payload: their rows in the files of bundles and payloads, its hash, and the nodes above that.
const BESIDE_BYTES: usize = 2 + 13 + 32 + 36;

/// What a log of events takes of a disk, against what was handed in. The bound that is asked for is 1.6 times that.
#[test]
fn a_trail_takes_less_than_it_is_long() {
    let text = unpacked(vectors!(include_bytes, "cloudtrail.jsonl.gz"));
    let found = records(Format::CloudTrail, &text).unwrap();
    let events: Vec<Event> = found.iter().map(|record| record.map(Format::CloudTrail).unwrap()).collect();
    let (mut sealer, mut taken, mut payloads) = (Sealer::default(), 0, 0);
    let began = std::time::Instant::now();
    for event in &events {
        let sealed = sealer
            .seal(event, &[7; 16], &[5; 32], &SecretKey([9; 32]), |party| Some(subject(party)))
            .unwrap();
        let place = event.context.ip.as_ref().map(|_| Ref([1; 16]));
        let token = event.token.as_ref().map(|_| Ref([1; 16]));
        let frame = Frame {
            outcome: Some(event.outcome),
            retention: 0,
            log_time: Time::from_seconds(1),
            id: [7; 16],
            producer: Ref([8; 16]),
            sequence: 1,
            previous: [6; 32],
            payload: Some(sealed.id),
            facts: Facts::Event(EventFacts { token, place, ..facts(event) }),
        };
        payloads += sealed.bytes.len();
        taken += sealed.bytes.len() + frame.encode().unwrap().len() + BESIDE_BYTES;
    }
    let micros = began.elapsed().as_micros() / events.len() as u128;
    let each = |bytes: usize| bytes / events.len();
    println!(
        "{} B an event in all, {} B of it payload, for {} B; {micros} us to seal one in this build",
        each(taken),
        each(payloads),
        each(text.len())
    );
    assert!(taken < text.len(), "{taken} bytes for {}", text.len());
}

#[test]
fn cloudtrail_counts_are_those_counted_by_others() {
    let text = unpacked(vectors!(include_bytes, "cloudtrail.jsonl.gz"));
    let found = records(Format::CloudTrail, &text).unwrap();
    assert_eq!(found.len(), 2_900);
    let (mut identities, mut actors, mut actions) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut outcomes = BTreeMap::new();
    let mut sealer = Sealer::default();
    for (record, line) in found.iter().zip(text.lines()) {
        assert_eq!(record.text, line);
        let event = record.map(Format::CloudTrail).unwrap();
        assert_eq!(event.check(now()), Ok(()), "line {}", record.line);
        assert_eq!(there_and_back(&mut sealer, &event), event, "line {}", record.line);
        assert_eq!(carries_secret(line), None, "line {}", record.line);
        let plain: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event.action, plain["eventName"]);
        assert_eq!(event.source.service.as_deref(), plain["eventSource"].as_str());
        assert_eq!(event.source.event_id.as_deref(), plain["eventID"].as_str());
        assert_eq!(event.context.request_id.as_deref(), plain["requestID"].as_str());
        assert_eq!(event.context.ip.as_deref(), plain["sourceIPAddress"].as_str());
        assert_eq!(event.time.unwrap().to_string(), plain["eventTime"].as_str().unwrap());
        assert_eq!(event.outcome == Outcome::Success, plain.get("errorCode").is_none());
        let key = plain["userIdentity"]["accessKeyId"].as_str().filter(|key| !key.is_empty());
        assert_eq!(event.token.as_ref().and_then(|token| token.id.as_deref()), key);
        let identity = &plain["userIdentity"];
        let told = ["arn", "principalId", "invokedBy"].iter().find_map(|member| identity[*member].as_str());
        identities.insert(told.map(str::to_owned));
        actors.insert(event.actor.subject());
        actions.insert(event.action.clone());
        *outcomes.entry(event.outcome).or_insert(0) += 1;
    }
    // Others count 21: one record has no ARN of a user whom the rest name by theirs, and here that is one person.
    assert_eq!((identities.len(), actors.len(), actions.len()), (21, 20, 260));
    // 44 Client.UnauthorizedOperation and 16 AccessDenied, of 300 errors.
    let expected = [(Outcome::Success, 2_600), (Outcome::Failure, 240), (Outcome::Denied, 60)];
    assert_eq!(outcomes, BTreeMap::from(expected));
}

#[test]
fn every_labelled_event_is_mapped_or_is_none() {
    let (mut mapped, mut refused) = (BTreeMap::new(), BTreeMap::new());
    let mut sealer = Sealer::default();
    for (format, record, _) in labelled() {
        match map(format, &record) {
            Ok(event) => {
                assert_eq!(event.check(now()), Ok(()), "{format} {record}");
                assert_eq!(there_and_back(&mut sealer, &event), event, "{record}");
                *mapped.entry(format).or_insert(0) += 1;
            }
            Err(error) => *refused.entry((format, error.field)).or_insert(0) += 1,
        }
    }
    let refused: Vec<_> =
        refused.iter().map(|((format, field), count)| (*format, &**field, *count)).collect();
    assert_eq!(
        refused,
        [
            // Three test cases are null.
            (Format::CloudTrail, "record", 3),
            // Sums that queries made of events.
            (Format::Okta, "eventType", 26),
            // Other services of Google Cloud and Azure.
            (Format::Kubernetes, "protoPayload.methodName", 1),
            (Format::Kubernetes, "verb", 1),
        ]
    );
    let expected = [
        (Format::CloudTrail, 317),
        (Format::Okta, 38),
        (Format::Kubernetes, 157),
        (Format::Auth0, 36),
        (Format::GitHub, 141),
        (Format::Teleport, 18),
    ];
    assert_eq!(mapped, BTreeMap::from(expected));
}

#[test]
fn what_carries_secrets_among_labelled_events_is_known() {
    let mut found = BTreeMap::new();
    for (format, record, _) in labelled() {
        if let Some(what) = carries_secret(&record) {
            *found.entry((format, what)).or_insert(0) += 1;
        }
    }
    let found: Vec<_> = found.into_iter().map(|((format, what), count)| (format, what, count)).collect();
    assert_eq!(found, []);
}
