//! The monitoring prefix over HTTP (C2SP tlog-mirror): each copy as an ordinary tlog-tiles log.
//!
//! ```text
//! resource                                     type                        cached
//! /<hex SHA-256 of the origin>/checkpoint      text/plain; charset=utf-8   no
//! /<hex SHA-256 of the origin>/tile/…          application/octet-stream    for ever
//! /healthz                                     text/plain; charset=utf-8   no
//! ```
//!
//! Paths are taken as they are written. Everything is public, and no error may be kept by any cache.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use graven_merkle::tile::Resource;
use graven_net::{TEXT, text};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::log::MirroredLog;
use crate::mirror::Mirror;

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// What a mirror serves.
pub fn router(mirror: Arc<Mirror>) -> Router {
    Router::new().fallback(move |request| answer(mirror.clone(), request))
}

async fn answer(mirror: Arc<Mirror>, request: Request<Body>) -> Response<Body> {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => respond(&mirror, request.uri().path()).await,
        _ => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    response
}

async fn respond(mirror: &Mirror, path: &str) -> Response<Body> {
    if path == "/healthz" {
        return text(StatusCode::OK, "ok\n");
    }
    let wanted = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((log, resource)) = wanted.and_then(|(hash, rest)| Some((mirror.log(hash)?, rest))) else {
        return not_found();
    };
    match (resource, resource.parse()) {
        ("checkpoint", _) => log.checkpoint().map_or_else(not_found, |note| found(TEXT, NO_CACHE, note)),
        (_, Ok(resource)) => stored(log.clone(), resource).await,
        _ => not_found(),
    }
}

async fn stored(log: Arc<MirroredLog>, resource: Resource) -> Response<Body> {
    let reading = log.clone();
    let read = tokio::task::spawn_blocking(move || reading.resource(resource)).await;
    match read.map_err(std::io::Error::other).flatten() {
        Ok(Some(bytes)) => found(BYTES, FOR_EVER, bytes),
        Ok(None) => not_found(),
        Err(error) => {
            tracing::error!(log = %log.origin(), %error, "stored data is not served");
            text(StatusCode::INTERNAL_SERVER_ERROR, "stored data is damaged\n")
        }
    }
}

fn found(kind: HeaderValue, cached: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, cached);
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found\n")
}
