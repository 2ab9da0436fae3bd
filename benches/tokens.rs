//! What an access token costs, on one core: the first time, and once it is remembered.
//!
//! `cargo bench -p graven-auth`

#![allow(clippy::unwrap_used)] // It ends where something fails.

#[allow(dead_code)]
#[path = "../tests/support/issuer.rs"]
mod issuer;
#[allow(dead_code)]
#[path = "../tests/support/tokens.rs"]
mod tokens;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use graven_auth::{
    Algorithm, IssuerSettings, KeySet, Proofs, Roots, Rules, Scheme, ServerUrl, Shown, Validator,
};
use issuer::LocalIssuer;
use serde_json::json;
use tokens::{SigningKey, encode, sha256};

const ROUNDS: u32 = 2_000;
const US: &str = "https://log.example.com";
const PATH: &str = "/graven.v1.LogService/Append";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{:<7} {:>14} {:>14} {:>18}", "", "first, µs", "remembered, µs", "with a proof, µs");
        for (alg, key) in [
            ("ES256", SigningKey::es256("k")),
            ("EdDSA", SigningKey::eddsa("k")),
            ("RS256", SigningKey::rsa("k")),
        ] {
            let [first, remembered, proven] = measure(&key).await;
            println!("{alg:<7} {first:>14.1} {remembered:>14.2} {proven:>18.1}");
        }
    });
}

async fn measure(key: &SigningKey) -> [f64; 3] {
    let issuer = LocalIssuer::start(&[key]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let own = SigningKey::es256("");
    let claims = |cnf: serde_json::Value| {
        json!({
            "iss": issuer.url, "aud": US, "sub": "alice", "client_id": "gateway", "jti": "8a4f2e6c1b", "iat": now,
            "exp": now + 3600, "scope": "graven:append:audit graven:read:audit", "cnf": cnf,
        })
    };
    let rules = Rules {
        issuer: issuer.url.clone(),
        audiences: vec![US.to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        legacy_type: false,
        leeway: Duration::from_secs(30),
    };
    let mut unbound = claims(json!(null));
    unbound.as_object_mut().unwrap().remove("cnf");
    let token = key.token(&unbound);
    let keys = KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap();
    let first = time(|| drop(rules.verify(&token, &keys, now).unwrap()));

    let settings = IssuerSettings {
        name: "corp".to_owned(),
        rules,
        keys_url: None,
        keys_max_age: Duration::from_secs(3600),
        proofs: Proofs::Optional,
        introspection: None,
        roots: Roots::nobody().unwrap(),
    };
    let servers = vec![ServerUrl::parse(US).unwrap()];
    let validator = Validator::new(vec![settings], servers, Arc::new(SystemTime::now)).unwrap();
    validator.accept(&shown(&token, None)).await.unwrap();
    // The hash of the token is part of it.
    let remembered = time(|| drop(validator.recall(&shown(&token, None)).unwrap().unwrap()));

    let bound = key.token(&claims(json!({"jkt": own.thumbprint()})));
    let proofs: Vec<_> = (0..=ROUNDS)
        .map(|jti| {
            own.proof(&json!({
                "htm": "POST", "htu": format!("{US}{PATH}"), "jti": jti.to_string(), "iat": now,
                "ath": encode(sha256(&bound)),
            }))
        })
        .collect();
    validator.accept(&shown(&bound, Some(&proofs[0]))).await.unwrap();
    let mut next = proofs[1..].iter();
    let proven =
        time(|| drop(validator.recall(&shown(&bound, next.next().map(String::as_str))).unwrap().unwrap()));
    [first, remembered, proven]
}

fn shown<'a>(token: &'a str, proof: Option<&'a str>) -> Shown<'a> {
    Shown {
        token: token.into(),
        token_hash: sha256(token).try_into().unwrap(),
        scheme: if proof.is_some() { Scheme::Dpop } else { Scheme::Bearer },
        proof: proof.map(Into::into),
        method: "POST".into(),
        path: PATH.into(),
        certificate: None,
    }
}

/// Microseconds that one round takes.
fn time(mut round: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..ROUNDS).for_each(|_| round());
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}
