//! C2SP tlog-witness over HTTP.
//!
//! ```text
//! POST /add-checkpoint        200 signature lines │ 400 │ 403 │ 404 │ 409 size │ 413 │ 422 │ 500 │ 503
//! POST /sign-subtree          200 signature lines │ 400 │ 403 │ 404 │ 413 │ 422 │ 500
//! GET  /<hex>/checkpoint      200 checkpoint, cosigned │ 404        hex: SHA-256 of the origin
//! GET  /healthz               200
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use graven_net::{TEXT, text};
use graven_note::SignatureLine;
use graven_note::witness::{MAX_REQUEST_BYTES, Refused, SIZE_TYPE, WireError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use metrics::counter;

use crate::witness::Witness;

/// Everything that a witness answers.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/sign-subtree", post(sign_subtree))
        .route("/{log}/checkpoint", get(checkpoint))
        .route("/healthz", get(async || text(StatusCode::OK, "ok\n")))
        .fallback(async || text(StatusCode::NOT_FOUND, "not found\n"))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, request: Request<Body>) -> Response<Body> {
    let answer = match body(request).await {
        Ok(body) => witness.add_checkpoint(&body).await,
        Err(refused) => Err(refused),
    };
    counted("add-checkpoint", lines_or(answer))
}

async fn sign_subtree(State(witness): State<Arc<Witness>>, request: Request<Body>) -> Response<Body> {
    let answer = match body(request).await {
        Ok(body) => witness.sign_subtree(&body).await,
        Err(refused) => Err(refused),
    };
    counted("sign-subtree", lines_or(answer))
}

async fn checkpoint(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response<Body> {
    let not_found = || text(StatusCode::NOT_FOUND, "no checkpoint of this log was cosigned here\n");
    let answer = match unhex(&log) {
        None => not_found(),
        Some(log) => match witness.checkpoint(log).await {
            Ok(Some(note)) => {
                let mut answer = text(StatusCode::OK, note.as_str().to_owned());
                answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                answer
            }
            Ok(None) => not_found(),
            Err(refused) => refusal(&refused),
        },
    };
    counted("checkpoint", answer)
}

async fn body(request: Request<Body>) -> Result<Vec<u8>, Refused> {
    let read = to_bytes(request.into_body(), MAX_REQUEST_BYTES).await;
    // A body that was cut short is no request either, and whoever cut it is gone.
    read.map(Vec::from).map_err(|_| WireError::TooLarge(MAX_REQUEST_BYTES).into())
}

fn lines_or(answer: Result<Vec<SignatureLine>, Refused>) -> Response<Body> {
    match answer {
        Ok(lines) => text(StatusCode::OK, lines.iter().map(ToString::to_string).collect::<String>()),
        Err(refused) => refusal(&refused),
    }
}

fn refusal(refused: &Refused) -> Response<Body> {
    if let Refused::Failed(why) = refused {
        tracing::error!(%why, "a request failed");
    }
    let (status, kind, body) = refused.answer();
    let mut answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn counted(call: &'static str, answer: Response<Body>) -> Response<Body> {
    let status = answer.status().as_u16().to_string();
    counter!("graven_witness_requests_total", "call" => call, "status" => status).increment(1);
    debug_assert!(answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == TEXT || kind == SIZE_TYPE));
    answer
}

/// 32 bytes from lower-case hexadecimal digits.
fn unhex(digits: &str) -> Option<[u8; 32]> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 64 || !digits.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
