//! The log of the log: what was read, done and refused is one entry each, durable before the answer, whoever goes away.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use graven_log::Env;
use graven_proto::v1::{self, ErrorReason, QueryRequest, RevealRequest, TailRequest};
use graven_store::RealFs;
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point};
use tonic::Request;

use crate::rig::{ALL, House, ask, event, of};
use crate::service::{refused, until};

fn audit() -> String {
    "audit".to_owned()
}

#[tokio::test]
async fn everything_that_is_read_or_done_is_one_entry_with_who_what_and_how_much() {
    let house = House::new().await;
    for n in 0..3 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    let mut reader = house.events("reader", ALL);
    let mut seen = house.traces().len();
    assert_eq!(seen, 0, "recording is no reading");
    macro_rules! traced {
        ($call:expr, $action:literal, $($label:literal = $value:expr),*) => {{
            let answer = $call;
            let new = house.traces_since(seen);
            seen += new.len();
            assert_eq!(new.len(), 1, "{new:?}");
            assert_eq!((new[0].action.as_str(), new[0].actor.as_str()), ($action, "reader"), "{new:?}");
            $(assert_eq!(new[0].says($label), $value, "{new:?}");)*
            answer
        }};
    }
    traced!(
        reader.query(ask("action:auth.login")).await.unwrap(),
        "graven.query",
        "log" = "audit",
        "hits" = "3",
        "size" = "4",
        "revealed" = "true",
        "query" = "action:auth.login"
    );
    let reveal = |purpose: &str| RevealRequest {
        log: audit(),
        indices: vec![1, 3],
        groups: vec!["actor".to_owned()],
        purpose: purpose.to_owned(),
    };
    traced!(
        reader.reveal(reveal("case 7")).await.unwrap(),
        "graven.reveal",
        "log" = "audit",
        "indices" = "1,3",
        "count" = "2",
        "groups" = "actor"
    );
    let keep = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let request = v1::DefineRetentionRequest { log: audit(), name: "short".to_owned(), keep };
    traced!(
        reader.define_retention(request).await.unwrap(),
        "graven.retention",
        "class" = "short",
        "seconds" = "60",
        "log" = "audit"
    );
    let (subjects, classes, authority) = (vec!["user-2".to_owned()], Vec::new(), "case-1".to_owned());
    let request = v1::PlaceHoldRequest { log: audit(), subjects, classes, authority };
    let hold =
        traced!(reader.place_hold(request).await.unwrap(), "graven.hold.place", "authority" = "case-1");
    let request =
        v1::ReleaseHoldRequest { log: audit(), hold: hold.into_inner().hold, authority: "case-1".to_owned() };
    traced!(reader.release_hold(request).await.unwrap(), "graven.hold.release", "log" = "audit");
    let request = v1::EraseSubjectRequest {
        log: audit(),
        subject: "user-0".to_owned(),
        authority: "gdpr-17".to_owned(),
    };
    let erased =
        traced!(reader.erase_subject(request).await.unwrap(), "graven.erase", "authority" = "gdpr-17");
    let reference: String = erased.into_inner().reference.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(house.traces()[seen - 1].says("subject"), reference, "whom is said by what stands for them");
    let mut admin = house.admin("reader", ALL);
    traced!(
        admin.get_log(v1::GetLogRequest { log: audit() }).await.unwrap(),
        "graven.admin",
        "call" = "GetLog"
    );
    traced!(
        admin.list_logs(v1::ListLogsRequest::default()).await.unwrap(),
        "graven.admin",
        "call" = "ListLogs"
    );
    // A page more is another reading.
    let page = QueryRequest { page_size: 1, ..ask("") };
    let page = traced!(reader.query(page).await.unwrap(), "graven.query", "hits" = "1").into_inner();
    let page = QueryRequest { page_token: page.next_page_token, page_size: 1, ..ask("") };
    traced!(reader.query(page).await.unwrap(), "graven.query", "hits" = "1");
    assert_eq!(house.traces().len(), seen);
    house.stop().await;
}

#[tokio::test]
async fn what_a_known_caller_may_not_do_is_an_entry_and_strangers_are_a_sum() {
    let house = House::new().await;
    let mut poor = house.events("poor", "append:audit");
    refused(poor.query(ask("actor:alice")).await, ErrorReason::PermissionMissing);
    let request = TailRequest { log: audit(), ..Default::default() };
    refused(poor.tail(request).await, ErrorReason::PermissionMissing);
    refused(
        house.admin("poor", "append:audit").list_logs(v1::ListLogsRequest::default()).await,
        ErrorReason::PermissionMissing,
    );
    let traces = house.traces();
    let methods: Vec<_> = traces.iter().map(|trace| trace.says("method")).collect();
    assert_eq!(
        methods,
        ["graven.v1.AuditService/Query", "graven.v1.AuditService/Tail", "graven.v1.AdminService/ListLogs"]
    );
    for trace in &traces {
        assert_eq!(
            (trace.action.as_str(), trace.actor.as_str(), trace.outcome),
            ("graven.refused", "poor", "denied")
        );
    }
    for _ in 0..50 {
        let mut stranger = v1::audit_service_client::AuditServiceClient::new(house.channel.clone());
        refused(stranger.query(ask("")).await, ErrorReason::CredentialsMissing);
        let mut request = Request::new(ask(""));
        request.metadata_mut().insert("authorization", "Bearer unknown".parse().unwrap());
        refused(stranger.query(request).await, ErrorReason::CredentialsInvalid);
    }
    assert_eq!(house.traces().len(), 3);
    let house = house.restart().await;
    let traces = house.traces_since(3);
    assert_eq!(traces.len(), 1, "{traces:?}");
    assert_eq!((traces[0].action.as_str(), traces[0].outcome), ("graven.refusals", "denied"));
    assert_eq!((traces[0].says("missing"), traces[0].says("invalid")), ("50", "50"));
    house.stop().await;
}

#[tokio::test]
async fn values_that_may_name_people_are_blinded_and_the_same_value_is_the_same_word() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    let queries = [
        "actor:alice",
        "actor:alice outcome:success",
        "target:alice",
        "\"alice smith\"",
        "actor:bob",
        "ip:192.0.2.7",
    ];
    for query in queries {
        house.root().query(ask(query)).await.unwrap();
    }
    let traces = house.traces();
    let words: Vec<_> = traces.iter().map(|trace| trace.says("query").to_owned()).collect();
    for (query, words) in queries.iter().zip(&words) {
        assert!(
            !words.contains("alice") && !words.contains("192") && words.contains('~'),
            "{query}: {words}"
        );
    }
    assert_eq!(words[1], format!("{} outcome:success", words[0]));
    assert_ne!(words[0], words[4]);
    house.stop().await;
}

#[tokio::test]
async fn nothing_of_what_was_asked_hides_behind_its_length() {
    let house = House::new().await;
    let events = vec![event("alice", "auth.login"); 300];
    let request = v1::RecordBatchRequest { log: audit(), events, ..Default::default() };
    house.root().record_batch(request).await.unwrap();
    let long = format!("-action:{} action:auth.login", "é".repeat(1900));
    house.root().query(ask(&long)).await.unwrap();
    let indices: Vec<u64> = (40..296).collect();
    let groups = vec!["actor".to_owned()];
    let request = RevealRequest { log: audit(), indices: indices.clone(), groups, ..Default::default() };
    house.root().reveal(request).await.unwrap();
    let traces = house.traces();
    let all = |trace: &crate::rig::Trace, key: &str| {
        let more = (2..).map_while(|part| trace.labels.get(&format!("{key}.{part}")));
        trace.says(key).to_owned() + &more.map(String::as_str).collect::<String>()
    };
    assert_eq!(all(&traces[0], "query"), long);
    let told: Vec<u64> = all(&traces[1], "indices").split(',').map(|it| it.parse().unwrap()).collect();
    assert_eq!(told, indices);
    house.stop().await;
}

#[tokio::test]
async fn a_tail_is_an_entry_at_its_beginning_and_one_at_its_end_however_it_ends() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    let request = TailRequest { log: audit(), ..Default::default() };
    // Read and dropped; opened and never read; and one whose call is cancelled.
    let mut tail = house.events("reader", ALL).tail(request.clone()).await.unwrap().into_inner();
    let mut hits = 0;
    while hits < 2 {
        hits += tail.message().await.unwrap().unwrap().hits.len();
    }
    drop(tail);
    house.traced("graven.tail.close", 1).await;
    let close = house.traces().pop().unwrap();
    assert_eq!((close.says("hits"), close.says("to"), close.actor.as_str()), ("2", "2", "reader"));
    drop(house.root().tail(request.clone()).await.unwrap());
    house.traced("graven.tail.close", 2).await;
    let mut impatient = Request::new(request.clone());
    impatient.set_timeout(Duration::from_millis(50));
    let mut root = house.root();
    if let Ok(tail) = root.tail(impatient).await {
        let mut tail = tail.into_inner();
        let cut = Duration::from_millis(100);
        while let Ok(Ok(Some(_))) = tokio::time::timeout(cut, tail.message()).await {}
    }
    until(|| {
        let count = |action| house.traces().iter().filter(|trace| trace.action == action).count();
        count("graven.tail.open") == count("graven.tail.close")
    })
    .await;
    house.stop().await;
}

#[tokio::test]
async fn following_who_reads_does_not_feed_itself() {
    let house = House::new().await;
    house.find("").await;
    house.quiet("access").await;
    let request = TailRequest { log: "access".to_owned(), from_now: true, ..Default::default() };
    let mut tail = house.events("auditor", "audit:access").tail(request).await.unwrap().into_inner();
    let own = tail.message().await.unwrap().unwrap();
    assert_eq!(own.hits.len(), 1, "it begins with its own beginning");
    let size = house.leaves("access").len();
    assert!(tokio::time::timeout(Duration::from_millis(500), tail.message()).await.is_err());
    assert_eq!(house.leaves("access").len(), size);
    house.find("").await;
    let told = tail.message().await.unwrap().unwrap();
    assert_eq!(told.hits[0].event.as_ref().unwrap().action, "graven.query");
    assert_eq!(house.leaves("access").len(), size + 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_goes_away_was_written_down_or_was_told_nothing() {
    let house = House::new().await;
    for n in 0..50 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    // Cut off at every moment: whoever got an answer is in the log.
    let mut answered = 0;
    for n in 0..120_u64 {
        let mut request = Request::new(ask("action:auth.login"));
        request.set_timeout(Duration::from_micros(n * 150));
        let mut root = house.root();
        let call = tokio::time::timeout(Duration::from_micros(n * 150), root.query(request));
        answered += usize::from(matches!(call.await, Ok(Ok(_))));
    }
    let written = house.traces().iter().filter(|trace| trace.action == "graven.query").count();
    assert!(answered > 0 && written >= answered, "{answered} answers and {written} entries");
    // An erasure that was begun is finished, whoever asked for it went away.
    for n in 0..20_u64 {
        let request = v1::EraseSubjectRequest {
            log: audit(),
            subject: format!("user-{n}"),
            authority: "gdpr-17".to_owned(),
        };
        let mut root = house.root();
        drop(tokio::time::timeout(Duration::from_micros(n * 400), root.erase_subject(request)).await);
    }
    until(|| {
        let leaves = house.leaves("audit");
        let decided =
            leaves.iter().filter(|leaf| leaf.frame.as_ref().unwrap().facts.kind_word() == "erasure").count();
        let gone = leaves.iter().filter(|leaf| leaf.erased.contains(&graven_event::Group::Actor)).count();
        decided > 0 && decided == gone
    })
    .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_down_is_not_told() {
    let fails = Arc::new(AtomicBool::new(false));
    let script = {
        let fails = fails.clone();
        move |point: Point<'_>| match (point.op, point.phase) {
            (Op::SyncData, Phase::Before) if fails.load(Ordering::SeqCst) => Fate::Fail(io::ErrorKind::Other),
            _ => Fate::Continue,
        }
    };
    let env = Env { fs: Arc::new(FaultFs::new(Arc::new(RealFs), Arc::new(script))), ..Env::system() };
    let house = House::with(env).await;
    house.record(event("alice-canary", "auth.login")).await;
    // Whoever asked before is known to the key store: it is the log itself that fails.
    house.find("").await;
    house.quiet("audit").await;
    house.quiet("access").await;
    fails.store(true, Ordering::SeqCst);
    let status = house.root().query(ask("")).await.expect_err("it is told unrecorded");
    let refusal = graven_proto::Refusal::of(&status).unwrap();
    assert_eq!(refusal.reason(), ErrorReason::AccessUnrecorded, "{refusal:?}");
    assert!(!String::from_utf8_lossy(status.details()).contains("canary"));
    let reveal = RevealRequest { log: audit(), indices: vec![1], ..Default::default() };
    for answer in [
        house.root().reveal(reveal).await.map(drop),
        house.root().tail(TailRequest { log: audit(), ..Default::default() }).await.map(drop),
        house.events("poor", "read:raw").query(ask("")).await.map(drop),
        house.root().record(of(event("bob", "auth.login"))).await.map(drop),
    ] {
        let status = answer.expect_err("nothing is told");
        assert!(!format!("{status:?}").contains("canary"), "{status:?}");
    }
}

#[tokio::test]
async fn what_strangers_write_into_a_call_is_written_down_as_text() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    let reveal = |purpose: &str| RevealRequest {
        log: audit(),
        indices: vec![1],
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    let nasty = "case\n{\"level\":\"ERROR\"}\u{1b}[2J\0\u{202e}";
    house.root().reveal(reveal(nasty)).await.unwrap();
    assert_eq!(house.traces().pop().unwrap().reason, nasty);
    refused(house.root().reveal(reveal(&"x".repeat(257))).await, ErrorReason::FieldInvalid);
    let request = v1::EraseSubjectRequest {
        log: audit(),
        subject: "alice".to_owned(),
        authority: "two words\n\u{1b}".repeat(100),
    };
    let status = house.root().erase_subject(request).await.expect_err("no authority");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    assert_eq!(house.kinds("audit"), ["genesis", "event"]);
    house.stop().await;
}
