//! `WitnessService`: for witnesses that come to the log.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use graven_log::{CosignError, Log, ReadError};
use graven_merkle::TreeSize;
use graven_proto::Refusal;
use graven_proto::limits::MAX_COSIGNATURES;
use graven_proto::v1::witness_service_server::WitnessService;
use graven_proto::v1::{
    AddCosignatureRequest, AddCosignatureResponse, ConsistencyProof, ErrorReason,
    GetPendingConsistencyRequest, GetPendingConsistencyResponse, WatchPendingRequest, WatchPendingResponse,
};
use tonic::{Request, Response, Status};

use super::signature_lines;
use crate::access::Permission;
use crate::core::{Core, blocking};
use crate::message::tree_head;
use crate::refusal;

/// The service.
pub(crate) struct WitnessApi {
    core: Arc<Core>,
}

impl WitnessApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The log that a request names, if it has witnesses and this may be one of them.
    fn open_log<T>(&self, request: &Request<T>, name: &str) -> Result<Arc<Log>, Status> {
        let log = self.core.open_log(request, name, Permission::Witness)?;
        if log.witness_policy().is_none() {
            return Err(refusal::no_policy().with_field("log").into());
        }
        Ok(log)
    }
}

#[tonic::async_trait]
impl WitnessService for WitnessApi {
    type WatchPendingStream = BoxStream<'static, Result<WatchPendingResponse, Status>>;

    /// Nothing is buffered: a witness that was away gets the newest head when it comes back.
    async fn watch_pending(
        &self,
        request: Request<WatchPendingRequest>,
    ) -> Result<Response<Self::WatchPendingStream>, Status> {
        let log = self.open_log(&request, &request.get_ref().log)?;
        let mut pending = log.watch_pending().ok_or_else(refusal::no_policy)?;
        pending.mark_changed();
        let following = stream::try_unfold(
            (pending, self.core.draining.clone()),
            |(mut pending, mut draining)| async move {
                tokio::select! {
                    biased;
                    _ = draining.wait_for(|draining| *draining) => return Err(refusal::shutting_down().into()),
                    changed = pending.changed() => if changed.is_err() {
                        return Err(refusal::shutting_down().into());
                    },
                }
                let shown = pending.borrow_and_update().clone();
                let message = WatchPendingResponse {
                    head: Some(tree_head(&shown.head)),
                    witnessed: shown.is_witnessed,
                };
                Ok(Some((message, (pending, draining))))
            },
        );
        Ok(Response::new(following.boxed()))
    }

    async fn get_pending_consistency(
        &self,
        request: Request<GetPendingConsistencyRequest>,
    ) -> Result<Response<GetPendingConsistencyResponse>, Status> {
        let log = self.open_log(&request, &request.get_ref().log)?;
        let asked = request.into_inner();
        let size = |size| TreeSize::new(size).unwrap_or(TreeSize::MAX);
        let (from, to) = (size(asked.first_size), size(asked.second_size));
        let proof = blocking(move || {
            log.pending_consistency(from, to).map_err(|error| match error {
                ReadError::OutOfRange { size, .. } => {
                    Refusal::new(ErrorReason::SizeBeyondTree, error.to_string())
                        .with_fact("size", size)
                        .into()
                }
                other => refusal::read(&other).into(),
            })
        })
        .await?;
        let proof = Some(ConsistencyProof::from_merkle(from, to, &proof));
        Ok(Response::new(GetPendingConsistencyResponse { proof }))
    }

    async fn add_cosignature(
        &self,
        request: Request<AddCosignatureRequest>,
    ) -> Result<Response<AddCosignatureResponse>, Status> {
        let log = self.open_log(&request, &request.get_ref().log)?;
        let AddCosignatureRequest { tree_size, signatures, .. } = request.into_inner();
        let lines = signature_lines(&signatures).ok_or_else(|| {
            let message = format!("these are not 1 to {MAX_COSIGNATURES} signature lines");
            Refusal::new(ErrorReason::CosignatureInvalid, message).with_field("signatures")
        })?;
        let engine = self.core.engine.clone();
        let taken = blocking(move || engine.cosign(&log, tree_size, &lines).map_err(|error| refused(&error)));
        Ok(Response::new(AddCosignatureResponse { witnessed: taken.await? }))
    }
}

fn refused(error: &CosignError) -> Status {
    let of = |reason| Refusal::new(reason, error.to_string());
    let refusal = match error {
        CosignError::NoPolicy => refusal::no_policy(),
        CosignError::Unknown => of(ErrorReason::WitnessUnknown),
        CosignError::Invalid(_) | CosignError::NotOfNow { .. } => {
            of(ErrorReason::CosignatureInvalid).with_field("signatures")
        }
        CosignError::NotPending { size } => {
            of(ErrorReason::NotPending).with_field("tree_size").with_fact("size", size)
        }
        CosignError::Poisoned => of(ErrorReason::StoragePoisoned),
    };
    refusal.into()
}
