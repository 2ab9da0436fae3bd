//! Telling somebody's web server: JSON by POST, tried again where that may help.
//!
//! With a [secret](WebhookSecret) each request is signed, so that the receiver knows who sends, and that it is new:
//!
//! ```text
//! graven-signature: t=1764230400,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd
//!
//! t   seconds since 1970 at this attempt: refuse what is older than some minutes
//! v1  HMAC-SHA256 in hex, keyed with the secret, over the digits of t, a full stop, and the body as it came
//! ```

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{
    HeaderName, HeaderValue, Method, Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use sha2::Sha256;
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

/// The header that a signed request carries.
const SIGNATURE: HeaderName = HeaderName::from_static("graven-signature");

/// Fewer bytes could be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// What a sender and a receiver of webhooks share. Never printed.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl WebhookSecret {
    /// Any bytes, as long as there are 16 at least; `None` where there are fewer.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        let long_enough = secret.len() >= MIN_SECRET_BYTES;
        long_enough.then(|| Hmac::new_from_slice(secret).ok().map(Self)).flatten()
    }

    /// The value of the header for a body that is sent now.
    fn sign(&self, seconds: u64, body: &[u8]) -> String {
        let mac = self.0.clone().chain_update(seconds.to_string()).chain_update(b".").chain_update(body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={seconds},v1={hex}")
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// An address that takes JSON. Redirects are not followed, and of an answer only its status is read.
pub struct Webhook {
    at: Address,
    client: Client<Dialer, Full<Bytes>>,
    retries: RetryPolicy,
    secret: Option<WebhookSecret>,
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
        Ok(Self { at, client, retries, secret: None })
    }

    /// The same, signing each request.
    #[must_use]
    pub fn signed_by(self, secret: WebhookSecret) -> Self {
        Self { secret: Some(secret), ..self }
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = self.secret.as_ref().map(|secret| secret.sign(now, &body));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.at.uri().clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(connect::USER_AGENT));
        if let Some(signature) = signature.and_then(|it| HeaderValue::try_from(it).ok()) {
            request.headers_mut().insert(SIGNATURE, signature);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_the_time_and_the_body() {
        let secret = WebhookSecret::new(b"0123456789abcdef").unwrap();
        let signed = secret.sign(1_764_230_400, b"{}");
        // printf '1764230400.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            signed,
            "t=1764230400,v1=cedfc831b5b8e57bbb34a4099a08733660424aa1b3b358e3e51e1e84552f421e"
        );
        assert_ne!(secret.sign(1_764_230_401, b"{}")[13..], signed[13..]);
        assert_eq!(format!("{secret:?}"), "WebhookSecret");
        assert!(WebhookSecret::new(b"short").is_none());
    }
}
