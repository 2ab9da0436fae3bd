//! Keys that change, and keys that cannot be had.

use std::net::TcpListener;
use std::time::Duration;

use graven_auth::{Outage, SettingsError, TokenError, Validator};
use serde_json::{Value, json};

use crate::issuer::Mood;
use crate::tokens::SigningKey;
use crate::{Rig, settings};

const KEYS: &str = "/jwks";
const NO_KEYS: TokenError = TokenError::Unavailable(Outage::Keys);

#[tokio::test]
async fn keys_are_fetched_once_and_tokens_remembered() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    assert!(rig.validator.recall(&crate::bearer(&token)).is_none(), "nobody was asked yet");
    for _ in 0..5 {
        let accepted = rig.bearer(&token).await.unwrap();
        assert_eq!(
            (accepted.token.subject.as_str(), accepted.issuer.settings().name.as_str()),
            ("alice", "corp")
        );
    }
    assert_eq!(rig.issuer.asked(KEYS), 1);
    // It is remembered, and never beyond its end.
    assert!(rig.validator.recall(&crate::bearer(&token)).unwrap().is_ok());
    rig.pass(3599);
    assert!(rig.bearer(&token).await.is_ok());
    rig.pass(1);
    assert_eq!(rig.bearer(&token).await.unwrap_err(), TokenError::Expired);
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let rig = Rig::new(|_| {});
    let tokens: Vec<_> = (0..50)
        .map(|number| {
            let mut claims = rig.claims();
            claims["jti"] = number.to_string().into();
            rig.key.token(&claims)
        })
        .collect();
    let all: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (validator, token) = (rig.validator.clone(), token.clone());
            tokio::spawn(async move { validator.accept(&crate::bearer(&token)).await.map(drop) })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(rig.issuer.asked(KEYS), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_keep_the_keys_from_others() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    let shown = crate::bearer(&token);
    // It is dropped as soon as it waits for somebody.
    let gone = tokio::time::timeout(Duration::ZERO, rig.validator.accept(&shown)).await;
    assert!(gone.is_err());
    assert!(rig.validator.accept(&shown).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_ends_with_what_it_signed() {
    let rig = Rig::new(|_| {});
    let old = rig.key.token(&rig.claims());
    rig.bearer(&old).await.unwrap();
    let new = SigningKey::es256("two");
    rig.issuer.state().keys = vec![new.jwk()];
    let token = new.token(&rig.claims());
    // Not at once: whoever makes up names would have us ask without end.
    assert_eq!(rig.bearer(&token).await.unwrap_err(), TokenError::UnknownKey);
    assert_eq!(rig.issuer.asked(KEYS), 1);
    rig.pass(10);
    assert!(rig.bearer(&token).await.is_ok());
    assert_eq!(rig.issuer.asked(KEYS), 2);
    // What was remembered by the key that is gone, is gone.
    assert_eq!(rig.bearer(&old).await.unwrap_err(), TokenError::UnknownKey);
}

#[tokio::test]
async fn a_key_that_was_taken_back_ends_without_anybody_asking_for_another() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    rig.bearer(&token).await.unwrap();
    rig.issuer.state().keys = vec![SigningKey::es256("two").jwk()];
    rig.pass(301);
    // Five minutes are over: this call still counts, and has the keys fetched behind it.
    assert!(rig.bearer(&token).await.is_ok());
    until(|| rig.issuer.asked(KEYS) == 2).await;
    for _ in 0..100 {
        if matches!(rig.bearer(&token).await, Err(TokenError::UnknownKey)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the key that was taken back still counts");
}

#[tokio::test]
async fn made_up_names_of_keys_cost_one_question_in_ten_seconds() {
    let rig = Rig::new(|_| {});
    rig.bearer(&rig.key.token(&rig.claims())).await.unwrap();
    for second in 0..30 {
        for number in 0..10 {
            let stranger = SigningKey::es256(&format!("../{second}/{number}"));
            assert_eq!(rig.bearer(&stranger.token(&rig.claims())).await.unwrap_err(), TokenError::UnknownKey);
        }
        rig.pass(1);
    }
    assert!(rig.issuer.asked(KEYS) <= 4, "{}", rig.issuer.asked(KEYS));
}

#[tokio::test]
async fn known_keys_hold_through_an_outage_until_they_are_too_old() {
    let rig = Rig::new(|_| {});
    let mut claims = rig.claims();
    claims["exp"] = (rig.now() + 100_000).into();
    let token = rig.key.token(&claims);
    rig.bearer(&token).await.unwrap();
    for mood in [
        Mood::Down,
        Mood::Status(500),
        Mood::Endless,
        Mood::Garbage,
        Mood::Redirecting(rig.issuer.url.clone()),
    ] {
        rig.issuer.state().mood = mood;
        rig.pass(600);
        assert!(rig.bearer(&token).await.is_ok());
        // A name that is not known may be one that we could not get: that is nobody's fault here.
        let other = SigningKey::es256("two").token(&claims);
        rig.pass(10);
        assert_eq!(rig.bearer(&other).await.unwrap_err(), NO_KEYS);
    }
    rig.pass(3600 - 5 * 610);
    assert!(rig.bearer(&token).await.is_ok(), "at the limit");
    rig.pass(1);
    assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS, "one second later, remembered or not");
    rig.issuer.state().mood = Mood::Well;
    assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS, "it was tried just now");
    rig.pass(10);
    assert!(rig.bearer(&token).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_nothing_younger() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    rig.bearer(&token).await.unwrap();
    rig.issuer.state().mood = Mood::Down;
    rig.turn_back(20);
    assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS);
}

#[tokio::test]
async fn without_any_keys_nobody_is_let_in_and_nobody_is_blamed() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    let empty = json!({"issuer": rig.issuer.url, "jwks_uri": format!("{}/nothing", rig.issuer.url)});
    for (metadata, keys, mood) in [
        (None, vec![], Mood::Well),
        (None, vec![json!({"kty": "oct", "k": "AAAA", "kid": "one"})], Mood::Well),
        (None, vec![rig.key.jwk()], Mood::Down),
        (Some(empty), vec![rig.key.jwk()], Mood::Well),
        (Some(json!({"issuer": rig.issuer.url})), vec![rig.key.jwk()], Mood::Well),
    ] {
        {
            let mut state = rig.issuer.state();
            (state.metadata, state.keys, state.mood) = (metadata, keys, mood);
        }
        rig.pass(10);
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS);
    }
}

#[tokio::test]
async fn metadata_of_somebody_else_is_not_taken() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    let url = rig.issuer.url.clone();
    let others =
        [format!("{url}/"), url.replace("127.0.0.1", "localhost"), "https://id.example.com".to_owned()];
    let others = others.iter().map(|other| json!(other)).chain([json!(null), json!([url])]);
    for other in others {
        rig.issuer.state().metadata = Some(json!({"issuer": other, "jwks_uri": format!("{url}/jwks")}));
        rig.pass(10);
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS, "{other}");
    }
    assert_eq!(rig.issuer.asked(KEYS), 0);
}

#[tokio::test]
async fn no_redirect_and_no_address_beyond_is_followed_in_the_clear() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let away = format!("http://{}/jwks", trap.local_addr().unwrap());
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    rig.issuer.state().mood = Mood::Redirecting(away);
    assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS);
    assert!(trap.accept().is_err(), "a redirect was followed");
    rig.issuer.state().mood = Mood::Well;
    for address in
        ["http://id.example.com/jwks", "file:///etc/passwd", "http://169.254.169.254/", "//x", "/jwks", ""]
    {
        let metadata = json!({"issuer": rig.issuer.url, "jwks_uri": address});
        rig.issuer.state().metadata = Some(metadata);
        rig.pass(10);
        assert_eq!(rig.bearer(&token).await.unwrap_err(), NO_KEYS, "{address}");
    }
}

#[tokio::test]
async fn a_token_leads_nowhere() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}", trap.local_addr().unwrap());
    let rig = Rig::new(|it| it.introspection = Some(crate::introspection()));
    let mallory = SigningKey::es256("one");
    for name in ["jku", "x5u", "jwk", "jwks_uri", "iss"] {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "one"});
        header[name] = if name == "jwk" { mallory.public() } else { Value::from(url.clone()) };
        let token = mallory.signed(&header, &rig.claims().to_string());
        assert_eq!(rig.bearer(&token).await.unwrap_err(), TokenError::Signature, "{name}");
    }
    // An issuer that nobody named is not asked for its keys.
    let mut claims = rig.claims();
    claims["iss"] = url.into();
    assert_eq!(rig.bearer(&mallory.token(&claims)).await.unwrap_err(), TokenError::Issuer);
    assert!(trap.accept().is_err(), "somebody went to an address in a token");
    assert_eq!(rig.issuer.asked("/introspect"), 0);
}

#[tokio::test]
async fn an_issuer_that_stays_keeps_what_it_knows_and_others_do_not() {
    let rig = Rig::new(|_| {});
    let token = rig.key.token(&rig.claims());
    rig.bearer(&token).await.unwrap();
    let same = rig.validator.renewed(vec![settings(&rig.issuer.url)], vec![]).unwrap();
    assert!(same.accept(&crate::bearer(&token)).await.is_ok());
    assert_eq!(rig.issuer.asked(KEYS), 1);
    let mut strict = settings(&rig.issuer.url);
    strict.rules.audiences = vec!["https://other.example.com".to_owned()];
    let strict = rig.validator.renewed(vec![strict], vec![]).unwrap();
    assert_eq!(strict.accept(&crate::bearer(&token)).await.unwrap_err(), TokenError::Audience);
    let nobody = rig.validator.renewed(vec![], vec![]).unwrap();
    assert!(nobody.recall(&crate::bearer(&token)).is_none());
    assert_eq!(nobody.accept(&crate::bearer(&token)).await.unwrap_err(), TokenError::Issuer);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut graven_auth::IssuerSettings)| {
        let mut settings = settings("https://id.example.com");
        change(&mut settings);
        Validator::new(vec![settings], vec![], std::sync::Arc::new(std::time::SystemTime::now))
            .map(drop)
            .unwrap_err()
            .1
    };
    assert_eq!(refused(|it| it.rules.issuer = "http://id.example.com".to_owned()), SettingsError::Url("url"));
    assert_eq!(refused(|it| it.rules.issuer += "?a"), SettingsError::Identifier);
    assert_eq!(refused(|it| it.rules.audiences.clear()), SettingsError::Empty("audience"));
    assert_eq!(refused(|it| it.rules.audiences = vec![String::new()]), SettingsError::Empty("audience"));
    assert_eq!(refused(|it| it.rules.algorithms.clear()), SettingsError::Empty("algorithms"));
    assert_eq!(refused(|it| it.rules.leeway = Duration::from_secs(61)), SettingsError::Range("leeway_s"));
    assert_eq!(
        refused(|it| it.keys_max_age = Duration::from_secs(59)),
        SettingsError::Range("keys_max_age_s")
    );
    assert_eq!(
        refused(|it| it.keys_max_age = Duration::from_secs(86_401)),
        SettingsError::Range("keys_max_age_s")
    );
    assert_eq!(
        refused(|it| it.keys_url = Some("http://id.example.com".to_owned())),
        SettingsError::Url("keys_url")
    );
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come true");
}
