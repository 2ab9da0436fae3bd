//! Asking an issuer: one request, one connection, one bounded answer in JSON.
//!
//! ```text
//! https            anywhere, TLS 1.3, by the given CAs
//! http             where name and connection are of this machine: localhost, 127.0.0.1, [::1]
//! status 200       its body; everything else, redirects among it, is a failure
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// The longest answer: sets of 64 keys with their certificates are shorter.
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// From the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An address of an issuer that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Uri);

/// Asks.
#[derive(Clone)]
pub(crate) struct Fetcher {
    tls: Arc<ClientConfig>,
}

/// Why there is no answer. It goes to the operator's log: it holds nothing that was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("not reached: {0}")]
    Unreached(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its name leads away from this machine, and http:// does not")]
    LeadsElsewhere,
    #[error("this is no host that can be asked")]
    Host,
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("its answer is cut off, or longer than {MAX_ANSWER_BYTES} bytes")]
    Answer,
    #[error("no whole answer came within {TIMEOUT:?}")]
    TimedOut,
}

/// A form that is sent, by whom.
pub(crate) struct Form {
    pub(crate) authorization: Zeroizing<String>,
    pub(crate) body: Zeroizing<String>,
}

impl Address {
    /// `None`: not `https`, nor `http` on this machine; or with a user, which would be sent along.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let is_safe = match uri.scheme_str()? {
            "https" => true,
            "http" => matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]"),
            _ => false,
        };
        (is_safe && !authority.host().is_empty() && !authority.as_str().contains('@')).then_some(Self(uri))
    }

    fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl Fetcher {
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls }
    }

    /// The body behind an address; with a form, what is answered to it.
    pub(crate) async fn fetch(&self, at: &Address, form: Option<Form>) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.ask(at, form)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn ask(&self, at: &Address, form: Option<Form>) -> Result<Bytes, FetchError> {
        let host = at.0.host().ok_or(FetchError::Host)?.trim_matches(['[', ']']);
        let port = at.0.port_u16().unwrap_or(if at.is_encrypted() { 443 } else { 80 });
        let request = request(at, form)?;
        let stream = TcpStream::connect((host, port)).await?;
        if at.is_encrypted() {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Host)?;
            return speak(TlsConnector::from(self.tls.clone()).connect(name, stream).await?, request).await;
        }
        if !stream.peer_addr()?.ip().to_canonical().is_loopback() {
            return Err(FetchError::LeadsElsewhere);
        }
        speak(stream, request).await
    }
}

fn request(at: &Address, form: Option<Form>) -> Result<Request<Full<Bytes>>, FetchError> {
    let path = at.0.path_and_query().map_or("/", |it| it.as_str());
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().map_err(|_| FetchError::Host)?;
    let headers = request.headers_mut();
    let host = at.0.authority().ok_or(FetchError::Host)?.as_str();
    headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| FetchError::Host)?);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("graven/", env!("CARGO_PKG_VERSION"))));
    if let Some(form) = form {
        let mut secret = HeaderValue::from_str(&form.authorization).map_err(|_| FetchError::Host)?;
        secret.set_sensitive(true);
        headers.insert(AUTHORIZATION, secret);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.method_mut() = Method::POST;
        *request.body_mut() = Full::new(Bytes::copy_from_slice(form.body.as_bytes()));
    }
    Ok(request)
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Bytes, FetchError> {
    let connecting = http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream));
    let (mut sender, connection) = connecting.await?;
    // It ends with its sender.
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    body.map(|body| body.to_bytes()).map_err(|_| FetchError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_in_the_clear_beyond_this_machine() {
        for good in [
            "https://id.example.com/a?b",
            "https://id.example.com:8443",
            "http://127.0.0.1:1/",
            "http://localhost:1",
            "http://[::1]:1/",
        ] {
            assert!(Address::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "id.example.com",
            "http://id.example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.2/",
            "http://169.254.169.254/",
            "https://user:secret@id.example.com/",
            "https:///a",
            "ftp://id.example.com/",
            "file:///etc/passwd",
        ] {
            assert!(Address::parse(bad).is_none(), "{bad}");
        }
    }
}
