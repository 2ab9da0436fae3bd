//! The logs over plain HTTP: `/<log>/checkpoint`, tiles and entry bundles (C2SP tlog-tiles), and whether the server lives.
//!
//! ```text
//! resource                              type                        cached
//! /<log>/checkpoint                     text/plain; charset=utf-8   no
//! /<log>/tile/<L>/<N>[.p/<W>]           application/octet-stream    for ever
//! /<log>/tile/entries/<N>[.p/<W>]       application/octet-stream    for ever; gzip where the client takes it
//! /<log>/oauth/…                        application/json            no; see `oauth`
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
use graven_audit::Who;
use graven_log::{Log, LogName, Status as EngineStatus, Visibility};
use graven_merkle::tile::Resource;
use graven_net::{Peer, TEXT, text};
use graven_proto::Refusal;
use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::Status;

use crate::access::{Ask, Caller, Denied, Permission, Presented};
use crate::audit;
use crate::core::{Core, blocking, needed};
use crate::meter;
use crate::oauth::{self, Endpoint};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What a path names.
enum Wanted<'a> {
    Alive,
    Ready,
    OAuth(&'a str, Endpoint),
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
    let (request, body) = request.into_parts();
    let kind = request.headers.get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        // A call of a service that is not served here.
        return Status::unimplemented("there is no such service here").into_http();
    }
    let wanted = Wanted::of(request.uri.path());
    let label = wanted.label();
    let mut response = match (&request.method, wanted) {
        (_, Wanted::OAuth(log, endpoint)) => oauth::answer(&core, &request, body, log, endpoint).await,
        (&Method::GET | &Method::HEAD | &Method::OPTIONS, wanted) => respond(&core, &request, wanted).await,
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
            Some((log, "oauth/introspect")) => Self::OAuth(log, Endpoint::Introspect),
            Some((log, "oauth/revoke")) => Self::OAuth(log, Endpoint::Revoke),
            Some((log, resource)) => {
                resource.parse().map_or(Self::Nothing, |resource| Self::Stored(log, resource))
            }
            None => Self::Nothing,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Alive | Self::Ready => "health",
            Self::OAuth(_, endpoint) => endpoint.label(),
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
        Wanted::Nothing | Wanted::OAuth(..) => return not_found(),
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
    let caller = identify(core, request).await.map_err(|denied| span.in_scope(|| refused(&denied)))?;
    let permitted = allow(core, request, &caller, log, Permission::Read).await;
    permitted.map_err(|no| {
        span.in_scope(|| match no {
            No::Denied(denied) => refused(&denied),
            No::Unrecorded(refusal) => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", refusal.message()))
            }
        })
    })
}

/// Why a known caller does not go on.
pub(crate) enum No {
    Denied(Denied),
    /// That it was refused cannot be written down.
    Unrecorded(Refusal),
}

/// Who calls: somebody in any case.
pub(crate) async fn identify(core: &Core, request: &Parts) -> Result<Caller, Denied> {
    let peer = request.extensions.get::<Arc<Peer>>().map(Arc::as_ref);
    let (method, path) = (&request.method, request.uri.path());
    let identifying = core.access.identify(&Presented { method, path, headers: &request.headers, peer });
    let known = identifying.answer().await.and_then(|caller| match caller.name() {
        None => Err(Denied::Missing),
        Some(_) => Ok(caller),
    });
    known.inspect_err(|denied| core.watch.stranger(denied))
}

/// Whether a caller may do this to a log; if not, that is written down.
pub(crate) async fn allow(
    core: &Core,
    request: &Parts,
    caller: &Caller,
    log: &LogName,
    permission: Permission,
) -> Result<(), No> {
    let asked = Ask { log: Some(log), permission: needed(Some(log), permission) };
    let Err(denied) = core.access.permit(caller, &asked) else { return Ok(()) };
    let what = format!("{} {}", request.method, request.uri.path());
    match core.watch.refused(&who(request, caller), &what).await {
        Ok(()) => Err(No::Denied(denied)),
        Err(refusal) => Err(No::Unrecorded(refusal)),
    }
}

/// Who calls, as the access log has it.
pub(crate) fn who(request: &Parts, caller: &Caller) -> Who {
    let mut extensions = request.extensions.clone();
    extensions.insert(caller.clone());
    audit::of_parts(&extensions, &request.headers)
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

/// The status of a refusal.
pub(crate) fn status(denied: &Denied) -> StatusCode {
    match denied {
        Denied::Permission { .. } => StatusCode::FORBIDDEN,
        Denied::Token(error) if error.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        Denied::Missing | Denied::Invalid | Denied::Expired | Denied::Token(_) => StatusCode::UNAUTHORIZED,
    }
}

fn refused(denied: &Denied) -> Response<Body> {
    let status = status(denied);
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
