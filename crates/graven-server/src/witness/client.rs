//! The client of C2SP tlog-witness, over one connection that is kept open: a short answer comes back, and nothing is
//! believed of it here.

use bytes::Bytes;
use graven_note::Origin;
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

/// Speaks to the witness under one prefix.
pub struct WitnessClient {
    prefix: Uri,
    roots: Option<WitnessRoots>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct WitnessAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The content type, empty where there is none.
    pub content_type: String,
    /// At most 64 KiB.
    pub body: Bytes,
}

/// Nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum WitnessCallError {
    /// There is no connection.
    #[error("not reached: {0}")]
    Unreached(#[from] std::io::Error),
    /// The connection failed, or what came is no HTTP/1.1.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// Nobody can be asked there.
    #[error("its URL names no host")]
    Address,
    /// Nobody is believed.
    #[error("https, and no CA certificates are known")]
    Roots,
    /// Longer than anything that a witness answers.
    #[error("its answer is too long or was cut off: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
}

impl WitnessClient {
    /// Under a submission prefix. `None`: that is no URL of `http` or `https`.
    pub fn new(prefix: &str, roots: Option<WitnessRoots>) -> Option<Self> {
        let prefix: Uri = format!("{}/", prefix.trim_end_matches('/')).parse().ok()?;
        let is_http = matches!(prefix.scheme_str(), Some("http" | "https"));
        (is_http && prefix.host().is_some()).then_some(Self { prefix, roots, sender: None })
    }

    /// `add-checkpoint`, with the body of such a request. The caller bounds the time: a call that is dropped leaves no half
    /// request behind.
    ///
    /// # Errors
    /// See [`WitnessCallError`].
    pub async fn add_checkpoint(
        &mut self,
        body: impl Into<Bytes>,
    ) -> Result<WitnessAnswer, WitnessCallError> {
        self.call(Method::POST, "add-checkpoint", body.into()).await
    }

    /// What the witness cosigned of a log last. The monitoring prefix is taken to be the submission prefix, as it is for most
    /// witnesses.
    ///
    /// # Errors
    /// See [`WitnessCallError`].
    pub async fn checkpoint(&mut self, log: &Origin) -> Result<WitnessAnswer, WitnessCallError> {
        self.call(Method::GET, &format!("{}/checkpoint", log.sha256_hex()), Bytes::new()).await
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<WitnessAnswer, WitnessCallError> {
        // Out of its place: where this is dropped half-way, the next one begins with a new connection.
        let mut sender = match self.kept().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = self.request(method, path, body)?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(WitnessCallError::Answer)?;
        self.sender = Some(sender);
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(WitnessAnswer {
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

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, WitnessCallError> {
        let host = self.prefix.authority().ok_or(WitnessCallError::Address)?.as_str();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix.path()))
            .header(HOST, host.rsplit('@').next().unwrap_or(host))
            .header(USER_AGENT, concat!("graven/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body));
        request.map_err(|_| WitnessCallError::Address)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, WitnessCallError> {
        let host = self.prefix.host().ok_or(WitnessCallError::Address)?.trim_matches(['[', ']']);
        let is_encrypted = self.prefix.scheme_str() == Some("https");
        let port = self.prefix.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !is_encrypted {
            return speak(stream).await;
        }
        let roots = self.roots.as_ref().ok_or(WitnessCallError::Roots)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| WitnessCallError::Address)?;
        speak(TlsConnector::from(roots.config()).connect(name, stream).await?).await
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, WitnessCallError> {
    let connecting = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream));
    let (sender, connection) = connecting.await?;
    // It ends with its sender, or with the witness.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_below_the_prefix() {
        for (prefix, path) in [
            ("http://w.example", "/add-checkpoint"),
            ("https://w.example/", "/add-checkpoint"),
            ("http://w.example:1/a/b/", "/a/b/add-checkpoint"),
        ] {
            let client = WitnessClient::new(prefix, None).unwrap();
            let request = client.request(Method::POST, "add-checkpoint", Bytes::new()).unwrap();
            assert_eq!(request.uri().path(), path);
        }
        for bad in ["", "w.example", "ftp://w.example", "http://"] {
            assert!(WitnessClient::new(bad, None).is_none(), "{bad:?}");
        }
    }
}
