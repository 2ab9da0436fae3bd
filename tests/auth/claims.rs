//! What is signed rightly and meant for something else, somebody else, or another time.

use graven_auth::{Binding, BoundTo, MAX_LEEWAY, TokenError};
use serde_json::{Value, json};

use crate::tokens::{encode, sha256};
use crate::{ISSUER, Issuer, NOW, US, good, with, without};

#[test]
fn a_good_token_says_who_and_what() {
    let issuer = Issuer::new();
    let token = issuer.verify(&issuer.es.token(&good())).unwrap();
    assert_eq!((token.issuer.as_str(), token.subject.as_str()), (ISSUER, "alice"));
    assert_eq!(token.client_id.as_deref(), Some("gateway"));
    assert_eq!(token.jti_hash.unwrap().to_vec(), sha256("token-1"));
    assert_eq!(token.id.as_deref(), Some("token-1"));
    assert_eq!(token.issued, Some(NOW - 10));
    assert_eq!(token.scopes, ["graven:append:audit", "graven:read:*"]);
    assert_eq!((token.expires, token.bound_to), (NOW + 300, BoundTo::default()));
    let shown = format!("{token:?}");
    assert!(!shown.contains("alice") && !shown.contains("gateway") && !shown.contains("audit"), "{shown}");
}

#[test]
fn a_token_of_another_issuer_is_not_taken() {
    let issuer = Issuer::new();
    for other in [
        "https://id.example.com/",
        "http://id.example.com",
        "https://ID.example.com",
        "https://id.example.com.evil",
        "",
        "id.example.com",
    ] {
        assert_eq!(issuer.refused(&issuer.es.token(&with("iss", other))), TokenError::Issuer, "{other}");
    }
    for other in [json!(null), json!([ISSUER]), json!({"iss": ISSUER}), json!(1)] {
        assert_eq!(issuer.refused(&issuer.es.token(&with("iss", other))), TokenError::Issuer);
    }
    assert_eq!(issuer.refused(&issuer.es.token(&without("iss"))), TokenError::Issuer);
}

#[test]
fn a_token_for_another_audience_is_not_taken() {
    let issuer = Issuer::new();
    let aud = |value: Value| issuer.verify(&issuer.es.token(&with("aud", value)));
    assert!(aud(json!(US)).is_ok());
    assert!(aud(json!(["https://other.example.com", US])).is_ok());
    let many = vec!["x"; 300];
    for other in [
        json!("https://other.example.com"),
        json!(format!("{US}/")),
        json!(US.to_uppercase()),
        json!(format!(" {US}")),
        json!(format!("{US} https://other.example.com")),
        json!(""),
        json!([]),
        json!([[US]]),
        json!([US, 1]),
        json!({"0": US}),
        json!(null),
        json!([many, vec![US]].concat()),
    ] {
        assert_eq!(aud(other.clone()).unwrap_err(), TokenError::Audience, "{other}");
    }
    assert_eq!(issuer.refused(&issuer.es.token(&without("aud"))), TokenError::Audience);
}

#[test]
fn what_is_no_access_token_is_not_taken_for_one() {
    let mut issuer = Issuer::new();
    let typed = |issuer: &Issuer, typ: Option<Value>| {
        let mut header = json!({"alg": "ES256", "kid": "es"});
        if let Some(typ) = typ {
            header["typ"] = typ;
        }
        issuer.verify(&issuer.es.signed(&header, &good().to_string()))
    };
    for typ in ["at+jwt", "application/at+jwt"] {
        assert!(typed(&issuer, Some(typ.into())).is_ok());
    }
    let others = [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "id+jwt",
        "AT+JWT",
        "at+jwt ",
        "at jwt",
        "jwt",
    ];
    for typ in others {
        assert_eq!(typed(&issuer, Some(typ.into())).unwrap_err(), TokenError::Type, "{typ}");
    }
    for typ in [None, Some(json!("JWT"))] {
        assert_eq!(typed(&issuer, typ).unwrap_err(), TokenError::Type);
    }
    // An issuer that knows no better, where the operator says so: it may leave the type out, and not write another.
    issuer.rules.legacy_type = true;
    for typ in [None, Some(json!("JWT")), Some(json!("at+jwt"))] {
        assert!(typed(&issuer, typ).is_ok());
    }
    for typ in others {
        assert_eq!(typed(&issuer, Some(typ.into())).unwrap_err(), TokenError::Type, "{typ}");
    }
    for claim in ["client_id", "jti", "iat"] {
        assert!(issuer.verify(&issuer.es.token(&without(claim))).is_ok(), "{claim}");
    }
}

#[test]
fn times_hold_to_the_second() {
    let issuer = Issuer::new();
    let at = |claims: &Value, now: u64| issuer.verify_at(&issuer.es.token(claims), now).map(drop);
    // There is no leeway at the end, and the named one at the beginning.
    let claims = with("exp", NOW + 100);
    assert_eq!(at(&claims, NOW + 99), Ok(()));
    assert_eq!(at(&claims, NOW + 100), Err(TokenError::Expired));
    assert_eq!(at(&claims, NOW + 101), Err(TokenError::Expired));
    for claim in ["nbf", "iat"] {
        let claims = with(claim, NOW + 30);
        assert_eq!(at(&claims, NOW - 1), Err(TokenError::NotYet), "{claim}");
        assert_eq!(at(&claims, NOW), Ok(()), "{claim}");
        assert_eq!(at(&claims, NOW + 1), Ok(()), "{claim}");
    }
    // More leeway than a minute is none of an operator's.
    let mut lax = Issuer::new();
    lax.rules.leeway = MAX_LEEWAY * 1000;
    let late = lax.es.token(&with("nbf", NOW + 61));
    assert_eq!(lax.verify_at(&late, NOW).unwrap_err(), TokenError::NotYet);
    assert!(lax.verify_at(&late, NOW + 1).is_ok());
    // Fractions are cut off: what ends within this second has ended.
    assert_eq!(at(&with("exp", json!(1_800_000_000.999)), NOW), Err(TokenError::Expired));
    assert_eq!(at(&with("exp", json!(1_800_000_001.5)), NOW), Ok(()));
    assert_eq!(at(&with("exp", u64::MAX), NOW), Ok(()));
    assert_eq!(at(&good(), u64::MAX), Err(TokenError::Expired));
    for claim in ["exp", "nbf", "iat"] {
        for wrong in
            [json!(null), json!("1800000300"), json!(-1), json!(1e300), json!([]), json!(true), json!({})]
        {
            assert_eq!(at(&with(claim, wrong), NOW), Err(TokenError::Claim(claim)), "{claim}");
        }
    }
    assert_eq!(at(&without("exp"), NOW), Err(TokenError::Claim("exp")));
}

#[test]
fn what_the_standard_demands_is_there() {
    let issuer = Issuer::new();
    for claim in ["sub", "client_id", "jti", "iat"] {
        assert_eq!(issuer.refused(&issuer.es.token(&without(claim))), TokenError::Claim(claim));
    }
    for claim in ["sub", "client_id", "jti"] {
        for wrong in [
            json!(""),
            json!("a\nb"),
            json!("a\u{1b}[31m"),
            json!("x".repeat(257)),
            json!(7),
            json!(null),
            json!(["a"]),
        ] {
            assert_eq!(issuer.refused(&issuer.es.token(&with(claim, wrong))), TokenError::Claim(claim));
        }
    }
}

#[test]
fn scopes_are_words_and_without_them_there_are_none() {
    let issuer = Issuer::new();
    let scopes = |claims: Value| issuer.verify(&issuer.es.token(&claims)).map(|token| token.scopes);
    assert_eq!(scopes(without("scope")), Ok(vec![]));
    assert_eq!(scopes(with("scope", "")), Ok(vec![]));
    assert_eq!(scopes(with("scope", "a  b ")), Ok(vec!["a".to_owned(), "b".to_owned()]));
    let many = "s ".repeat(257);
    for wrong in [
        json!(["graven:read:*"]),
        json!(null),
        json!(1),
        json!("a\tb"),
        json!("a\u{e9}"),
        json!(many),
        json!("x".repeat(257)),
    ] {
        assert_eq!(scopes(with("scope", wrong)), Err(TokenError::Claim("scope")));
    }
    // A list under another name is nobody's.
    assert_eq!(
        scopes(
            json!({"scp": ["graven:read:*"], "iss": ISSUER, "aud": US, "sub": "a", "client_id": "b", "jti": "c", "iat": NOW, "exp": NOW + 1})
        ),
        Ok(vec![])
    );
}

#[test]
fn what_a_token_is_bound_to_is_known_or_it_is_refused() {
    let issuer = Issuer::new();
    let bound = |cnf: Value| issuer.verify(&issuer.es.token(&with("cnf", cnf))).map(|token| token.bound_to);
    let hash = sha256("a key");
    let hash: [u8; 32] = hash.try_into().unwrap();
    let text = encode(hash);
    assert_eq!(bound(json!({"jkt": text})), Ok(BoundTo { key: Some(hash), certificate: None }));
    assert_eq!(
        bound(json!({"x5t#S256": text, "jkt": text})),
        Ok(BoundTo { key: Some(hash), certificate: Some(hash) })
    );
    for unknown in [
        json!({}),
        json!(null),
        json!("jkt"),
        json!({"jwk": {}}),
        json!({"kid": "a"}),
        json!({"jkt": text, "kid": "a"}),
        json!({"jkt": ""}),
        json!({"jkt": &text[1..]}),
        json!({"jkt": format!("{text}=")}),
        json!({"jkt": encode([1; 33])}),
        json!({"jkt": encode([1; 20])}),
        json!({"JKT": text}),
    ] {
        assert_eq!(bound(unknown.clone()), Err(TokenError::Binding(Binding::Unknown)), "{unknown}");
    }
}
