//! `Record` and `RecordBatch`: what is an event, what is none, and what is the same one again.

use std::time::{Duration, SystemTime};

use graven_event::{Facts, MAX_ITEMS, MAX_LONG_TEXT_BYTES, MAX_PARTIES, MAX_RAW_BYTES, MAX_TEXT_BYTES};
use graven_log::Kind;
use graven_merkle::leaf_hash;
use graven_note::{Policy, TlogProof};
use graven_proto::v1::{self, ErrorReason, RecordBatchRequest, RecordRequest};
use prost_types::Timestamp;
use tonic::Request;

use crate::rig::{ALL, House, event, numbered, of, party};
use crate::service::{append_request, refused, refused_field};

/// One that has everything.
fn full() -> v1::Event {
    let word = str::to_owned;
    let text = |kind: &str, id: &str| v1::Target { kind: word(kind), id: word(id), name: word("named") };
    v1::Event {
        time: Some(Timestamp { seconds: 1_772_000_000, nanos: 7 }),
        action: word("oauth.token.issue"),
        actor: Some(v1::Party { kind: word("user"), id: word("alice"), name: word("Alice A.") }),
        client: Some(v1::Party { kind: word("application"), id: word("payroll"), name: String::new() }),
        on_behalf_of: vec![v1::Party { kind: word("user"), id: word("carol"), name: String::new() }],
        session: word("session-1"),
        targets: vec![text("role", "owner"), text("user", "bob")],
        outcome: v1::Outcome::Denied.into(),
        reason: word("not today"),
        policy: word("office hours"),
        token: Some(v1::Token {
            id: word("jti-1"),
            issuer: word("https://issuer.example"),
            audience: vec![word("api")],
            grant_type: word("authorization_code"),
            expires: Some(Timestamp { seconds: 1_772_003_600, nanos: 0 }),
            confirmation: word("jkt:abc"),
            acr: word("2"),
            amr: vec![word("pwd"), word("otp")],
        }),
        scope: Some(v1::Scope {
            requested: vec![word("payroll.read"), word("payroll.write")],
            granted: vec![word("payroll.read")],
            used: vec![word("payroll.read")],
        }),
        context: Some(v1::Context {
            request_id: word("request-1"),
            trace_id: word("0af7651916cd43dd8448eb211c80319c"),
            ip: word("192.0.2.7"),
            user_agent: word("curl"),
        }),
        changes: vec![v1::Change {
            field: word("role"),
            before: Some(String::new()),
            after: Some(word("x")),
        }],
        source: Some(v1::Source { product: word("idp"), service: word("tokens"), event_id: word("e-1") }),
        labels: [(word("tier"), word("gold")), (word("region"), word("eu"))].into(),
        about: vec![v1::Party { kind: word("user"), id: word("dave"), name: String::new() }],
        raw: Some(v1::RawRecord { format: word("text/plain"), text: word("as it came\u{1b}[31m\n") }),
    }
}

/// A time so far ahead.
fn at(ahead: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + ahead;
    Timestamp { seconds: i64::try_from(now.as_secs()).unwrap(), nanos: 0 }
}

fn batch(events: Vec<v1::Event>) -> RecordBatchRequest {
    RecordBatchRequest { log: "audit".to_owned(), events, ..Default::default() }
}

#[tokio::test]
async fn an_event_comes_back_as_it_was() {
    let house = House::new().await;
    let recorded = house.record(full()).await;
    assert_eq!(recorded.leaf_hash, leaf_hash(&recorded.leaf).as_bytes()[..]);
    let hits = house.find("kind:event").await;
    assert_eq!((hits.len(), hits[0].index, &hits[0].leaf), (1, recorded.index, &recorded.leaf));
    assert_eq!(hits[0].event, Some(full()));
    assert_eq!((hits[0].kind.as_str(), hits[0].id.len(), hits[0].log_time), ("event", 16, recorded.log_time));
    assert!(hits[0].hidden.is_empty() && hits[0].erased.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_leaves_one_entry_that_says_why() {
    let house = House::new().await;
    let long = |bytes: usize| "x".repeat(bytes + 1);
    type Spoil = Box<dyn Fn(&mut v1::Event)>;
    let spoilt: Vec<(&str, &str, Spoil)> = vec![
        ("actor", "actor", Box::new(|it| it.actor = None)),
        ("actor", "actor", Box::new(|it| it.actor = Some(party("")))),
        ("actor", "actor", Box::new(|it| it.actor = Some(party(" \t\u{a0}")))),
        ("action", "action", Box::new(|it| it.action.clear())),
        ("action", "action", Box::new(|it| it.action = " \u{2003} ".to_owned())),
        ("action", "action", Box::new(|it| (it.action, it.source) = ("auth.nothing".to_owned(), None))),
        ("action", "action", Box::new(|it| (it.action, it.source) = ("x.".to_owned(), None))),
        ("action", "action", Box::new(move |it| it.action = "x.".to_owned() + &long(256))),
        ("outcome", "outcome", Box::new(|it| it.outcome = 0)),
        ("outcome", "outcome", Box::new(|it| it.outcome = 9)),
        ("time", "time", Box::new(|it| it.time = Some(at(Duration::from_secs(400))))),
        ("time", "time", Box::new(|it| it.time = Some(Timestamp { seconds: -1, nanos: 0 }))),
        ("time", "time", Box::new(|it| it.time = Some(Timestamp { seconds: 1, nanos: -1 }))),
        ("time", "time", Box::new(|it| it.time = Some(Timestamp { seconds: i64::MAX, nanos: 0 }))),
        ("session", "limit", Box::new(move |it| it.session = long(MAX_TEXT_BYTES))),
        ("decision.reason", "limit", Box::new(move |it| it.reason = long(MAX_LONG_TEXT_BYTES))),
        ("raw.text", "limit", Box::new(move |it| it.raw.as_mut().unwrap().text = long(MAX_RAW_BYTES))),
        (
            "targets",
            "limit",
            Box::new(|it| {
                it.targets = (0..=MAX_ITEMS)
                    .map(|n| v1::Target { kind: "role".to_owned(), id: n.to_string(), name: String::new() })
                    .collect();
            }),
        ),
        (
            "about",
            "limit",
            Box::new(|it| it.about = (0..=MAX_PARTIES).map(|n| party(&n.to_string())).collect()),
        ),
        ("labels", "blank", Box::new(|it| drop(it.labels.insert(String::new(), "x".to_owned())))),
        ("scope", "scope", Box::new(move |it| it.scope.as_mut().unwrap().used.push(long(256)))),
    ];
    for (n, (field, reason, spoil)) in spoilt.iter().enumerate() {
        let mut spoiled = full();
        spoil(&mut spoiled);
        let before = house.leaves("audit").len();
        let answer = house.root().record(of(spoiled.clone())).await;
        let refusal = refused(answer, ErrorReason::EventInvalid);
        assert_eq!(refusal.field(), Some(&*format!("event.{field}")), "case {n}: {refusal:?}");
        assert!(!refusal.message().contains("alice"), "{refusal:?}");
        let leaves = house.leaves("audit");
        assert_eq!(leaves.len(), before + 1, "case {n}");
        let Facts::Rejected(facts) = leaves[before].frame.clone().unwrap().facts else {
            panic!("case {n}: {:?}", leaves[before].frame);
        };
        assert_eq!(facts.reason.as_str(), *reason, "case {n}");
        // The same again is the same hash, in this log and for this key alone.
        drop(house.root().record(of(spoiled)).await);
        let leaves = house.leaves("audit");
        let Facts::Rejected(again) = &leaves[before + 1].frame.as_ref().unwrap().facts else {
            panic!("case {n}")
        };
        assert_eq!(again.digest, facts.digest, "case {n}");
        assert_ne!(again.digest, [0; 32]);
    }
    refused_field(
        house.root().record(RecordRequest { event: None, ..of(full()) }).await,
        ErrorReason::FieldRequired,
        "event",
    );
    assert!(house.find("kind:event").await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn a_repeat_is_told_where_it_is_and_another_event_is_not_taken_for_it() {
    let house = House::new().await;
    let keyed = |event: v1::Event| RecordRequest {
        idempotency_key: "key-1".to_owned(),
        idempotency_issued_at: Some(at(Duration::ZERO)),
        ..of(event)
    };
    // Everybody who tries again is another request, perhaps by another way: the event counts.
    let send = |request: RecordRequest, id: &'static str| {
        let (mut root, mut request) = (house.root(), Request::new(request));
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        async move { root.record(request).await }
    };
    for request in [keyed(event("alice", "auth.login")), numbered("main", 7, event("bob", "auth.login"))] {
        let first = send(request.clone(), "first").await.unwrap().into_inner();
        assert!(!first.duplicate);
        for id in ["first", "second"] {
            let again = send(request.clone(), id).await.unwrap().into_inner();
            assert_eq!((again.index, again.leaf, again.duplicate), (first.index, first.leaf.clone(), true));
        }
    }
    let other = house.root().record(keyed(event("alice", "auth.logout"))).await;
    refused(other, ErrorReason::IdempotencyKeyReused);
    let other = house.root().record(numbered("main", 7, event("eve", "auth.login"))).await;
    let status = other.expect_err("another event under a used number");
    assert_eq!(status.code(), tonic::Code::AlreadyExists, "{status:?}");
    // Another caller's stream of the same name is another stream.
    let other = house.events("second", ALL).record(numbered("main", 7, event("bob", "auth.login"))).await;
    assert!(!other.unwrap().into_inner().duplicate);
    assert_eq!(house.find("kind:event").await.len(), 3);
    for sequence in [0, u64::MAX] {
        let answer = house.root().record(numbered("edge", sequence, event("bob", "auth.login"))).await;
        assert_eq!(answer.is_ok(), sequence != 0, "{sequence}");
    }
    for stream in ["", "UPPER", "a/b", &"x".repeat(65)] {
        let answer = house.root().record(numbered(stream, 1, event("bob", "auth.login"))).await;
        refused_field(answer, ErrorReason::FieldRequired, "producer.stream");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_under_one_number_one_is_recorded() {
    let house = House::new().await;
    let calls = (0..24).map(|_| {
        let mut client = house.root();
        tokio::spawn(async move { client.record(numbered("race", 1, event("alice", "auth.login"))).await })
    });
    let answers = futures_join(calls.collect()).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().into_inner()).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(answers.iter().all(|answer| answer.index == answers[0].index));
    assert_eq!(house.find("kind:event").await.len(), 1);
    house.stop().await;
}

async fn futures_join<T>(calls: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_batch_is_recorded_as_a_whole_or_not_at_all() {
    let house = House::new().await;
    let events: Vec<_> = (0..5).map(|n| event(&format!("user-{n}"), "auth.login")).collect();
    let mut spoilt = events.clone();
    spoilt[3].outcome = 0;
    let refusal = refused(house.root().record_batch(batch(spoilt)).await, ErrorReason::EventInvalid);
    assert_eq!(refusal.fact("position"), Some("3"));
    let mut late = events.clone();
    late[4].time = Some(at(Duration::from_secs(1000)));
    let refusal = refused(house.root().record_batch(batch(late)).await, ErrorReason::EventInvalid);
    assert_eq!(refusal.fact("position"), Some("4"));
    assert_eq!(house.kinds("audit"), ["genesis", "rejected", "rejected"]);

    refused(house.root().record_batch(batch(Vec::new())).await, ErrorReason::BatchEmpty);
    let many = vec![event("a", "x.a"); 1025];
    refused(house.root().record_batch(batch(many)).await, ErrorReason::BatchTooLarge);

    let producer = Some(v1::ProducerSequence { stream: "b".to_owned(), sequence: 1 });
    let request = RecordBatchRequest { wait: v1::Wait::Published.into(), producer, ..batch(events) };
    let answer = house.root().record_batch(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.first_index, answer.count, answer.duplicate), (3, 5, false));
    let head = house.verified(answer.head);
    let proof = answer.proof.unwrap();
    assert_eq!(proof.indices, (3..8).collect::<Vec<_>>());
    let leaves: Vec<_> = house.leaves("audit")[3..].iter().map(|leaf| leaf_hash(&leaf.leaf)).collect();
    let indices: Vec<_> = (3..8).map(|n| graven_merkle::LeafIndex::new(n).unwrap()).collect();
    let (head, proof) = (head.checkpoint(), proof.to_merkle().unwrap());
    graven_merkle::verify_multi(&indices, &leaves, head.size(), &proof, head.root()).unwrap();
    let again = house.root().record_batch(request).await.unwrap().into_inner();
    assert_eq!((again.first_index, again.count, again.duplicate), (3, 5, true));
    // A number in the middle that was used: the rest is not recorded either.
    let producer = Some(v1::ProducerSequence { stream: "b".to_owned(), sequence: 5 });
    let more = RecordBatchRequest { producer, ..batch(vec![event("z", "x.a"), event("z", "x.b")]) };
    let status = house.root().record_batch(more).await.expect_err("number 5 was used");
    assert_eq!(status.code(), tonic::Code::AlreadyExists, "{status:?}");
    assert_eq!(house.leaves("audit").len(), 8);
    house.stop().await;
}

#[tokio::test]
async fn a_published_event_is_proven_offline() {
    let house = House::new().await;
    let request = RecordRequest { wait: v1::Wait::Published.into(), ..of(full()) };
    let answer = house.root().record(request).await.unwrap().into_inner();
    let log = house.engine.log("audit").unwrap();
    let policy =
        log.meta().keys.iter().map(|key| format!("log {key}\n")).collect::<String>() + "quorum none\n";
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let bundle = TlogProof::parse(&answer.proof).unwrap();
    let proven = bundle.verify(leaf_hash(&answer.leaf), &policy).unwrap();
    assert_eq!(proven.index().get(), answer.index);
    assert!(bundle.verify(leaf_hash(&answer.leaf[1..]), &policy).is_err());
    house.stop().await;
}

#[tokio::test]
async fn each_kind_of_log_takes_its_own_kind_of_entry_and_a_frozen_one_none() {
    let house = House::new().await;
    let raw = RecordRequest { log: "raw".to_owned(), ..of(full()) };
    refused(house.root().record(raw).await, ErrorReason::LogKindMismatch);
    let access = RecordRequest { log: "access".to_owned(), ..of(full()) };
    refused(house.root().record(access).await, ErrorReason::LogKindMismatch);
    // A forged leaf, byte for byte what an event's leaf looks like.
    let leaf = house.record(full()).await.leaf;
    let before = house.kinds("audit");
    for log in ["audit", "access"] {
        let request = v1::AppendRequest { log: log.to_owned(), ..append_request(leaf.clone()) };
        refused(house.logs("root", ALL).append(request).await, ErrorReason::LogKindMismatch);
        let entries = vec![leaf.clone()];
        let request = v1::AppendBatchRequest { log: log.to_owned(), entries, ..Default::default() };
        refused(house.logs("root", ALL).append_batch(request).await, ErrorReason::LogKindMismatch);
    }
    refused(
        house.root().record(RecordRequest { retention: "nothing".to_owned(), ..of(full()) }).await,
        ErrorReason::RetentionUnknown,
    );
    house.make("frozen", Kind::Events).await;
    house.engine.freeze(&house.engine.log("frozen").unwrap()).unwrap();
    let frozen = |event| RecordRequest { log: "frozen".to_owned(), ..of(event) };
    refused(house.root().record(frozen(full())).await, ErrorReason::LogFrozen);
    refused(house.root().record(frozen(event("alice", ""))).await, ErrorReason::LogFrozen);
    assert_eq!((house.kinds("audit"), house.kinds("frozen")), (before, vec!["genesis"]));
    house.stop().await;
}

#[tokio::test]
async fn the_call_fills_in_what_the_event_does_not_say() {
    let house = House::new().await;
    let send = |event: v1::Event| {
        let mut request = Request::new(of(event));
        request.metadata_mut().insert("x-request-id", "call-7".parse().unwrap());
        let mut root = house.root();
        async move { root.record(request).await.unwrap() }
    };
    send(event("alice", "auth.login")).await;
    send(full()).await;
    let found = house.find("kind:event").await;
    let context = |n: usize| found[n].event.clone().unwrap().context.unwrap();
    assert_eq!((context(1).ip.as_str(), context(1).request_id.as_str()), ("127.0.0.1", "call-7"));
    assert_eq!((context(0).ip.as_str(), context(0).request_id.as_str()), ("192.0.2.7", "request-1"));
    house.stop().await;
}
