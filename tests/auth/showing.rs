//! Tokens that are bound to something, and how they are shown.

use graven_auth::{Binding, Proof, Proofs, Scheme, Shown, TokenError};
use serde_json::json;

use crate::tokens::{SigningKey, encode, sha256};
use crate::{PATH, Rig, US, bearer};

/// A rig, a key of a caller, and a token that is bound to it.
fn bound(proofs: Proofs) -> (Rig, SigningKey, String) {
    let rig = Rig::new(|settings| settings.proofs = proofs);
    let key = SigningKey::es256("");
    let mut claims = rig.claims();
    claims["cnf"] = json!({"jkt": key.thumbprint()});
    let token = rig.key.token(&claims);
    (rig, key, token)
}

fn proof(rig: &Rig, key: &SigningKey, token: &str, jti: &str) -> String {
    key.proof(&json!({
        "htm": "POST", "htu": format!("{US}{PATH}"), "jti": jti, "iat": rig.now(), "ath": encode(sha256(token)),
    }))
}

fn dpop<'a>(token: &'a str, proof: &'a str) -> Shown<'a> {
    Shown { scheme: Scheme::Dpop, proof: Some(proof.into()), ..bearer(token) }
}

#[tokio::test]
async fn a_bound_token_needs_a_new_proof_each_time() {
    let (rig, key, token) = bound(Proofs::Optional);
    for round in 0..3 {
        let proof = proof(&rig, &key, &token, &round.to_string());
        assert!(rig.show(&dpop(&token, &proof)).await.is_ok());
        let again = rig.show(&dpop(&token, &proof)).await.unwrap_err();
        assert_eq!(again, TokenError::Proof(Proof::Replayed));
        rig.pass(30);
        assert_eq!(rig.show(&dpop(&token, &proof)).await.unwrap_err(), again, "at the end of its time");
        rig.pass(1);
        assert_eq!(rig.show(&dpop(&token, &proof)).await.unwrap_err(), TokenError::Proof(Proof::Time));
    }
    // Settings that are read again forget no proof.
    let proof = proof(&rig, &key, &token, "reload");
    rig.show(&dpop(&token, &proof)).await.unwrap();
    let servers = vec![graven_auth::ServerUrl::parse(US).unwrap()];
    let renewed = rig.validator.renewed(vec![crate::settings(&rig.issuer.url)], servers).unwrap();
    assert_eq!(renewed.accept(&dpop(&token, &proof)).await.unwrap_err(), TokenError::Proof(Proof::Replayed));
}

#[tokio::test]
async fn a_bound_token_is_of_no_use_to_whoever_finds_it() {
    let (rig, key, token) = bound(Proofs::Optional);
    let good = proof(&rig, &key, &token, "1");
    let refused = async |shown: Shown<'_>| rig.show(&shown).await.unwrap_err();
    for _ in 0..2 {
        assert_eq!(refused(bearer(&token)).await, TokenError::Binding(Binding::ProofMissing));
        let as_bearer = Shown { proof: Some(good.as_str().into()), ..bearer(&token) };
        assert_eq!(refused(as_bearer).await, TokenError::Binding(Binding::ProofMissing));
        let naked = Shown { scheme: Scheme::Dpop, ..bearer(&token) };
        assert_eq!(refused(naked).await, TokenError::Binding(Binding::ProofMissing));
    }
    let mallory = SigningKey::es256("");
    let by_mallory = proof(&rig, &mallory, &token, "1");
    assert_eq!(refused(dpop(&token, &by_mallory)).await, TokenError::Binding(Binding::OtherKey));
    let for_another = proof(&rig, &key, "another token", "2");
    assert_eq!(refused(dpop(&token, &for_another)).await, TokenError::Proof(Proof::OtherToken));
    let elsewhere = Shown { path: "/graven.v1.LogService/GetTreeHead".into(), ..dpop(&token, &good) };
    assert_eq!(refused(elsewhere).await, TokenError::Proof(Proof::OtherCall));
    let otherwise = Shown { method: "GET".into(), ..dpop(&token, &good) };
    assert_eq!(refused(otherwise).await, TokenError::Proof(Proof::OtherCall));
    // None of this used the proof up.
    assert!(rig.show(&dpop(&token, &good)).await.is_ok());
}

#[tokio::test]
async fn a_proof_beside_a_token_that_is_bound_to_nothing_is_refused() {
    let (rig, key, _) = bound(Proofs::Optional);
    let token = rig.key.token(&rig.claims());
    let proof = proof(&rig, &key, &token, "1");
    for shown in [dpop(&token, &proof), Shown { proof: Some(proof.as_str().into()), ..bearer(&token) }] {
        assert_eq!(rig.show(&shown).await.unwrap_err(), TokenError::Binding(Binding::Unbound));
    }
    assert!(rig.bearer(&token).await.is_ok());
}

#[tokio::test]
async fn an_issuer_takes_proofs_or_demands_them_as_the_operator_says() {
    let (rig, key, token) = bound(Proofs::Never);
    let shown = proof(&rig, &key, &token, "1");
    assert_eq!(rig.show(&dpop(&token, &shown)).await.unwrap_err(), TokenError::Binding(Binding::Unknown));
    let (rig, key, token) = bound(Proofs::Required);
    let shown = proof(&rig, &key, &token, "1");
    assert!(rig.show(&dpop(&token, &shown)).await.is_ok());
    let unbound = rig.key.token(&rig.claims());
    assert_eq!(rig.bearer(&unbound).await.unwrap_err(), TokenError::Binding(Binding::Demanded));
}

#[tokio::test]
async fn a_token_of_a_certificate_needs_that_connection() {
    let (rig, key, _) = bound(Proofs::Required);
    let certificate: [u8; 32] = sha256("a certificate").try_into().unwrap();
    let mut claims = rig.claims();
    claims["cnf"] = json!({"x5t#S256": encode(certificate)});
    let token = rig.key.token(&claims);
    let over = |certificate| Shown { certificate, ..bearer(&token) };
    assert!(rig.show(&over(Some(certificate))).await.is_ok());
    for other in [None, Some([0; 32])] {
        assert_eq!(rig.show(&over(other)).await.unwrap_err(), TokenError::Binding(Binding::Certificate));
    }
    // Both, where it is bound to both.
    claims["cnf"] = json!({"x5t#S256": encode(certificate), "jkt": key.thumbprint()});
    let token = rig.key.token(&claims);
    let proof = proof(&rig, &key, &token, "1");
    assert_eq!(rig.show(&dpop(&token, &proof)).await.unwrap_err(), TokenError::Binding(Binding::Certificate));
    let without_proof = Shown { certificate: Some(certificate), ..bearer(&token) };
    assert_eq!(rig.show(&without_proof).await.unwrap_err(), TokenError::Binding(Binding::ProofMissing));
    let both = Shown { certificate: Some(certificate), ..dpop(&token, &proof) };
    assert!(rig.show(&both).await.is_ok());
}
