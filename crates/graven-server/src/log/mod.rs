//! `LogService`: one module for each family of calls.

pub(crate) mod append;
pub(crate) mod claim;
mod entries;
mod heads;
mod proofs;
mod stream;
pub(crate) mod wait;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use graven_proto::v1::log_service_server::LogService;
use graven_proto::v1::{
    AppendBatchRequest, AppendBatchResponse, AppendRequest, AppendResponse, AppendStreamRequest,
    AppendStreamResponse, GetConsistencyProofRequest, GetConsistencyProofResponse, GetEntriesRequest,
    GetEntriesResponse, GetEntryAndProofRequest, GetEntryAndProofResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, GetMultiInclusionProofRequest, GetMultiInclusionProofResponse,
    GetTreeHeadRequest, GetTreeHeadResponse, ListKeyRotationsRequest, ListKeyRotationsResponse,
    WatchTreeHeadsRequest, WatchTreeHeadsResponse,
};
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;

/// The service.
pub(crate) struct LogApi {
    core: Arc<Core>,
}

/// The answer of a call, or the status of its refusal.
type Answer<T> = Result<Response<T>, Status>;
/// A stream of answers.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl LogApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl LogService for LogApi {
    async fn append(&self, request: Request<AppendRequest>) -> Answer<AppendResponse> {
        append::one(&self.core, request).await.map(Response::new)
    }

    async fn append_batch(&self, request: Request<AppendBatchRequest>) -> Answer<AppendBatchResponse> {
        append::batch(&self.core, request).await.map(Response::new)
    }

    type AppendStreamStream = Answers<AppendStreamResponse>;

    async fn append_stream(
        &self,
        request: Request<Streaming<AppendStreamRequest>>,
    ) -> Answer<Self::AppendStreamStream> {
        stream::open(&self.core, request).await.map(Response::new)
    }

    async fn get_tree_head(&self, request: Request<GetTreeHeadRequest>) -> Answer<GetTreeHeadResponse> {
        heads::newest(&self.core, &request).map(Response::new)
    }

    async fn list_key_rotations(
        &self,
        request: Request<ListKeyRotationsRequest>,
    ) -> Answer<ListKeyRotationsResponse> {
        heads::rotations(&self.core, &request).map(Response::new)
    }

    type WatchTreeHeadsStream = Answers<WatchTreeHeadsResponse>;

    async fn watch_tree_heads(
        &self,
        request: Request<WatchTreeHeadsRequest>,
    ) -> Answer<Self::WatchTreeHeadsStream> {
        heads::watch(&self.core, &request).map(Response::new)
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Answer<GetInclusionProofResponse> {
        proofs::inclusion(&self.core, request).await.map(Response::new)
    }

    async fn get_multi_inclusion_proof(
        &self,
        request: Request<GetMultiInclusionProofRequest>,
    ) -> Answer<GetMultiInclusionProofResponse> {
        proofs::multi(&self.core, request).await.map(Response::new)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Answer<GetConsistencyProofResponse> {
        proofs::consistency(&self.core, &request).map(Response::new)
    }

    type GetEntriesStream = Answers<GetEntriesResponse>;

    async fn get_entries(&self, request: Request<GetEntriesRequest>) -> Answer<Self::GetEntriesStream> {
        entries::range(&self.core, &request).map(Response::new)
    }

    async fn get_entry_and_proof(
        &self,
        request: Request<GetEntryAndProofRequest>,
    ) -> Answer<GetEntryAndProofResponse> {
        entries::with_proof(&self.core, request).await.map(Response::new)
    }
}
