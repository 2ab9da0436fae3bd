//! Opening a connection: TCP, then TLS where the address says `https`.

use std::{
    future::Future,
    io::{self, IoSlice},
    iter,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::tls::TlsProblem;

/// HTTP/2 by its name in ALPN (RFC 9113 §3.1).
pub(crate) const HTTP2: &[u8] = b"h2";

/// HTTP/1.1 by its name in ALPN.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// The type of a TLS record that is an alert, and the beginning of no message of HTTP.
const TLS_ALERT: u8 = 0x15;

/// How writing fails where the other side has hung up.
const HUNG_UP: [io::ErrorKind; 3] =
    [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];

/// Why no connection came about.
#[derive(Clone, Debug, Error)]
pub enum DialError {
    /// Nobody answers.
    #[error("no server answers there: is it running? ({0})")]
    Unreachable(Arc<str>),
    /// Somebody may answer, but too slowly.
    #[error("no server answers there within {0:?}")]
    TimedOut(Duration),
    /// The name is of this machine, and leads elsewhere.
    #[error("this name should lead to this machine and does not: use 127.0.0.1 or https://")]
    LeadsElsewhere,
    /// The connection ended before TLS was agreed on, without a reason given.
    #[error("the server hung up before TLS was agreed on: does it speak TLS on this port?")]
    HungUp,
    /// TLS was not agreed on.
    #[error(transparent)]
    Tls(#[from] TlsProblem),
}

impl DialError {
    /// The error of this type that another was caused by.
    pub(crate) fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }

    /// Whether another attempt would end alike.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::LeadsElsewhere)
    }
}

/// What a server said last before it hung up, on any connection; nothing once one of them works. A client whose
/// certificate is refused learns it after the connection seemed to be open, and where HTTP/2 loses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<TlsProblem>>>);

impl LastWords {
    pub(crate) fn get(&self) -> Option<TlsProblem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, words: Option<TlsProblem>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// Opens connections, to whatever address it is called with.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) timeout: Duration,
    /// Whether a connection without TLS has to end on this machine, whatever its name resolves to.
    pub(crate) plaintext_stays: bool,
    pub(crate) last_words: LastWords,
}

impl Dialer {
    async fn dial(self, address: Uri) -> Result<TokioIo<Line>, DialError> {
        let limit = self.timeout;
        timeout(limit, self.open(address)).await.unwrap_or(Err(DialError::TimedOut(limit))).map(TokioIo::new)
    }

    async fn open(self, address: Uri) -> Result<Line, DialError> {
        let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let encrypted = address.scheme_str() == Some("https");
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let unreachable = |error: &dyn std::error::Error| DialError::Unreachable(deepest(error).into());
        let stream = tcp.call(address).await.map_err(|error| unreachable(&error))?.into_inner();
        if !encrypted {
            let here = stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
            if self.plaintext_stays && !here {
                return Err(DialError::LeadsElsewhere);
            }
            return Ok(Line::new(stream, false, false, self.last_words));
        }
        // Who was given nobody to believe believes nobody.
        let tls = self.tls.ok_or(TlsProblem::Untrusted)?;
        let demanded = tls.alpn_protocols == [HTTP2];
        let name = ServerName::try_from(host).map_err(|error| unreachable(&error))?;
        let stream = TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .map_err(|error| TlsProblem::within(&error).map_or(DialError::HungUp, DialError::Tls))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        if demanded && !http2 {
            return Err(TlsProblem::NoHttp2.into());
        }
        Ok(Line::new(stream, true, http2, self.last_words))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Line>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        Box::pin(self.clone().dial(address))
    }
}

/// The text of the cause behind all others.
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// A connection that is open.
pub(crate) struct Line {
    io: Box<dyn Stream>,
    encrypted: bool,
    http2: bool,
    /// Whether nothing was read yet.
    unread: bool,
    /// How writing failed, while what the other side said last is still being read.
    broken: Option<io::Error>,
    last_words: LastWords,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connection for Line {
    fn connected(&self) -> Connected {
        if self.http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Line {
    fn new(io: impl Stream + 'static, encrypted: bool, http2: bool, last_words: LastWords) -> Self {
        Self { io: Box::new(io), encrypted, http2, unread: true, broken: None, last_words }
    }

    /// Who hangs up may have said why just before: that is worth more than a broken pipe. Such a connection can
    /// still be read to its end, and has one.
    fn listen<T>(&mut self, cx: &mut Context<'_>, written: io::Result<T>) -> Poll<io::Result<T>> {
        let error = match written {
            Err(error) if HUNG_UP.contains(&error.kind()) => error,
            other => return Poll::Ready(other),
        };
        loop {
            let mut bytes = [0; 512];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *self).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    self.broken = Some(error);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(said)) if said.kind() == io::ErrorKind::InvalidData => {
                    return Poll::Ready(Err(said));
                }
                Poll::Ready(_) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        let first = buffer.filled().get(before).filter(|_| self.unread).copied();
        let problem = match &read {
            Ok(()) => (!self.encrypted && first == Some(TLS_ALERT)).then_some(TlsProblem::IsTls),
            Err(error) => TlsProblem::within(error),
        };
        if let Some(problem) = problem {
            self.last_words.set(Some(problem.clone()));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        if first.is_some() {
            self.unread = false;
            self.last_words.set(None);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.broken.take() {
            Some(error) => Err(error),
            None => ready!(Pin::new(&mut self.io).poll_write(cx, bytes)),
        };
        self.listen(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.broken.take() {
            Some(error) => Err(error),
            None => ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices)),
        };
        self.listen(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.broken.take() {
            Some(error) => Err(error),
            None => ready!(Pin::new(&mut self.io).poll_flush(cx)),
        };
        self.listen(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
