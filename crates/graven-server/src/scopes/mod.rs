//! `ScopeService`: commands about scopes, checks, and what the log says of both.
//!
//! Nothing is decided here: a command goes to the log, whose fold judges it, and a check is made by the same fold. What is read is in the
//! access log before it is told. People are named to those who may `reveal`; others see what stands for them in leaves.

mod check;
mod command;
pub(crate) mod fields;
mod history;
mod list;
mod show;
mod watch;

use std::sync::Arc;

use graven_log::Kind;
use graven_proto::Refusal;
use graven_proto::v1::scope_service_server::ScopeService;
use graven_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status};

pub(crate) use command::context;
pub(crate) use show::Names;

use crate::access::Permission;
use crate::audit::{self, Admitted, Answers};
use crate::core::Core;

/// The service.
pub(crate) struct ScopeApi {
    core: Arc<Core>,
}

impl ScopeApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// The log of events that a request names, if its caller may do this to it. Who read what says nothing about scopes.
pub(crate) fn admit<T>(
    core: &Core,
    request: &Request<T>,
    name: &str,
    permission: Permission,
) -> Result<Admitted, Status> {
    let admitted = audit::admit(core, request, name, permission)?;
    let meta = admitted.book.log().meta();
    if meta.kind == Kind::Events {
        return Ok(admitted);
    }
    let text = format!("log `{}` holds {}, not events", meta.name, meta.kind);
    Err(Refusal::new(ErrorReason::LogKindMismatch, text).with_field("log").into())
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ScopeService for ScopeApi {
    type WatchStream = Answers<v1::WatchScopesResponse>;

    async fn define_scope(&self, request: Request<v1::DefineScopeRequest>) -> Answer<v1::CommandResponse> {
        command::define(&self.core, request).await.map(Response::new)
    }

    async fn request_grant(&self, request: Request<v1::RequestGrantRequest>) -> Answer<v1::CommandResponse> {
        command::request(&self.core, request).await.map(Response::new)
    }

    async fn approve_grant(&self, request: Request<v1::ApproveGrantRequest>) -> Answer<v1::CommandResponse> {
        command::approve(&self.core, request).await.map(Response::new)
    }

    async fn deny_grant(&self, request: Request<v1::DenyGrantRequest>) -> Answer<v1::CommandResponse> {
        command::deny(&self.core, request).await.map(Response::new)
    }

    async fn narrow_grant(&self, request: Request<v1::NarrowGrantRequest>) -> Answer<v1::CommandResponse> {
        command::narrow(&self.core, request).await.map(Response::new)
    }

    async fn renew_grant(&self, request: Request<v1::RenewGrantRequest>) -> Answer<v1::CommandResponse> {
        command::renew(&self.core, request).await.map(Response::new)
    }

    async fn revoke_grant(&self, request: Request<v1::RevokeGrantRequest>) -> Answer<v1::CommandResponse> {
        command::revoke(&self.core, request).await.map(Response::new)
    }

    async fn revoke_token(&self, request: Request<v1::RevokeTokenRequest>) -> Answer<v1::CommandResponse> {
        command::revoke_token(&self.core, request).await.map(Response::new)
    }

    async fn rotate_scope(&self, request: Request<v1::RotateScopeRequest>) -> Answer<v1::CommandResponse> {
        command::rotate(&self.core, request).await.map(Response::new)
    }

    async fn appoint_administrator(
        &self,
        request: Request<v1::AppointAdministratorRequest>,
    ) -> Answer<v1::AppointAdministratorResponse> {
        command::appoint(&self.core, request).await.map(Response::new)
    }

    async fn dismiss_administrator(
        &self,
        request: Request<v1::DismissAdministratorRequest>,
    ) -> Answer<v1::CommandResponse> {
        command::dismiss(&self.core, request).await.map(Response::new)
    }

    async fn check_access(
        &self,
        request: Request<v1::CheckAccessRequest>,
    ) -> Answer<v1::CheckAccessResponse> {
        check::check(&self.core, request).await.map(Response::new)
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Answer<v1::ExplainDecisionResponse> {
        history::explain(&self.core, &request).await.map(Response::new)
    }

    async fn list_scopes(&self, request: Request<v1::ListScopesRequest>) -> Answer<v1::ListScopesResponse> {
        list::scopes(&self.core, &request).await.map(Response::new)
    }

    async fn list_grants(&self, request: Request<v1::ListGrantsRequest>) -> Answer<v1::ListGrantsResponse> {
        list::grants(&self.core, &request).await.map(Response::new)
    }

    async fn grant_history(
        &self,
        request: Request<v1::GrantHistoryRequest>,
    ) -> Answer<v1::GrantHistoryResponse> {
        history::history(&self.core, &request).await.map(Response::new)
    }

    async fn list_unused(&self, request: Request<v1::ListUnusedRequest>) -> Answer<v1::ListUnusedResponse> {
        list::unused(&self.core, &request).await.map(Response::new)
    }

    async fn open_review(&self, request: Request<v1::OpenReviewRequest>) -> Answer<v1::CommandResponse> {
        command::open_review(&self.core, request).await.map(Response::new)
    }

    async fn attest_item(&self, request: Request<v1::AttestItemRequest>) -> Answer<v1::CommandResponse> {
        command::attest(&self.core, request).await.map(Response::new)
    }

    async fn close_review(&self, request: Request<v1::CloseReviewRequest>) -> Answer<v1::CommandResponse> {
        command::close_review(&self.core, request).await.map(Response::new)
    }

    async fn list_reviews(
        &self,
        request: Request<v1::ListReviewsRequest>,
    ) -> Answer<v1::ListReviewsResponse> {
        list::reviews(&self.core, &request).await.map(Response::new)
    }

    async fn watch(&self, request: Request<v1::WatchScopesRequest>) -> Answer<Self::WatchStream> {
        watch::open(&self.core, &request).await.map(Response::new)
    }
}
