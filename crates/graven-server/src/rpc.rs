//! Around every gRPC call: who calls, a span, its deadline, and what it took. Never an entry, a key or a secret.
//!
//! The span lives, and the call is counted, until the [end](crate::ending) of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use graven_auth::{Outage, TokenError};
use graven_log::LogName;
use graven_net::Peer;
use http_body::Body as HttpBody;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::access::{Access, Caller, Denied, Identifying, Presented};
use crate::audit::{self, watch::Watch};
use crate::deadline;
use crate::ending::End;
use crate::meter::Meters;
use crate::options::OnCall;

/// Puts every call through what this module does.
#[derive(Clone)]
pub(crate) struct RpcLayer {
    pub(crate) access: Arc<dyn Access>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) on_call: Option<OnCall>,
    /// How long a call may take until its answer begins.
    pub(crate) timeout: Duration,
    pub(crate) watch: Watch,
}

/// See [`RpcLayer`].
#[derive(Clone)]
pub(crate) struct Rpc<S> {
    layer: RpcLayer,
    inner: S,
}

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

impl<S> Layer<S> for RpcLayer {
    type Service = Rpc<S>;

    fn layer(&self, inner: S) -> Rpc<S> {
        Rpc { layer: self.clone(), inner }
    }
}

impl<S, B> Service<http::Request<B>> for Rpc<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let meter = self.layer.meters.rpc(request.uri().path());
        let span = tracing::info_span!(
            "call",
            method = &meter.path()[1..],
            caller = Empty,
            log = Empty,
            index = Empty,
            entries = Empty,
            bytes = Empty,
            otel.name = Empty,
            otel.kind = Empty,
        );
        let peer = request.extensions().get::<Arc<Peer>>().cloned();
        let presented = Presented {
            method: request.method(),
            path: request.uri().path(),
            headers: request.headers(),
            peer: peer.as_deref(),
        };
        let identifying = self.layer.access.identify(&presented);
        let end = End::new(span.clone(), meter);
        match identifying {
            Identifying::Known(known) => self.admit(known, request.map(Body::new), end),
            Identifying::Asking(asking) => {
                // This one was asked whether it is ready; its clone will be.
                let clone = self.clone();
                let mut this = std::mem::replace(self, clone);
                let answer = async move {
                    let known = tokio::time::timeout(this.layer.timeout, asking).await;
                    let known =
                        known.unwrap_or(Err(Denied::Token(TokenError::Unavailable(Outage::Introspection))));
                    this.admit(known, request.map(Body::new), end).await
                };
                Box::pin(answer.instrument(span))
            }
        }
    }
}

impl<S> Rpc<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    /// Lets a caller in that may call at all, and answers everybody else before anything of the body is read: strangers fill no
    /// memory.
    fn admit(
        &mut self,
        known: Result<Caller, Denied>,
        mut request: http::Request<Body>,
        end: End,
    ) -> BoxFuture<'static, Result<http::Response<Body>, S::Error>> {
        let span = end.span.clone();
        let asks_who = end.meter.asks_who();
        let known = known.and_then(|caller| match caller.name() {
            None if asks_who => Err(Denied::Missing),
            _ => Ok(caller),
        });
        let caller = match known {
            Ok(caller) => caller,
            Err(denied) => {
                self.layer.watch.stranger(&denied);
                let refusal = span.in_scope(|| denied.refusal());
                return Box::pin(std::future::ready(Ok(end.refuse(&refusal.into()))));
            }
        };
        if let Some(name) = caller.name() {
            span.record("caller", name);
            // Strangers do not decide what is traced.
            if let Some(on_call) = &self.layer.on_call {
                on_call(&span, request.headers());
                span.record("otel.name", &end.meter.path()[1..]);
            }
        }
        let understood = Understood::default();
        request.extensions_mut().insert(understood.clone());
        let timeout =
            deadline::of(request.headers()).map_or(self.layer.timeout, |it| it.min(self.layer.timeout));
        let expires = caller.expires().map(|at| (at, caller.expired()));
        request.extensions_mut().insert(caller);
        let watch = self.layer.watch.clone();
        let who = watch.is_on().then(|| audit::of_parts(request.extensions(), request.headers()));
        let answer = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(response)) => {
                    if let Some(who) = who.filter(|_| is_denied(&response))
                        && let Err(unrecorded) = watch.refused(&who, &end.meter.path()[1..]).await
                    {
                        return Ok(end.refuse(&unrecorded.into()));
                    }
                    Ok(end.follow(response, &understood, expires))
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(end.refuse(&Status::deadline_exceeded("the call took longer than it may"))),
            }
        };
        Box::pin(answer.instrument(span))
    }
}

/// Whether a known caller is told that it may not do this.
fn is_denied(response: &http::Response<Body>) -> bool {
    Status::from_header_map(response.headers()).is_some_and(|status| status.code() == Code::PermissionDenied)
}

/// Whether a call's request was understood, so that its handler has begun.
#[derive(Clone, Default)]
pub(crate) struct Understood(Arc<AtomicBool>);

impl Understood {
    /// It was.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// What the transport makes of a request that ends early or is no message is the caller's fault, and is said to be:
    /// otherwise anybody could make a server look ill.
    pub(crate) fn blame(&self, response: &mut http::Response<Body>) {
        if self.0.load(Ordering::Relaxed) {
            return;
        }
        let Some(status) = Status::from_header_map(response.headers()) else { return };
        if matches!(status.code(), Code::Internal | Code::Unknown) {
            let blamed = Status::invalid_argument("the request is no whole message of this method");
            *response = blamed.into_http();
        }
    }
}
