//! One call to a server, tried again where that is safe, and what came of it.

use std::{fmt, future::Future};

use graven_proto::{
    Refusal,
    v1::{
        ErrorReason, admin_service_client::AdminServiceClient, alert_service_client::AlertServiceClient,
        audit_service_client::AuditServiceClient, log_service_client::LogServiceClient,
        scope_service_client::ScopeServiceClient, witness_service_client::WitnessServiceClient,
    },
};
use tonic::{Code, Request, Response, Status};

use crate::{
    DialError, RetryPolicy,
    connect::{Connection, Pool},
    dial,
    retry::connection_broke,
};

/// A call that did not succeed: the server refused it, or could not be reached.
#[derive(Clone, Debug)]
pub struct CallError(Box<Failed>);

#[derive(Clone, Debug)]
struct Failed {
    status: Status,
    refusal: Option<Refusal>,
    attempts: u32,
}

impl CallError {
    pub(crate) fn new(status: Status, attempts: u32) -> Self {
        Self(Box::new(Failed { refusal: Refusal::of(&status), status, attempts }))
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.status.code()
    }

    /// Why the server refused; `None` where it did not say, or never answered.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        self.0.refusal.as_ref().map(Refusal::reason)
    }

    /// The server's refusal with its facts.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal.as_ref()
    }

    /// How often the call was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What went wrong on the way to the server, where that is why the call failed.
    #[must_use]
    pub fn dial_error(&self) -> Option<&DialError> {
        DialError::within(&self.0.status)
    }

    /// Whether the server may have done what was asked, although it did not say so: the connection broke, it
    /// was stopping, or time was up. Repeat an append with its idempotency key to find out.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        let unsaid = matches!(self.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
        // These say that the entry is durable, and where; and that nothing was appended.
        let said = matches!(self.reason(), Some(ErrorReason::WaitTimedOut | ErrorReason::WitnessesAwaited));
        let never_sent = self.attempts() == 1 && self.dial_error().is_some();
        !never_sent && (connection_broke(&self.0.status) || (unsaid && !said))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.refusal {
            Some(refusal) => write!(f, "{} ({})", refusal.message(), refusal.reason().as_str_name())?,
            None if connection_broke(&self.0.status) => match self.dial_error() {
                Some(error) => write!(f, "the server cannot be reached: {error}")?,
                None => write!(f, "the server went away: {}", dial::deepest(&self.0.status))?,
            },
            None => write!(f, "{} ({:?})", self.0.status.message(), self.code())?,
        }
        if self.0.attempts > 1 { write!(f, ", after {} attempts", self.0.attempts) } else { Ok(()) }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0.status)
    }
}

/// Calls `LogService` until it answers, as `retries` says.
pub(crate) async fn call_log<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(LogServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.log_service(), pool.request(request.clone()))).await
}

/// Calls `AdminService` until it answers, as `retries` says.
pub(crate) async fn call_admin<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(AdminServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.admin_service(), pool.request(request.clone()))).await
}

/// Calls `AuditService` until it answers, as `retries` says.
pub(crate) async fn call_audit<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(AuditServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.audit_service(), pool.request(request.clone()))).await
}

/// Calls `ScopeService` until it answers, as `retries` says.
pub(crate) async fn call_scopes<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(ScopeServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.scope_service(), pool.request(request.clone()))).await
}

/// Calls `AlertService` until it answers, as `retries` says.
pub(crate) async fn call_alerts<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(AlertServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.alert_service(), pool.request(request.clone()))).await
}

/// Calls `WitnessService` until it answers, as `retries` says.
pub(crate) async fn call_witness<Q, A, F>(
    pool: &Pool,
    retries: &RetryPolicy,
    request: &Q,
    rpc: impl Fn(WitnessServiceClient<Connection>, Request<Q>) -> F,
) -> Result<A, CallError>
where
    Q: Clone,
    F: Future<Output = Result<Response<A>, Status>>,
{
    repeat(retries, || rpc(pool.witness_service(), pool.request(request.clone()))).await
}

async fn repeat<A, F>(retries: &RetryPolicy, mut attempt: impl FnMut() -> F) -> Result<A, CallError>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let mut failures = 0;
    loop {
        let status = match attempt().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        failures += 1;
        match retries.delay_after(failures, &status) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(CallError::new(status, failures)),
        }
    }
}
