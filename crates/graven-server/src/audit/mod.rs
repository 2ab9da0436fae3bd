//! `AuditService`: recording, finding, following, opening and erasing events.
//!
//! Every call here that tells something is in the access log before it is answered. Refusals of callers that are known are written down
//! around all calls (`watch`), whatever the service.

mod keep;
pub(crate) mod read;
mod record;
mod refusal;
mod stream;
pub(crate) mod watch;
mod who;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use graven_audit::{Audit, Book};
use graven_log::{Kind, LogName};
use graven_proto::Refusal;
use graven_proto::v1::audit_service_server::AuditService;
use graven_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use record::missing;
pub(crate) use refusal::refuse;
pub(crate) use who::{APPLICATION, of_parts, party, principal, who};

use crate::access::Permission;
use crate::core::Core;

/// The service.
pub(crate) struct AuditApi {
    core: Arc<Core>,
}

impl AuditApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// A call that may go on: on which log of events.
pub(crate) struct Admitted {
    pub(crate) audit: Arc<Audit>,
    pub(crate) book: Arc<Book>,
}

/// The log of events that a request names, if its caller may do this to it.
pub(crate) fn admit<T>(
    core: &Core,
    request: &Request<T>,
    name: &str,
    permission: Permission,
) -> Result<Admitted, Status> {
    let log = core.open_log(request, name, permission)?;
    let mismatch = || {
        let text = format!("log `{}` holds {}, not events", log.meta().name, log.meta().kind);
        Refusal::new(ErrorReason::LogKindMismatch, text).with_field("log")
    };
    let writes = [Permission::Append, Permission::Scope, Permission::Check].contains(&permission);
    if log.meta().kind == Kind::Access && writes {
        return Err(mismatch().into());
    }
    let audit = core.audit.clone().ok_or_else(mismatch)?;
    let book = audit.book(log.meta().name.as_str()).ok_or_else(mismatch)?;
    Ok(Admitted { audit, book })
}

/// Whether the caller of a request may do this too, without a refusal where not.
pub(crate) fn may<T>(core: &Core, request: &Request<T>, log: &LogName, permission: Permission) -> bool {
    core.permits(request, Some(log), permission)
}

pub(crate) type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl AuditService for AuditApi {
    type RecordStreamStream = Answers<v1::RecordStreamResponse>;
    type TailStream = Answers<v1::TailResponse>;

    async fn record(
        &self,
        request: Request<v1::RecordRequest>,
    ) -> Result<Response<v1::RecordResponse>, Status> {
        record::one(&self.core, request).await.map(Response::new)
    }

    async fn record_batch(
        &self,
        request: Request<v1::RecordBatchRequest>,
    ) -> Result<Response<v1::RecordBatchResponse>, Status> {
        record::batch(&self.core, request).await.map(Response::new)
    }

    async fn record_stream(
        &self,
        request: Request<Streaming<v1::RecordStreamRequest>>,
    ) -> Result<Response<Self::RecordStreamStream>, Status> {
        stream::open(&self.core, request).await.map(Response::new)
    }

    async fn get_producer(
        &self,
        request: Request<v1::GetProducerRequest>,
    ) -> Result<Response<v1::GetProducerResponse>, Status> {
        record::producer(&self.core, request).await.map(Response::new)
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        read::query(&self.core, request).await.map(Response::new)
    }

    async fn tail(&self, request: Request<v1::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        read::tail(&self.core, request).await.map(Response::new)
    }

    async fn reveal(
        &self,
        request: Request<v1::RevealRequest>,
    ) -> Result<Response<v1::RevealResponse>, Status> {
        read::reveal(&self.core, request).await.map(Response::new)
    }

    async fn erase_subject(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        keep::erase(&self.core, request).await.map(Response::new)
    }

    async fn define_retention(
        &self,
        request: Request<v1::DefineRetentionRequest>,
    ) -> Result<Response<v1::DefineRetentionResponse>, Status> {
        keep::define(&self.core, request).await.map(Response::new)
    }

    async fn place_hold(
        &self,
        request: Request<v1::PlaceHoldRequest>,
    ) -> Result<Response<v1::PlaceHoldResponse>, Status> {
        keep::hold(&self.core, request).await.map(Response::new)
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        keep::release(&self.core, request).await.map(Response::new)
    }

    async fn list_retention(
        &self,
        request: Request<v1::ListRetentionRequest>,
    ) -> Result<Response<v1::ListRetentionResponse>, Status> {
        keep::list(&self.core, &request).await.map(Response::new)
    }
}
