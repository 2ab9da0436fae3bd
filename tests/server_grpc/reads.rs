//! Heads, proofs and entries.

use std::sync::Arc;

use graven_log::Engine;
use graven_merkle::{
    Hash, LeafIndex, TreeSize, leaf_hash, verify_consistency, verify_inclusion, verify_multi,
};
use graven_proto::limits::{MAX_PROOF_INDICES, MAX_RANGE_ENTRIES, RANGE_MESSAGE_BYTES};
use graven_proto::v1::get_inclusion_proof_request::Target;
use graven_proto::v1::{
    AppendBatchRequest, ErrorReason, GetConsistencyProofRequest, GetEntriesRequest, GetEntryAndProofRequest,
    GetInclusionProofRequest, GetMultiInclusionProofRequest, GetTreeHeadRequest, WatchTreeHeadsRequest,
};
use graven_server::{LeafLookup, LookupError, ServerOptions, Sought};

use crate::service::{Service, append_request, entry, refused, refused_field};

fn by_index(index: u64, tree_size: u64) -> GetInclusionProofRequest {
    GetInclusionProofRequest { target: Some(Target::Index(index)), tree_size, ..Default::default() }
}

fn by_hash(leaf: &[u8], tree_size: u64) -> GetInclusionProofRequest {
    let target = Some(Target::LeafHash(leaf.to_vec().into()));
    GetInclusionProofRequest { target, tree_size, ..Default::default() }
}

fn of_many(indices: Vec<u64>, tree_size: u64) -> GetMultiInclusionProofRequest {
    GetMultiInclusionProofRequest { indices, tree_size, ..Default::default() }
}

fn sizes(first_size: u64, second_size: u64) -> GetConsistencyProofRequest {
    GetConsistencyProofRequest { first_size, second_size, ..Default::default() }
}

fn range(first: u64, count: u64) -> GetEntriesRequest {
    GetEntriesRequest { first, count, ..Default::default() }
}

/// The root of the tree of the first `size` entries that tests append.
fn root(size: u64) -> Hash {
    let mut frontier = graven_merkle::Frontier::new();
    frontier.append((0..size).map(|n| leaf_hash(&entry(n))));
    frontier.root()
}

fn index(n: u64) -> LeafIndex {
    LeafIndex::new(n).unwrap()
}

fn size(n: u64) -> TreeSize {
    TreeSize::new(n).unwrap()
}

#[tokio::test]
async fn every_entry_is_proven_in_the_newest_tree_and_in_older_ones() {
    let service = Service::start().await;
    service.fill(700).await;
    for n in [0, 1, 255, 256, 511, 699] {
        let answer = service.client().get_inclusion_proof(by_index(n, 0)).await.unwrap().into_inner();
        let head = service.verified(answer.head);
        let proof = answer.proof.unwrap();
        assert_eq!(
            (proof.index, proof.tree_size, answer.leaf_hash.as_ref()),
            (n, 700, &leaf_hash(&entry(n)).as_bytes()[..])
        );
        let checkpoint = head.checkpoint();
        verify_inclusion(
            leaf_hash(&entry(n)),
            index(n),
            size(700),
            &proof.to_merkle().unwrap(),
            checkpoint.root(),
        )
        .unwrap();

        let older = service.client().get_inclusion_proof(by_index(n, n + 1)).await.unwrap().into_inner();
        assert_eq!(older.head, None);
        let proof = older.proof.unwrap().to_merkle().unwrap();
        verify_inclusion(leaf_hash(&entry(n)), index(n), size(n + 1), &proof, &root(n + 1)).unwrap();

        let request = GetEntryAndProofRequest { index: n, ..Default::default() };
        let answer = service.client().get_entry_and_proof(request).await.unwrap().into_inner();
        let proof = answer.proof.unwrap().to_merkle().unwrap();
        assert_eq!(answer.entry, entry(n));
        let head = service.verified(answer.head);
        verify_inclusion(leaf_hash(&answer.entry), index(n), size(700), &proof, head.checkpoint().root())
            .unwrap();
    }
    service.stop().await;
}

#[tokio::test]
async fn many_entries_are_proven_at_once() {
    let service = Service::start().await;
    service.fill(2000).await;
    for indices in [vec![0], vec![3, 17, 90, 255, 256, 1999], (400..1424).collect::<Vec<_>>()] {
        let answer = service
            .client()
            .get_multi_inclusion_proof(of_many(indices.clone(), 0))
            .await
            .unwrap()
            .into_inner();
        let head = service.verified(answer.head);
        let leaves: Vec<_> = indices.iter().map(|n| leaf_hash(&entry(*n))).collect();
        let told: Vec<_> = answer.leaf_hashes.iter().map(|leaf| Hash::try_from(&leaf[..]).unwrap()).collect();
        assert_eq!(told, leaves);
        let proof = answer.proof.unwrap().to_merkle().unwrap();
        let indices: Vec<_> = indices.into_iter().map(index).collect();
        verify_multi(&indices, &leaves, size(2000), &proof, head.checkpoint().root()).unwrap();
    }
    service.stop().await;
}

#[tokio::test]
async fn trees_are_proven_to_grow() {
    let service = Service::start().await;
    service.fill(600).await;
    for (first, second) in [(0, 0), (1, 0), (255, 0), (256, 512), (600, 600), (0, 600), (7, 8)] {
        let answer = service.client().get_consistency_proof(sizes(first, second)).await.unwrap().into_inner();
        assert_eq!(answer.head.is_some(), second == 0);
        let second = if second == 0 { 600 } else { second };
        let proof = answer.proof.unwrap();
        assert_eq!((proof.first_size, proof.second_size), (first, second));
        let proof = proof.to_merkle().unwrap();
        verify_consistency(size(first), &root(first), size(second), &root(second), &proof).unwrap();
    }
    service.stop().await;
}

#[tokio::test]
async fn ranges_come_whole_in_messages_of_bounded_size() {
    let service = Service::start().await;
    let heavy: Vec<_> = (0..100_u8).map(|n| vec![n; 60_000].into()).collect();
    for entries in heavy.chunks(25) {
        let request = AppendBatchRequest { entries: entries.to_vec(), ..Default::default() };
        service.client().append_batch(request).await.unwrap();
    }
    service.engine.published(&service.log, 100).await.unwrap();
    let mut answers = service.client().get_entries(range(3, 90)).await.unwrap().into_inner();
    let mut next = 3;
    let mut messages = 0;
    while let Some(message) = answers.message().await.unwrap() {
        assert_eq!(message.first_index, next as u64);
        assert!(message.entries.iter().map(|entry| entry.len()).sum::<usize>() <= RANGE_MESSAGE_BYTES);
        for entry in message.entries {
            assert_eq!(entry, heavy[next]);
            next += 1;
        }
        messages += 1;
    }
    assert_eq!((next, messages), (93, 6));
    service.stop().await;
}

#[tokio::test]
async fn what_is_beyond_the_tree_is_refused_with_its_size() {
    let service = Service::start().await;
    let mut client = service.client();
    let refusal = refused_field(
        client.get_inclusion_proof(by_index(0, 0)).await,
        ErrorReason::IndexBeyondTree,
        "index",
    );
    assert_eq!(refusal.number("size"), Some(0));
    service.fill(10).await;
    let beyond_index = [
        refused_field(
            client.get_inclusion_proof(by_index(10, 0)).await,
            ErrorReason::IndexBeyondTree,
            "index",
        ),
        refused_field(
            client.get_inclusion_proof(by_index(5, 5)).await,
            ErrorReason::IndexBeyondTree,
            "index",
        ),
        refused_field(
            client.get_inclusion_proof(by_index(u64::MAX, 0)).await,
            ErrorReason::IndexBeyondTree,
            "index",
        ),
        refused_field(
            client.get_multi_inclusion_proof(of_many(vec![1, 10], 0)).await,
            ErrorReason::IndexBeyondTree,
            "indices[1]",
        ),
        refused_field(
            client.get_entry_and_proof(GetEntryAndProofRequest { index: 10, ..Default::default() }).await,
            ErrorReason::IndexBeyondTree,
            "index",
        ),
        refused_field(client.get_entries(range(10, 1)).await, ErrorReason::IndexBeyondTree, "first"),
        refused_field(client.get_entries(range(9, 2)).await, ErrorReason::IndexBeyondTree, "count"),
        refused_field(client.get_entries(range(u64::MAX, 2)).await, ErrorReason::IndexBeyondTree, "first"),
    ];
    let beyond_size = [
        refused_field(
            client.get_inclusion_proof(by_index(0, 11)).await,
            ErrorReason::SizeBeyondTree,
            "tree_size",
        ),
        refused_field(
            client.get_inclusion_proof(by_index(0, u64::MAX)).await,
            ErrorReason::SizeBeyondTree,
            "tree_size",
        ),
        refused_field(
            client.get_multi_inclusion_proof(of_many(vec![0], 11)).await,
            ErrorReason::SizeBeyondTree,
            "tree_size",
        ),
        refused_field(
            client.get_consistency_proof(sizes(1, 11)).await,
            ErrorReason::SizeBeyondTree,
            "second_size",
        ),
        refused_field(
            client.get_consistency_proof(sizes(11, 0)).await,
            ErrorReason::SizeBeyondTree,
            "first_size",
        ),
    ];
    for refusal in beyond_index.into_iter().chain(beyond_size) {
        assert_eq!(refusal.number("size"), Some(10), "{refusal:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn what_can_never_be_right_is_an_invalid_argument() {
    let service = Service::start().await;
    service.fill(10).await;
    let mut client = service.client();
    refused_field(client.get_consistency_proof(sizes(5, 4)).await, ErrorReason::SizesReversed, "first_size");
    refused_field(
        client.get_inclusion_proof(GetInclusionProofRequest::default()).await,
        ErrorReason::FieldRequired,
        "target",
    );
    refused_field(
        client.get_inclusion_proof(by_hash(&[7; 31], 0)).await,
        ErrorReason::LeafHashInvalid,
        "leaf_hash",
    );
    refused_field(
        client.get_multi_inclusion_proof(of_many(vec![], 0)).await,
        ErrorReason::IndicesEmpty,
        "indices",
    );
    for unsorted in [vec![2, 1], vec![1, 1]] {
        refused_field(
            client.get_multi_inclusion_proof(of_many(unsorted, 0)).await,
            ErrorReason::IndicesUnsorted,
            "indices",
        );
    }
    let many = (0..=MAX_PROOF_INDICES as u64).collect();
    let refusal = refused_field(
        client.get_multi_inclusion_proof(of_many(many, 0)).await,
        ErrorReason::IndicesTooMany,
        "indices",
    );
    assert_eq!(refusal.number("limit"), Some(1024));
    refused_field(client.get_entries(range(0, 0)).await, ErrorReason::RangeEmpty, "count");
    let refusal = refused_field(
        client.get_entries(range(0, MAX_RANGE_ENTRIES + 1)).await,
        ErrorReason::RangeTooLarge,
        "count",
    );
    assert_eq!(refusal.number("limit"), Some(65_536));
    service.stop().await;
}

#[tokio::test]
async fn heads_are_followed_from_the_newest_on() {
    let mut service = Service::start().await;
    service.fill(5).await;
    let head = service.client().get_tree_head(GetTreeHeadRequest::default()).await.unwrap().into_inner().head;
    let mut heads =
        service.client().watch_tree_heads(WatchTreeHeadsRequest::default()).await.unwrap().into_inner();
    assert_eq!(heads.message().await.unwrap().unwrap().head, head);
    let mut size = service.verified(head).checkpoint().size();
    for n in 5..10 {
        service.client().append(append_request(entry(n))).await.unwrap();
        while size.get() <= n {
            let next = service.verified(heads.message().await.unwrap().unwrap().head).checkpoint().size();
            assert!(next >= size);
            size = next;
        }
    }
    // One that did not read misses what was in between, and still gets the newest.
    service.fill(500).await;
    service.begin_stop();
    let mut last = size.get();
    let end = loop {
        match heads.message().await {
            Ok(Some(message)) => last = message.head.unwrap().size,
            other => break other,
        }
    };
    assert!(last > size.get(), "{last} after {size:?}: {end:?}");
    assert!(refused(end, ErrorReason::ShuttingDown).retry_after().is_some());
    drop(heads);
    service.stop().await;
}

/// Knows the first `covered` entries, by asking the log itself.
struct Knows {
    engine: std::sync::OnceLock<Arc<Engine>>,
    covered: u64,
    lies: bool,
}

impl LeafLookup for Knows {
    fn find(&self, log: &str, leaf: &Hash) -> Result<Sought, LookupError> {
        let engine = self.engine.get().ok_or_else(|| LookupError("not there".to_owned()))?;
        let log = engine.log(log).unwrap();
        let found = (0..self.covered).map(index).find(|n| log.leaf_hash(*n).unwrap() == *leaf);
        let found = if self.lies { Some(index(0)) } else { found };
        Ok(Sought { index: found, covered: size(self.covered) })
    }

    fn covered(&self, _: &str) -> Option<TreeSize> {
        Some(size(self.covered))
    }
}

async fn with_lookup(covered: u64, lies: bool) -> (Service, Arc<Knows>) {
    let lookup = Arc::new(Knows { engine: std::sync::OnceLock::new(), covered, lies });
    let options = ServerOptions { lookup: Some(lookup.clone()), ..ServerOptions::default() };
    let service = Service::start_with(crate::service::config(), options).await;
    service.fill(10).await;
    (service, lookup)
}

#[tokio::test]
async fn entries_are_found_by_their_leaf_hash_as_far_as_the_index_goes() {
    let (service, lookup) = with_lookup(8, false).await;
    let mut client = service.client();
    let hash = |n| *leaf_hash(&entry(n)).as_bytes();
    let refusal =
        refused(client.get_inclusion_proof(by_hash(&hash(3), 0)).await, ErrorReason::LeafIndexBehind);
    assert_eq!(refusal.number("position"), Some(0), "an index that cannot be read knows nothing");
    assert!(lookup.engine.set(service.engine.clone()).is_ok());

    let answer = client.get_inclusion_proof(by_hash(&hash(3), 0)).await.unwrap().into_inner();
    let head = service.verified(answer.head);
    let proof = answer.proof.unwrap();
    assert_eq!((proof.index, &answer.leaf_hash[..]), (3, &hash(3)[..]));
    verify_inclusion(
        leaf_hash(&entry(3)),
        index(3),
        size(10),
        &proof.to_merkle().unwrap(),
        head.checkpoint().root(),
    )
    .unwrap();

    let refusal =
        refused(client.get_inclusion_proof(by_hash(&hash(9), 0)).await, ErrorReason::LeafIndexBehind);
    assert_eq!(refusal.number("position"), Some(8));
    assert!(refusal.retry_after().is_some());
    for (leaf, tree_size) in [(hash(9), 8), (hash(3), 3), ([7; 32], 8)] {
        let answer = client.get_inclusion_proof(by_hash(&leaf, tree_size)).await;
        refused_field(answer, ErrorReason::LeafHashNotFound, "leaf_hash");
    }
    service.stop().await;
}

#[tokio::test]
async fn an_index_that_is_wrong_is_not_believed() {
    let (service, lookup) = with_lookup(10, true).await;
    assert!(lookup.engine.set(service.engine.clone()).is_ok());
    let leaf = leaf_hash(&entry(3));
    let answer = service.client().get_inclusion_proof(by_hash(leaf.as_bytes(), 0)).await;
    refused(answer, ErrorReason::LeafIndexBehind);
    service.stop().await;
}
