//! The submission prefix over HTTP (C2SP tlog-mirror): what clients push.
//!
//! ```text
//! POST /add-checkpoint   200 nothing │ 400 │ 403 │ 404 │ 408 │ 409 size │ 413 │ 422 │ 500 │ 503
//! POST /add-entries      200 signature lines │ 202 info │ 400 │ 404 │ 408 │ 409 info │ 415 │ 422 │ 500 │ 503
//! POST /sign-subtree     200 signature lines │ 400 │ 403 │ 404 │ 408 │ 413 │ 422 │ 500 │ 503
//! ```
//!
//! `info` is the text of [`MirrorInfo`]. A log that signed two histories is answered 422 for good.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use graven_net::text;
use graven_note::SignatureLine;
use graven_note::mirror::{INFO_TYPE, MirrorInfo, Package, UPLOAD_TYPE, Upload};
use graven_note::witness::{AddCheckpoint, MAX_REQUEST_BYTES, Refused, SignSubtree, TEXT_TYPE};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;

use crate::error::UpdateError;
use crate::pieces::Pieces;
use crate::push::{PushError, Taking, Uploaded};
use crate::site::Serving;

/// Uploads under way at a time; each holds at most a package, 16 MiB.
pub(crate) const MAX_UPLOADS: usize = 16;
/// After so long an upload is answered with what was taken of it, so that nobody holds a place for ever.
const UPLOAD_TIME: Duration = Duration::from_secs(600);

pub(crate) async fn add_checkpoint(serving: &Arc<Serving>, request: Request<Body>) -> Response<Body> {
    let body = match serving.bodies.read(request.into_body(), MAX_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(error) => return error.answer(),
    };
    let added = async {
        let request = AddCheckpoint::parse(&body).map_err(Refused::Malformed)?;
        let log = serving.log(request.checkpoint.origin()).ok_or(Refused::UnknownLog)?;
        let now_seconds = serving.now_seconds();
        blocking(move || log.add_checkpoint(&request, now_seconds)).await
    };
    match added.await {
        Ok(()) => text(StatusCode::OK, ""),
        Err(error) => refusal(&error),
    }
}

pub(crate) async fn sign_subtree(serving: &Arc<Serving>, request: Request<Body>) -> Response<Body> {
    let body = match serving.bodies.read(request.into_body(), MAX_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(error) => return error.answer(),
    };
    let signed = async {
        let request = SignSubtree::parse(&body).map_err(Refused::Malformed)?;
        let log = serving.log(request.checkpoint.origin()).ok_or(Refused::UnknownLog)?;
        blocking(move || log.sign_subtree(&request)).await
    };
    match signed.await {
        Ok(line) => lines(&[line]),
        Err(error) => refusal(&error),
    }
}

pub(crate) async fn add_entries(serving: &Arc<Serving>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let uploaded = match encoding(&parts.headers) {
        Ok(is_gzip) => upload(serving, Pieces::new(body, is_gzip)).await,
        Err(error) => Err(error),
    };
    let mut answer = match uploaded {
        Ok(Uploaded::All(cosignatures)) => lines(&cosignatures),
        Ok(Uploaded::Part(info)) => answer_info(StatusCode::ACCEPTED, &info),
        Ok(Uploaded::Conflict(info)) => answer_info(StatusCode::CONFLICT, &info),
        Err(PushError::Update(error)) => refusal(&error),
        Err(error) => text(status_of(&error), format!("{error}\n")),
    };
    answer.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// Whether the body is packed.
fn encoding(headers: &HeaderMap) -> Result<bool, PushError> {
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != UPLOAD_TYPE) {
        return Err(PushError::ContentType);
    }
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(PushError::Encoding),
    }
}

async fn upload(serving: &Arc<Serving>, mut pieces: Pieces) -> Result<Uploaded, PushError> {
    let _place = serving.uploads.try_acquire().map_err(|_| PushError::Overloaded)?;
    let until = Instant::now() + UPLOAD_TIME;
    let upload = pieces.take(Upload::split).await?.ok_or(PushError::NoPackage)?;
    let log = serving.log(&upload.origin).ok_or(PushError::UnknownLog)?;
    let mut taking = match blocking(move || Taking::begin(log, &upload)).await? {
        Ok(taking) => taking,
        Err(conflict) => return Ok(conflict),
    };
    while let Some(count) = taking.next_count() {
        let package = match pieces.take(|bytes| Package::split(bytes, count)).await {
            Ok(Some(package)) if Instant::now() < until => package,
            // What is no package, or comes too late, ends the request; what was taken before stays taken.
            Ok(_) => break,
            Err(_) if taking.has_taken() => break,
            Err(error) => return Err(error),
        };
        let (took, back) = blocking_with(taking, move |taking| taking.take(package)).await?;
        taking = back;
        match took {
            Ok(()) => {}
            Err(PushError::Update(UpdateError::Overtaken)) => {
                return Ok(blocking(move || taking.overtaken()).await?);
            }
            Err(error) => {
                blocking(move || taking.give_up()).await?;
                return Err(error);
            }
        }
    }
    if taking.next_count().is_none() {
        pieces.end().await;
    }
    let now_seconds = serving.now_seconds();
    blocking(move || taking.finish(now_seconds)).await
}

fn status_of(error: &PushError) -> StatusCode {
    match error {
        PushError::UnknownLog => StatusCode::NOT_FOUND,
        PushError::Malformed(_) | PushError::NoPackage => StatusCode::BAD_REQUEST,
        PushError::Unproven { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        PushError::ContentType | PushError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        PushError::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        PushError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        PushError::Update(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refusal(error: &UpdateError) -> Response<Body> {
    let failed = || Refused::Failed(error.to_string());
    let refused = if let UpdateError::Refused(refused) = error { refused } else { &failed() };
    if let Refused::Failed(why) = refused {
        tracing::error!(%why, "a request failed");
    }
    let (status, kind, body) = refused.answer();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, kind, body)
}

fn lines(lines: &[SignatureLine]) -> Response<Body> {
    answer(StatusCode::OK, TEXT_TYPE, lines.iter().map(ToString::to_string).collect())
}

fn answer_info(status: StatusCode, info: &MirrorInfo) -> Response<Body> {
    answer(status, INFO_TYPE, info.to_string())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut answer = text(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Runs what takes processor time or waits for a disk, away from the threads that serve connections.
async fn blocking<T: Send + 'static, E: From<UpdateError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(UpdateError::from(Refused::Failed(error.to_string())).into()))
}

/// The same for a part of an upload, which is handed back.
async fn blocking_with<T: Send + 'static>(
    mut taking: Taking,
    work: impl FnOnce(&mut Taking) -> T + Send + 'static,
) -> Result<(T, Taking), UpdateError> {
    blocking(move || Ok((work(&mut taking), taking))).await
}
