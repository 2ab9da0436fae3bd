//! `Query`: what is found is what is there, all of it, in order, proven; while the log grows.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::GzDecoder;
use graven_audit::Opened;
use graven_event::map::{Format, map};
use graven_event::query::Query;
use graven_event::{Event, Time};
use graven_proto::v1::{self, ErrorReason, QueryRequest, RecordBatchRequest, TailRequest};

use crate::rig::{House, ask, event, indices, of, party};
use crate::service::{refused, refused_field};

fn now() -> Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time(u64::try_from(now.as_nanos()).unwrap())
}

/// What a question finds by looking at every leaf, newest first.
fn looked_up(house: &House, query: &str) -> Vec<u64> {
    looked_up_in(&house.leaves("audit"), query)
}

fn looked_up_in(leaves: &[Opened], query: &str) -> Vec<u64> {
    let query = Query::parse(query, now()).unwrap();
    let fits = leaves.iter().rev().filter(|leaf| query.matches(leaf.frame.as_ref().unwrap(), &leaf.view));
    fits.map(|leaf| leaf.index).collect()
}

#[tokio::test]
async fn every_field_finds_its_events_and_no_others() {
    let house = House::new().await;
    let mut rich = event("alice", "oauth.token.use");
    rich.outcome = v1::Outcome::Denied.into();
    rich.client = Some(v1::Party { kind: "application".to_owned(), ..party("payroll") });
    rich.on_behalf_of = vec![party("carol")];
    rich.targets = vec![v1::Target { kind: "role".to_owned(), id: "owner".to_owned(), name: String::new() }];
    rich.session = "s-1".to_owned();
    rich.token = Some(v1::Token { id: "jti-1".to_owned(), ..Default::default() });
    rich.scope = Some(v1::Scope { used: vec!["payroll.read".to_owned()], ..Default::default() });
    rich.context =
        Some(v1::Context { ip: "192.0.2.7".to_owned(), request_id: "r-1".to_owned(), ..Default::default() });
    rich.labels = [("tier".to_owned(), "gold".to_owned())].into();
    rich.policy = "office hours".to_owned();
    rich.time = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
    let at = house.record(rich).await.index;
    for n in 0..20 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    for query in [
        "actor:alice",
        "actor:user:alice",
        "actor:carol",
        "actor:ALICE",
        "client:payroll",
        "target:owner",
        "token:jti-1",
        "request:r-1",
        "session:s-1",
        "ip:192.0.2.7",
        "action:oauth.token.use",
        "action:oauth.*",
        "outcome:denied",
        "outcome:denied,failure",
        "scope:payroll.read",
        "scope:pay*",
        "label:tier=gold",
        "label:tier=g*",
        "office",
        "\"office hours\"",
        "happened-until:2021-01-01T00:00:00Z",
        "happened-since:2020-01-01T00:00:00Z happened-until:2021-01-01T00:00:00Z",
        "actor:alice outcome:denied since:1h kind:event -action:auth.login",
    ] {
        assert_eq!(indices(&house.find(query).await), [at], "{query}");
    }
    for query in
        ["actor:alic", "token:JTI-1", "actor:alice outcome:success", "until:1h", "-kind:event,genesis"]
    {
        assert!(house.find(query).await.is_empty(), "{query}");
    }
    assert_eq!(house.find("kind:event").await.len(), 21);
    assert_eq!(house.find("kind:genesis").await.len(), 1);
    assert_eq!(house.find("").await.len(), 22);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_questions_to_a_real_trail_are_answered_as_by_looking_at_every_leaf() {
    let house = House::new().await;
    let trail = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/events/cloudtrail.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(trail).unwrap()).read_to_string(&mut text).unwrap();
    let events: Vec<Event> = text.lines().map(|line| map(Format::CloudTrail, line).unwrap()).collect();
    for part in events.chunks(250) {
        let events = part.iter().cloned().map(v1::Event::from).collect();
        let request = RecordBatchRequest { log: "audit".to_owned(), events, ..Default::default() };
        house.root().record_batch(request).await.unwrap();
    }
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    // Opened once: it is most of the work.
    let leaves = house.leaves("audit");
    let (mut found, mut asked) = (0, BTreeSet::new());
    while asked.len() < 50 {
        let event = &events[random(events.len())];
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let clauses = [
            Some(format!("action:{}", event.action)),
            Some(format!("actor:{}", quoted(&event.actor.id))),
            Some(format!("outcome:{}", event.outcome.as_str())),
            event.context.ip.as_ref().map(|ip| format!("ip:{}", quoted(ip))),
            event.targets.first().map(|target| format!("target:{}", quoted(&target.id))),
            event.source.service.as_ref().map(|service| quoted(service)),
            event.time.map(|time| format!("happened-since:{time}")),
            Some(format!("action:{}*", &event.action[..event.action.len().min(3)])),
        ];
        let clauses: Vec<_> = clauses.into_iter().flatten().collect();
        let mut query = String::new();
        for _ in 0..=random(3) {
            let clause = &clauses[random(clauses.len())];
            let may_negate = !clause.starts_with("happened");
            query += if may_negate && random(4) == 0 { " -" } else { " " };
            query += clause;
        }
        let expected = looked_up_in(&leaves, &query);
        assert_eq!(indices(&house.find(&query).await), expected, "{query}");
        found += usize::from(!expected.is_empty());
        asked.insert(query);
    }
    assert!(found > 30, "the questions are about nothing: {found}");
    house.stop().await;
}

#[tokio::test]
async fn pages_do_not_shift_while_the_log_grows() {
    let house = House::new().await;
    for n in 0..25 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    for ascending in [false, true] {
        let before: Vec<u64> = looked_up(&house, "action:auth.login");
        let (mut told, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let request = QueryRequest { page_token, ascending, page_size: 7, ..ask("action:auth.login") };
            let page = house.root().query(request).await.unwrap().into_inner();
            assert!(page.hits.len() <= 7);
            told.extend(indices(&page.hits));
            page_token = page.next_page_token;
            pages += 1;
            if page_token.is_empty() {
                break;
            }
            if pages < 4 {
                house.record(event("late", "auth.login")).await;
            }
        }
        if ascending {
            told.reverse();
            // What comes meanwhile is at the end, each once.
            assert_eq!(told[told.len() - before.len()..], before);
            assert_eq!(told, looked_up(&house, "action:auth.login"));
        } else {
            assert_eq!(told, before);
        }
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_found() {
    let house = House::new().await;
    let tasks = (0..100).map(|n| {
        let mut client = house.root();
        tokio::spawn(async move {
            let index = client.record(of(event(&format!("one-{n}"), "auth.login"))).await.unwrap();
            let index = index.into_inner().index;
            let page = client.query(ask(&format!("actor:one-{n}"))).await.unwrap().into_inner();
            assert_eq!(indices(&page.hits), [index], "event {n} was acknowledged and is not found");
            assert!(page.complete_to > index);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    house.stop().await;
}

#[tokio::test]
async fn a_page_is_proven_under_a_signed_head() {
    let house = House::new().await;
    for n in 0..300 {
        house.record(event(&format!("user-{}", n % 3), "auth.login")).await;
    }
    let (mut told, mut page_token) = (0, String::new());
    loop {
        let request =
            QueryRequest { prove: true, page_size: 64, page_token, ..ask("actor:user-1 outcome:success") };
        let page = house.root().query(request).await.unwrap().into_inner();
        house.assert_proven(&page);
        assert!(page.complete_to <= page.head.as_ref().unwrap().size);
        told += page.hits.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(told, 100);
    let none = QueryRequest { prove: true, ..ask("actor:nobody") };
    let page = house.root().query(none).await.unwrap().into_inner();
    assert!(page.hits.is_empty() && page.proof.is_none() && page.head.is_some());
    assert_eq!(page.complete_to, 301);
    house.stop().await;
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_forged_tokens_open_nothing() {
    let house = House::new().await;
    for n in 0..10 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    let long = format!("actor:{}", "x".repeat(4096));
    for query in [
        "nothing:x",
        "outcome:maybe",
        "actor:ali*",
        "since:yesterday",
        "\"open",
        "actor:",
        "kind:event:x",
        &long,
    ] {
        refused_field(house.root().query(ask(query)).await, ErrorReason::QueryInvalid, "query");
    }
    for token in ["x", "zz", "00", "+f+f+f+f+f+f+f+f", "000000000000000000", "0\u{e9}", "ABCDEF0123456789"] {
        let request = QueryRequest { page_token: token.to_owned(), ..ask("") };
        refused_field(house.root().query(request).await, ErrorReason::PageTokenInvalid, "page_token");
    }
    // One that was not handed out says no more than where to go on.
    let request = QueryRequest { page_token: "ffffffffffffffff".to_owned(), ..ask("actor:user-1") };
    let page = house.root().query(request).await.unwrap().into_inner();
    assert!(page.hits.len() <= 1);
    // More than there is, is said to be so at once: nobody waits for it.
    for prove in [false, true] {
        let begun = std::time::Instant::now();
        let request = QueryRequest { min_size: 1 << 40, prove, ..ask("") };
        let refusal = refused(house.root().query(request).await, ErrorReason::SizeBeyondTree);
        assert!(begun.elapsed().as_secs() < 2, "{refusal:?}");
    }
    let request = QueryRequest { page_size: u32::MAX, min_size: 11, ..ask("kind:event") };
    assert_eq!(house.root().query(request).await.unwrap().into_inner().hits.len(), 10);
    house.stop().await;
}

/// Sealed payloads are packed: what fits a message sealed does not fit one as it is told.
#[tokio::test]
async fn an_answer_fits_a_message_however_well_it_was_packed() {
    let house = House::new().await;
    let text = r#"{"verb": "get", "resource": "pods", "allowed": true}"#.repeat(4_000);
    for n in 0..40 {
        let raw = v1::RawRecord { format: "application/json".to_owned(), text: text.clone() };
        house.record(v1::Event { raw: Some(raw), ..event(&format!("user-{n}"), "data.read") }).await;
    }
    house.quiet("audit").await;
    let told = |hits: &[v1::Hit]| {
        let raw = |hit: &v1::Hit| hit.event.as_ref().and_then(|event| event.raw.clone()).unwrap();
        assert!(hits.iter().all(|hit| raw(hit).text == text));
        hits.len()
    };
    assert_eq!(told(&house.find("action:data.read").await), 40);
    let query = "action:data.read".to_owned();
    let request = TailRequest { log: "audit".to_owned(), query, until_now: true, ..Default::default() };
    let mut tail = house.root().tail(request).await.unwrap().into_inner();
    let mut followed = 0;
    while let Some(message) = tail.message().await.unwrap() {
        followed += told(&message.hits);
    }
    assert_eq!(followed, 40);
    let reveal = |last| v1::RevealRequest {
        log: "audit".to_owned(),
        indices: (1..=last).collect(),
        ..Default::default()
    };
    refused_field(house.root().reveal(reveal(40)).await, ErrorReason::IndicesTooMany, "indices");
    assert_eq!(house.root().reveal(reveal(5)).await.unwrap().into_inner().disclosures.len(), 5);
    house.stop().await;
}
