//! A span for each call: method, log, sizes, timing, code. Never an entry, a key or a secret.
//!
//! The span lives until the last byte of the answer: for a stream, until its trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use graven_log::LogName;
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Status};
use tower::Layer;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// Puts every call into a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceLayer;

/// See [`TraceLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Traced<S>(S);

/// Notes which log the call is about.
pub(crate) fn note_log(name: &LogName) {
    Span::current().record("log", tracing::field::display(name));
}

/// Notes how many entries came or went, and their bytes.
pub(crate) fn note_entries(entries: usize, bytes: usize) {
    Span::current().record("entries", entries).record("bytes", bytes);
}

/// Notes the first index that the call is about.
pub(crate) fn note_index(index: u64) {
    Span::current().record("index", index);
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced(inner)
    }
}

impl<S> Service<http::Request<Body>> for Traced<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().trim_start_matches('/');
        let span =
            tracing::info_span!("call", method, log = Empty, index = Empty, entries = Empty, bytes = Empty);
        let started = Instant::now();
        let answer = span.in_scope(|| self.0.call(request));
        let answer = async move {
            let response = answer.await?;
            let end = End { span: Span::current(), started, code: None };
            let (head, body) = response.into_parts();
            let mut body = Ending { body, end };
            if let Some(status) = Status::from_header_map(&head.headers) {
                body.end.code = Some(status.code());
            }
            Ok(http::Response::from_parts(head, Body::new(body)))
        };
        Box::pin(answer.instrument(span))
    }
}

/// A body that notices its trailers.
struct Ending {
    body: Body,
    end: End,
}

/// Says how a call ended, when it goes: with a code, or without one when the caller went away.
struct End {
    span: Span,
    started: Instant,
    code: Option<Code>,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let _entered = this.end.span.enter();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.end.code = Status::from_header_map(trailers).map(|status| status.code());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let took_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let code = self.code.map_or("caller gone".to_owned(), |code| format!("{code:?}"));
        self.span.in_scope(|| match self.code {
            Some(Code::Internal | Code::DataLoss | Code::Unknown) => tracing::error!(code, took_us, "done"),
            Some(Code::Unavailable | Code::ResourceExhausted) => tracing::info!(code, took_us, "done"),
            _ => tracing::debug!(code, took_us, "done"),
        });
    }
}
