//! How the answer to a call ends: with its trailers, with its caller, or with the credentials that it is told by.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::{Code, Status};
use tracing::Span;

use crate::access::Denied;
use crate::meter::RpcMeter;
use crate::rpc::Understood;

/// What was answered in time is told, by credentials too that ended meanwhile.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A body that notices its trailers, and ends with the credentials that it is told by.
struct Ending {
    body: Body,
    end: End,
    over: Option<Over>,
}

/// When that is, and what is said then.
struct Over(Pin<Box<Sleep>>, Denied);

/// Says how a call ended, when it goes: with a code, or without one when the caller went away.
pub(crate) struct End {
    pub(crate) span: Span,
    pub(crate) meter: Arc<RpcMeter>,
    started: Instant,
    code: Option<Code>,
}

impl End {
    pub(crate) fn new(span: Span, meter: Arc<RpcMeter>) -> Self {
        meter.begin();
        Self { span, meter, started: Instant::now(), code: None }
    }

    pub(crate) fn refuse(mut self, status: &Status) -> http::Response<Body> {
        self.code = Some(status.code());
        status.clone().into_http()
    }

    pub(crate) fn follow(
        mut self,
        mut response: http::Response<Body>,
        understood: &Understood,
        expires: Option<(SystemTime, Denied)>,
    ) -> http::Response<Body> {
        understood.blame(&mut response);
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.code = Some(status.code());
        }
        let left = |expires: SystemTime| expires.duration_since(SystemTime::now()).unwrap_or_default();
        let over = expires.map(|(expires, denied)| {
            Over(Box::pin(tokio::time::sleep(left(expires).max(LAST_WORD))), denied)
        });
        response.map(|body| Body::new(Ending { body, end: self, over }))
    }
}

impl Ending {
    /// Once the credentials are over: drops what would go on, and says why.
    fn cut_off(&mut self, cx: &mut Context<'_>, is_waiting: bool) -> Option<Frame<Bytes>> {
        let Over(sleep, denied) = self.over.as_mut()?;
        // One that always has something to tell waits for no timer.
        let is_over = sleep.deadline() <= tokio::time::Instant::now()
            || is_waiting && sleep.as_mut().poll(cx).is_ready();
        if !is_over {
            return None;
        }
        let status = Status::from(denied.refusal());
        (self.body, self.over, self.end.code) = (Body::empty(), None, Some(status.code()));
        let mut trailers = HeaderMap::new();
        // What does not fit a header is left out of it.
        let _ = status.add_header(&mut trailers);
        Some(Frame::trailers(trailers))
    }
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let span = this.end.span.clone();
        let _entered = span.enter();
        if let Some(end) = this.cut_off(cx, false) {
            return Poll::Ready(Some(Ok(end)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.cut_off(cx, true).map_or(Poll::Pending, |end| Poll::Ready(Some(Ok(end))));
        };
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
        let took = self.started.elapsed();
        self.meter.end(self.code, took);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let code = self.code.map_or("caller gone".to_owned(), |code| format!("{code:?}"));
        self.span.in_scope(|| match self.code {
            Some(Code::Internal | Code::DataLoss | Code::Unknown) => tracing::error!(code, took_us, "done"),
            Some(Code::Unavailable | Code::ResourceExhausted) => tracing::info!(code, took_us, "done"),
            _ => tracing::debug!(code, took_us, "done"),
        });
    }
}
