//! The logs over plain HTTP: `/<log>/checkpoint`, tiles and entry bundles (C2SP tlog-tiles), and whether the server lives.
//!
//! ```text
//! resource                              type                        cached
//! /<log>/checkpoint                     text/plain; charset=utf-8   no
//! /<log>/tile/<L>/<N>[.p/<W>]           application/octet-stream    for ever
//! /<log>/tile/entries/<N>[.p/<W>]       application/octet-stream    for ever; gzip where the client takes it
//! /healthz, /readyz                     text/plain; charset=utf-8   no
//! ```
//!
//! Only what is within the published tree exists. Paths are taken as they are written: whatever is not the one canonical
//! spelling, such as an escape, is not found. The resources of a private log need the permission to read it, and no
//! shared cache may keep them. No error may be kept by any cache.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use graven_log::{Log, LogName, Status as EngineStatus, Visibility};
use graven_merkle::tile::Resource;
use graven_net::{Peer, TEXT, text};
use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::Status;

use crate::access::{Ask, Denied, Permission, Presented};
use crate::audit;
use crate::core::{Core, blocking, needed};
use crate::meter;

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What a path names.
enum Wanted<'a> {
    Alive,
    Ready,
    Checkpoint(&'a str),
    Stored(&'a str, Resource),
    Nothing,
}

/// Marks an answer that is worth compressing.
#[derive(Clone, Copy)]
pub(crate) struct Compressible;

/// Answers a request.
pub(crate) async fn answer(core: Arc<Core>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let (request, _) = request.into_parts();
    let kind = request.headers.get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        // A call of a service that is not served here.
        return Status::unimplemented("there is no such service here").into_http();
    }
    let wanted = Wanted::of(request.uri.path());
    let label = wanted.label();
    let mut response = match request.method {
        Method::GET | Method::HEAD | Method::OPTIONS => respond(&core, &request, wanted).await,
        _ => {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            refused.headers_mut().insert(ALLOW, METHODS);
            refused
        }
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if request.method == Method::HEAD {
        // As the body would be, without it.
        *response.body_mut() = Body::empty();
    }
    meter::resource(label, response.status().as_u16(), started.elapsed());
    response
}

/// Whether the process lives: it answers.
pub(crate) fn alive() -> Response<Body> {
    text(StatusCode::OK, "ok\n")
}

/// Whether the server takes entries.
pub(crate) fn ready(core: &Core) -> Response<Body> {
    let why_not = match core.engine.status() {
        _ if *core.draining.borrow() => "shutting down\n",
        EngineStatus::Running => return text(StatusCode::OK, "ok\n"),
        EngineStatus::Stopping => "shutting down\n",
        EngineStatus::Poisoned(_) => "storage failed: the server is about to exit\n",
        EngineStatus::RolledBack(_) => "a witness knows more of a log: the server is about to exit\n",
    };
    text(StatusCode::SERVICE_UNAVAILABLE, why_not)
}

impl<'a> Wanted<'a> {
    fn of(path: &'a str) -> Self {
        match path {
            "/healthz" => return Self::Alive,
            "/readyz" => return Self::Ready,
            _ => {}
        }
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((log, "checkpoint")) => Self::Checkpoint(log),
            Some((log, resource)) => {
                resource.parse().map_or(Self::Nothing, |resource| Self::Stored(log, resource))
            }
            None => Self::Nothing,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Alive | Self::Ready => "health",
            Self::Checkpoint(_) => "checkpoint",
            Self::Stored(_, Resource::Tile(_)) => "tile",
            Self::Stored(_, Resource::Entries(_)) => "entries",
            Self::Nothing => "other",
        }
    }
}

async fn respond(core: &Core, request: &Parts, wanted: Wanted<'_>) -> Response<Body> {
    let name = match wanted {
        Wanted::Alive => return alive(),
        Wanted::Ready => return ready(core),
        Wanted::Nothing => return not_found(),
        Wanted::Checkpoint(name) | Wanted::Stored(name, _) => name,
    };
    let Ok(name) = LogName::new(name) else { return not_found() };
    let log = core.engine.log(name.as_str());
    let public = log.as_ref().is_some_and(|log| log.meta().visibility == Visibility::Public);
    // Whoever may not read a log does not learn whether there is one.
    if !public && let Err(refusal) = permit(core, request, &name).await {
        return refusal;
    }
    let Some(log) = log else { return not_found() };
    let mut response = match wanted {
        _ if request.method == Method::OPTIONS => {
            let mut preflight = text(StatusCode::NO_CONTENT, "");
            preflight.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            preflight
        }
        Wanted::Stored(_, resource) => stored(core, log, resource, public).await,
        _ => checkpoint(&log, public),
    };
    if public {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    }
    response
}

/// Whether a caller may read a log; if not, what it is told, and what is written down of that.
async fn permit(core: &Core, request: &Parts, log: &LogName) -> Result<(), Response<Body>> {
    let span = tracing::debug_span!("request", %log);
    let peer = request.extensions.get::<Arc<Peer>>().map(Arc::as_ref);
    let (method, path) = (&request.method, request.uri.path());
    let identifying = core.access.identify(&Presented { method, path, headers: &request.headers, peer });
    let known = identifying.answer().await.and_then(|caller| match caller.name() {
        None => Err(Denied::Missing),
        Some(_) => Ok(caller),
    });
    let caller = known.map_err(|denied| {
        core.watch.stranger(&denied);
        span.in_scope(|| refused(&denied))
    })?;
    let asked = Ask { log: Some(log), permission: needed(Some(log), Permission::Read) };
    let Err(denied) = core.access.permit(&caller, &asked) else { return Ok(()) };
    let mut extensions = request.extensions.clone();
    extensions.insert(caller);
    let who = audit::of_parts(&extensions, &request.headers);
    let written = core.watch.refused(&who, &format!("{method} {path}")).await;
    Err(span.in_scope(|| match written {
        Ok(()) => refused(&denied),
        Err(refusal) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", refusal.message())),
    }))
}

fn checkpoint(log: &Log, public: bool) -> Response<Body> {
    let cached = if public { "no-cache" } else { "private, no-cache" };
    full(TEXT, HeaderValue::from_static(cached), log.head().note.clone())
}

async fn stored(core: &Core, log: Arc<Log>, resource: Resource, public: bool) -> Response<Body> {
    let name = log.meta().name.clone();
    let read = blocking(move || Ok(log.resource(resource)));
    let (read, room) = match resource {
        Resource::Tile(_) => (read.await, None),
        Resource::Entries(_) => match core.large.read(read).await {
            Some((read, room)) => (read, Some(room)),
            None => return busy(),
        },
    };
    match read {
        Ok(Ok(Some(bytes))) => {
            let cached = if public { "public, max-age=31536000, immutable" } else { "private, no-cache" };
            let mut response = full(BYTES, HeaderValue::from_static(cached), bytes.clone());
            if let Some(room) = room {
                *response.body_mut() = room.body(bytes);
                response.extensions_mut().insert(Compressible);
            }
            response
        }
        Ok(Ok(None)) => not_found(),
        Ok(Err(error)) => {
            tracing::error!(log = %name, %error, "stored data is not served");
            let why = "stored data of this log cannot be read or does not verify: the operator must run `graven fsck`\n";
            text(StatusCode::INTERNAL_SERVER_ERROR, why)
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to answer\n"),
    }
}

fn full(kind: HeaderValue, cached: HeaderValue, bytes: Bytes) -> Response<Body> {
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(Body::from(bytes));
    let is_private = cached.as_bytes().starts_with(b"private");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, cached);
    if is_private {
        headers.append(VARY, HeaderValue::from_static("authorization"));
    }
    response
}

fn refused(denied: &Denied) -> Response<Body> {
    let status = match denied {
        Denied::Permission { .. } => StatusCode::FORBIDDEN,
        Denied::Token(error) if error.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        Denied::Missing | Denied::Invalid | Denied::Expired | Denied::Token(_) => StatusCode::UNAUTHORIZED,
    };
    let refusal = denied.refusal();
    let mut response = text(status, format!("{}\n", refusal.message()));
    if let Some(challenge) = denied.challenge() {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(delay) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
    }
    response
}

/// Everything that waits for readers fills the room that there is for it.
fn busy() -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "too many bundles wait for their readers\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found\n")
}
