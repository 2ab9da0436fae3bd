//! The calls that a load consists of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use graven_proto::v1::get_inclusion_proof_request::Target;
use graven_proto::v1::{
    AppendBatchRequest, AppendRequest, AppendResponse, GetInclusionProofRequest, GetInclusionProofResponse,
    GetMultiInclusionProofRequest, Wait,
};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::Status;
use tonic_prost::ProstCodec;

use crate::echo;
use crate::load::{Call, Link};

/// Entries that do not compress, no two of them equal.
#[derive(Clone)]
pub(crate) struct Entries {
    template: Bytes,
    made: Arc<AtomicU64>,
}

/// Numbers that nobody foresees.
#[derive(Clone, Default)]
pub(crate) struct Random(Arc<AtomicU64>);

impl Entries {
    pub(crate) fn of(entry_bytes: usize) -> Self {
        Self { template: random_bytes(entry_bytes).into(), made: Arc::default() }
    }

    pub(crate) fn one(&self) -> Bytes {
        self.many(1).remove(0)
    }

    pub(crate) fn many(&self, count: usize) -> Vec<Bytes> {
        let first = self.made.fetch_add(count as u64, Ordering::Relaxed);
        let mut all = BytesMut::with_capacity(count * self.template.len());
        for number in (first..).take(count) {
            all.extend_from_slice(&number.to_le_bytes());
            all.extend_from_slice(&self.template[8..]);
        }
        let mut all = all.freeze();
        (0..count).map(|_| all.split_to(self.template.len())).collect()
    }
}

impl Random {
    /// SplitMix64 of a counter.
    pub(crate) fn below(&self, end: u64) -> u64 {
        let mut x = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

/// E with the bytes of an append.
pub(crate) fn echo_append(entry_bytes: usize) -> impl Call {
    let entries = Entries::of(entry_bytes);
    move |link: Link| {
        let request = AppendRequest { entry: entries.one(), ..AppendRequest::default() };
        call_echo::<_, AppendResponse>(link, echo::APPEND, request)
    }
}

pub(crate) fn append(entry_bytes: usize) -> impl Call {
    let entries = Entries::of(entry_bytes);
    move |link: Link| {
        let request = AppendRequest { entry: entries.one(), ..AppendRequest::default() };
        async move { link.log().append(link.request(request)).await.map(drop) }
    }
}

/// An append that waits for more than its own durability.
pub(crate) fn append_waiting(entry_bytes: usize, wait: Wait) -> impl Call {
    let entries = Entries::of(entry_bytes);
    move |link: Link| {
        let entry = entries.one();
        let request = AppendRequest { entry, wait: wait.into(), ..AppendRequest::default() };
        async move { link.log().append(link.request(request)).await.map(drop) }
    }
}

pub(crate) fn append_batch(entry_bytes: usize, count: usize) -> impl Call {
    let entries = Entries::of(entry_bytes);
    move |link: Link| {
        let request = AppendBatchRequest { entries: entries.many(count), ..AppendBatchRequest::default() };
        async move { link.log().append_batch(link.request(request)).await.map(drop) }
    }
}

/// E with the bytes of a proof.
pub(crate) fn echo_prove(size: u64) -> impl Call {
    let random = Random::default();
    move |link: Link| {
        call_echo::<_, GetInclusionProofResponse>(link, echo::PROVE, proof_of(random.below(size)))
    }
}

/// A proof for a random entry of the first `size`, in the newest tree.
pub(crate) fn prove(size: u64) -> impl Call {
    let random = Random::default();
    move |link: Link| {
        let index = random.below(size);
        async move {
            let answer = link.log().get_inclusion_proof(link.request(proof_of(index))).await?.into_inner();
            assert!(answer.proof.is_some_and(|proof| proof.index == index), "another entry was proven");
            Ok(())
        }
    }
}

/// One proof for `count` random entries of the first `size`.
pub(crate) fn prove_many(size: u64, count: usize) -> impl Call {
    let random = Random::default();
    move |link: Link| {
        let mut indices = BTreeSet::new();
        while indices.len() < count {
            indices.insert(random.below(size));
        }
        prove_indices(link, indices.into_iter().collect())
    }
}

/// One proof for `count` entries side by side.
pub(crate) fn prove_run(size: u64, count: usize) -> impl Call {
    let random = Random::default();
    move |link: Link| {
        let first = random.below(size - count as u64);
        prove_indices(link, (first..).take(count).collect())
    }
}

pub(crate) fn proof_of(index: u64) -> GetInclusionProofRequest {
    let target = Some(Target::Index(index));
    GetInclusionProofRequest { target, ..GetInclusionProofRequest::default() }
}

async fn prove_indices(link: Link, indices: Vec<u64>) -> Result<(), Status> {
    let request = GetMultiInclusionProofRequest { indices, ..GetMultiInclusionProofRequest::default() };
    link.log().get_multi_inclusion_proof(link.request(request)).await.map(drop)
}

pub(crate) async fn call_echo<Q, A>(link: Link, path: &'static str, message: Q) -> Result<(), Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(link.channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Q, A>::default();
    grpc.unary(link.request(message), PathAndQuery::from_static(path), codec).await.map(drop)
}

/// Bytes that do not compress.
pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).expect("the system has entropy");
    bytes
}
