//! One leaf of each kind with all that it can say, and one with as little as it can.

use std::collections::BTreeMap;

use graven_event::facts::{
    AlertFacts, DecisionFacts, ErasureFacts, EventFacts, ExpiryFacts, GapFacts, Genesis, HoldFacts, KeyText,
    Ref, RejectedFacts, ReleaseFacts, RetentionFacts, RuleFacts, ScopeCommand, Word,
};
use graven_event::{Facts, Frame, LogState, Outcome, PayloadId, Time, Unplaced};
use graven_merkle::leaf_hash;
use serde_json::{Value, json};

use super::{cases, shown, to_hex, vectors};

pub(crate) fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

pub(crate) fn reference(n: u8) -> Ref {
    Ref([n; 16])
}

fn words(texts: &[&str]) -> Vec<Word> {
    texts.iter().copied().map(word).collect()
}

fn frame(outcome: Option<Outcome>, facts: Facts) -> Frame {
    Frame {
        outcome,
        retention: 0,
        log_time: Time::from_seconds(1_772_357_400),
        id: [0xa5; 16],
        producer: Ref::default(),
        sequence: 0,
        previous: [0; 32],
        payload: None,
        facts,
    }
}

pub(crate) fn least_event() -> EventFacts {
    EventFacts {
        action: word("a"),
        product: None,
        event_time: None,
        actor: reference(1),
        client: None,
        targets: vec![],
        requested: vec![],
        granted: vec![],
        used: vec![],
        token: None,
        place: None,
        on_behalf_of: vec![],
        about: vec![],
    }
}

fn events() -> Vec<(&'static str, Frame)> {
    let whole = EventFacts {
        action: word("PutBucketAcl"),
        product: Some(word("cloudtrail")),
        event_time: Some(1_772_357_399_123_456_789),
        actor: reference(1),
        client: Some(reference(2)),
        targets: vec![reference(3), reference(4)],
        requested: words(&["s3.read", "s3.write"]),
        granted: words(&["s3.read"]),
        used: words(&["s3.write"]),
        token: Some(reference(5)),
        place: Some(reference(6)),
        on_behalf_of: vec![reference(7), reference(8)],
        about: vec![reference(9)],
    };
    let whole = Frame {
        retention: 7,
        producer: reference(0xb0),
        sequence: u64::MAX,
        previous: [0xcc; 32],
        payload: Some(PayloadId { commitment: [0xdd; 32], digest: [0xee; 32] }),
        ..frame(Some(Outcome::Denied), Facts::Event(whole))
    };
    let longest = EventFacts { action: word(&"ä".repeat(128)), ..least_event() };
    let end = Frame { log_time: Time(u64::MAX), ..frame(Some(Outcome::Success), Facts::Event(longest)) };
    let least = |outcome| frame(Some(outcome), Facts::Event(least_event()));
    vec![
        ("event", whole),
        ("event-least", least(Outcome::Success)),
        ("event-failure", least(Outcome::Failure)),
        ("event-unknown", least(Outcome::Unknown)),
        ("event-longest-word", end),
    ]
}

fn scopes() -> Vec<(&'static str, Frame)> {
    let least = ScopeCommand {
        command: 1,
        grant: None,
        revision: None,
        by: Ref::default(),
        client: None,
        subject: None,
        scopes: vec![],
        resource: None,
        tier: None,
        recording: None,
        not_before: None,
        expires: None,
        token: None,
        review: None,
        verdict: None,
        refused: None,
        issued_before: None,
        approvers: vec![],
        approvals: None,
        longest: None,
        rules: 1,
        signature: None,
    };
    let whole = ScopeCommand {
        command: 14,
        grant: Some(reference(10)),
        revision: Some(3),
        by: reference(11),
        client: Some(reference(2)),
        subject: Some(reference(1)),
        scopes: words(&["payroll.read", "payroll.write"]),
        resource: Some(word("https://payroll.example.com/")),
        tier: Some(2),
        recording: Some(1),
        not_before: Some(1_772_357_400_000_000_000),
        expires: Some(1_803_893_400_000_000_000),
        token: Some(reference(5)),
        review: Some(reference(12)),
        verdict: Some(2),
        refused: Some(word("self-approval")),
        issued_before: Some(1_772_350_000_000_000_000),
        approvers: vec![reference(13), reference(14)],
        approvals: Some(2),
        longest: Some(7_776_000),
        rules: 1,
        signature: Some(vec![0x30, 0x45, 0x02]),
    };
    vec![
        ("scope", frame(Some(Outcome::Denied), Facts::Scope(whole))),
        ("scope-least", frame(None, Facts::Scope(least))),
    ]
}

fn decisions() -> Vec<(&'static str, Frame)> {
    let least = DecisionFacts {
        action: word("data.read"),
        client: reference(2),
        subject: None,
        token: None,
        issued: None,
        scopes: vec![],
        resource: None,
        state_size: 0,
        decided_at: 1_772_357_400_000_000_001,
        consistency: 1,
        grants: vec![],
        reason: word("no-grant"),
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: None,
        presented: vec![],
        rules: 1,
    };
    let whole = DecisionFacts {
        subject: Some(reference(1)),
        token: Some(reference(5)),
        issued: Some(1_772_350_000_000_000_000),
        scopes: words(&["payroll.read"]),
        resource: Some(word("https://payroll.example.com/")),
        state_size: 41,
        consistency: 4,
        grants: vec![reference(10), reference(15)],
        reason: word("granted"),
        place: Some(reference(6)),
        count: Some(1_000),
        since: Some(1_772_357_399_000_000_000),
        bound: Some(5_000_000_000),
        expires: Some(1_772_361_000_000_000_000),
        presented: words(&["payroll.read", "openid"]),
        ..least.clone()
    };
    vec![
        ("decision", frame(Some(Outcome::Success), Facts::Decision(whole))),
        ("decision-least", frame(Some(Outcome::Denied), Facts::Decision(least))),
    ]
}

fn alerts() -> Vec<(&'static str, Frame)> {
    let alert = AlertFacts {
        rule: [0x77; 32],
        name: word("denial-burst"),
        severity: 3,
        leaves: vec![5, 8, 1 << 40],
        count: Some(12),
        about: vec![reference(1), reference(2)],
        state_size: (1 << 40) + 1,
    };
    let least = AlertFacts { leaves: vec![], count: None, about: vec![], ..alert.clone() };
    let rule = RuleFacts {
        rule: [0x77; 32],
        name: word("denial-burst"),
        language: word("cel"),
        severity: 3,
        by: reference(11),
        source: Some(b"count(outcome == 'denied', '60s') > 10".to_vec()),
    };
    let ceased = RuleFacts { severity: 0, source: None, ..rule.clone() };
    vec![
        ("alert", frame(None, Facts::Alert(alert))),
        ("alert-least", frame(None, Facts::Alert(least))),
        ("rule", frame(None, Facts::Rule(rule))),
        ("rule-ceased", frame(None, Facts::Rule(ceased))),
    ]
}

fn keeping() -> Vec<(&'static str, Frame)> {
    let (by, authority) = (reference(11), word("gdpr-17"));
    let erasure = ErasureFacts { erased: vec![reference(1), reference(3)], by, authority };
    let retention = RetentionFacts { class: 7, name: word("short"), seconds: Some(86_400), by };
    let for_ever = RetentionFacts { seconds: None, ..retention.clone() };
    let (hold, subjects) = (reference(20), vec![reference(4)]);
    let hold = HoldFacts { hold, subjects, classes: vec![0, 7], by, authority: word("case-12") };
    let on_all = HoldFacts { subjects: vec![], classes: vec![], ..hold.clone() };
    let release = ReleaseFacts { hold: reference(20), by, authority: word("case-12-closed") };
    let said = |facts| Frame { producer: by, ..frame(None, facts) };
    vec![
        ("erasure", said(Facts::Erasure(erasure))),
        ("retention", said(Facts::Retention(retention))),
        ("retention-for-ever", said(Facts::Retention(for_ever))),
        ("hold", said(Facts::Hold(hold))),
        ("hold-on-all", said(Facts::Hold(on_all))),
        ("release", said(Facts::Release(release))),
        ("expiry", frame(None, Facts::Expiry(ExpiryFacts { class: 7, before: 512 }))),
    ]
}

fn others() -> Vec<(&'static str, Frame)> {
    let genesis = Genesis {
        origin: word("example.com/audit"),
        kind: word("events"),
        recovery: KeyText::new(format!("example.com/audit+5d2a1b0c+{}", "A".repeat(1752))).unwrap(),
        administrators: vec![reference(30), reference(31)],
        signature: Some(vec![0x30, 0x44]),
    };
    let least = Genesis { administrators: vec![], signature: None, ..genesis.clone() };
    let gap = GapFacts { producer: reference(0xb0), first: 3, last: 9 };
    let rejected = RejectedFacts { digest: [0x99; 32], reason: word("action") };
    vec![
        ("genesis", frame(None, Facts::Genesis(genesis))),
        ("genesis-least", frame(None, Facts::Genesis(least))),
        ("gap", frame(None, Facts::Gap(gap.clone()))),
        ("filled", frame(None, Facts::Filled(gap))),
        ("rejected", Frame { producer: reference(0xb0), ..frame(None, Facts::Rejected(rejected)) }),
    ]
}

/// A log's worth of them, in order.
pub(crate) fn all() -> Vec<(&'static str, Frame)> {
    [others(), events(), scopes(), decisions(), alerts(), keeping()].concat()
}

fn made() -> Vec<Value> {
    let case = |(name, frame): (&str, Frame)| {
        let leaf = frame.encode().unwrap();
        let hash = to_hex(leaf_hash(&leaf).as_bytes());
        json!({ "name": name, "leaf": to_hex(leaf), "leaf_hash": hash, "frame": shown::frame(&frame) })
    };
    all().into_iter().map(case).collect()
}

fn stored() -> Vec<Value> {
    cases("leaves-v1.json", "leaves of logs of events: bytes, leaf hash (RFC 6962), and what they say", made)
}

#[test]
fn every_leaf_is_read_and_written_as_ever() {
    for case in stored() {
        let (name, leaf) = (vectors::name(&case), vectors::hex_field(&case, "leaf"));
        let frame = Frame::decode(&leaf).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shown::frame(&frame), case["frame"], "{name}");
        assert_eq!(frame.encode().as_deref(), Ok(&leaf[..]), "{name}");
        assert_eq!(to_hex(leaf_hash(&leaf).as_bytes()), case["leaf_hash"], "{name}");
        let (time, previous) = (frame.log_time, frame.previous);
        let unplaced = Frame { log_time: Time(0), previous: [0; 32], ..frame };
        assert_eq!(Unplaced::new(&unplaced).unwrap().place(time, previous), leaf, "{name}");
    }
}

#[test]
fn what_this_program_writes_is_what_is_stored() {
    assert_eq!(made(), stored());
}

/// Every kind is there, and of every kind each field once with something in it.
#[test]
fn nothing_that_a_leaf_can_say_is_left_out() {
    let mut said: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for case in stored() {
        let fields = said.entry(case["frame"]["kind"].as_str().unwrap().to_owned()).or_default();
        for (field, value) in case["frame"]["facts"].as_object().unwrap() {
            let is_empty = *value == Value::Null || *value == json!([]) || *value == json!("");
            *fields.entry(field.clone()).or_default() |= !is_empty;
        }
    }
    let mut kinds: Vec<&str> = said.keys().map(String::as_str).collect();
    let mut expected = Facts::KINDS.to_vec();
    kinds.sort_unstable();
    expected.sort_unstable();
    assert_eq!(kinds, expected);
    for (kind, fields) in said {
        for (field, is_said) in fields {
            assert!(is_said, "{kind}.{field} stands in no vector");
        }
    }
}

#[test]
fn a_snapshot_is_read_and_written_as_ever() {
    let of = |leaves: &[Vec<u8>]| {
        let mut state = LogState::default();
        for leaf in leaves {
            state.take(&Frame::decode(leaf).unwrap(), leaf_hash(leaf));
        }
        state.pass();
        state
    };
    let made = || {
        let leaves: Vec<Vec<u8>> = all().iter().map(|(_, frame)| frame.encode().unwrap()).collect();
        vec![json!({ "name": "after-all-leaves", "snapshot": to_hex(of(&leaves).encode()) })]
    };
    let about = "the state after the leaves of leaves-v1.json in order, and a statement about the log's keys";
    let leaves: Vec<Vec<u8>> = stored().iter().map(|case| vectors::hex_field(case, "leaf")).collect();
    // One of a version before is not read: whoever has it takes in every leaf.
    for case in cases("snapshots-v1.json", about, Vec::new) {
        assert!(LogState::decode(&vectors::hex_field(&case, "snapshot")).is_err());
    }
    for case in cases("snapshots-v2.json", about, made) {
        let bytes = vectors::hex_field(&case, "snapshot");
        let state = LogState::decode(&bytes).unwrap();
        assert_eq!(state, of(&leaves), "{}", vectors::name(&case));
        assert_eq!(state.encode(), bytes, "{}", vectors::name(&case));
    }
}
