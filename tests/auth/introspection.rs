//! Tokens that only their issuer understands, and signed ones that it may take back.

use std::time::Duration;

use graven_auth::{Outage, TokenError};
use serde_json::{Value, json};

use crate::issuer::Mood;
use crate::{Rig, introspection};

const ASK: &str = "/introspect";

fn rig(signed: bool) -> Rig {
    Rig::new(|settings| {
        let mut asked = introspection();
        asked.signed = signed;
        settings.introspection = Some(asked);
    })
}

impl Rig {
    fn answer(&self) -> Value {
        let mut answer = self.claims();
        answer["active"] = true.into();
        answer["token_type"] = "Bearer".into();
        answer
    }

    fn says(&self, token: &str, answer: Value) {
        self.issuer.state().tokens.insert(token.to_owned(), answer);
    }
}

#[tokio::test]
async fn an_opaque_token_is_what_its_issuer_says() {
    let rig = rig(false);
    rig.says("opaque", rig.answer());
    let accepted = rig.bearer("opaque").await.unwrap();
    assert_eq!(
        (accepted.token.subject.as_str(), &accepted.token.scopes[..]),
        ("alice", &["graven:append:audit".to_owned()][..])
    );
    // `graven:s3cret&more`, each half encoded first.
    assert_eq!(rig.issuer.state().authorization, "Basic Z3JhdmVuOnMzY3JldCUyNm1vcmU=");
    assert_eq!(rig.bearer("other").await.unwrap_err(), TokenError::Inactive);
    // A client of its own has no subject.
    let mut own = rig.answer();
    own.as_object_mut().unwrap().remove("sub");
    rig.says("own", own);
    assert_eq!(rig.bearer("own").await.unwrap().token.subject, "gateway");
}

#[tokio::test]
async fn an_answer_must_be_about_an_access_token_for_us() {
    let rig = rig(false);
    for (at, (claim, value, error)) in [
        ("active", json!("true"), TokenError::Inactive),
        ("active", json!(1), TokenError::Inactive),
        ("active", json!(null), TokenError::Inactive),
        ("iss", json!("https://id.example.com"), TokenError::Issuer),
        ("aud", json!("https://other.example.com"), TokenError::Audience),
        ("aud", json!(null), TokenError::Audience),
        ("exp", json!(rig.now()), TokenError::Expired),
        ("exp", json!("soon"), TokenError::Claim("exp")),
        ("nbf", json!(rig.now() + 31), TokenError::NotYet),
        ("token_type", json!(null), TokenError::Type),
        ("token_type", json!("refresh_token"), TokenError::Type),
        ("token_type", json!("N_A"), TokenError::Type),
    ]
    .into_iter()
    .enumerate()
    {
        let mut answer = rig.answer();
        answer[claim] = value;
        rig.says(&format!("changed{at}"), answer.clone());
        assert_eq!(rig.bearer(&format!("changed{at}")).await.unwrap_err(), error, "{answer}");
        if claim != "iss" && claim != "nbf" {
            answer.as_object_mut().unwrap().remove(claim);
            rig.says(&format!("missing{at}"), answer.clone());
            assert!(rig.bearer(&format!("missing{at}")).await.is_err(), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_time_and_not_beyond_the_end() {
    let rig = rig(false);
    rig.says("opaque", rig.answer());
    for _ in 0..5 {
        assert!(rig.bearer("opaque").await.is_ok());
    }
    assert_eq!(rig.issuer.asked(ASK), 1);
    rig.says("opaque", json!({"active": false}));
    rig.pass(29);
    assert!(rig.bearer("opaque").await.is_ok());
    rig.pass(1);
    assert_eq!(rig.bearer("opaque").await.unwrap_err(), TokenError::Inactive);
    // A no is remembered for a moment, so that made-up tokens cost little.
    assert_eq!(rig.bearer("opaque").await.unwrap_err(), TokenError::Inactive);
    assert_eq!(rig.issuer.asked(ASK), 2);
    let mut short = rig.answer();
    short["exp"] = (rig.now() + 5).into();
    rig.says("short", short);
    assert!(rig.bearer("short").await.is_ok());
    rig.pass(5);
    assert_eq!(rig.bearer("short").await.unwrap_err(), TokenError::Expired);
}

#[tokio::test]
async fn a_signed_token_is_taken_back_within_the_named_time() {
    let rig = rig(true);
    let token = rig.key.token(&rig.claims());
    assert_eq!(rig.bearer(&token).await.unwrap_err(), TokenError::Inactive, "its issuer does not know it");
    rig.pass(10);
    rig.says(&token, json!({"active": true}));
    assert!(rig.bearer(&token).await.is_ok());
    rig.says(&token, json!({"active": false}));
    rig.pass(29);
    assert!(rig.bearer(&token).await.is_ok());
    rig.pass(1);
    assert_eq!(rig.bearer(&token).await.unwrap_err(), TokenError::Inactive);
    // What is not signed by it is not asked about.
    let before = rig.issuer.asked(ASK);
    let stranger = crate::tokens::SigningKey::es256("one");
    assert_eq!(rig.bearer(&stranger.token(&rig.claims())).await.unwrap_err(), TokenError::Signature);
    assert_eq!(rig.issuer.asked(ASK), before);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_lets_nobody_in_and_blames_nobody() {
    let rig = rig(false);
    rig.says("opaque", rig.answer());
    for mood in [Mood::Down, Mood::Status(401), Mood::Status(503), Mood::Endless, Mood::Garbage] {
        rig.issuer.state().mood = mood;
        assert_eq!(rig.bearer("opaque").await.unwrap_err(), TokenError::Unavailable(Outage::Introspection));
    }
    rig.issuer.state().mood = Mood::Well;
    assert!(rig.bearer("opaque").await.is_ok());
    rig.issuer.state().mood = Mood::Down;
    rig.pass(29);
    assert!(rig.bearer("opaque").await.is_ok());
    rig.pass(1);
    assert_eq!(rig.bearer("opaque").await.unwrap_err(), TokenError::Unavailable(Outage::Introspection));
}

#[tokio::test]
async fn opaque_tokens_are_nothing_where_nobody_is_asked() {
    let rig = Rig::new(|_| {});
    assert_eq!(rig.bearer("opaque").await.unwrap_err(), TokenError::Opaque);
    let signed_only = Rig::new(|settings| {
        let mut asked = introspection();
        (asked.opaque, asked.signed) = (false, true);
        settings.introspection = Some(asked);
    });
    assert_eq!(signed_only.bearer("opaque").await.unwrap_err(), TokenError::Opaque);
    assert_eq!(signed_only.issuer.asked(ASK), 0);
}

#[test]
fn a_secret_is_not_shown_by_accident() {
    let shown = format!("{:?}", introspection());
    assert!(shown.contains("graven") && !shown.contains("s3cret"), "{shown}");
    let shown = format!("{:?}", rig(true).validator);
    assert!(shown.contains("corp") && !shown.contains("s3cret"), "{shown}");
    assert!(
        introspection().max_age <= graven_auth::MAX_INTROSPECTION_AGE
            && introspection().max_age > Duration::ZERO
    );
}
