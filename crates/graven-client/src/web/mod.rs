//! The tiles of a log on the web.
//!
//! Whatever a site or anybody on the way sends, an audit finds out by the log's signatures. So nothing here is
//! about believing it: only about bounds, patience, and not handing a token to others.
//!
//! ```text
//! 200              the resource, plain or gzip, of at most `longest_bytes` as sent and as unpacked
//! 404, 410         there is none
//! 301, 302, 303,   followed, a few times; never from https to http, and beyond the site's own
//! 307, 308         scheme, host and port without token and client certificate
//! 429, 5xx         tried again, when the site says, or after a while
//! ```

mod answer;
mod error;

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION, USER_AGENT},
};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use self::answer::{Answer, Body, retry_after};
pub use self::error::WebError;
use crate::{
    BearerToken, ClientIdentity, ConnectError, DialError, RetryPolicy, Roots,
    address::Address,
    audit::{MAX_RESOURCE_BYTES, TileSource},
    connect,
    dial::{self, Dialer, LastWords},
    tls,
};

/// How often one fetch is sent elsewhere, at most.
const MAX_REDIRECTS: u32 = 5;

/// The longest head of an answer, with all its header fields. Sites send less than one KiB.
const MAX_HEAD_BYTES: u32 = 64 << 10;

/// HTTP/2 flow control, for all fetches over one connection.
const CONNECTION_FLOW_BYTES: u32 = 8 << 20;

/// How to fetch from a site. The defaults suit most.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// Whom to believe that the site is the one it is addressed as.
    pub roots: Roots,
    /// What to show the site if it asks for a certificate.
    pub identity: Option<ClientIdentity>,
    /// What to show the site with every fetch. Never sent by `http://` beyond the loopback interface.
    pub token: Option<BearerToken>,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long one attempt at one resource may take, until its last byte.
    pub attempt_timeout: Duration,
    /// How often and how patiently a resource is tried again.
    pub retries: RetryPolicy,
    /// The longest resource that is fetched, as sent and as unpacked; the default is the longest that a log has.
    pub longest_bytes: usize,
    /// How many resources are fetched at once. Each may take up `longest_bytes` of memory twice, if it is that long.
    pub in_flight: usize,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            identity: None,
            token: None,
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
            retries: RetryPolicy {
                first_delay: Duration::from_millis(250),
                longest_delay: Duration::from_secs(60),
                ..RetryPolicy::default()
            },
            longest_bytes: MAX_RESOURCE_BYTES,
            in_flight: 32,
        }
    }
}

/// A log's site on the web, laid out as C2SP tlog-tiles says. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct WebSite(Arc<Site>);

struct Site {
    prefix: Address,
    /// For the site itself.
    home: Client<Dialer, Empty<Bytes>>,
    /// For wherever it sends us: without anything that tells who we are.
    away: Client<Dialer, Empty<Bytes>>,
    options: WebOptions,
    runtime: Handle,
}

impl WebSite {
    /// The site below `prefix`, such as `https://log.example.com/audit`. Nothing is fetched yet.
    ///
    /// `http://` is fine for what everybody may read, as an audit checks all that comes; a token is never sent by
    /// it beyond the loopback interface.
    ///
    /// Must be called within a tokio runtime, which has to run for as long as something is fetched. Fetching
    /// blocks: do it in other threads than the runtime's.
    ///
    /// # Errors
    /// The prefix is no such address, or the certificates cannot be used.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new(prefix: &str, options: WebOptions) -> Result<Self, ConnectError> {
        let prefix = Address::parse(prefix)?;
        prefix.check(options.token.is_some(), true)?;
        let roots = match options.roots.store() {
            // Then nobody is believed, should it send us on to https after all.
            Err(_) if !prefix.is_encrypted() => Arc::new(RootCertStore::empty()),
            roots => roots?,
        };
        let dialer = |identity, plaintext_stays| -> Result<_, ConnectError> {
            let tls = tls::config(Arc::clone(&roots), identity, &[dial::HTTP2, dial::HTTP1])?;
            Ok(Dialer {
                tls: Some(tls),
                timeout: options.connect_timeout,
                plaintext_stays,
                last_words: LastWords::default(),
            })
        };
        let home = client(dialer(options.identity.as_ref(), options.token.is_some())?);
        let away = client(dialer(None, false)?);
        Ok(Self(Arc::new(Site { prefix, home, away, options, runtime: Handle::current() })))
    }
}

impl TileSource for WebSite {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let body = self.0.runtime.block_on(self.0.fetch(path)).map_err(io::Error::other)?;
        // Here, in the auditing thread, and not in the runtime's: unpacking is work.
        body.map(Body::unpacked).transpose().map_err(io::Error::other)
    }

    fn readers(&self) -> usize {
        self.0.options.in_flight.max(1)
    }
}

impl fmt::Debug for WebSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSite").field(self.0.prefix.uri()).finish()
    }
}

impl Site {
    /// One resource; tried again where that may help.
    async fn fetch(&self, path: &str) -> Result<Option<Body>, WebError> {
        let limit = self.options.attempt_timeout;
        let mut failures = 0;
        loop {
            let attempt = timeout(limit, self.attempt(path)).await;
            let error = match attempt.unwrap_or(Err(WebError::TimedOut(limit))) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            failures += 1;
            match error.delay(&self.options.retries, failures) {
                Some(delay) => sleep(delay).await,
                None => return Err(error.after(failures)),
            }
        }
    }

    async fn attempt(&self, path: &str) -> Result<Option<Body>, WebError> {
        let mut at = self.prefix.join(path)?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get(&at).await?;
            match answer.status() {
                StatusCode::OK => return answer::read(answer, self.options.longest_bytes).await.map(Some),
                StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => at = redirected(&at, answer.headers())?,
                status => {
                    let after = retry_after(answer.headers(), std::time::SystemTime::now());
                    return Err(WebError::Status { status, retry_after: after });
                }
            }
        }
        Err(WebError::TooManyRedirects)
    }

    async fn get(&self, at: &Address) -> Result<Response<Answer>, WebError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = at.uri().clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(USER_AGENT, HeaderValue::from_static(connect::USER_AGENT));
        let client = if at.is_same_origin(&self.prefix) {
            let token = self.options.token.as_ref();
            headers.extend(token.map(|token| (AUTHORIZATION, token.header())));
            &self.home
        } else {
            &self.away
        };
        client.request(request).await.map_err(|error| match DialError::within(&error) {
            Some(error) => WebError::Dial(error.clone()),
            None => WebError::Interrupted(dial::deepest(&error)),
        })
    }
}

fn client(dialer: Dialer) -> Client<Dialer, Empty<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http1_max_buf_size(MAX_HEAD_BYTES as usize)
        .http2_max_header_list_size(MAX_HEAD_BYTES)
        .http2_initial_connection_window_size(CONNECTION_FLOW_BYTES)
        .build(dialer)
}

fn redirected(from: &Address, headers: &HeaderMap) -> Result<Address, WebError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let to = from.resolve(location.ok_or(WebError::RedirectedNowhere)?)?;
    if from.is_encrypted() && !to.is_encrypted() {
        return Err(WebError::RedirectedToPlaintext(to.host().to_owned()));
    }
    Ok(to)
}
