//! One connection to a witness, kept open: a body goes there, a short answer comes back.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::WitnessRoots;

/// The longest answer that is read: signature lines of a few keys, or a size.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Posts to one address.
pub(super) struct Poster {
    address: Uri,
    roots: Option<WitnessRoots>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

/// Nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("not reached: {0}")]
    Unreached(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its URL names no host")]
    Address,
    #[error("https, and no CA certificates are known")]
    Roots,
    #[error("its answer is too long or was cut off: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
}

impl Poster {
    /// To `add-checkpoint` under a submission prefix. `None`: that is no URL of `http` or `https`.
    pub(super) fn new(prefix: &str, roots: Option<WitnessRoots>) -> Option<Self> {
        let address: Uri = format!("{}/add-checkpoint", prefix.trim_end_matches('/')).parse().ok()?;
        let is_http = matches!(address.scheme_str(), Some("http" | "https"));
        (is_http && address.host().is_some()).then_some(Self { address, roots, sender: None })
    }

    /// Sends a body. The caller bounds the time: a call that is dropped leaves no half request behind.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Answer, PostError> {
        // Out of its place: where this is dropped half-way, the next one begins with a new connection.
        let mut sender = match self.kept().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = self.request(body)?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(PostError::Answer)?;
        self.sender = Some(sender);
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: head.status,
            content_type: content_type.unwrap_or_default().to_owned(),
            body: body.to_bytes(),
        })
    }

    /// The open connection, if the witness has not closed it.
    async fn kept(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut sender = self.sender.take()?;
        sender.ready().await.is_ok().then_some(sender)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, PostError> {
        let host = self.address.authority().ok_or(PostError::Address)?.as_str();
        let path = self.address.path_and_query().map_or("/", |it| it.as_str());
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, host.rsplit('@').next().unwrap_or(host))
            .header(USER_AGENT, concat!("graven/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body));
        request.map_err(|_| PostError::Address)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        let host = self.address.host().ok_or(PostError::Address)?.trim_matches(['[', ']']);
        let is_encrypted = self.address.scheme_str() == Some("https");
        let port = self.address.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !is_encrypted {
            return speak(stream).await;
        }
        let roots = self.roots.as_ref().ok_or(PostError::Roots)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| PostError::Address)?;
        speak(TlsConnector::from(roots.config()).connect(name, stream).await?).await
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, PostError> {
    let connecting = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream));
    let (sender, connection) = connecting.await?;
    // It ends with its sender, or with the witness.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
