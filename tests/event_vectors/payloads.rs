//! Sealed payloads with all that opens them. How a text is packed is the packer's business, so these are opened, never made again.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use graven_event::facts::Ref;
use graven_event::group::parties;
use graven_event::payload::{Opened, Payload, Sealer, SecretKey, Subject};
use graven_event::{Event, Group, Party, PayloadId, View};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{array, cases, leaves, to_hex, vectors};

/// The second record is of an event about so many that a mask has two bytes.
fn events() -> Vec<(&'static str, Value)> {
    let whole = json!({
        "time": "2026-03-01T09:30:00.000000001Z", "action": "admin.role.assign", "outcome": "denied",
        "actor": {"kind": "user", "id": "alice", "name": "Alice Example"}, "client": "application:console",
        "on_behalf_of": [{"kind": "user", "id": "carol"}], "session": "s-1",
        "targets": [{"kind": "user", "id": "bob", "name": "Bob"}, {"kind": "role", "id": "owner", "name": "Owners"}],
        "about": ["dave", "service:billing"], "decision": {"reason": "not an owner", "policy": "p7"},
        "token": {"id": "jti-1", "issuer": "https://id.example.com", "audience": ["a", "b"], "grant_type": "authorization_code",
            "expires": "2026-03-01T10:30:00Z", "confirmation": "jkt:abc", "acr": "2", "amr": ["pwd", "otp"]},
        "scope": {"requested": ["roles.write"], "granted": [], "used": ["roles.write"]},
        "context": {"request_id": "r-1", "trace_id": "0af7651916cd43dd8448eb211c80319c", "ip": "192.0.2.7", "user_agent": "curl/8.5"},
        "changes": [{"field": "role", "before": "", "after": "owner"}, {"field": "since", "after": "2026"}],
        "source": {"product": "console", "service": "iam", "event_id": "e-1"}, "labels": {"env": "prod", "region": "eu"},
        "raw": {"format": "application/json", "text": "{\"who\":\"alice\",\"ip\":\"192.0.2.7\",\"reason\":\"not an owner\"}"}
    });
    let crowd: Vec<String> = (0..12).map(|n| format!("person-{n}")).collect();
    vec![
        ("whole", whole),
        ("least", json!({ "action": "auth.login", "actor": "alice", "outcome": "success" })),
        (
            "no-record",
            json!({ "action": "data.read", "actor": "alice", "outcome": "failure", "context": {"ip": "::1"} }),
        ),
        (
            "twelve-people",
            json!({ "action": "data.export", "actor": "person-3", "outcome": "success", "about": crowd,
                "raw": {"format": "text/plain", "text": "person-0 to person-11"} }),
        ),
        (
            "record-that-does-not-pack",
            json!({ "action": "data.read", "actor": "€", "outcome": "success",
                "raw": {"format": "", "text": "\u{10fffd}q\u{7}Z\u{3c0}" } }),
        ),
    ]
}

/// What packs well, and is long enough that its length takes two bytes.
fn long_events() -> Vec<(&'static str, Value)> {
    let records = [
        r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"AIDA0EXAMPLE","arn":"arn:aws:iam::111122223333:user/alice",
            "accountId":"111122223333","userName":"alice"},"eventTime":"2026-03-01T09:30:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject",
            "awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2.15","requestParameters":{"bucketName":"papers","key":"alice/1"},
            "responseElements":null,"readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333"}"#.to_owned(),
        (0..400).map(|n| format!("line {n} of a record that is longer than a text\n")).collect(),
    ];
    let event = |(name, text): (&'static str, String)| {
        let event = json!({ "action": "GetObject", "actor": {"kind": "user", "id": "arn:aws:iam::111122223333:user/alice", "name": "alice"},
            "outcome": "success", "source": {"product": "cloudtrail", "service": "s3.amazonaws.com"}, "labels": {"account": "111122223333", "region": "us-east-1"},
            "context": {"ip": "192.0.2.7", "user_agent": "aws-cli/2.15 Python/3.11 Linux/5.10 exe/x86_64.amzn.2 prompt/off command/s3api.get-object"},
            "raw": {"format": "cloudtrail/v1", "text": text} });
        (name, event)
    };
    ["a-record", "a-long-record"].into_iter().zip(records).map(event).collect()
}

fn subject(party: &Party) -> Subject {
    let digest = |of: &str| -> [u8; 32] { Sha256::digest(format!("{of} {}", party.subject())).into() };
    Subject { reference: Ref(*digest("reference").first_chunk().unwrap()), key: SecretKey(digest("key")) }
}

fn made(events: Vec<(&str, Value)>) -> Vec<Value> {
    let (log_key, pad) = (SecretKey([3; 32]), [5; 32]);
    let case = |((name, event), n): ((&str, Value), u8)| {
        let id = [0x40 + n; 16];
        let parsed: Event = serde_json::from_value(event).unwrap();
        let sealed =
            Sealer::default().seal(&parsed, &id, &pad, &log_key, |party| Some(subject(party))).unwrap();
        let keys: BTreeMap<String, String> = parties(&parsed)
            .iter()
            .map(subject)
            .map(|subject| (subject.reference.to_string(), to_hex(subject.key.0)))
            .collect();
        assert_eq!(keys.len(), parties(&parsed).len(), "two have the same reference");
        let groups = open_all(&sealed.bytes, &id, &sealed.id, &log_key, &keys);
        json!({
            "name": name, "id": to_hex(id), "log_key": to_hex(log_key.0), "subject_keys": keys,
            "payload_b64": Base64::encode_string(&sealed.bytes),
            "commitment": to_hex(sealed.id.commitment), "digest": to_hex(sealed.id.digest),
            "groups": groups.iter().map(shown).collect::<Vec<_>>(),
            "event": parsed,
        })
    };
    events.into_iter().zip(0..).map(case).collect()
}

fn shown(opened: &Opened) -> Value {
    let text = Base64::encode_string(&opened.text);
    json!({ "group": opened.group.number(), "salt": to_hex(opened.salt), "text_b64": text })
}

fn open_all(
    bytes: &[u8],
    id: &[u8; 16],
    claimed: &PayloadId,
    log_key: &SecretKey,
    keys: &BTreeMap<String, String>,
) -> Vec<Opened> {
    let key_of = |reference: Ref| {
        let key = vectors::hex(keys.get(&reference.to_string())?);
        Some(SecretKey(key.try_into().unwrap()))
    };
    let payload = Payload::of(bytes, id, claimed).unwrap();
    payload.groups().map(|group| payload.open(group, log_key, key_of).unwrap()).collect()
}

const ABOUT: &str =
    "sealed payloads, the keys that open them, the salt and text of each group, and the event that they say";

/// Packed by deflate, as nothing is any more.
pub(crate) fn stored() -> Vec<Value> {
    cases("payloads-v1.json", ABOUT, || made(events()))
}

/// Packed by deflate, and by zstd.
fn all() -> Vec<Value> {
    let packed_by_zstd = cases("payloads-v2.json", ABOUT, || made([events(), long_events()].concat()));
    [stored(), packed_by_zstd].concat()
}

#[test]
fn every_payload_opens_as_ever() {
    for case in all() {
        let name = vectors::name(&case);
        let claimed = PayloadId { commitment: array(&case, "commitment"), digest: array(&case, "digest") };
        let keys: BTreeMap<String, String> = serde_json::from_value(case["subject_keys"].clone()).unwrap();
        let (bytes, log_key) = (super::b64_field(&case, "payload_b64"), SecretKey(array(&case, "log_key")));
        let opened = open_all(&bytes, &array(&case, "id"), &claimed, &log_key, &keys);
        assert_eq!(json!(opened.iter().map(shown).collect::<Vec<_>>()), case["groups"], "{name}");
        let mut view = View::default();
        opened.iter().for_each(|group| view.add(group.group, &group.text).unwrap());
        let event: Event = serde_json::from_value(case["event"].clone()).unwrap();
        let facts = graven_event::facts::EventFacts {
            action: leaves::word(&event.action),
            product: event.source.product.as_deref().map(leaves::word),
            event_time: event.time.map(|time| time.nanoseconds()),
            requested: event.scope.requested.iter().map(|scope| leaves::word(scope)).collect(),
            used: event.scope.used.iter().map(|scope| leaves::word(scope)).collect(),
            ..leaves::least_event()
        };
        assert_eq!(view.event(&facts, event.outcome), Some(event), "{name}");
    }
}

#[test]
fn every_group_is_there() {
    let all: Vec<u64> = stored().iter().flat_map(groups).collect();
    assert!(Group::ALL.iter().all(|group| all.contains(&u64::from(group.number()))));
    let least = stored().iter().map(|case| groups(case).len()).min();
    assert_eq!(least, Some(1));
}

fn groups(case: &Value) -> Vec<u64> {
    case["groups"].as_array().unwrap().iter().map(|group| group["group"].as_u64().unwrap()).collect()
}
