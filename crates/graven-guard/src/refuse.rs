//! How a request is refused, in gRPC and in HTTP.

use graven_merkle::LeafIndex;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

use crate::{Need, Unknown};

/// Why, as one word: that of the log, such as `no-grant`, or `no-rule`, `no-credentials`, `credentials-invalid`, `unavailable`, `busy`.
pub const REASON: HeaderName = HeaderName::from_static("graven-reason");
/// The index of the entry that says so. Absent: there is none.
pub const INDEX: HeaderName = HeaderName::from_static("graven-index");

/// After how many seconds it is worth asking again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Why a request does not reach its handler.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No rule names it.
    NoRule,
    /// Nobody is known to call.
    Caller(Unknown),
    /// Too many are being checked.
    Busy,
    /// There is no answer that counts.
    Unavailable,
    /// The log says no.
    Denied { reason: String, index: Option<u64>, scopes: Vec<String> },
}

impl Refused {
    pub(crate) fn denied(reason: String, index: Option<LeafIndex>, need: &Need) -> Self {
        Self::Denied { reason, index: index.map(LeafIndex::get), scopes: need.scopes.clone() }
    }

    /// An answer in the language of the request.
    pub(crate) fn answer<R: Default>(&self, in_grpc: bool) -> Response<R> {
        let mut answer =
            if in_grpc { Status::new(self.code(), self.message()).into_http() } else { self.in_http() };
        let headers = answer.headers_mut();
        headers.insert(
            REASON,
            HeaderValue::from_str(self.reason()).unwrap_or(HeaderValue::from_static("denied")),
        );
        if let Self::Denied { index: Some(index), .. } = self {
            headers.insert(INDEX, HeaderValue::from(*index));
        }
        answer
    }

    fn in_http<R: Default>(&self) -> Response<R> {
        let mut answer = Response::new(R::default());
        let (status, challenge) = match self {
            Self::NoRule => (StatusCode::FORBIDDEN, None),
            Self::Denied { scopes, .. } => (StatusCode::FORBIDDEN, Some(lacking(scopes))),
            Self::Caller(Unknown::Missing) => (StatusCode::UNAUTHORIZED, Some("Bearer".to_owned())),
            Self::Caller(Unknown::Invalid) => {
                (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"".to_owned()))
            }
            Self::Caller(Unknown::Unavailable) | Self::Busy | Self::Unavailable => {
                answer.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
        };
        *answer.status_mut() = status;
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }

    fn code(&self) -> Code {
        match self {
            Self::NoRule | Self::Denied { .. } => Code::PermissionDenied,
            Self::Caller(Unknown::Missing | Unknown::Invalid) => Code::Unauthenticated,
            Self::Caller(Unknown::Unavailable) | Self::Busy | Self::Unavailable => Code::Unavailable,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NoRule => "no-rule",
            Self::Caller(Unknown::Missing) => "no-credentials",
            Self::Caller(Unknown::Invalid) => "credentials-invalid",
            Self::Caller(Unknown::Unavailable) | Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Denied { reason, .. } => reason,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoRule => "nobody may call this: no rule names it".to_owned(),
            Self::Caller(Unknown::Missing) => "this call needs an access token".to_owned(),
            Self::Caller(Unknown::Invalid) => {
                "this access token does not count here: get a new one from its issuer".to_owned()
            }
            Self::Caller(Unknown::Unavailable) => {
                "who calls cannot be told now: try again in a moment".to_owned()
            }
            Self::Busy => "too many calls are being decided: try again in a moment".to_owned(),
            Self::Unavailable => {
                "this call cannot be recorded now, so it is not made: try again in a moment".to_owned()
            }
            Self::Denied { reason, .. } => format!("the log of who may do what says no: {reason}"),
        }
    }
}

/// Which scopes a request takes (RFC 6750 §3.1). They are graphic ASCII; what would end the quotes is left out.
fn lacking(scopes: &[String]) -> String {
    let scopes: Vec<_> =
        scopes.iter().map(String::as_str).filter(|scope| !scope.contains(['"', '\\'])).collect();
    format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "))
}

/// Whether a request speaks gRPC, so that its refusal has to.
pub(crate) fn is_grpc(request: &Parts) -> bool {
    request.headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}
