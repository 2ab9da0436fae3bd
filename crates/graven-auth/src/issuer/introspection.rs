//! Asking an issuer about a token (RFC 7662).

use std::fmt::Write as _;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use tokio::sync::{OnceCell, Semaphore};
use zeroize::Zeroizing;

use super::IntrospectionSettings;
use super::metadata::{Discovery, IssuerFault};
use crate::fetch::{Address, Fetcher, Form};
use crate::json::{self, Object};

/// Tokens that one issuer is asked about at a time. Whoever makes tokens up makes us ask, and not more than this.
const MAX_ASKED: usize = 32;

/// Asks.
pub(crate) struct Introspection {
    fetcher: Fetcher,
    discovery: Arc<Discovery>,
    url: OnceCell<Address>,
    authorization: Zeroizing<String>,
    room: Semaphore,
}

impl Introspection {
    pub(crate) fn new(
        fetcher: Fetcher,
        discovery: Arc<Discovery>,
        url: Option<Address>,
        settings: &IntrospectionSettings,
    ) -> Self {
        // Both are encoded before they are joined (RFC 6749 §2.3.1).
        let secret = Zeroizing::new(form_encoded(&settings.client_secret));
        let pair = Zeroizing::new(format!("{}:{}", form_encoded(&settings.client_id), *secret));
        let authorization = Zeroizing::new(format!("Basic {}", Base64::encode_string(pair.as_bytes())));
        Self {
            fetcher,
            discovery,
            url: OnceCell::new_with(url),
            authorization,
            room: Semaphore::new(MAX_ASKED),
        }
    }

    /// What the issuer says of a token.
    pub(crate) async fn ask(&self, token: &str) -> Result<Object, IssuerFault> {
        let _room = self.room.try_acquire().map_err(|_| IssuerFault::Busy)?;
        let at = self.url.get_or_try_init(|| self.discovery.address("introspection_endpoint")).await?;
        let body = Zeroizing::new(format!("token={}&token_type_hint=access_token", form_encoded(token)));
        let form = Form { authorization: self.authorization.clone(), body };
        let answer = self.fetcher.fetch(at, Some(form)).await;
        let answer = answer.map_err(|error| IssuerFault::Fetch { what: "introspection", error })?;
        json::object(&answer).ok_or(IssuerFault::Form("introspection"))
    }
}

/// As forms are sent (WHATWG URL, application/x-www-form-urlencoded), but for the space, which may be escaped as well.
fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_one_value() {
        assert_eq!(form_encoded("aZ0-._*"), "aZ0-._*");
        assert_eq!(form_encoded("a b&c=d%\u{e9}~:+"), "a%20b%26c%3Dd%25%C3%A9%7E%3A%2B");
    }
}
