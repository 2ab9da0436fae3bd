//! Who is asked: the log.

use std::time::Duration;

use graven_proto::v1::scope_service_client::ScopeServiceClient;
use graven_proto::v1::{CheckAccessRequest, CheckAccessResponse};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Bytes, StdError};
use tonic::{Request, Status};

/// One call: `ScopeService.CheckAccess`.
///
/// [`graven_client::Checks`] is one, and so is the generated client over any channel. A checker only carries: what it brings is held
/// against what was asked, and against the leaf in it, before it counts.
pub trait Checker: Send + Sync + 'static {
    /// Asks once, and waits so long at most.
    ///
    /// # Errors
    /// There is no answer, for whatever reason: nothing is allowed.
    fn check(
        &self,
        request: CheckAccessRequest,
        patience: Duration,
    ) -> impl Future<Output = Result<CheckAccessResponse, Status>> + Send;
}

impl Checker for graven_client::Checks {
    async fn check(
        &self,
        request: CheckAccessRequest,
        patience: Duration,
    ) -> Result<CheckAccessResponse, Status> {
        let answer = graven_client::Checks::check(self, request, patience).await;
        answer.map_err(|error| Status::new(error.code(), error.to_string()))
    }
}

impl<T> Checker for ScopeServiceClient<T>
where
    T: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
{
    async fn check(
        &self,
        request: CheckAccessRequest,
        patience: Duration,
    ) -> Result<CheckAccessResponse, Status> {
        let mut request = Request::new(request);
        request.set_timeout(patience);
        Ok(self.clone().check_access(request).await?.into_inner())
    }
}
