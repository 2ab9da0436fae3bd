//! C2SP tlog-witness over HTTP.
//!
//! ```text
//! POST /add-checkpoint        200 signature lines │ 400 │ 403 │ 404 │ 408 │ 409 size │ 413 │ 422 │ 500 │ 503
//! POST /sign-subtree          200 signature lines │ 400 │ 403 │ 404 │ 408 │ 413 │ 422 │ 500 │ 503
//! GET  /<hex>/checkpoint      200 checkpoint, cosigned │ 404        hex: SHA-256 of the origin
//! GET  /healthz               200
//! ```
//!
//! 408 and 503 where a request was not here in time or found no room (`graven_net::Bodies`), 503 also where too many wait to be
//! remembered.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use graven_net::{Bodies, TEXT, text};
use graven_note::SignatureLine;
use graven_note::witness::{MAX_REQUEST_BYTES, Refused, SIZE_TYPE};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use metrics::counter;

use crate::witness::Witness;

/// A witness, and room for what it is asked.
#[derive(Clone)]
struct Site {
    witness: Arc<Witness>,
    bodies: Arc<Bodies>,
}

/// Everything that a witness answers.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/sign-subtree", post(sign_subtree))
        .route("/{log}/checkpoint", get(checkpoint))
        .route("/healthz", get(async || text(StatusCode::OK, "ok\n")))
        .fallback(async || text(StatusCode::NOT_FOUND, "not found\n"))
        .with_state(Site { witness, bodies: Arc::default() })
}

async fn add_checkpoint(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    let answer = match site.bodies.read(request.into_body(), MAX_REQUEST_BYTES).await {
        Ok(body) => lines_or(site.witness.add_checkpoint(&body).await),
        Err(error) => error.answer(),
    };
    counted("add-checkpoint", answer)
}

async fn sign_subtree(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    let answer = match site.bodies.read(request.into_body(), MAX_REQUEST_BYTES).await {
        Ok(body) => lines_or(site.witness.sign_subtree(&body).await),
        Err(error) => error.answer(),
    };
    counted("sign-subtree", answer)
}

async fn checkpoint(State(site): State<Site>, Path(log): Path<String>) -> Response<Body> {
    let not_found = || text(StatusCode::NOT_FOUND, "no checkpoint of this log was cosigned here\n");
    let answer = match unhex(&log) {
        None => not_found(),
        Some(log) => match site.witness.checkpoint(log).await {
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
