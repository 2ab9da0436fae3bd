//! The client against a log of events that lies: what it hands out is checked, what it sends again is recorded once.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/fake_audit.rs"]
mod fake_audit;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "support/fake_log.rs"]
mod fake_log;

use std::time::Duration;

use fake_audit::{AuditLie, FakeAudit};
use fake_log::{FakeLog, Lie};
use graven_client::{
    AppendError, Client, ConnectOptions, ErrorReason, Fault, IdempotencyKey, LogClient, ReadError,
    RetryPolicy, Trust, Unproven,
    events::{DisclosureRefused, Query, RecordClosed, RevealError, StreamOptions, TailOptions},
};
use graven_event::{Event, Group, Outcome, Party, disclosure::Record};
use graven_merkle::{LeafIndex, leaf_hash};

async fn connect(log: &FakeAudit) -> LogClient {
    let retries = RetryPolicy { first_delay: Duration::from_millis(5), ..RetryPolicy::default() };
    let options = ConnectOptions { retries, ..ConnectOptions::default() };
    let client = Client::connect(&log.serve().await, options).await.unwrap();
    client.log("audit", Trust::of_vkeys([FakeLog::vkey()]).unwrap())
}

fn event(actor: &str, outcome: Outcome) -> Event {
    let json = r#"{"action": "auth.login", "actor": "alice", "outcome": "success", "time": "2026-03-01T09:30:00Z",
        "targets": [{"kind": "role", "id": "owner"}], "scope": {"used": ["roles.write"]}, "context": {"ip": "192.0.2.7"}}"#;
    Event { actor: Party::parse(actor), outcome, ..serde_json::from_str(json).unwrap() }
}

fn index(index: u32) -> LeafIndex {
    LeafIndex::from(index)
}

/// A log with events of two people, of which every third was denied.
async fn filled(count: usize) -> (FakeAudit, LogClient) {
    let log = FakeAudit::new();
    let client = connect(&log).await;
    let of = |n: usize| {
        event(["alice", "bob"][n % 2], if n.is_multiple_of(3) { Outcome::Denied } else { Outcome::Success })
    };
    let events: Vec<_> = (0..count).map(of).collect();
    for part in events.chunks(1_000) {
        client.events().record_batch(part.to_vec()).durable().await.unwrap();
    }
    (log, client)
}

#[tokio::test]
async fn a_record_is_acknowledged_or_proven_to_say_what_was_sent() {
    let log = FakeAudit::new();
    let client = connect(&log).await;
    let recorded = client.events().record(event("alice", Outcome::Success)).durable().await.unwrap();
    assert_eq!((recorded.index, recorded.duplicate), (index(0), false));

    let sent = event("bob", Outcome::Denied);
    let proven = client.record(sent.clone()).producer("app", 1).published().await.unwrap();
    assert_eq!((proven.recorded().index, proven.frame().outcome), (index(1), Some(Outcome::Denied)));
    client.trust().verify_proof(proven.bundle(), leaf_hash(proven.leaf())).unwrap();

    log.lie(AuditLie::OtherAction);
    let error = client.record(sent.clone()).published().await.unwrap_err();
    assert!(matches!(error, AppendError::WrongAnswer(_)), "{error}");
    log.lie(AuditLie::Nothing);
    log.log.lie(Lie::Fork);
    let error = client.record(sent).published().await.unwrap_err();
    assert!(matches!(error, AppendError::Unproven { problem: Unproven::Refused(_), .. }), "{error}");
    assert_eq!(error.fault(), Fault::CheckFailed);
}

#[tokio::test]
async fn what_is_no_event_is_refused_by_its_field() {
    let client = connect(&FakeAudit::new()).await;
    let nobody = event("", Outcome::Success);
    let error = client.events().record(nobody).durable().await.unwrap_err();
    let refusal = error.call().unwrap().refusal().unwrap().clone();
    assert_eq!((refusal.reason(), refusal.field()), (ErrorReason::EventInvalid, Some("actor")));
    for count in [0, 1_025] {
        let events = vec![event("alice", Outcome::Success); count];
        let error = client.events().record_batch(events).durable().await.unwrap_err();
        assert!(matches!(error, AppendError::BatchLength(length) if length == count), "{error}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_recorded_twice() {
    let log = FakeAudit::new();
    let events = connect(&log).await.events();
    log.lie(AuditLie::Lose(2));
    let recorded =
        events.record(event("alice", Outcome::Success)).producer("app", 1).durable().await.unwrap();
    assert_eq!((recorded.index, recorded.duplicate, log.state().calls), (index(0), true, 3));
    log.lie(AuditLie::Lose(1));
    let key = IdempotencyKey::random().unwrap();
    let recorded =
        events.record(event("bob", Outcome::Success)).idempotency_key(key).durable().await.unwrap();
    assert_eq!((recorded.index, recorded.duplicate), (index(1), true));
    log.lie(AuditLie::Lose(9));
    let error =
        events.record(event("carol", Outcome::Success)).producer("app", 2).durable().await.unwrap_err();
    assert!(error.to_string().contains("repeat it under the same number"), "{error}");
    assert_eq!(log.log.state().entries.len(), 3);
}

#[tokio::test]
async fn a_batch_is_read_back_before_it_is_believed() {
    let log = FakeAudit::new();
    let client = connect(&log).await;
    let events = vec![event("alice", Outcome::Success), event("bob", Outcome::Failure)];
    let proven = client.record_batch(events.clone()).producer("app", 1).published().await.unwrap();
    let outcomes: Vec<_> = proven.frames().iter().filter_map(|frame| frame.outcome).collect();
    assert_eq!((proven.recorded().count, outcomes), (2, vec![Outcome::Success, Outcome::Failure]));
    assert_eq!(proven.leaves().head().size().get(), 2);

    log.lie(AuditLie::OtherAction);
    let error = client.record_batch(events.clone()).published().await.unwrap_err();
    assert!(matches!(error, AppendError::WrongAnswer(_)), "{error}");
    log.lie(AuditLie::Nothing);
    log.log.lie(Lie::Flip(4));
    let error = client.record_batch(events).published().await.unwrap_err();
    assert!(matches!(error, AppendError::Unproven { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_acknowledges_in_order_and_its_window_moves() {
    let log = FakeAudit::new();
    let (mut sender, mut acks) = connect(&log).await.events().record_stream(StreamOptions::default());
    // More than the window holds.
    let sending = tokio::spawn(async move {
        for number in 1..=5_000 {
            assert_eq!(sender.send(event("alice", Outcome::Success)).await, Ok(number));
        }
        sender.finish();
    });
    let mut next = 1;
    while let Some(run) = acks.next().await {
        let run = run.unwrap();
        assert_eq!((run.first, run.first_index.unwrap().get(), run.duplicate), (next, next - 1, false));
        next += run.count;
    }
    sending.await.unwrap();
    assert_eq!((next, log.state().calls), (5_001, 1));
}

#[tokio::test]
async fn a_numbered_stream_goes_on_after_broken_connections_without_gap_or_repeat() {
    let log = FakeAudit::new();
    log.lie(AuditLie::Lose(4));
    // What was under way when a connection broke is recorded a little later.
    log.state().behind = 2;
    let options = StreamOptions { producer: Some("app".to_owned()), ..StreamOptions::default() };
    let events = connect(&log).await.events();
    let (mut sender, mut acks) = events.record_stream(options);
    for number in 1..=50 {
        assert_eq!(sender.send(event("alice", Outcome::Success)).await, Ok(number));
    }
    sender.finish();
    let (mut acknowledged, mut settled) = (Vec::new(), 0);
    while let Some(run) = acks.next().await {
        let run = run.unwrap();
        assert!(!run.duplicate && run.first_index.is_none_or(|index| index.get() == run.first - 1));
        settled += u32::from(run.first_index.is_none());
        acknowledged.extend(run.first..run.first + run.count);
    }
    assert_eq!(acknowledged, (1..=50).collect::<Vec<_>>());
    assert_eq!(log.log.state().entries.len(), 50);
    assert!(settled > 0, "what was recorded before a break is not sent again");
    assert_eq!(events.producer("app").await.unwrap().last, 50);
    assert_eq!(events.producer("other").await.unwrap().last, 0);
}

#[tokio::test]
async fn numbers_of_another_run_are_not_taken_for_ones_own() {
    let log = FakeAudit::new();
    let events = connect(&log).await.events();
    events.record(event("alice", Outcome::Success)).producer("app", 1).durable().await.unwrap();
    let options = StreamOptions { producer: Some("app".to_owned()), ..StreamOptions::default() };
    let (mut sender, mut acks) = events.record_stream(options);
    sender.send(event("bob", Outcome::Success)).await.unwrap();
    let error = acks.next().await.unwrap().unwrap_err();
    assert_eq!(error.problem.call().unwrap().reason(), Some(ErrorReason::SequenceUsed));
}

#[tokio::test]
async fn numbers_that_are_left_out_are_missing_and_nothing_else() {
    let log = FakeAudit::new();
    let options = StreamOptions { producer: Some("app".to_owned()), ..StreamOptions::default() };
    let events = connect(&log).await.events();
    let (mut sender, mut acks) = events.record_stream(options);
    for number in [1, 2, 4, 5, 9] {
        sender.send_as(number, event("alice", Outcome::Success)).await.unwrap();
    }
    assert_eq!(sender.send_as(9, event("alice", Outcome::Success)).await, Err(RecordClosed::NotRising(9)));
    sender.finish();
    let mut numbers = Vec::new();
    while let Some(run) = acks.next().await {
        let run = run.unwrap();
        numbers.extend(run.first..run.first + run.count);
    }
    assert_eq!((numbers, log.state().calls), (vec![1, 2, 4, 5, 9], 3));
    let state = events.producer("app").await.unwrap();
    assert_eq!((state.last, state.missing), (9, vec![3..=3, 6..=6, 7..=7, 8..=8]));
}

#[tokio::test]
async fn a_stream_without_numbers_breaks_once_and_says_what_is_unknown() {
    let log = FakeAudit::new();
    log.lie(AuditLie::Lose(1));
    let (mut sender, mut acks) = connect(&log).await.events().record_stream(StreamOptions::default());
    for _ in 0..5 {
        sender.send(event("alice", Outcome::Success)).await.unwrap();
    }
    for number in 1..=3 {
        assert_eq!(acks.next().await.unwrap().unwrap().first, number);
    }
    let error = acks.next().await.unwrap().unwrap_err();
    assert_eq!(error.unknown, [4, 5]);
    assert!(error.problem.call().unwrap().outcome_unknown(), "{error}");
    assert!(acks.next().await.is_none());
    assert_eq!(sender.send(event("alice", Outcome::Success)).await, Err(RecordClosed::Over));

    log.lie(AuditLie::OtherSeq);
    let (mut sender, mut acks) = connect(&log).await.events().record_stream(StreamOptions::default());
    sender.send(event("alice", Outcome::Success)).await.unwrap();
    let error = acks.next().await.unwrap().unwrap_err();
    assert!(matches!(error.problem, AppendError::WrongAnswer(_)), "{error}");
}

#[tokio::test]
async fn a_refused_event_ends_its_stream_by_number() {
    let log = FakeAudit::new();
    let options = StreamOptions { producer: Some("app".to_owned()), ..StreamOptions::default() };
    let (mut sender, mut acks) = connect(&log).await.events().record_stream(options);
    for actor in ["alice", "", "bob"] {
        sender.send(event(actor, Outcome::Success)).await.unwrap();
    }
    assert_eq!(acks.next().await.unwrap().unwrap().first, 1);
    let error = acks.next().await.unwrap().unwrap_err();
    let refusal = error.problem.call().unwrap().refusal().unwrap().clone();
    assert_eq!((refusal.reason(), refusal.number("seq")), (ErrorReason::EventInvalid, Some(2)));
}

#[tokio::test]
async fn a_query_finds_all_pages_in_order() {
    let (log, client) = filled(1_050).await;
    for ascending in [false, true] {
        let query = Query::new("outcome:denied").page_size(100).min_size(1_050);
        let mut hits = client.events().query(if ascending { query.ascending() } else { query });
        let mut found = Vec::new();
        while let Some(hit) = hits.next().await.unwrap() {
            assert_eq!(hit.event().unwrap().outcome, Outcome::Denied);
            found.push(hit.index().get());
        }
        if !ascending {
            found.reverse();
        }
        assert_eq!(found, (0..1_050).step_by(3).collect::<Vec<_>>());
        assert_eq!(hits.complete_to(), Some(1_050));
        assert!(hits.next().await.unwrap().is_none());
    }
    let mut hits = client.events().query(Query::new("colour:red"));
    let Err(ReadError::Call(call)) = hits.next().await else { panic!() };
    assert_eq!(call.reason(), Some(ErrorReason::QueryInvalid));

    let mut hits = client.events().query(Query::new("").min_size(2_000));
    assert!(matches!(hits.next().await, Err(ReadError::WrongAnswer(_))), "complete for fewer");
    log.lie(AuditLie::OtherTold);
    let mut hits = client.events().query(Query::new(""));
    assert!(matches!(hits.next().await, Err(ReadError::WrongAnswer(_))), "not what the leaf says");
    log.lie(AuditLie::SamePage);
    let mut hits = client.events().query(Query::new("").page_size(10));
    let error = loop {
        match hits.next().await {
            Ok(hit) => assert!(hit.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::WrongAnswer(_)), "{error}");
}

#[tokio::test]
async fn a_proven_hit_is_in_the_log_and_is_what_was_asked_for() {
    let (log, client) = filled(250).await;
    let asked = "actor:alice outcome:denied -action:auth.logout since:2020-01-01T00:00:00Z until:2500-01-01T00:00:00Z";
    let mut hits = client.query(Query::new(asked).page_size(20));
    let mut found = Vec::new();
    while let Some(hit) = hits.next().await.unwrap() {
        assert!(hit.index().is_within(hit.head().size()));
        found.push(hit.index().get());
    }
    found.reverse();
    assert_eq!(found, (0..250).step_by(6).collect::<Vec<_>>());

    for lie in [AuditLie::Everything, AuditLie::OtherProof, AuditLie::OtherTold] {
        log.lie(lie.clone());
        let error = client.query(Query::new("outcome:denied")).next().await.unwrap_err();
        assert!(matches!(error, ReadError::WrongAnswer(_)), "{lie:?}: {error}");
    }
    log.lie(AuditLie::OtherLeaf);
    let error = client.query(Query::new("outcome:denied")).next().await.unwrap_err();
    assert!(matches!(error, ReadError::Multi(_)), "{error}");
    assert_eq!(error.fault(), Fault::CheckFailed);
    log.lie(AuditLie::Nothing);
    log.log.lie(Lie::OtherKey);
    assert!(matches!(client.query(Query::new("")).next().await, Err(ReadError::Head(_))));
    log.log.lie(Lie::Nothing);

    let mut hits = client.query(Query::new("colour:red"));
    assert!(matches!(hits.next().await, Err(ReadError::Query(_))));
    assert!(hits.next().await.unwrap().is_none());
    assert!(client.query(Query::new("actor:nobody")).next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_tail_goes_on_where_it_was() {
    let (log, client) = filled(9).await;
    log.lie(AuditLie::Lose(3));
    let options = TailOptions { from: Some(1), query: "actor:alice".to_owned(), ..TailOptions::default() };
    let mut tail = client.events().tail(options);
    for expected in [2, 4, 6, 8] {
        assert_eq!(tail.next().await.unwrap().unwrap().index(), index(expected));
    }
    let recorder = client.events();
    tokio::spawn(async move { recorder.record(event("alice", Outcome::Success)).durable().await });
    assert_eq!(tail.next().await.unwrap().unwrap().index(), index(9));

    log.lie(AuditLie::Nothing);
    let until_now = TailOptions { from: Some(7), until_now: true, ..TailOptions::default() };
    let mut tail = client.events().tail(until_now);
    let mut found = Vec::new();
    while let Some(hit) = tail.next().await.unwrap() {
        found.push(hit.index().get());
    }
    assert_eq!((found, tail.position()), (vec![7, 8, 9], Some(10)));
}

#[tokio::test]
async fn a_disclosure_shows_what_was_asked_for_and_verifies_offline() {
    let (log, client) = filled(5).await;
    let indices = [index(1), index(4)];
    let groups = [Group::Actor, Group::Context];
    let disclosures = client.reveal(&indices, &groups, "case 7").await.unwrap();
    assert_eq!(disclosures[1].index(), index(4));
    let disclosed = disclosures[0].disclosed();
    assert_eq!((&disclosed.shown[..], disclosed.record), (&groups[..], Record::Hidden));
    assert_eq!(disclosed.view.actor, Some(Party::new(Party::USER, "bob")));
    assert!(disclosed.view.targets.is_empty());
    let again = client.trust().verify_disclosure(disclosures[0].text()).unwrap();
    assert_eq!(again.disclosed(), disclosed);

    log.lie(AuditLie::MoreGroups);
    let error = client.reveal(&indices, &groups, "").await.unwrap_err();
    assert!(matches!(error, RevealError::WrongAnswer(_)), "{error}");
    assert!(client.reveal(&indices, &[], "").await.is_ok(), "all were asked for");
    log.lie(AuditLie::OtherText);
    let error = client.reveal(&indices, &groups, "").await.unwrap_err();
    assert!(
        matches!(error, RevealError::Refused { refused: DisclosureRefused::Disclosure(_), .. }),
        "{error}"
    );
    log.lie(AuditLie::Nothing);
    log.log.lie(Lie::OtherProof);
    let error = client.reveal(&indices, &groups, "").await.unwrap_err();
    assert_eq!(error.fault(), Fault::CheckFailed);
    assert!(!error.to_string().contains("bob"), "{error}");
}

#[tokio::test]
async fn people_classes_and_holds_are_administered() {
    let log = FakeAudit::new();
    let events = connect(&log).await.events();
    let erased = events.erase_subject("alice", "gdpr-17").await.unwrap();
    assert_eq!((erased.index, erased.reference.0, erased.epoch), (index(7), [4; 16], 2));
    let Err(ReadError::Call(call)) = events.erase_subject("nobody", "gdpr-17").await else { panic!() };
    assert_eq!(call.reason(), Some(ErrorReason::SubjectUnknown));
    // It changes the log, so it is sent once.
    log.lie(AuditLie::Lose(1));
    let Err(ReadError::Call(call)) = events.erase_subject("alice", "gdpr-17").await else { panic!() };
    assert_eq!((call.attempts(), call.outcome_unknown()), (1, true));

    let kept = events.define_retention("short", Some(Duration::from_secs(60))).await.unwrap();
    assert_eq!((kept, events.define_retention("long", None).await.unwrap()), (index(60), index(0)));
    let (hold, at) = events.place_hold(&["alice".to_owned()], &[], "case-7").await.unwrap();
    assert_eq!((hold.len(), at), (32, index(3)));
    assert!(matches!(events.release_hold(&hold, "case-7").await, Err(ReadError::Answer(_))), "no index");
    let retention = events.retention().await.unwrap();
    assert_eq!(retention.classes[0].keep, Some(Duration::from_secs(60)));
    assert_eq!((retention.holds[0].subjects, &retention.holds[0].hold), (1, &hold));
}

#[tokio::test]
async fn times_of_a_query_are_counted_here_once() {
    let (_, client) = filled(3).await;
    // The leaves are of 2023: whoever counts 24 hours back finds none of them.
    assert!(client.query(Query::new("since:24h")).next().await.unwrap().is_none());
    assert!(client.query(Query::new("until:24h")).next().await.unwrap().is_some());
}
