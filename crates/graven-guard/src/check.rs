//! Who is asked: the log.

use std::time::Duration;

use graven_client::scopes::{Check, Decided, ScopeLog};
use graven_proto::v1::Wait;
use graven_proto::v1::scope_service_client::ScopeServiceClient;
use tonic::Request;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Bytes, StdError};
use tower::BoxError;

/// Asks a log whether something is allowed: one call of `ScopeService.CheckAccess`.
///
/// [`ScopeLog`] is one, and [`OverChannel`] for a channel of your own. An answer becomes a [`Decided`] only where its leaf bears it out, so
/// whatever is between here and the log cannot allow what the log did not.
pub trait Checker: Send + Sync + 'static {
    /// Asks once, and waits so long at most.
    ///
    /// # Errors
    /// There is no answer that counts, for whatever reason: nothing is allowed. It is written down, and never told to who calls.
    fn check(
        &self,
        asked: &Check,
        patience: Duration,
    ) -> impl Future<Output = Result<Decided, BoxError>> + Send;
}

/// The generated client over any channel, and the log that is asked.
#[derive(Clone, Debug)]
pub struct OverChannel<T> {
    log: String,
    client: ScopeServiceClient<T>,
}

impl<T> OverChannel<T> {
    /// Asks the log with this name; an empty one means the server's only log.
    pub fn new(log: impl Into<String>, client: ScopeServiceClient<T>) -> Self {
        Self { log: log.into(), client }
    }
}

impl Checker for ScopeLog {
    async fn check(&self, asked: &Check, patience: Duration) -> Result<Decided, BoxError> {
        Ok(self.check_within(asked, patience).await?)
    }
}

impl<T> Checker for OverChannel<T>
where
    T: GrpcService<Body, Error: Into<StdError>, Future: Send> + Clone + Send + Sync + 'static,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    async fn check(&self, asked: &Check, patience: Duration) -> Result<Decided, BoxError> {
        let mut request = Request::new(asked.request(&self.log, Wait::Durable));
        request.set_timeout(patience);
        let answer = self.client.clone().check_access(request).await?;
        Ok(Decided::of(asked, answer.into_inner())?)
    }
}
