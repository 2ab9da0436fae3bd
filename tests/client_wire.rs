//! The client against a log that lies, and against servers and sites that are not what they should be: what it hands
//! out is checked, and what it refuses is named.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/certificates.rs"]
mod certificates;
#[path = "client_wire/connections.rs"]
mod connections;
#[path = "support/fake_log.rs"]
mod fake_log;
#[path = "support/raw.rs"]
mod raw;
#[path = "client_wire/rotations.rs"]
mod rotations;
#[path = "support/site.rs"]
mod site;
#[path = "support/tls.rs"]
mod tls;
#[path = "client_wire/web.rs"]
mod web;

use fake_log::{FakeLog, Lie};
use graven_client::{
    AppendError, Client, ConnectError, ConnectOptions, ErrorReason, Fault, FileHeadStore, HeadError,
    IdempotencyKey, LogClient, MemoryHeadStore, ReadError, RetryPolicy, StreamClosed, Trust, Unproven,
    audit::{Finding, RemoteAuditError},
};
use graven_merkle::{EMPTY_ROOT, LeafIndex, TreeSize, leaf_hash};
use graven_note::Evidence;
use std::{sync::Arc, time::Duration};

async fn connect(log: &FakeLog) -> LogClient {
    let retries = RetryPolicy { first_delay: Duration::from_millis(5), ..RetryPolicy::default() };
    let options = ConnectOptions { retries, ..ConnectOptions::default() };
    let client = Client::connect(&log.serve().await, options).await.unwrap();
    client.log("audit", Trust::of_vkeys([FakeLog::vkey()]).unwrap())
}

fn index(index: u32) -> LeafIndex {
    LeafIndex::from(index)
}

#[tokio::test]
async fn an_append_is_acknowledged_or_proven() {
    let log = FakeLog::new(5);
    let client = connect(&log).await;
    let acked = client.append("durable").durable().await.unwrap();
    assert_eq!((acked.index, acked.leaf_hash, acked.duplicate), (index(5), leaf_hash(b"durable"), false));

    let proven = client.append("published").published().await.unwrap();
    assert_eq!((proven.index(), proven.head().size()), (index(6), TreeSize::from(7)));
    client.trust().verify_proof(proven.bundle(), leaf_hash(b"published")).unwrap();
    assert_eq!(client.kept_head().await.unwrap().unwrap(), *proven.head());
    assert!(matches!(client.append("").durable().await, Err(AppendError::EntryLength(0))));
    assert!(matches!(client.append(vec![0; 65_536]).durable().await, Err(AppendError::EntryLength(65_536))));
}

#[tokio::test]
async fn an_append_that_is_not_proven_is_no_success() {
    let log = FakeLog::new(5);
    let client = connect(&log).await;
    log.lie(Lie::LeafHash);
    let error = client.append("entry").durable().await.unwrap_err();
    assert!(matches!(error, AppendError::WrongAnswer(_)), "{error}");

    log.lie(Lie::OtherProof);
    let error = client.append("entry").published().await.unwrap_err();
    assert!(matches!(error, AppendError::Unproven { problem: Unproven::OtherIndex(_), .. }), "{error}");
    for lie in [Lie::Fork, Lie::OtherKey] {
        log.lie(lie);
        let error = client.append("entry").published().await.unwrap_err();
        assert!(matches!(error, AppendError::Unproven { problem: Unproven::Refused(_), .. }), "{error}");
        assert_eq!(error.fault(), Fault::CheckFailed);
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_key() {
    let log = FakeLog::new(0);
    let client = connect(&log).await;
    log.lie(Lie::LoseAnswers(2));
    let acked = client.append("once").durable().await.unwrap();
    assert_eq!((acked.index, acked.duplicate), (index(0), true));
    assert_eq!(log.state().entries.len(), 1);
    assert_eq!(log.state().appends, 3);

    log.lie(Lie::LoseAnswers(9));
    let key = IdempotencyKey::new("mine").unwrap();
    let error = client.append("twice").idempotency_key(key.clone()).durable().await.unwrap_err();
    let AppendError::Call { error: call, key: sent } = &error else { panic!("{error}") };
    assert!(call.outcome_unknown() && sent.as_ref() == Some(&key) && call.attempts() == 5, "{error}");
    assert!(error.to_string().contains("idempotency key mine"), "{error}");
    log.lie(Lie::Nothing);
    assert!(client.append("twice").idempotency_key(key).durable().await.unwrap().duplicate);
    assert_eq!(log.state().entries.len(), 2);
}

#[tokio::test]
async fn a_refusal_is_repeated_only_where_that_may_help() {
    let log = FakeLog::new(0);
    let client = connect(&log).await;
    log.lie(Lie::Refuse(ErrorReason::Overloaded, 2));
    client.append("patient").durable().await.unwrap();
    assert_eq!(log.state().appends, 3);

    log.lie(Lie::Refuse(ErrorReason::LogFrozen, 1));
    let error = client.append("late").durable().await.unwrap_err();
    assert_eq!(error.call().and_then(|call| call.reason()), Some(ErrorReason::LogFrozen));
    assert!(!error.call().unwrap().outcome_unknown());
    assert_eq!((log.state().appends, error.fault()), (4, Fault::Trouble));
}

#[tokio::test]
async fn without_a_key_nothing_is_sent_twice() {
    let log = FakeLog::new(0);
    let options = ConnectOptions { retries: RetryPolicy::NEVER, ..ConnectOptions::default() };
    let client = Client::connect(&log.serve().await, options).await.unwrap().appender("audit");
    log.lie(Lie::LoseAnswers(1));
    let error = client.append("once").durable().await.unwrap_err();
    assert!(matches!(&error, AppendError::Call { key: None, .. }), "{error}");
    assert_eq!(log.state().appends, 1);
}

#[tokio::test]
async fn a_batch_is_proven_by_one_proof() {
    let log = FakeLog::new(300);
    let client = connect(&log).await;
    let entries: Vec<_> = (0..1_000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let proven = client.append_batch(entries.clone()).published().await.unwrap();
    assert_eq!(proven.acked().first_index, index(300));
    assert_eq!(proven.proof().indices().last(), Some(&index(1_299)));
    assert_eq!(proven.proof().leaf_hashes()[999], leaf_hash(&entries[999]));
    assert_eq!(client.append_batch(["durable"]).durable().await.unwrap().first_index, index(1_300));

    log.lie(Lie::Fork);
    let error = client.append_batch(["a", "b"]).published().await.unwrap_err();
    assert!(matches!(error, AppendError::Unproven { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_acknowledges_in_order_and_ends() {
    for published in [false, true] {
        let log = FakeLog::new(10);
        let client = connect(&log).await;
        let (mut sender, mut acks) =
            if published { client.append_stream_published() } else { client.append_stream() };
        assert_eq!(sender.send("").await, Err(StreamClosed::EntryLength(0)));
        // More than the window holds, so that it has to move.
        let sending = tokio::spawn(async move {
            for n in 0..5_000_u32 {
                assert_eq!(sender.send(n.to_be_bytes().to_vec()).await, Ok(u64::from(n)));
                if published && n == 20 {
                    break;
                }
            }
            sender.finish();
        });
        let mut count = 0;
        while let Some(ack) = acks.next().await {
            let ack = ack.unwrap();
            assert_eq!((ack.seq, ack.acked.index), (u64::from(count), index(10 + count)));
            assert_eq!(ack.acked.leaf_hash, leaf_hash(&count.to_be_bytes()));
            assert_eq!(ack.head.is_some_and(|head| ack.acked.index.is_within(head.size())), published);
            count += 1;
        }
        sending.await.unwrap();
        assert_eq!(count, if published { 21 } else { 5_000 });
    }
}

#[tokio::test]
async fn a_broken_stream_names_what_is_not_acknowledged() {
    let log = FakeLog::new(0);
    let client = connect(&log).await;
    log.lie(Lie::BreakStream(3));
    let (mut sender, mut acks) = client.append_stream();
    let keys: Vec<_> = (0..5).map(|n| IdempotencyKey::new(format!("key-{n}")).unwrap()).collect();
    for key in &keys {
        sender.send_with_key(key.to_string(), key.clone()).await.unwrap();
    }
    for seq in 0..3 {
        assert_eq!(acks.next().await.unwrap().unwrap().seq, seq);
    }
    let error = acks.next().await.unwrap().unwrap_err();
    let unknown: Vec<_> = error.unknown.iter().map(|entry| (entry.seq, entry.key.clone().unwrap())).collect();
    assert_eq!(unknown, [(3, keys[3].clone()), (4, keys[4].clone())]);
    assert!(error.problem.call().unwrap().outcome_unknown());
    assert!(acks.next().await.is_none());
    assert_eq!(sender.send("more").await, Err(StreamClosed::Over));

    // An acknowledgement of something else breaks it too.
    log.lie(Lie::LeafHash);
    let (mut sender, mut acks) = client.append_stream();
    sender.send("entry").await.unwrap();
    let error = acks.next().await.unwrap().unwrap_err();
    assert!(matches!(error.problem, AppendError::WrongAnswer(_)), "{error}");
}

#[tokio::test]
async fn nobody_reads_so_the_sender_stops_and_is_let_go() {
    let log = FakeLog::new(0);
    let (mut sender, acks) = connect(&log).await.append_stream();
    for n in 0..4_096_u32 {
        sender.send(n.to_be_bytes().to_vec()).await.unwrap();
    }
    let stuck = tokio::time::timeout(Duration::from_millis(50), sender.send("one more")).await;
    assert!(stuck.is_err(), "the window is full");
    drop(acks);
    assert_eq!(sender.send("one more").await, Err(StreamClosed::Over));
}

#[tokio::test]
async fn heads_only_go_forward() {
    let log = FakeLog::new(100);
    let client = connect(&log).await;
    assert_eq!(client.tree_head().await.unwrap().size(), TreeSize::from(100));
    log.state().push("more".into());
    assert_eq!(client.tree_head().await.unwrap().size(), TreeSize::from(101));

    log.lie(Lie::Shrink(100));
    let error = client.tree_head().await.unwrap_err();
    assert!(matches!(error, HeadError::Rollback { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Rollback);

    log.lie(Lie::Fork);
    let error = client.tree_head().await.unwrap_err();
    let HeadError::SplitView(evidence) = &error else { panic!("{error}") };
    assert_eq!(evidence.heads().len(), 2);
    assert_eq!(error.fault(), Fault::SplitView);
    let read = Evidence::parse(evidence.evidence().to_string().as_bytes()).unwrap();
    assert_eq!(&read.verify(client.trust().keys()).unwrap(), &**evidence);

    // The root is of no tree, so nothing leads to it: that is bad enough, and yet no evidence.
    log.state().push("a fork that grew".into());
    let error = client.tree_head().await.unwrap_err();
    assert!(matches!(error, HeadError::NotConsistent { .. }), "{error}");
    assert_eq!((error.fault(), error.evidence()), (Fault::CheckFailed, None));

    log.lie(Lie::OtherKey);
    assert!(matches!(client.tree_head().await, Err(HeadError::Untrusted(_))));
    log.lie(Lie::Nothing);
    assert_eq!(client.tree_head().await.unwrap().size(), TreeSize::from(102));
}

#[tokio::test]
async fn a_log_with_another_past_is_proven_to_have_one() {
    for kept in [1_u64, 2, 7, 8, 63, 64, 65] {
        let store = Arc::new(MemoryHeadStore::default());
        let before = FakeLog::new(0);
        for n in 0..kept {
            before.state().push(format!("another {n}").into());
        }
        connect(&before).await.with_head_store(store.clone()).tree_head().await.unwrap();

        let client = connect(&FakeLog::new(100)).await.with_head_store(store.clone());
        let error = client.tree_head().await.unwrap_err();
        let evidence = error.evidence().unwrap_or_else(|| panic!("{kept}: {error}"));
        let read = Evidence::parse(evidence.evidence().to_string().as_bytes()).unwrap();
        assert_eq!(&read.verify(client.trust().keys()).unwrap(), evidence);
        assert!(evidence.evidence().asked()[0].text().contains("127.0.0.1"));

        // With proofs that are garbage it is only bad service.
        let log = FakeLog::new(100);
        log.lie(Lie::OtherProof);
        let garbled = connect(&log).await.with_head_store(store).tree_head().await.unwrap_err();
        assert!(matches!(garbled, HeadError::NotConsistent { .. }), "{garbled}");
        assert_eq!(garbled.evidence(), None);
    }
}

#[tokio::test]
async fn a_rollback_is_noticed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileHeadStore::open(folder.path().join("heads")).unwrap());
    let log = FakeLog::new(100);
    connect(&log).await.with_head_store(store.clone()).tree_head().await.unwrap();

    let restarted = connect(&FakeLog::new(50)).await.with_head_store(store.clone());
    let error = restarted.tree_head().await.unwrap_err();
    assert!(matches!(error, HeadError::Rollback { .. }), "{error}");
    assert!(connect(&FakeLog::new(100)).await.with_head_store(store.clone()).tree_head().await.is_ok());

    // Two programs share the store: each sees how far the other got.
    let (one, two) = (connect(&log).await.with_head_store(store.clone()), connect(&log).await);
    let two = two.with_head_store(store.clone());
    log.state().push("more".into());
    one.tree_head().await.unwrap();
    assert_eq!(two.kept_head().await.unwrap().unwrap().size(), TreeSize::from(101));
    log.lie(Lie::Shrink(100));
    assert!(matches!(two.tree_head().await, Err(HeadError::Rollback { .. })));

    // A kept head that was tampered with is not silently replaced.
    std::fs::write(store.path(one.trust().origin()), "not a note").unwrap();
    assert!(matches!(one.tree_head().await, Err(HeadError::Kept(_))));
}

#[tokio::test]
async fn watching_sees_each_head_grow_out_of_the_one_before() {
    let log = FakeLog::new(3);
    let mut watch = connect(&log).await.watch().await.unwrap();
    let mut last = TreeSize::ZERO;
    for _ in 0..5 {
        let head = watch.next().await.unwrap().unwrap();
        assert!(head.size() > last);
        last = head.size();
    }
    log.lie(Lie::Shrink(2));
    let error = loop {
        if let Err(error) = watch.next().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(error, HeadError::Rollback { .. }), "{error}");
}

#[tokio::test]
async fn entries_are_verified() {
    let log = FakeLog::new(700);
    let client = connect(&log).await;
    let entry = client.entry(index(42)).await.unwrap();
    assert_eq!((&entry.bytes()[..], entry.leaf_hash()), (&b"entry 42"[..], leaf_hash(b"entry 42")));

    for range in [0..1, 0..700, 1..2, 42..451, 256..512, 511..700, 699..700] {
        let entries = client.entries(range.clone()).await.unwrap();
        assert!(entries.iter().map(|(index, _)| index.get()).eq(range.clone()));
        assert!(entries.iter().all(|(index, bytes)| bytes == format!("entry {index}").as_bytes()));
    }
    log.lie(Lie::Flip(42));
    assert!(matches!(client.entry(index(42)).await, Err(ReadError::Proof(_))));
    for range in [0..700, 42..43, 0..43, 42..100] {
        let error = client.entries(range).await.unwrap_err();
        assert!(matches!(error, ReadError::Proof(_)), "{error}");
        assert_eq!(error.fault(), Fault::CheckFailed);
    }
    client.entries(43..700).await.unwrap();
    assert!(matches!(client.entries(5..5).await, Err(ReadError::EmptyRange)));
    assert!(matches!(client.entries(5..701).await, Err(ReadError::BeyondTree { .. })));
}

#[tokio::test]
async fn proofs_are_verified() {
    let log = FakeLog::new(700);
    let client = connect(&log).await;
    let proof = client.prove(index(699)).await.unwrap();
    client.trust().verify_proof(&proof.bundle(), leaf_hash(b"entry 699")).unwrap();
    let proof = client.prove_leaf(leaf_hash(b"entry 5")).await.unwrap();
    assert_eq!(proof.index(), index(5));

    let indices: Vec<_> = [3, 17, 90, 91, 699].map(index).into();
    let many = client.prove_many(&indices).await.unwrap();
    assert_eq!((many.indices(), many.leaf_hashes()[1]), (&indices[..], leaf_hash(b"entry 17")));

    let error = client.prove(index(700)).await.unwrap_err();
    let ReadError::Call(call) = &error else { panic!("{error}") };
    assert_eq!(call.reason(), Some(ErrorReason::IndexBeyondTree));
    assert_eq!(call.refusal().and_then(|refusal| refusal.number("size")), Some(700));

    log.lie(Lie::Flip(17));
    assert!(matches!(client.prove(index(17)).await, Err(ReadError::Proof(_))));
    assert!(matches!(client.prove_many(&indices).await, Err(ReadError::Multi(_))));
    log.lie(Lie::OtherProof);
    assert!(matches!(client.prove(index(17)).await, Err(ReadError::Proof(_))));
}

#[tokio::test]
async fn growth_is_proven_between_any_two_sizes() {
    let log = FakeLog::new(70);
    let client = connect(&log).await;
    for (from, to) in [(0, 70), (1, 64), (32, 33), (37, 70), (64, 64), (70, 70), (0, 0)] {
        let proof = client.consistency(TreeSize::from(from), TreeSize::from(to)).await.unwrap();
        assert_eq!((proof.from.get(), proof.to.get()), (from.into(), to.into()));
        assert_eq!(proof.from_root == EMPTY_ROOT, from == 0);
    }
    let beyond = client.consistency(TreeSize::from(1), TreeSize::from(71)).await;
    assert!(matches!(beyond, Err(ReadError::BeyondTree { .. })));
    assert!(matches!(
        client.consistency(TreeSize::from(2), TreeSize::from(1)).await,
        Err(ReadError::EmptyRange)
    ));
}

#[tokio::test]
async fn an_audit_names_the_first_bad_entry() {
    let log = FakeLog::new(20_000);
    let client = connect(&log).await;
    let mut progress = Vec::new();
    let audited = client.audit(|at| progress.push(at.entries)).await.unwrap();
    assert_eq!((audited.entries(), progress), (20_000, vec![16_384, 20_000]));
    for bad in [0, 1, 12_345, 16_383, 16_384, 19_999] {
        log.lie(Lie::Flip(bad));
        let Err(RemoteAuditError::Found(finding)) = client.audit(|_| ()).await else { panic!() };
        assert_eq!(*finding, Finding::NotSigned { index: bad });
    }
    assert!(connect(&FakeLog::new(0)).await.audit(|_| ()).await.is_ok());
}

#[tokio::test]
async fn heads_that_come_out_of_order_are_no_rollback() {
    let log = FakeLog::new(10);
    let client = connect(&log).await;
    let key = IdempotencyKey::new("early").unwrap();
    client.append("early").idempotency_key(key.clone()).published().await.unwrap();
    for n in 0..20 {
        log.state().push(format!("more {n}").into());
    }
    client.tree_head().await.unwrap();
    // A repeat may be answered with the head of its time.
    log.lie(Lie::Shrink(11));
    let proven = client.append("early").idempotency_key(key).published().await.unwrap();
    assert_eq!((proven.head().size(), proven.acked().duplicate), (TreeSize::from(11), true));
    assert_eq!(client.kept_head().await.unwrap().unwrap().size(), TreeSize::from(31));
}

#[tokio::test]
async fn nobody_there_is_said_plainly() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::connect(&address, ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let none = ConnectOptions { connections: 0, ..ConnectOptions::default() };
    assert!(matches!(Client::connect(&address, none).await, Err(ConnectError::Connections(0))));
}
