//! One connection, from its first byte to its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::Service as _;

use crate::silent::Newcomer;
use crate::{Limits, Peer, Tls, text};

/// The headers of one call. Ours need some hundred bytes, a bearer token a few thousand.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// What HTTP/1.1 reads ahead: a head, or a part of a body.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
/// How long the head of an HTTP/1.1 request may take, and how long its connection may be idle before it.
const HTTP1_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What may be on its way to us on one HTTP/2 stream, and on one connection: enough for a full append window.
const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Frames as large as a group of entries: fewer of them, fewer wake-ups.
const FRAME_BYTES: u32 = 256 << 10;
/// Streams that a peer reset before they were answered; beyond it the connection ends (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 64;
/// Streams that we reset because of the peer's errors; beyond it the connection ends.
const MAX_LOCAL_RESETS: usize = 256;
/// Answers that one stream may have waiting for a slow reader, in bytes.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// What is shorter may wait for its reader for as long as the reader likes.
const LARGE_BYTES: usize = 16 << 10;

/// Numbers of what was offered.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Serves a connection until it ends, or has nothing to do for too long.
pub(crate) async fn serve(
    stream: TcpStream,
    tls: Option<&Tls>,
    router: Router,
    limits: &Limits,
    draining: watch::Receiver<bool>,
    newcomer: Newcomer,
) {
    let activity = Arc::new(Activity::new(newcomer));
    let served = match tls {
        None => plaintext(stream, router, limits, draining, activity).await,
        Some(tls) => encrypted(stream, tls, router, limits, draining, activity).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn plaintext(
    stream: TcpStream,
    router: Router,
    limits: &Limits,
    draining: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> io::Result<()> {
    metrics::counter!("graven_connections_total", "transport" => "plaintext").increment(1);
    stream.set_nodelay(true)?;
    let peer = Peer { address: stream.peer_addr()?, names: Vec::new(), certificate: None };
    drive(stream, peer, router, limits, draining, activity).await
}

async fn encrypted(
    stream: TcpStream,
    tls: &Tls,
    router: Router,
    limits: &Limits,
    draining: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let address = stream.peer_addr()?;
    let shaken = tokio::time::timeout(limits.handshake_timeout, tls.accept(stream)).await;
    let (stream, names, certificate) = shaken.map_err(io::Error::other).flatten().inspect_err(|_| {
        metrics::counter!("graven_connections_refused_total", "reason" => "handshake").increment(1);
    })?;
    metrics::counter!("graven_connections_total", "transport" => "tls").increment(1);
    drive(stream, Peer { address, names, certificate }, router, limits, draining, activity).await
}

async fn drive(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    limits: &Limits,
    mut draining: watch::Receiver<bool>,
    activity: Arc<Activity>,
) -> io::Result<()> {
    let peer = Arc::new(peer);
    let service = service_fn({
        let activity = activity.clone();
        move |mut request: Request<Incoming>| {
            let call = activity.begin();
            // Over HTTP/2 nobody else counts them, and each costs more than its few bytes.
            let answer = (request.headers().len() <= MAX_HEADERS).then(|| {
                request.extensions_mut().insert(peer.clone());
                router.clone().call(Heard::body_of(request, activity.clone()))
            });
            let activity = activity.clone();
            async move {
                let response = match answer {
                    Some(answer) => answer.await?,
                    None => text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n"),
                };
                activity.heard();
                Ok::<_, Infallible>(Counted::body_of(response, call))
            }
        }
    });
    let http = http(limits);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut max_age = std::pin::pin!(tokio::time::sleep(limits.max_age));
    let shortest = limits.first_request_timeout.min(limits.idle_timeout).min(limits.stall_timeout);
    let mut looks = tokio::time::interval(shortest / 4);
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            () = &mut max_age, if !is_ending => is_ending = true,
            _ = draining.wait_for(|draining| *draining), if !is_ending => is_ending = true,
            _ = looks.tick() => match activity.idle() {
                Idle::Silent(time) if time >= limits.first_request_timeout => return Ok(()),
                Idle::Stalled(time) if time >= limits.stall_timeout => return Ok(()),
                // All calls are over, and the end of an answer is not taken.
                Idle::Done(time) if is_ending && time >= limits.stall_timeout => return Ok(()),
                Idle::Done(time) if time >= limits.idle_timeout => is_ending = true,
                _ => {}
            }
        }
        if is_ending {
            // Calls that are under way go on; new ones go elsewhere.
            connection.as_mut().graceful_shutdown();
        }
    }
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_HEAD_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        .max_headers(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    http
}

/// What goes on in a connection.
struct Activity {
    began: Instant,
    under_way: AtomicU64,
    /// When a call last began or ended, in milliseconds since `began`; 0: never.
    last_ms: AtomicU64,
    /// Pieces of large answers that wait for their reader, and since when.
    offered: Mutex<HashMap<u64, Instant>>,
    /// Goes with the first request that is here as a whole, or has an answer.
    newcomer: Mutex<Option<Newcomer>>,
}

/// For how long a connection has done nothing.
enum Idle {
    /// It has calls under way.
    Busy,
    /// It has, and its peer takes nothing of the answer to one of them.
    Stalled(Duration),
    /// It has never had one.
    Silent(Duration),
    /// Its last one has ended.
    Done(Duration),
}

/// A call under way.
struct Call(Arc<Activity>);

impl Activity {
    fn new(newcomer: Newcomer) -> Self {
        Self {
            began: Instant::now(),
            under_way: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            offered: Mutex::default(),
            newcomer: Mutex::new(Some(newcomer)),
        }
    }

    fn begin(self: &Arc<Self>) -> Call {
        self.touch();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Call(self.clone())
    }

    /// It has asked for something.
    fn heard(&self) {
        drop(self.newcomer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn offered(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms.max(1), Ordering::Relaxed);
    }

    fn idle(&self) -> Idle {
        if self.under_way.load(Ordering::Relaxed) > 0 {
            let oldest = self.offered().values().min().copied();
            return oldest.map_or(Idle::Busy, |since| Idle::Stalled(since.elapsed()));
        }
        match self.last_ms.load(Ordering::Relaxed) {
            0 => Idle::Silent(self.began.elapsed()),
            last => Idle::Done(self.began.elapsed().saturating_sub(Duration::from_millis(last))),
        }
    }
}

impl Call {
    /// The same call, held by somebody else as well.
    fn again(&self) -> Self {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.touch();
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a request: with its end the connection has asked for something.
struct Heard {
    body: Incoming,
    activity: Arc<Activity>,
}

impl Heard {
    fn body_of(request: Request<Incoming>, activity: Arc<Activity>) -> Request<Self> {
        let request = request.map(|body| Self { body, activity });
        request.body().look();
        request
    }

    fn look(&self) {
        if self.body.is_end_stream() {
            self.activity.heard();
        }
    }
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.look();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer: its call is under way until it goes, and until all large pieces of it have gone.
struct Counted {
    body: Body,
    call: Call,
    /// It has many pieces, each of which may be small.
    is_large: bool,
}

/// A piece of an answer, from when it is handed to the transport until the network has taken it.
struct Offered {
    piece: Bytes,
    number: u64,
    call: Call,
}

impl Counted {
    fn body_of(response: Response<Body>, call: Call) -> Response<Self> {
        // What is packed is as long as it likes.
        let is_large = response.body().size_hint().lower() >= LARGE_BYTES as u64
            || response.headers().contains_key(CONTENT_ENCODING);
        response.map(|body| Self { body, call, is_large })
    }

    /// From now on it is the peer's turn.
    fn offer(&self, piece: Bytes) -> Bytes {
        if !self.is_large && piece.len() < LARGE_BYTES {
            return piece;
        }
        let (number, call) = (NUMBERS.fetch_add(1, Ordering::Relaxed), self.call.again());
        call.0.offered().insert(number, Instant::now());
        Bytes::from_owner(Offered { piece, number, call })
    }
}

impl AsRef<[u8]> for Offered {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.call.0.offered().remove(&self.number);
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|piece| self.offer(piece)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
