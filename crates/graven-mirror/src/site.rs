//! What a mirror serves over HTTP (C2SP tlog-mirror): below the monitoring prefix each copy as an ordinary tlog-tiles log. The
//! submission prefix is the same one (see `submit`).
//!
//! ```text
//! resource                                     type                        cached
//! /<hex SHA-256 of the origin>/checkpoint      text/plain; charset=utf-8   no
//! /<hex SHA-256 of the origin>/tile/…          application/octet-stream    for ever
//! /healthz                                     text/plain; charset=utf-8   no
//! ```
//!
//! Paths are taken as they are written. Everything is public, and no error may be kept by any cache. What answers hold of tiles
//! and bundles is bounded as a whole ([`MAX_HELD_BYTES`]); a reader that takes nothing loses its connection, and its part of that
//! with it (`graven-net`).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use graven_merkle::tile::Resource;
use graven_net::{Bodies, TEXT, text};
use graven_note::Origin;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::log::MirroredLog;
use crate::mirror::Mirror;
use crate::submit::{self, MAX_UPLOADS};

/// Tiles and bundles that are read and verified at a time.
const MAX_READS: usize = 16;
/// What answers that their readers have not taken yet may hold: 16 of the longest bundles, thousands of ordinary ones.
const MAX_HELD_BYTES: usize = 256 << 20;
/// What an answer counts for at least: a tile.
const HELD_UNIT_BYTES: usize = 8 << 10;
/// How long an answer waits for others to be taken.
const HELD_PATIENCE: Duration = Duration::from_secs(10);
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// A mirror, and what its answers may cost.
pub(crate) struct Serving {
    mirror: Arc<Mirror>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Room for requests that are here as a whole before they are looked at.
    pub(crate) bodies: Bodies,
    pub(crate) uploads: Semaphore,
    reads: Semaphore,
    held: Arc<Semaphore>,
}

/// An answer, with its part of what may be held, until the network has taken it.
struct Held {
    bytes: Bytes,
    _part: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Serving {
    pub(crate) fn log(&self, origin: &Origin) -> Option<Arc<MirroredLog>> {
        self.mirror.log(&origin.sha256_hex()).cloned()
    }

    pub(crate) fn now_seconds(&self) -> u64 {
        (self.clock)()
    }
}

/// What a mirror serves, by a clock of seconds since 1970.
pub fn router(mirror: Arc<Mirror>, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Router {
    let serving = Arc::new(Serving {
        mirror,
        clock: Box::new(clock),
        bodies: Bodies::default(),
        uploads: Semaphore::new(MAX_UPLOADS),
        reads: Semaphore::new(MAX_READS),
        held: Arc::new(Semaphore::new(MAX_HELD_BYTES / HELD_UNIT_BYTES)),
    });
    Router::new().fallback(move |request| answer(serving.clone(), request))
}

async fn answer(serving: Arc<Serving>, request: Request<Body>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (call, mut response) = match (method, &path[..]) {
        (Method::POST, "/add-checkpoint") => {
            ("add-checkpoint", submit::add_checkpoint(&serving, request).await)
        }
        (Method::POST, "/add-entries") => ("add-entries", submit::add_entries(&serving, request).await),
        (Method::POST, "/sign-subtree") => ("sign-subtree", submit::sign_subtree(&serving, request).await),
        (Method::GET | Method::HEAD, path) => ("read", respond(&serving, path).await),
        _ => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            ("other", refused)
        }
    };
    let status = response.status().as_u16().to_string();
    counter!("graven_mirror_requests_total", "call" => call, "status" => status).increment(1);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    response
}

async fn respond(serving: &Serving, path: &str) -> Response<Body> {
    if path == "/healthz" {
        return text(StatusCode::OK, "ok\n");
    }
    let wanted = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let wanted = wanted.and_then(|(hash, rest)| Some((serving.mirror.log(hash)?, rest)));
    let Some((log, resource)) = wanted else { return not_found() };
    match (resource, resource.parse()) {
        ("checkpoint", _) => log.checkpoint().map_or_else(not_found, |note| found(TEXT, NO_CACHE, note)),
        (_, Ok(resource)) => stored(serving, log.clone(), resource).await,
        _ => not_found(),
    }
}

async fn stored(serving: &Serving, log: Arc<MirroredLog>, resource: Resource) -> Response<Body> {
    let Ok(place) = serving.reads.acquire().await else { return busy() };
    let reading = log.clone();
    let read = tokio::task::spawn_blocking(move || reading.resource(resource)).await;
    let bytes = match read.map_err(std::io::Error::other).flatten() {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return not_found(),
        Err(error) => {
            tracing::error!(log = %log.origin(), %error, "stored data is not served");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "stored data is damaged\n");
        }
    };
    let units = u32::try_from(bytes.len().div_ceil(HELD_UNIT_BYTES)).unwrap_or(u32::MAX);
    let part = timeout(HELD_PATIENCE, serving.held.clone().acquire_many_owned(units)).await;
    drop(place);
    match part {
        Ok(Ok(part)) => found(BYTES, FOR_EVER, Bytes::from_owner(Held { bytes, _part: part })),
        _ => busy(),
    }
}

fn busy() -> Response<Body> {
    let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too much waits for its readers: try again\n");
    busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    busy
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
