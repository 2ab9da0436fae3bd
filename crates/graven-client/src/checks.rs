//! Whether something is allowed, as a log of events says, which records each answer.

use std::time::Duration;

use graven_proto::v1::{CheckAccessRequest, CheckAccessResponse};

use crate::{CallError, connect::Pool};

/// Asks a server whether something is allowed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checks {
    pool: Pool,
}

impl Checks {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Asks once: a check that is repeated is recorded again, and whoever waits for it knows best whether that is worth it. The
    /// answer is the server's word.
    ///
    /// # Errors
    /// There is no answer within this time, so nothing is allowed.
    pub async fn check(
        &self,
        request: CheckAccessRequest,
        patience: Duration,
    ) -> Result<CheckAccessResponse, CallError> {
        let mut request = self.pool.request(request);
        request.set_timeout(patience);
        let answer = self.pool.scope_service().check_access(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| CallError::new(status, 1))
    }
}
