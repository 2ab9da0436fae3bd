//! Issuers whose keys change, vanish or lie, and who are asked about tokens: over real sockets, with a clock that the test moves.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "auth/introspection.rs"]
mod introspection;
#[allow(dead_code)] // Shared with tests that use other parts.
#[path = "support/issuer.rs"]
mod issuer;
#[path = "auth/rotation.rs"]
mod rotation;
#[path = "auth/showing.rs"]
mod showing;
#[allow(dead_code)]
#[path = "support/tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use graven_auth::{
    Accepted, Algorithm, IntrospectionSettings, IssuerSettings, Proofs, Roots, Rules, Scheme, ServerUrl,
    Shown, TokenError, Validator,
};
use issuer::LocalIssuer;
use serde_json::{Value, json};
use tokens::{SigningKey, sha256};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const US: &str = "https://log.example.com";
pub(crate) const PATH: &str = "/graven.v1.LogService/Append";

/// An issuer, a validator that trusts it, and a clock.
pub(crate) struct Rig {
    pub(crate) key: SigningKey,
    pub(crate) issuer: LocalIssuer,
    pub(crate) validator: Validator,
    clock: Arc<AtomicU64>,
}

impl Rig {
    pub(crate) fn new(change: impl FnOnce(&mut IssuerSettings)) -> Self {
        let key = SigningKey::es256("one");
        let issuer = LocalIssuer::start(&[&key]);
        let mut settings = settings(&issuer.url);
        change(&mut settings);
        let clock = Arc::new(AtomicU64::new(NOW));
        let time = clock.clone();
        let now = move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::Relaxed));
        let servers = vec![ServerUrl::parse(US).unwrap()];
        let validator = Validator::new(vec![settings], servers, Arc::new(now)).unwrap();
        Self { key, issuer, validator, clock }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn turn_back(&self, seconds: u64) {
        self.clock.fetch_sub(seconds, Ordering::Relaxed);
    }

    /// Claims of a token that is good for an hour.
    pub(crate) fn claims(&self) -> Value {
        claims(&self.issuer.url, self.now())
    }

    pub(crate) async fn bearer(&self, token: &str) -> Result<Accepted, TokenError> {
        self.show(&bearer(token)).await
    }

    /// As a server would.
    pub(crate) async fn show(&self, shown: &Shown<'_>) -> Result<Accepted, TokenError> {
        match self.validator.recall(shown) {
            Some(known) => known,
            None => self.validator.accept(shown).await,
        }
    }
}

pub(crate) fn settings(url: &str) -> IssuerSettings {
    IssuerSettings {
        name: "corp".to_owned(),
        rules: Rules {
            issuer: url.to_owned(),
            audiences: vec![US.to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            legacy_type: false,
            leeway: Duration::from_secs(30),
        },
        keys_url: None,
        keys_max_age: Duration::from_secs(3600),
        proofs: Proofs::Optional,
        introspection: None,
        roots: Roots::nobody().unwrap(),
    }
}

pub(crate) fn introspection() -> IntrospectionSettings {
    IntrospectionSettings {
        url: None,
        client_id: "graven".to_owned(),
        client_secret: "s3cret&more".to_owned().into(),
        opaque: true,
        signed: false,
        max_age: Duration::from_secs(30),
    }
}

pub(crate) fn claims(issuer: &str, now: u64) -> Value {
    json!({
        "iss": issuer, "aud": US, "sub": "alice", "client_id": "gateway", "jti": "token-1",
        "iat": now, "exp": now + 3600, "scope": "graven:append:audit",
    })
}

pub(crate) fn bearer(token: &str) -> Shown<'_> {
    Shown {
        token: token.into(),
        token_hash: sha256(token).try_into().unwrap(),
        scheme: Scheme::Bearer,
        proof: None,
        method: "POST".into(),
        path: PATH.into(),
        certificate: None,
    }
}
