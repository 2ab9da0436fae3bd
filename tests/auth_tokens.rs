//! Every attack on signed tokens and proofs that we know of, each with an attempt: no clock, no socket.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "auth/attacks.rs"]
mod attacks;
#[path = "auth/claims.rs"]
mod claims;
#[path = "auth/proofs.rs"]
mod proofs;
#[allow(dead_code)] // Shared with tests that use other parts.
#[path = "support/tokens.rs"]
mod tokens;

use std::time::Duration;

use graven_auth::{AccessToken, Algorithm, KeySet, Rules, TokenError};
use serde_json::{Value, json};
use tokens::SigningKey;

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const US: &str = "https://log.example.com";

/// An issuer with a key of each kind.
pub(crate) struct Issuer {
    pub(crate) es: SigningKey,
    pub(crate) ed: SigningKey,
    pub(crate) rsa: SigningKey,
    pub(crate) rules: Rules,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let rules = Rules {
            issuer: ISSUER.to_owned(),
            audiences: vec![US.to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            legacy_type: false,
            leeway: Duration::from_secs(30),
        };
        Self { es: SigningKey::es256("es"), ed: SigningKey::eddsa("ed"), rsa: SigningKey::rsa("rsa"), rules }
    }

    pub(crate) fn keys(&self) -> KeySet {
        let keys = json!({"keys": [self.es.jwk(), self.ed.jwk(), self.rsa.jwk()]});
        KeySet::parse(keys.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn verify(&self, token: &str) -> Result<AccessToken, TokenError> {
        self.verify_at(token, NOW)
    }

    pub(crate) fn verify_at(&self, token: &str, now: u64) -> Result<AccessToken, TokenError> {
        self.rules.verify(token, &self.keys(), now)
    }

    /// The error of a token that must not count.
    #[track_caller]
    pub(crate) fn refused(&self, token: &str) -> TokenError {
        self.verify(token).expect_err("it counts")
    }
}

/// Claims of a good token.
pub(crate) fn good() -> Value {
    json!({
        "iss": ISSUER, "aud": US, "sub": "alice", "client_id": "gateway", "jti": "token-1",
        "iat": NOW - 10, "exp": NOW + 300, "scope": "graven:append:audit graven:read:*",
    })
}

/// A good token's claims, one of them another.
pub(crate) fn with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = good();
    claims[claim] = value.into();
    claims
}

/// A good token's claims, one of them gone.
pub(crate) fn without(claim: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(claim).unwrap();
    claims
}
