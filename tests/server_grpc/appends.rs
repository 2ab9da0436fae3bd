//! `Append` and `AppendBatch`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use graven_merkle::{LeafIndex, TreeSize, leaf_hash, verify_multi};
use graven_note::{Policy, TlogProof};
use graven_proto::limits::{MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, MAX_ENTRY_BYTES};
use graven_proto::v1::{AppendBatchRequest, AppendRequest, ErrorReason, Wait};
use prost_types::Timestamp;

use crate::service::{Service, append_request, entry, published_request, refused, refused_field};

fn batch_request(entries: Vec<Bytes>) -> AppendBatchRequest {
    AppendBatchRequest { entries, ..Default::default() }
}

fn keyed(entry: Bytes, key: &str) -> AppendRequest {
    AppendRequest { idempotency_key: key.to_owned(), ..append_request(entry) }
}

fn ago(seconds: i64) -> Option<Timestamp> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    Some(Timestamp { seconds: i64::try_from(now).unwrap() - seconds, nanos: 0 })
}

#[tokio::test]
async fn an_entry_gets_its_index_and_its_leaf_hash() {
    let service = Service::start().await;
    for n in 0..3 {
        let answer = service.client().append(append_request(entry(n))).await.unwrap().into_inner();
        assert_eq!((answer.index, answer.duplicate, answer.proof.len()), (n, false, 0));
        assert_eq!(answer.leaf_hash, leaf_hash(&entry(n)).as_bytes()[..]);
        assert!(answer.log_time.is_some());
    }
    service.stop().await;
}

#[tokio::test]
async fn a_published_append_brings_a_bundle_that_verifies_offline() {
    let service = Service::start().await;
    service.fill(300).await;
    let answer = service.client().append(published_request(entry(300))).await.unwrap().into_inner();
    let bundle = TlogProof::parse(&answer.proof).unwrap();
    let keys = &service.log.meta().keys;
    let policy = keys.iter().map(|key| format!("log {key}\n")).collect::<String>() + "quorum none\n";
    let proven = bundle.verify(leaf_hash(&entry(300)), &Policy::parse(policy.as_bytes()).unwrap()).unwrap();
    assert_eq!((answer.index, proven.index().get()), (300, 300));
    assert!(bundle.verify(leaf_hash(b"another"), &Policy::parse(policy.as_bytes()).unwrap()).is_err());
    service.stop().await;
}

#[tokio::test]
async fn a_batch_is_appended_whole_and_proven_at_once() {
    let service = Service::start().await;
    service.fill(10).await;
    let entries: Vec<_> = (10..1010).map(entry).collect();
    let request = AppendBatchRequest { wait: Wait::Published.into(), ..batch_request(entries.clone()) };
    let answer = service.client().append_batch(request).await.unwrap().into_inner();
    assert_eq!((answer.first_index, answer.count, answer.duplicate), (10, 1000, false));
    let head = service.verified(answer.head);
    let proof = answer.proof.unwrap();
    let indices: Vec<_> = (10..1010).map(|n| LeafIndex::new(n).unwrap()).collect();
    assert_eq!(proof.indices, (10..1010).collect::<Vec<_>>());
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let (size, root) = (head.checkpoint().size(), head.checkpoint().root());
    assert_eq!(TreeSize::new(proof.tree_size), Some(size));
    verify_multi(&indices, &leaves, size, &proof.to_merkle().unwrap(), root).unwrap();
    service.stop().await;
}

#[tokio::test]
async fn entries_have_1_to_65535_bytes() {
    let service = Service::start().await;
    let mut client = service.client();
    refused_field(client.append(append_request("")).await, ErrorReason::EntryEmpty, "entry");
    let long = vec![7; MAX_ENTRY_BYTES + 1];
    let refusal =
        refused_field(client.append(append_request(long)).await, ErrorReason::EntryTooLarge, "entry");
    assert_eq!(refusal.number("limit"), Some(65_535));
    client.append(append_request(vec![7; MAX_ENTRY_BYTES])).await.unwrap();

    let answer = client.append_batch(batch_request(vec![entry(0), Bytes::new()])).await;
    assert_eq!(refused_field(answer, ErrorReason::EntryEmpty, "entries[1]").number("position"), Some(1));
    let answer = client.append_batch(batch_request(vec![vec![7; MAX_ENTRY_BYTES + 1].into()])).await;
    assert_eq!(refused_field(answer, ErrorReason::EntryTooLarge, "entries[0]").number("limit"), Some(65_535));
    service.assert_size(1).await;
    service.stop().await;
}

#[tokio::test]
async fn batches_are_bounded() {
    let service = Service::start().await;
    let mut client = service.client();
    refused_field(client.append_batch(batch_request(vec![])).await, ErrorReason::BatchEmpty, "entries");
    let many = vec![entry(0); MAX_BATCH_ENTRIES + 1];
    let refusal =
        refused_field(client.append_batch(batch_request(many)).await, ErrorReason::BatchTooLarge, "entries");
    assert_eq!(refusal.number("limit"), Some(1024));
    let heavy = vec![Bytes::from(vec![7; MAX_ENTRY_BYTES]); MAX_BATCH_BYTES / MAX_ENTRY_BYTES + 1];
    let refusal =
        refused_field(client.append_batch(batch_request(heavy)).await, ErrorReason::BatchTooLarge, "entries");
    assert_eq!(refusal.number("limit"), Some(2 << 20));

    client.append_batch(batch_request(vec![entry(0); MAX_BATCH_ENTRIES])).await.unwrap();
    let full = vec![Bytes::from(vec![7; MAX_ENTRY_BYTES]); MAX_BATCH_BYTES / MAX_ENTRY_BYTES];
    client.append_batch(batch_request(full)).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_call_was() {
    let service = Service::start().await;
    let mut client = service.client();
    let first = client.append(keyed(entry(0), "k")).await.unwrap().into_inner();
    client.append(append_request(entry(1))).await.unwrap();
    let again = client.append(keyed(entry(0), "k")).await.unwrap().into_inner();
    assert_eq!((again.index, again.duplicate, again.log_time), (0, true, first.log_time));
    let proven = AppendRequest { wait: Wait::Published.into(), ..keyed(entry(0), "k") };
    let proven = client.append(proven).await.unwrap().into_inner();
    assert_eq!(TlogProof::parse(&proven.proof).unwrap().index().get(), 0);

    refused_field(
        client.append(keyed(entry(9), "k")).await,
        ErrorReason::IdempotencyKeyReused,
        "idempotency_key",
    );
    let batch =
        AppendBatchRequest { idempotency_key: "b".to_owned(), ..batch_request(vec![entry(2), entry(3)]) };
    for duplicate in [false, true] {
        let answer = client.append_batch(batch.clone()).await.unwrap().into_inner();
        assert_eq!((answer.first_index, answer.count, answer.duplicate), (2, 2, duplicate));
    }
    service.assert_size(4).await;
    service.stop().await;
}

#[tokio::test]
async fn malformed_old_and_future_keys_are_refused() {
    let service = Service::start().await;
    let mut client = service.client();
    for bad in ["a b", "\n", "schlüssel", &"k".repeat(129)] {
        let answer = client.append(keyed(entry(0), bad)).await;
        refused_field(answer, ErrorReason::IdempotencyKeyInvalid, "idempotency_key");
    }
    let at = |issued, key: &str| AppendRequest { idempotency_issued_at: issued, ..keyed(entry(0), key) };
    for (request, reason) in [
        (at(ago(0), ""), ErrorReason::IdempotencyTimeInvalid),
        (at(Some(Timestamp { seconds: 0, nanos: -1 }), "k"), ErrorReason::IdempotencyTimeInvalid),
        (at(Some(Timestamp { seconds: i64::MAX, nanos: 0 }), "k"), ErrorReason::IdempotencyTimeInvalid),
        (at(ago(-3600), "k"), ErrorReason::IdempotencyTimeInvalid),
        (at(ago(86_400), "k"), ErrorReason::IdempotencyKeyExpired),
        (at(Some(Timestamp { seconds: -5, nanos: 0 }), "k"), ErrorReason::IdempotencyKeyExpired),
    ] {
        let refusal = refused_field(client.append(request).await, reason, "idempotency_issued_at");
        let is_expired = reason == ErrorReason::IdempotencyKeyExpired;
        assert_eq!(refusal.number("window_seconds"), is_expired.then_some(600));
    }
    service.assert_size(0).await;
    client.append(keyed(entry(0), &"k".repeat(128))).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn witnesses_cannot_be_waited_for_without_a_policy() {
    let service = Service::start().await;
    let request = |wait| AppendRequest { wait, ..append_request(entry(0)) };
    let answer = service.client().append(request(Wait::Witnessed.into())).await;
    refused_field(answer, ErrorReason::WitnessPolicyMissing, "wait");
    refused_field(service.client().append(request(17)).await, ErrorReason::EnumValueUnknown, "wait");
    service.assert_size(0).await;
    service.stop().await;
}

#[tokio::test]
async fn who_waits_in_vain_hears_the_index() {
    let config =
        graven_log::Config { checkpoint_interval: Duration::from_secs(3600), ..crate::service::config() };
    let service = Service::start_with(config, graven_server::ServerOptions::default()).await;
    service.client().append(published_request(entry(0))).await.unwrap();
    let mut request = tonic::Request::new(published_request(entry(1)));
    request.set_timeout(Duration::from_millis(400));
    let refusal = refused(service.client().append(request).await, ErrorReason::WaitTimedOut);
    assert_eq!(refusal.number("index"), Some(1));
    service.assert_size(2).await;
    service.stop().await;
}
