//! Proofs of possession (RFC 9449): for one call, one token, one time.

use graven_auth::{Call, MAX_PROOF_BYTES, PROOF_WINDOW_S, Proof, Proven, ServerUrl, verify_proof};
use serde_json::{Value, json};

use crate::NOW;
use crate::tokens::{SigningKey, encode, sha256};

const PATH: &str = "/graven.v1.LogService/Append";

fn claims() -> Value {
    json!({"htm": "POST", "htu": format!("https://log.example.com{PATH}"), "jti": "1", "iat": NOW, "ath": encode(sha256("token"))})
}

fn verify_at(proof: &str, now: u64) -> Result<Proven, Proof> {
    let call = Call { method: "POST", path: PATH, token_hash: sha256("token").try_into().unwrap() };
    let servers =
        ["https://log.example.com", "https://[2001:db8::1]:4740/"].map(|it| ServerUrl::parse(it).unwrap());
    verify_proof(proof, &call, &servers, now)
}

fn verify(proof: &str) -> Result<Proven, Proof> {
    verify_at(proof, NOW)
}

#[test]
fn a_proof_by_each_kind_of_key_holds() {
    for key in [SigningKey::es256(""), SigningKey::eddsa(""), SigningKey::rsa("")] {
        let proven = verify(&key.proof(&claims())).unwrap();
        assert_eq!(encode(proven.key), key.thumbprint());
        assert_eq!(proven.forget_at, NOW + PROOF_WINDOW_S + 1);
    }
    // What must not come again is the identifier, by this key, and not the text: a signature has many forms.
    let key = SigningKey::es256("");
    let id = |claims: &Value| verify(&key.proof(claims)).unwrap().id;
    let mut later = claims();
    later["iat"] = (NOW + 1).into();
    assert_eq!(id(&claims()), id(&later));
    later["jti"] = "2".into();
    assert_ne!(id(&claims()), id(&later));
    assert_ne!(id(&claims()), verify(&SigningKey::es256("").proof(&claims())).unwrap().id);
}

#[test]
fn a_proof_is_for_one_call() {
    let key = SigningKey::es256("");
    let at = |htu: &str| {
        let mut claims = claims();
        claims["htu"] = htu.into();
        verify(&key.proof(&claims)).map(drop)
    };
    for same in [
        "https://log.example.com",
        "HTTPS://log.example.com",
        "https://LOG.example.com",
        "https://log.example.com:443",
        "https://[2001:db8::1]:4740",
    ] {
        assert_eq!(at(&format!("{same}{PATH}")), Ok(()), "{same}");
        assert_eq!(at(&format!("{same}{PATH}?a=b#c")), Ok(()), "{same}");
        assert_eq!(at(&format!("{same}{PATH}/")), Err(Proof::OtherCall), "{same}");
        assert_eq!(at(same), Err(Proof::OtherCall), "{same}");
    }
    for other in [
        "http://log.example.com",
        "https://log.example.com:4740",
        "https://log.example.com.evil",
        "https://evil@log.example.com",
        "https://[2001:db8::1]",
        "https://log.example.com/x",
        "",
        "//log.example.com",
    ] {
        assert_eq!(at(&format!("{other}{PATH}")), Err(Proof::OtherCall), "{other}");
    }
    for (claim, value, error) in [
        ("htm", json!("GET"), Proof::OtherCall),
        ("htm", json!("post"), Proof::OtherCall),
        ("htm", json!(null), Proof::Malformed),
        ("htu", json!(1), Proof::Malformed),
        ("ath", json!(encode(sha256("other"))), Proof::OtherToken),
        ("ath", json!(""), Proof::OtherToken),
        ("ath", json!("token"), Proof::OtherToken),
        ("ath", json!(null), Proof::Malformed),
        ("jti", json!(""), Proof::Malformed),
        ("jti", json!("x".repeat(257)), Proof::Malformed),
        ("jti", json!(1), Proof::Malformed),
        ("iat", json!("1800000000"), Proof::Malformed),
        ("iat", json!(1.5), Proof::Malformed),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        assert_eq!(verify(&key.proof(&claims)), Err(error), "{claims}");
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(verify(&key.proof(&claims)), Err(Proof::Malformed), "{claims}");
    }
}

#[test]
fn a_proof_has_its_time_to_the_second() {
    let proof = SigningKey::es256("").proof(&claims());
    let at = |now| verify_at(&proof, now).map(drop);
    assert_eq!(at(NOW - PROOF_WINDOW_S - 1), Err(Proof::Time));
    assert_eq!(at(NOW - PROOF_WINDOW_S), Ok(()));
    assert_eq!(at(NOW + PROOF_WINDOW_S), Ok(()));
    assert_eq!(at(NOW + PROOF_WINDOW_S + 1), Err(Proof::Time));
    assert_eq!(at(0), Err(Proof::Time));
    // Nothing is forgotten while it would still hold.
    assert!(verify_at(&proof, NOW + PROOF_WINDOW_S).unwrap().forget_at > NOW + PROOF_WINDOW_S);
}

#[test]
fn a_proof_is_signed_by_the_public_key_in_it() {
    let (key, other) = (SigningKey::es256(""), SigningKey::es256(""));
    let with = |name: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.public()});
        header[name] = value;
        verify(&key.signed(&header, &claims().to_string()))
    };
    assert!(with("kid", json!("a")).is_ok());
    assert_eq!(with("jwk", other.public()), Err(Proof::Signature));
    for alg in ["none", "HS256", "RS256", "ES384"] {
        assert!(matches!(with("alg", json!(alg)), Err(Proof::Signature)), "{alg}");
    }
    for typ in ["at+jwt", "JWT", "DPOP+JWT", "application/dpop+jwt", ""] {
        assert_eq!(with("typ", json!(typ)), Err(Proof::Malformed), "{typ}");
    }
    let mut private = key.public();
    private["d"] = json!(encode([1; 32]));
    for jwk in [
        private,
        json!(null),
        json!("a"),
        json!({}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!([key.public()]),
    ] {
        assert_eq!(with("jwk", jwk), Err(Proof::Malformed));
    }
    assert_eq!(with("crit", json!(["b64"])), Err(Proof::Malformed));
    // A point that is on no curve.
    let mut nowhere = key.public();
    nowhere["y"] = json!(encode([7; 32]));
    assert_eq!(with("jwk", nowhere), Err(Proof::Signature));
    let mut long = claims();
    long["pad"] = "x".repeat(MAX_PROOF_BYTES).into();
    assert_eq!(verify(&key.proof(&long)), Err(Proof::Malformed));
    for text in ["", "a.b.c", "a b", "\u{e9}"] {
        assert_eq!(verify(text), Err(Proof::Malformed));
    }
}

#[test]
fn a_servers_address_has_no_path() {
    for good in ["https://log.example.com", "https://log.example.com/", "http://127.0.0.1:4740"] {
        assert!(ServerUrl::parse(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "log.example.com",
        "https://log.example.com/a",
        "https://log.example.com?a",
        "ftp://a",
        "https://a@b",
        "https://a:",
    ] {
        assert!(ServerUrl::parse(bad).is_none(), "{bad}");
    }
}
