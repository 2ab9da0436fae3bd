//! Who may do what: each permission alone, with every call, on the right log, another one and the access log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use graven_proto::Refusal;
use graven_proto::v1::record_stream_request::Message;
use graven_proto::v1::{self, ErrorReason};
use prost::Message as _;
use tonic::{Code, Status, Streaming};

use crate::rig::{House, ask, event};
use crate::service::{refused, until};

const PERMISSIONS: [&str; 10] =
    ["append", "read", "admin", "witness", "query", "reveal", "erase", "audit", "scope", "check"];

/// Every call, with what it needs.
const NEEDED: [(&str, &str); 12] = [
    ("Record", "append"),
    ("RecordBatch", "append"),
    ("RecordStream", "append"),
    ("GetProducer", "append"),
    ("Query", "query"),
    ("Tail", "query"),
    ("Reveal", "reveal"),
    ("EraseSubject", "erase"),
    ("DefineRetention", "admin"),
    ("PlaceHold", "admin"),
    ("ReleaseHold", "admin"),
    ("ListRetention", "query"),
];

async fn call(house: &House, grants: &str, method: &str, log: &str) -> Result<(), Status> {
    let (mut client, log) = (house.events("somebody", grants), log.to_owned());
    let event = Some(event("alice", "auth.login"));
    match method {
        "Record" => drop(client.record(v1::RecordRequest { log, event, ..Default::default() }).await?),
        "RecordBatch" => {
            let events = event.into_iter().collect();
            drop(client.record_batch(v1::RecordBatchRequest { log, events, ..Default::default() }).await?);
        }
        "RecordStream" => {
            let open = Message::Open(v1::RecordStreamOpen { log, ..Default::default() });
            let stream = tokio_stream::once(v1::RecordStreamRequest { message: Some(open) });
            client.record_stream(stream).await?.into_inner().message().await?;
        }
        "GetProducer" => {
            let stream = "main".to_owned();
            client.get_producer(v1::GetProducerRequest { log, stream }).await?;
        }
        "Query" => drop(client.query(v1::QueryRequest { log, ..ask("") }).await?),
        "Tail" => {
            let request = v1::TailRequest { log, until_now: true, ..Default::default() };
            client.tail(request).await?.into_inner().message().await?;
        }
        "Reveal" => {
            client.reveal(v1::RevealRequest { log, indices: vec![0], ..Default::default() }).await?;
        }
        "EraseSubject" => {
            let (subject, authority) = ("nobody".to_owned(), "gdpr-17".to_owned());
            client.erase_subject(v1::EraseSubjectRequest { log, subject, authority }).await?;
        }
        "DefineRetention" => {
            let name = "short".to_owned();
            client.define_retention(v1::DefineRetentionRequest { log, name, keep: None }).await?;
        }
        "PlaceHold" => {
            let request = v1::PlaceHoldRequest {
                log,
                authority: "case-1".to_owned(),
                classes: vec!["default".to_owned()],
                ..Default::default()
            };
            client.place_hold(request).await?;
        }
        "ReleaseHold" => {
            let (hold, authority) = ("0".repeat(32), "case-1".to_owned());
            client.release_hold(v1::ReleaseHoldRequest { log, hold, authority }).await?;
        }
        "ListRetention" => drop(client.list_retention(v1::ListRetentionRequest { log }).await?),
        other => panic!("{other} is not called here"),
    }
    Ok(())
}

#[tokio::test]
async fn every_permission_alone_opens_its_own_calls_on_its_own_log() {
    let house = House::new().await;
    let needed: BTreeMap<_, _> = NEEDED.into();
    let set = prost_types::FileDescriptorSet::decode(graven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let audit = services.into_iter().find(|service| service.name() == "AuditService").unwrap();
    let methods: Vec<_> = audit.method.iter().map(|method| method.name()).collect();
    assert_eq!(methods.len(), NEEDED.len(), "a method is new or gone: {methods:?}");
    let mut cells = 0;
    for method in methods {
        let needs = needed.get(method).unwrap_or_else(|| panic!("what does {method} need?"));
        for permission in PERMISSIONS {
            for granted in ["audit", "other", "access", "*"] {
                for asked in ["audit", "other", "access", "nobody"] {
                    // Who reads who reads needs a permission of its own, and no other.
                    let needs = match (*needs, asked) {
                        ("query" | "reveal", "access") => "audit",
                        (other, _) => other,
                    };
                    let is_let_in = permission == needs && (granted == asked || granted == "*");
                    let answer = call(&house, &format!("{permission}:{granted}"), method, asked).await;
                    let at = format!("{method} on {asked} with {permission}:{granted}: {answer:?}");
                    match answer.map_err(|status| (status.code(), Refusal::of(&status))) {
                        Err((Code::PermissionDenied, Some(refusal))) => {
                            assert_eq!(refusal.reason(), ErrorReason::PermissionMissing, "{at}");
                            assert!(!is_let_in, "{at}");
                        }
                        Err((_, Some(_))) | Ok(()) => assert!(is_let_in, "{at}"),
                        Err(_) => panic!("{at}"),
                    }
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 12 * 10 * 4 * 4);
    house.stop().await;
}

#[tokio::test]
async fn without_reveal_no_personal_value_is_in_any_byte_of_an_answer() {
    let house = House::new().await;
    let mut planted = event("alice-canary", "auth.login");
    planted.actor.as_mut().unwrap().name = "Name-canary".to_owned();
    planted.client = Some(crate::rig::party("client-canary"));
    planted.session = "session-canary".to_owned();
    planted.targets = vec![v1::Target {
        kind: "user".to_owned(),
        id: "bob-canary".to_owned(),
        name: "B-canary".to_owned(),
    }];
    planted.reason = "reason-canary".to_owned();
    planted.token = Some(v1::Token { id: "jti-canary".to_owned(), ..Default::default() });
    planted.context = Some(v1::Context {
        ip: "192.0.2.77-canary".to_owned(),
        user_agent: "agent-canary".to_owned(),
        ..Default::default()
    });
    planted.changes = vec![v1::Change {
        field: "email".to_owned(),
        before: Some("before-canary".to_owned()),
        after: Some("after-canary".to_owned()),
    }];
    planted.raw = Some(v1::RawRecord { format: "text/plain".to_owned(), text: "raw-canary".to_owned() });
    house.record(planted.clone()).await;
    let told = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains("canary");
    let mut blind = house.events("blind", "query:*,read:*,append:*");
    // One may ask for what one may not read, and is told whether it is there: the answer itself has none of it.
    for query in ["", "actor:alice-canary", "kind:event"] {
        let page = blind.query(v1::QueryRequest { prove: true, ..ask(query) }).await.unwrap().into_inner();
        assert!(!page.hits.is_empty() && !told(page.encode_to_vec()), "{query}");
        let hit = page.hits.iter().find(|hit| hit.kind == "event").unwrap();
        let event = hit.event.as_ref().unwrap();
        assert_eq!((event.action.as_str(), event.outcome), ("auth.login", v1::Outcome::Success.into()));
        assert_eq!(hit.hidden.len(), 7, "{:?}", hit.hidden);
    }
    let request = v1::TailRequest { log: "audit".to_owned(), until_now: true, ..Default::default() };
    let mut tail = blind.tail(request).await.unwrap().into_inner();
    let mut hits = 0;
    while let Some(message) = tail.message().await.unwrap() {
        hits += message.hits.len();
        assert!(!told(message.encode_to_vec()));
    }
    assert_eq!(hits, 2);
    let request = v1::RevealRequest { log: "audit".to_owned(), indices: vec![1], ..Default::default() };
    refused(blind.reveal(request.clone()).await, ErrorReason::PermissionMissing);
    // What is served as leaves and tiles has none of it either.
    let request = v1::GetEntriesRequest { log: "audit".to_owned(), first: 0, count: 2 };
    let mut entries = house.logs("blind", "read:audit").get_entries(request).await.unwrap().into_inner();
    while let Some(message) = entries.message().await.unwrap() {
        assert!(!told(message.encode_to_vec()));
    }
    // It can fail: with the permission it is all there.
    let page = house.events("seer", "query:audit,reveal:audit").query(ask("")).await.unwrap().into_inner();
    assert_eq!(page.hits[0].event, Some(planted));
    let without = v1::QueryRequest { without_raw: true, ..ask("kind:event") };
    let answer = house.root().query(without).await.unwrap().into_inner();
    assert!(!String::from_utf8_lossy(&answer.encode_to_vec()).contains("raw-canary"));
    house.stop().await;
}

#[tokio::test]
async fn who_read_what_is_for_auditors_by_every_way_there_is() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    house.find("").await;
    let everything_else = "append:*,read:*,query:*,reveal:*,erase:*,admin:*,witness:*";
    let log = || "access".to_owned();
    for (grants, may) in
        [(everything_else, false), ("audit:other", false), ("audit:access", true), ("audit:*", true)]
    {
        let mut logs = house.logs("reader", grants);
        let answers = [
            logs.get_tree_head(v1::GetTreeHeadRequest { log: log() }).await.map(drop),
            logs.get_entries(v1::GetEntriesRequest { log: log(), first: 0, count: 1 }).await.map(drop),
            logs.get_entry_and_proof(v1::GetEntryAndProofRequest { log: log(), ..Default::default() })
                .await
                .map(drop),
            logs.watch_tree_heads(v1::WatchTreeHeadsRequest { log: log() }).await.map(drop),
            logs.list_key_rotations(v1::ListKeyRotationsRequest { log: log(), ..Default::default() })
                .await
                .map(drop),
        ];
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.is_ok(), may, "call {n} with {grants}: {answer:?}");
        }
        let web = |path: &str| {
            let request = format!(
                "GET /access/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer reader {grants}\r\n\r\n"
            );
            let address = house.url.trim_start_matches("http://").to_owned();
            async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                String::from_utf8_lossy(&answer)[9..12].to_owned()
            }
        };
        assert_eq!(web("checkpoint").await, if may { "200" } else { "403" }, "{grants}");
        let refusals = house.traces().iter().filter(|trace| trace.says("method").starts_with("GET ")).count();
        let bundle = web("tile/entries/000.p/1").await;
        assert!(if may { bundle != "403" } else { bundle == "403" }, "{grants}: {bundle}");
        let now = house.traces().iter().filter(|trace| trace.says("method").starts_with("GET ")).count();
        assert_eq!(now, refusals + usize::from(!may), "a refusal over HTTP is an entry as well");
    }
    house.stop().await;
}

/// Whether it reads or records: what was opened by credentials ends with them.
#[tokio::test]
async fn nobody_goes_on_by_credentials_that_are_over() {
    async fn ends<T>(mut stream: Streaming<T>) -> Duration {
        let begun = Instant::now();
        loop {
            match tokio::time::timeout(Duration::from_secs(10), stream.message()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => panic!("it ended as if all were told"),
                Ok(Err(status)) => {
                    refused(Err::<(), _>(status), ErrorReason::CredentialsInvalid);
                    return begun.elapsed();
                }
                Err(_) => panic!("it goes on"),
            }
        }
    }
    let house = House::new().await;
    let brief = "query:audit,read:audit,append:audit,for:2";
    let log = || "audit".to_owned();
    let (mut events, mut logs) = (house.events("brief", brief), house.logs("brief", brief));
    let tail = events.tail(v1::TailRequest { log: log(), ..Default::default() }).await.unwrap();
    let heads = logs.watch_tree_heads(v1::WatchTreeHeadsRequest { log: log() }).await.unwrap();
    let open = Message::Open(v1::RecordStreamOpen { log: log(), ..Default::default() });
    let next = v1::RecordStreamEvent { seq: 1, event: Some(event("alice", "auth.login")) };
    let messages =
        [open, Message::Event(next)].map(|message| v1::RecordStreamRequest { message: Some(message) });
    let sent = tokio_stream::iter(messages).chain(tokio_stream::pending());
    let recording = house.events("brief", brief).record_stream(sent).await.unwrap();
    let (tail, heads, recording) =
        tokio::join!(ends(tail.into_inner()), ends(heads.into_inner()), ends(recording.into_inner()));
    for took in [tail, heads, recording] {
        assert!((1..5).contains(&took.as_secs()), "{took:?}");
    }
    house.traced("graven.tail.close", 1).await;
    until(|| house.kinds("audit") == ["genesis", "event"]).await;
    house.stop().await;
}
