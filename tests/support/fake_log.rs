//! A log in memory behind the real wire interface, which lies on command: for the client's own tests.

use bytes::Bytes;
use graven_merkle::{
    Frontier, Hash, HashReader, LeafIndex, NodeId, TreeSize, leaf_hash, prove_consistency, prove_inclusion,
    prove_multi, root,
};
use graven_note::{
    Checkpoint, KeyName, LocalSigner, Origin, SignatureType, Signer, TlogProof, sign_checkpoint,
};
use graven_proto::{
    Refusal, convert,
    v1::{
        self, ErrorReason, Wait,
        append_stream_request::Message,
        get_inclusion_proof_request::Target,
        log_service_server::{LogService, LogServiceServer},
    },
};
use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

pub(crate) const ORIGIN: &str = "example.com/audit";

/// What the log does wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Lie {
    #[default]
    Nothing,
    /// Acknowledges another leaf hash than the entry's.
    LeafHash,
    /// Hands out bundles and proofs of the entry before.
    OtherProof,
    /// Serves this entry with a bit flipped.
    Flip(u64),
    /// Offers the head of its first entries only.
    Shrink(u64),
    /// Signs a root that is not its tree's.
    Fork,
    /// Signs with a key of its own.
    OtherKey,
    /// Appends, but loses the answer this many times.
    LoseAnswers(u32),
    /// Breaks append streams after this many acknowledgements.
    BreakStream(u64),
    /// Refuses every append for this reason, as often as given.
    Refuse(ErrorReason, u32),
}

/// A log, its key, and how it lies.
#[derive(Clone)]
pub(crate) struct FakeLog(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) entries: Vec<Bytes>,
    pub(crate) lie: Lie,
    /// How many appends came, repeats included.
    pub(crate) appends: u32,
    /// Of the key that signs.
    pub(crate) seed: u8,
    /// What it tells of its rotations.
    pub(crate) rotations: Vec<v1::KeyRotation>,
    nodes: HashMap<NodeId, Hash>,
    frontier: Frontier,
    keys: HashMap<String, u64>,
}

impl HashReader for State {
    type Error = Infallible;
    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids.iter().map(|id| self.nodes[id]).collect())
    }
}

pub(crate) fn signer(seed: u8) -> LocalSigner {
    LocalSigner::generate(KeyName::new(ORIGIN).unwrap(), SignatureType::EcdsaP256, &[seed; 32]).unwrap()
}

impl FakeLog {
    pub(crate) fn new(entries: u64) -> Self {
        let (entries_now, nodes, keys) = (Vec::new(), HashMap::new(), HashMap::new());
        let frontier = Frontier::new();
        let (lie, appends, seed, rotations) = (Lie::Nothing, 0, 1, Vec::new());
        let state = State { entries: entries_now, lie, appends, seed, rotations, nodes, frontier, keys };
        let log = Self(Arc::new(Mutex::new(state)));
        for index in 0..entries {
            log.state().push(format!("entry {index}").into());
        }
        log
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn lie(&self, lie: Lie) {
        self.state().lie = lie;
    }

    pub(crate) fn vkey() -> String {
        signer(1).vkey().to_string()
    }

    /// Listens on a free loopback port and answers the address.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = LogServiceServer::new(self.clone());
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }
}

impl State {
    pub(crate) fn push(&mut self, entry: Bytes) -> u64 {
        let Self { frontier, nodes, entries, .. } = self;
        frontier.push_with(leaf_hash(&entry), |id, hash| {
            nodes.insert(id, hash);
        });
        entries.push(entry);
        u64::try_from(entries.len()).unwrap() - 1
    }

    fn push_once(&mut self, entry: Bytes, key: String) -> (u64, bool) {
        if let Some(index) = self.keys.get(&key).filter(|_| !key.is_empty()) {
            return (*index, true);
        }
        let index = self.push(entry);
        self.keys.insert(key, index);
        (index, false)
    }

    fn size(&self) -> TreeSize {
        match self.lie {
            Lie::Shrink(size) => TreeSize::new(size).unwrap(),
            _ => self.frontier.size(),
        }
    }

    fn size_of(&self, asked: u64) -> TreeSize {
        if asked == 0 { self.size() } else { TreeSize::new(asked).unwrap() }
    }

    pub(crate) fn head(&self) -> v1::TreeHead {
        let size = self.size();
        let root = if self.lie == Lie::Fork { leaf_hash(b"fork") } else { root(self, size).unwrap() };
        let checkpoint = Checkpoint::new(Origin::new(ORIGIN).unwrap(), size, root);
        let signer = signer(if self.lie == Lie::OtherKey { 2 } else { self.seed });
        let note = sign_checkpoint(&checkpoint, &[&signer], 1_700_000_000).unwrap();
        v1::TreeHead { checkpoint: note.as_str().to_owned().into(), ..Default::default() }
    }

    fn head_if_newest(&self, asked: u64) -> Option<v1::TreeHead> {
        (asked == 0).then(|| self.head())
    }

    fn inclusion(&self, index: u64, asked: u64) -> v1::InclusionProof {
        let size = self.size_of(asked);
        let proven = LeafIndex::new(if self.lie == Lie::OtherProof { index - 1 } else { index }).unwrap();
        let proof = prove_inclusion(self, proven, size).unwrap();
        v1::InclusionProof::from_merkle(LeafIndex::new(index).unwrap(), size, &proof)
    }

    pub(crate) fn multi(&self, indices: &[u64], asked: u64) -> v1::MultiInclusionProof {
        let size = self.size_of(asked);
        let indices: Vec<_> = indices.iter().map(|index| LeafIndex::new(*index).unwrap()).collect();
        v1::MultiInclusionProof::from_merkle(&indices, size, &prove_multi(self, &indices, size).unwrap())
    }

    pub(crate) fn bundle(&self, index: u64) -> Bytes {
        let index = if self.lie == Lie::OtherProof { index - 1 } else { index };
        let index = LeafIndex::new(index).unwrap();
        let proof = prove_inclusion(self, index, self.size()).unwrap();
        let head = self.head().checkpoint;
        TlogProof::new(index, proof, String::from_utf8(head.to_vec()).unwrap()).unwrap().to_string().into()
    }

    fn served(&self, index: u64) -> Bytes {
        let entry = self.entries[usize::try_from(index).unwrap()].clone();
        if self.lie != Lie::Flip(index) {
            return entry;
        }
        let mut flipped = entry.to_vec();
        flipped[0] ^= 1;
        flipped.into()
    }

    fn refuse(&mut self) -> Result<(), Status> {
        self.appends += 1;
        let Lie::Refuse(reason, times) = self.lie.clone() else { return Ok(()) };
        if times == 0 {
            return Ok(());
        }
        self.lie = Lie::Refuse(reason, times - 1);
        let refusal = Refusal::new(reason, "refused for the test");
        Err(refusal.with_retry_after(std::time::Duration::from_millis(5)).into())
    }

    fn lose_answer(&mut self) -> Result<(), Status> {
        let Lie::LoseAnswers(times @ 1..) = self.lie else { return Ok(()) };
        self.lie = Lie::LoseAnswers(times - 1);
        Err(Refusal::new(ErrorReason::ShuttingDown, "draining").into())
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn now() -> Option<prost_types::Timestamp> {
    Some(SystemTime::now().into())
}

#[tonic::async_trait]
impl LogService for FakeLog {
    type AppendStreamStream = Answers<v1::AppendStreamResponse>;
    type WatchTreeHeadsStream = Answers<v1::WatchTreeHeadsResponse>;
    type GetEntriesStream = Answers<v1::GetEntriesResponse>;

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        assert_eq!(request.idempotency_key.is_empty(), request.idempotency_issued_at.is_none());
        state.refuse()?;
        let hash = leaf_hash(if state.lie == Lie::LeafHash { b"other" } else { &request.entry });
        let published = request.wait() == Wait::Published;
        let (index, duplicate) = state.push_once(request.entry, request.idempotency_key);
        state.lose_answer()?;
        let proof = if published { state.bundle(index) } else { Bytes::new() };
        let leaf_hash = convert::hash_bytes(&hash);
        Ok(Response::new(v1::AppendResponse { index, leaf_hash, log_time: now(), duplicate, proof }))
    }

    async fn append_batch(
        &self,
        request: Request<v1::AppendBatchRequest>,
    ) -> Result<Response<v1::AppendBatchResponse>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.refuse()?;
        let published = request.wait() == Wait::Published;
        let count = u64::try_from(request.entries.len()).unwrap();
        let indices: Vec<_> = request.entries.into_iter().map(|entry| state.push(entry)).collect();
        let (head, proof) = match published {
            true => (Some(state.head()), Some(state.multi(&indices, 0))),
            false => (None, None),
        };
        let first_index = indices[0];
        let answer =
            v1::AppendBatchResponse { first_index, count, log_time: now(), duplicate: false, head, proof };
        Ok(Response::new(answer))
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<v1::AppendStreamRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let (log, mut messages) = (self.clone(), request.into_inner());
        let opened = messages.message().await?.and_then(|message| message.message);
        let Some(Message::Open(open)) = opened else { return Err(Status::invalid_argument("no open")) };
        let published = open.wait() == Wait::Published;
        let mut came = 0;
        let answers = messages.map(move |message| {
            let Some(Message::Entry(entry)) = message?.message else {
                return Err(Status::internal("no entry"));
            };
            let mut state = log.state();
            came += 1;
            if matches!(state.lie, Lie::BreakStream(after) if came > after) {
                return Err(Refusal::new(ErrorReason::ShuttingDown, "draining").into());
            }
            let (first_index, duplicate) = state.push_once(entry.entry, entry.idempotency_key);
            let head = published.then(|| state.head());
            let seq = if state.lie == Lie::LeafHash { entry.seq + 1 } else { entry.seq };
            Ok(v1::AppendStreamResponse { seq, count: 1, first_index, log_time: now(), duplicate, head })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_tree_head(
        &self,
        _: Request<v1::GetTreeHeadRequest>,
    ) -> Result<Response<v1::GetTreeHeadResponse>, Status> {
        Ok(Response::new(v1::GetTreeHeadResponse { head: Some(self.state().head()), witnesses: None }))
    }

    async fn watch_tree_heads(
        &self,
        _: Request<v1::WatchTreeHeadsRequest>,
    ) -> Result<Response<Self::WatchTreeHeadsStream>, Status> {
        let log = self.clone();
        let heads = tokio_stream::iter(0..u64::MAX).map(move |turn| {
            let mut state = log.state();
            if turn > 0 && state.lie == Lie::Nothing {
                state.push(format!("later {turn}").into());
            }
            Ok(v1::WatchTreeHeadsResponse { head: Some(state.head()) })
        });
        Ok(Response::new(Box::pin(heads.throttle(std::time::Duration::from_millis(5)))))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        let index = match request.target {
            Some(Target::Index(index)) => index,
            Some(Target::LeafHash(hash)) => {
                let found = state.entries.iter().position(|entry| leaf_hash(entry).as_ref() == hash.as_ref());
                found.and_then(|index| u64::try_from(index).ok()).unwrap()
            }
            None => return Err(Status::invalid_argument("no target")),
        };
        if index >= state.size().get() {
            let refusal = Refusal::new(ErrorReason::IndexBeyondTree, "beyond the tree");
            return Err(refusal.with_fact("size", state.size()).into());
        }
        Ok(Response::new(v1::GetInclusionProofResponse {
            proof: Some(state.inclusion(index, request.tree_size)),
            leaf_hash: convert::hash_bytes(&leaf_hash(&state.served(index))),
            head: state.head_if_newest(request.tree_size),
        }))
    }

    async fn get_multi_inclusion_proof(
        &self,
        request: Request<v1::GetMultiInclusionProofRequest>,
    ) -> Result<Response<v1::GetMultiInclusionProofResponse>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        let hash = |index: &u64| convert::hash_bytes(&leaf_hash(&state.served(*index)));
        Ok(Response::new(v1::GetMultiInclusionProofResponse {
            proof: Some(state.multi(&request.indices, request.tree_size)),
            leaf_hashes: request.indices.iter().map(hash).collect(),
            head: state.head_if_newest(request.tree_size),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        let (from, to) = (TreeSize::new(request.first_size).unwrap(), state.size_of(request.second_size));
        let proof = prove_consistency(&*state, from, to).unwrap();
        Ok(Response::new(v1::GetConsistencyProofResponse {
            proof: Some(v1::ConsistencyProof::from_merkle(from, to, &proof)),
            head: state.head_if_newest(request.second_size),
        }))
    }

    async fn get_entries(
        &self,
        request: Request<v1::GetEntriesRequest>,
    ) -> Result<Response<Self::GetEntriesStream>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        let indices: Vec<_> = (request.first..request.first + request.count).collect();
        let messages: Vec<_> = indices
            .chunks(100)
            .map(|part| v1::GetEntriesResponse {
                first_index: part[0],
                entries: part.iter().map(|index| state.served(*index)).collect(),
            })
            .map(Ok)
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn get_entry_and_proof(
        &self,
        request: Request<v1::GetEntryAndProofRequest>,
    ) -> Result<Response<v1::GetEntryAndProofResponse>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        Ok(Response::new(v1::GetEntryAndProofResponse {
            entry: state.served(request.index),
            proof: Some(state.inclusion(request.index, request.tree_size)),
            head: state.head_if_newest(request.tree_size),
        }))
    }

    async fn list_key_rotations(
        &self,
        request: Request<v1::ListKeyRotationsRequest>,
    ) -> Result<Response<v1::ListKeyRotationsResponse>, Status> {
        let (state, skip) = (self.state(), usize::try_from(request.get_ref().skip).unwrap());
        let total = u32::try_from(state.rotations.len()).unwrap();
        let rotations = state.rotations.iter().skip(skip).take(1).cloned().collect();
        Ok(Response::new(v1::ListKeyRotationsResponse { rotations, total }))
    }
}
