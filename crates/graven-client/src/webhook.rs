//! Telling somebody's web server: JSON by POST, tried again where that may help.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{sleep, timeout};

use crate::{
    ConnectError, DialError, RetryPolicy, Roots, WebError,
    address::Address,
    connect,
    dial::{self, Dialer, LastWords},
    tls,
};

/// How long one attempt may take, from the name to the head of the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// An address that takes JSON. Redirects are not followed, and of an answer only its status is read.
pub struct Webhook {
    at: Address,
    client: Client<Dialer, Full<Bytes>>,
    retries: RetryPolicy,
}

impl Webhook {
    /// Nothing is sent yet. Addresses of hooks are secrets, as often as not: `http://` is for this machine only, and the
    /// address is never printed.
    ///
    /// # Errors
    /// This is no such address, or the certificates cannot be used.
    pub fn new(url: &str, roots: &Roots, retries: RetryPolicy) -> Result<Self, ConnectError> {
        let at = Address::parse_url(url)?;
        at.check(false, false)?;
        let tls = || tls::config(roots.store()?, None, &[dial::HTTP2, dial::HTTP1]);
        let dialer = Dialer {
            tls: at.is_encrypted().then(tls).transpose()?,
            timeout: ATTEMPT_TIMEOUT,
            plaintext_stays: true,
            last_words: LastWords::default(),
        };
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(dialer);
        Ok(Self { at, client, retries })
    }

    /// Sends this, and waits until it is taken, or is not for good.
    ///
    /// # Errors
    /// The last attempt failed, or another would not help.
    pub async fn post(&self, json: String) -> Result<(), WebError> {
        let body = Bytes::from(json);
        let mut failures = 0;
        loop {
            let attempt = timeout(ATTEMPT_TIMEOUT, self.attempt(body.clone())).await;
            let error = match attempt.unwrap_or(Err(WebError::TimedOut(ATTEMPT_TIMEOUT))) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            match error.delay(&self.retries, failures) {
                Some(delay) => sleep(delay).await,
                None => return Err(error.after(failures)),
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<(), WebError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.at.uri().clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(connect::USER_AGENT));
        let answer = self.client.request(request).await.map_err(|error| match DialError::within(&error) {
            Some(error) => WebError::Dial(error.clone()),
            None => WebError::Interrupted(dial::deepest(&error)),
        })?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(WebError::Status { status: answer.status(), retry_after: None })
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.at.host()).finish_non_exhaustive()
    }
}
