//! Callers by access tokens, from an issuer that is there.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use graven_auth::{Algorithm, IssuerSettings, Proofs, Roots, Rules, ServerUrl, Validator};
use graven_guard::Tokens;
use http::Request;
use serde_json::{Value, json};

use crate::issuer::{LocalIssuer, Mood};
use crate::rig::{DECIDED, Log, header, send};
use crate::tokens::{SigningKey, encode, sha256};

const US: &str = "https://docs.example.com";

/// An issuer, and a guard that trusts it.
struct Desk {
    key: SigningKey,
    issuer: LocalIssuer,
    tokens: Tokens,
}

impl Desk {
    fn open() -> Self {
        let key = SigningKey::es256("one");
        let issuer = LocalIssuer::start(&[&key]);
        let settings = IssuerSettings {
            name: "corp".to_owned(),
            rules: Rules {
                issuer: issuer.url.clone(),
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
        };
        let clock = Arc::new(|| UNIX_EPOCH + Duration::from_secs(DECIDED));
        let validator = Validator::new(vec![settings], vec![ServerUrl::parse(US).unwrap()], clock).unwrap();
        Self { key, issuer, tokens: Tokens::new(validator) }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url, "aud": US, "sub": "alice", "client_id": "billing", "jti": "token-1",
            "iat": DECIDED - 60, "exp": DECIDED + 60, "scope": "documents:read documents:modify",
        })
    }

    /// How a request with these headers ends, how often the handler ran, and what the log was asked.
    async fn call(&self, headers: &[(&'static str, String)]) -> (u16, String, u64, Log) {
        let mut request = Request::get("/documents/7");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let log = Log::allowing();
        let (answer, runs) = send(self.tokens.clone(), &log, request.body(()).unwrap()).await;
        (answer.status().as_u16(), header(&answer, "graven-reason").to_owned(), runs, log)
    }

    async fn bearer(&self, token: &str) -> (u16, String, u64, Log) {
        self.call(&[("authorization", format!("Bearer {token}"))]).await
    }
}

#[tokio::test]
async fn a_good_token_says_who_calls() {
    let desk = Desk::open();
    let (status, _, runs, log) = desk.bearer(&desk.key.token(&desk.claims())).await;
    assert_eq!((status, runs), (200, 1));
    let asked = log.asked().remove(0);
    assert_eq!((asked.client.as_str(), asked.subject.as_str()), ("billing", "user:alice"));
    let token = asked.token.unwrap();
    assert_eq!((token.id.as_str(), token.issuer.as_str()), ("token-1", desk.issuer.url.as_str()));
    let times = [token.issued, token.expires].map(|time| time.unwrap().seconds.unsigned_abs());
    assert_eq!(times, [DECIDED - 60, DECIDED + 60]);
    assert_eq!(token.scopes, ["documents:read", "documents:modify"]);
}

#[tokio::test]
async fn no_other_token_gets_anybody_anywhere() {
    let desk = Desk::open();
    let other = SigningKey::es256("one");
    let with = |claim: &str, value: Value| {
        let mut claims = desk.claims();
        claims[claim] = value;
        desk.key.token(&claims)
    };
    for (what, token) in [
        ("of another key", other.token(&desk.claims())),
        ("over", with("exp", json!(DECIDED))),
        ("of another issuer", with("iss", json!("https://evil.example"))),
        ("for somebody else", with("aud", json!("https://other.example"))),
        ("of no client", with("client_id", Value::Null)),
        ("no token", "x".to_owned()),
    ] {
        let (status, reason, runs, log) = desk.bearer(&token).await;
        assert_eq!((status, reason.as_str()), (401, "credentials-invalid"), "{what}");
        assert_eq!((runs, log.asked().len()), (0, 0), "{what}");
    }
    let (status, reason, runs, _) = desk.call(&[]).await;
    assert_eq!((status, reason.as_str(), runs), (401, "no-credentials", 0));
}

#[tokio::test]
async fn a_bound_token_needs_its_proof() {
    let desk = Desk::open();
    let key = SigningKey::es256("");
    let mut claims = desk.claims();
    claims["cnf"] = json!({"jkt": key.thumbprint()});
    let token = desk.key.token(&claims);
    let shown = |path: &str, jti: &str| {
        let proof = key.proof(&json!({
            "htm": "GET", "htu": format!("{US}{path}"), "jti": jti, "iat": DECIDED, "ath": encode(sha256(&token)),
        }));
        vec![("authorization", format!("DPoP {token}")), ("dpop", proof)]
    };
    assert_eq!(desk.call(&shown("/documents/7", "1")).await.0, 200);
    assert_eq!(desk.call(&shown("/documents/8", "2")).await.0, 401, "for another request");
    assert_eq!(desk.call(&shown("/documents/7", "1")).await.0, 401, "shown before");
    let (status, _, runs, _) = desk.bearer(&token).await;
    assert_eq!((status, runs), (401, 0));
}

#[tokio::test]
async fn without_the_issuer_nobody_new_is_known() {
    let desk = Desk::open();
    desk.issuer.state().mood = Mood::Down;
    let (status, reason, runs, log) = desk.bearer(&desk.key.token(&desk.claims())).await;
    assert_eq!((status, reason.as_str()), (503, "unavailable"));
    assert_eq!((runs, log.asked().len()), (0, 0));
}
