//! What is signed wrongly, or rightly by the wrong means.

use std::net::TcpListener;

use graven_auth::{Algorithm, KeySet, MAX_TOKEN_BYTES, TokenError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tokens::{SigningKey, compact, encode, sha256};
use crate::{Issuer, NOW, good, with};

#[test]
fn a_good_token_counts_by_each_algorithm() {
    let issuer = Issuer::new();
    for key in [&issuer.es, &issuer.ed, &issuer.rsa] {
        assert!(issuer.verify(&key.token(&good())).is_ok(), "{}", key.alg());
    }
    for (key, alg) in [(&issuer.rsa, "PS256"), (&issuer.ed, "Ed25519")] {
        let header = json!({"alg": alg, "typ": "application/at+jwt", "kid": key.kid});
        assert!(issuer.verify(&key.signed(&header, &good().to_string())).is_ok(), "{alg}");
    }
}

#[test]
fn no_signature_and_no_shared_secret_counts() {
    let issuer = Issuer::new();
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "ES256K", "ES384", "RS1", "dir",
        "RSA-OAEP",
    ] {
        for kid in ["es", "rsa", "none"] {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string();
            for signature in [vec![], vec![0; 64], vec![0; 32]] {
                let token = compact(&header, &good().to_string(), |_| signature);
                assert_eq!(issuer.refused(&token), TokenError::Algorithm, "{alg}");
            }
        }
    }
    // A MAC by what everybody can read: the public key as PEM, DER, JWK or modulus.
    let public = issuer.rsa.public();
    let secrets = [
        public.to_string(),
        public["n"].as_str().unwrap().to_owned(),
        "-----BEGIN PUBLIC KEY-----\n".to_owned(),
    ];
    for secret in secrets {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "rsa"}).to_string();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let token = compact(&header, &good().to_string(), |message| {
            aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
        });
        assert_eq!(issuer.refused(&token), TokenError::Algorithm);
    }
}

#[test]
fn a_key_is_used_in_its_own_way_only() {
    let issuer = Issuer::new();
    // The name of one key with the algorithm of another.
    for (key, alg) in [("es", "RS256"), ("es", "EdDSA"), ("ed", "ES256"), ("rsa", "ES256"), ("rsa", "EdDSA")]
    {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": key});
        for signer in [&issuer.es, &issuer.ed, &issuer.rsa] {
            let token = signer.signed(&header, &good().to_string());
            assert_eq!(issuer.refused(&token), TokenError::UnknownKey, "{key} {alg}");
        }
    }
    // A key that says what it is for, and a setting that says what is taken at all.
    let pinned = json!({"keys": [{"alg": "RS256", "kty": "RSA", "kid": "rsa", "n": issuer.rsa.public()["n"], "e": "AQAB"}]});
    let pinned = KeySet::parse(pinned.to_string().as_bytes()).unwrap();
    let by = |alg: &str| {
        issuer.rsa.signed(&json!({"alg": alg, "typ": "at+jwt", "kid": "rsa"}), &good().to_string())
    };
    assert!(issuer.rules.verify(&by("RS256"), &pinned, NOW).is_ok());
    assert_eq!(issuer.rules.verify(&by("PS256"), &pinned, NOW).unwrap_err(), TokenError::UnknownKey);
    let mut strict = Issuer::new();
    strict.rules.algorithms = vec![Algorithm::Es256];
    assert_eq!(strict.refused(&strict.rsa.token(&good())), TokenError::Algorithm);
    assert!(strict.verify(&strict.es.token(&good())).is_ok());
}

#[test]
fn another_signature_is_wrong() {
    let issuer = Issuer::new();
    for key in [&issuer.es, &issuer.ed, &issuer.rsa] {
        let token = key.token(&good());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = key.token(&with("sub", "mallory"));
        let swapped = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
        assert_eq!(issuer.refused(&swapped), TokenError::Signature);
        for length in [0, 1, 32, 63, 65, 128, 255, 257, 512] {
            let token = format!("{signed}.{}", encode(vec![1; length]));
            assert_eq!(issuer.refused(&token), TokenError::Signature, "{length}");
        }
        // r and s, or the whole, are nothing; and DER instead of two numbers.
        for bytes in [vec![0; 64], vec![0; 256], [&[0x30, 0x06, 2, 1, 0, 2, 1, 0][..], &[0; 56]].concat()] {
            assert_eq!(issuer.refused(&format!("{signed}.{}", encode(bytes))), TokenError::Signature);
        }
        // The curve's order for r or s (the Psychic Signatures of 2022).
        let order = b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
        assert_eq!(issuer.refused(&format!("{signed}.{}", encode(order.repeat(2)))), TokenError::Signature);
        // Somebody else's key of the same kind under the same name.
        let stranger = match key.alg() {
            "ES256" => SigningKey::es256("es"),
            "EdDSA" => SigningKey::eddsa("ed"),
            _ => SigningKey::rsa("rsa"),
        };
        assert_eq!(issuer.refused(&stranger.token(&good())), TokenError::Signature);
        assert!(!signature.is_empty() && issuer.verify(&token).is_ok());
    }
}

#[test]
fn the_name_of_a_key_is_a_name_and_nothing_else() {
    let issuer = Issuer::new();
    let by = |kid: Value| {
        issuer.es.signed(&json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}), &good().to_string())
    };
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "file:///dev/null",
        "http://127.0.0.1/key",
        "' OR '1'='1",
        "es\0",
        "es ",
        " es",
        "ES",
        "",
        "es\n",
        "keys[0]",
        "0",
    ] {
        assert_eq!(issuer.refused(&by(kid.into())), TokenError::UnknownKey, "{kid}");
    }
    for kid in [json!(0), json!(null), json!(["es"]), json!({"es": 1}), json!("k".repeat(257))] {
        assert_eq!(issuer.refused(&by(kid)), TokenError::Malformed);
    }
    // Without a name, the only key of its kind is meant; of two, neither.
    let nameless = issuer.es.signed(&json!({"alg": "ES256", "typ": "at+jwt"}), &good().to_string());
    assert!(issuer.verify(&nameless).is_ok());
    let two = json!({"keys": [issuer.es.jwk(), SigningKey::es256("other").jwk()]});
    let two = KeySet::parse(two.to_string().as_bytes()).unwrap();
    assert_eq!(issuer.rules.verify(&nameless, &two, NOW).unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn no_key_comes_from_a_token_and_nobody_is_asked_for_one() {
    let issuer = Issuer::new();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", trap.local_addr().unwrap());
    let mallory = SigningKey::es256("es");
    let certificate = encode(sha256("a certificate"));
    let bait = [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", mallory.public()),
        ("x5c", json!([certificate])),
        ("x5t", json!(certificate)),
        ("x5t#S256", json!(certificate)),
        ("url", json!(url)),
        ("jwks_uri", json!(url)),
        ("keys", json!([mallory.jwk()])),
    ];
    for (name, value) in bait {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "es"});
        header[name] = value;
        assert_eq!(
            issuer.refused(&mallory.signed(&header, &good().to_string())),
            TokenError::Signature,
            "{name}"
        );
        // With the issuer's own signature it changes nothing.
        assert!(issuer.verify(&issuer.es.signed(&header, &good().to_string())).is_ok(), "{name}");
    }
    assert!(trap.accept().is_err(), "somebody went to the address in a token");
    for crit in [json!([]), json!(["exp"]), json!(["b64"]), json!("b64"), json!(null)] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "es", "crit": crit, "b64": false});
        assert_eq!(issuer.refused(&issuer.es.signed(&header, &good().to_string())), TokenError::Critical);
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_not_read() {
    let issuer = Issuer::new();
    let es =
        |header: &str, payload: &str| compact(header, payload, |message| issuer.es.sign("ES256", message));
    let (header, payload) = (r#"{"alg":"ES256","typ":"at+jwt","kid":"es"}"#, good().to_string());
    assert!(issuer.verify(&es(header, &payload)).is_ok());
    for name in ["aud", "iss", "exp", "sub", "scope", "nbf", "other", "\\u0061ud"] {
        let twice = payload.replacen('{', &format!(r#"{{"{name}":"x","{name}":"x","#), 1);
        assert_eq!(issuer.refused(&es(header, &twice)), TokenError::Malformed, "{name}");
    }
    let deep = payload.replacen('{', r#"{"act":{"sub":"a","sub":"b"},"#, 1);
    assert_eq!(issuer.refused(&es(header, &deep)), TokenError::Malformed);
    for bad in [
        header.replacen('{', r#"{"alg":"none","#, 1),
        header.replacen('}', r#","alg":"HS256"}"#, 1),
        header.replacen('}', r#","\u0061lg":"none"}"#, 1),
        format!("{header}{header}"),
        format!("\u{feff}{header}"),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
    ] {
        assert_eq!(issuer.refused(&es(&bad, &payload)), TokenError::Malformed, "{bad}");
    }
    for bad in ["", "null", "[]", "{", "{}{}", "\"x\"", "{\"a\":\u{0}}"] {
        assert_eq!(issuer.refused(&es(header, bad)), TokenError::Malformed, "{bad}");
    }
}

#[test]
fn a_token_has_one_form_and_a_longest_length() {
    let issuer = Issuer::new();
    let token = issuer.es.token(&good());
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!() };
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{token}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{token}=="),
        format!("{token}\n"),
        format!(" {token}"),
        token.replace('_', "/").replace('-', "+") + "/",
        format!("{header}.{payload}.{signature}AAA"),
        // JSON serialization, and an encrypted token.
        json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
        format!("{header}..{payload}.{signature}.{signature}"),
        token.replace('.', "\u{2024}"),
        "\u{0}.\u{0}.\u{0}".to_owned(),
    ] {
        assert_eq!(issuer.refused(&bad), TokenError::Malformed, "{bad}");
    }
    // Unencoded payload (RFC 7797), unsigned and detached content.
    assert_eq!(issuer.refused(&format!("{header}..{signature}")), TokenError::Malformed);
    assert_eq!(issuer.refused(&format!("{header}.{payload}.")), TokenError::Signature);
    let padding = |count: usize| issuer.es.token(&with("pad", "x".repeat(count)));
    let fits = (1..).map(|step| padding(step * 64)).find(|it| it.len() + 100 > MAX_TOKEN_BYTES).unwrap();
    assert!(fits.len() <= MAX_TOKEN_BYTES && issuer.verify(&fits).is_ok());
    assert_eq!(issuer.refused(&padding(MAX_TOKEN_BYTES)), TokenError::TooLong);
    assert_eq!(issuer.refused(&"x".repeat(10 << 20)), TokenError::TooLong);
    // Deeper than anybody nests.
    let deep =
        good().to_string().replacen('{', &format!(r#"{{"a":{}1{},"#, "[".repeat(500), "]".repeat(500)), 1);
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "es"});
    assert_eq!(issuer.refused(&issuer.es.signed(&header, &deep)), TokenError::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn one_changed_byte_is_one_too_many(at in any::<prop::sample::Index>(), to in 0x21_u8..0x7f) {
        let (issuer, token) = &*SAMPLE;
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(issuer.verify(&changed).is_err());
    }

    #[test]
    fn whatever_comes_is_an_answer(text in ".{0,400}") {
        prop_assert!(SAMPLE.0.verify(&text).is_err());
        let token = compact(&text, &text, |message| message.to_vec());
        prop_assert!(SAMPLE.0.verify(&token).is_err());
        prop_assert!(KeySet::parse(text.as_bytes()).is_none());
    }
}

static SAMPLE: std::sync::LazyLock<(Issuer, String)> = std::sync::LazyLock::new(|| {
    let issuer = Issuer::new();
    let token = issuer.es.token(&good());
    (issuer, token)
});
