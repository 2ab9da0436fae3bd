//! Why there is no other answer: JSON as in RFC 6749 §5.2, with what RFC 6750 §3 says in the head.

use axum::body::Body;
use graven_audit::AuditError;
use graven_net::BodyError;
use graven_proto::Refusal;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use tonic::Code;

use super::json;
use crate::access::Denied;
use crate::audit::refuse;
use crate::core::Core;
use crate::site::{self, No};

/// When to ask again where nobody knows better.
const AGAIN_SECONDS: u64 = 1;

/// A refusal.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    error: &'static str,
    description: String,
    challenge: Option<HeaderValue>,
    retry_after: Option<u64>,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into(), challenge: None, retry_after: None }
    }

    /// The request can never succeed as it is.
    pub(super) fn invalid(status: StatusCode, description: impl Into<String>) -> Self {
        Self::new(status, "invalid_request", description)
    }

    /// There is no such log, or it is of another kind.
    pub(super) fn no_log() -> Self {
        Self::invalid(StatusCode::NOT_FOUND, "there is no log of events of this name")
    }

    /// The same request may succeed in a moment.
    pub(super) fn later(description: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        Self { retry_after: Some(AGAIN_SECONDS), ..fault }
    }

    /// The caller is somebody else's, and may not do this.
    pub(super) fn unauthorized(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unauthorized_client", description)
    }

    /// A token that cannot be revoked by itself (RFC 7009 §2.2.1).
    pub(super) fn unsupported_token() -> Self {
        let text = "the token has no identifier (`jti`) by which it could be known again";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_token_type", text)
    }

    pub(super) fn denied(denied: &Denied) -> Self {
        let error = match denied {
            Denied::Permission { .. } => "insufficient_scope",
            Denied::Token(error) if error.is_outage() => "temporarily_unavailable",
            _ => "invalid_client",
        };
        let refusal = denied.refusal();
        let fault = Self::new(site::status(denied), error, refusal.message());
        Self {
            challenge: denied.challenge(),
            retry_after: refusal.retry_after().map(|delay| delay.as_secs()),
            ..fault
        }
    }

    pub(super) fn no(no: No) -> Self {
        match no {
            No::Denied(denied) => Self::denied(&denied),
            No::Unrecorded(refusal) => Self::later(refusal.message()),
        }
    }

    pub(super) fn body(error: BodyError) -> Self {
        Self::invalid(error.answer().status(), error.to_string())
    }

    pub(super) fn audit(error: &AuditError, core: &Core) -> Self {
        Self::refusal(&refuse(error, core))
    }

    /// A refusal as gRPC has it.
    fn refusal(refusal: &Refusal) -> Self {
        match refusal.code() {
            Code::InvalidArgument => Self::invalid(StatusCode::BAD_REQUEST, refusal.message()),
            Code::Unavailable | Code::ResourceExhausted | Code::Aborted => Self::later(refusal.message()),
            Code::FailedPrecondition => Self::new(StatusCode::CONFLICT, "server_error", refusal.message()),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", refusal.message()),
        }
    }

    pub(super) fn answer(self) -> Response<Body> {
        let body = json!({"error": self.error, "error_description": ascii(&self.description)});
        let mut response = json(self.status, &body);
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(AGAIN_SECONDS)));
        }
        response
    }
}

/// What a description may be made of (RFC 6749 §5.2): visible ASCII without `"` and `\`.
fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        '"' | '`' => '\'',
        ' '..='[' | ']'..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}
