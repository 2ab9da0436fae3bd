//! Short answers in plain text.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// The type of text.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Kept by no cache.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A line that no cache keeps.
pub fn text(status: StatusCode, line: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(line.into());
    *response.status_mut() = status;
    for (name, value) in [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, NO_STORE)] as [(HeaderName, HeaderValue); 2] {
        response.headers_mut().insert(name, value);
    }
    response
}
