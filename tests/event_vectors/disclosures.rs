//! Disclosures of the payloads beside them.

use graven_event::disclosure::{Disclosure, Shown};
use graven_event::payload::{Opened, Payload, group_hash};
use graven_event::{Event, Facts, Frame, Group, PayloadId, Time};
use graven_merkle::leaf_hash;
use serde_json::{Value, json};

use super::{array, cases, leaves, payloads, shown, to_hex, vectors};

const SHOWN: [(&str, &[Group]); 4] = [
    ("nothing-but-the-leaf", &[]),
    ("actor", &[Group::Actor]),
    ("actor-and-context", &[Group::Actor, Group::Context]),
    ("everything", &Group::ALL),
];

/// Of the payload `whole`, in a log of one leaf. Its head is signed by nobody: that a note verifies has vectors of its own.
fn made() -> Vec<Value> {
    let stored = payloads::stored();
    let whole = stored.iter().find(|case| case["name"] == "whole").unwrap();
    let event: Event = serde_json::from_value(whole["event"].clone()).unwrap();
    let (id, bytes) = (array(whole, "id"), super::b64_field(whole, "payload_b64"));
    let claimed = PayloadId { commitment: array(whole, "commitment"), digest: array(whole, "digest") };
    let frame = Frame {
        outcome: Some(event.outcome),
        retention: 0,
        log_time: Time::from_seconds(1_772_357_401),
        id,
        producer: leaves::reference(0xb0),
        sequence: 1,
        previous: [0; 32],
        payload: Some(claimed),
        facts: Facts::Event(leaves::least_event()),
    };
    let leaf = frame.encode().unwrap();
    let root = base64(leaf_hash(&leaf).as_bytes());
    let proof = format!(
        "c2sp.org/tlog-proof@v1\nindex 0\n\nexample.com/audit\n1\n{root}\n\n\u{2014} example.com/audit {}\n",
        base64(&[0; 68])
    );
    let payload = Payload::of(&bytes, &id, &claimed).unwrap();
    let opened: Vec<Opened> = whole["groups"].as_array().unwrap().iter().map(opened).collect();
    let case = |(name, chosen): (&str, &[Group])| {
        let shown = |group: Group| match opened.iter().find(|it| it.group == group && chosen.contains(&group))
        {
            Some(opened) => Shown::Group(opened.clone()),
            None => Shown::Hash(payload.hashes()[usize::from(group.number()) - 1]),
        };
        let groups = (!chosen.is_empty()).then(|| Group::ALL.map(shown));
        let text = Disclosure { leaf: leaf.clone(), groups, proof: proof.clone() }.to_string();
        json!({ "name": name, "text": text, "expect": opened_json(&text) })
    };
    SHOWN.into_iter().map(case).collect()
}

fn opened(group: &Value) -> Opened {
    let number = u8::try_from(group["group"].as_u64().unwrap()).unwrap();
    let text = super::b64_field(group, "text_b64");
    Opened { group: Group::of(number).unwrap(), salt: array(group, "salt"), text }
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}

/// What a reader finds in it.
fn opened_json(text: &str) -> Value {
    let disclosure = Disclosure::parse(text).unwrap();
    assert_eq!(disclosure.to_string(), text);
    let disclosed = disclosure.open(|_| None).unwrap();
    let hash = |shown: &Shown| match shown {
        Shown::Group(it) => to_hex(group_hash(it.group, &it.salt, &it.text)),
        Shown::Hash(hash) => to_hex(hash),
    };
    json!({
        "leaf_hash": to_hex(disclosed.leaf_hash.as_bytes()),
        "frame": shown::frame(&disclosed.frame),
        "shown": disclosed.shown.iter().map(|group| group.number()).collect::<Vec<_>>(),
        "hashes": disclosure.groups.iter().flatten().map(hash).collect::<Vec<_>>(),
        "actor": disclosed.view.actor,
        "ip": disclosed.view.context.ip,
    })
}

#[test]
fn every_disclosure_says_what_it_ever_said() {
    for case in cases("disclosures-v1.json", "disclosures of the payload `whole`, and what they show", made) {
        assert_eq!(opened_json(vectors::text(&case, "text")), case["expect"], "{}", vectors::name(&case));
    }
}
