//! Introspection (RFC 7662) and revocation (RFC 7009) by tokens of a real issuer, against what the log says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use graven_auth::{Roots, Validator};
use graven_proto::v1;
use graven_server::{Access, Caller, Credentials, Denied, Identifying, Keyring, Presented};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::desk::{approving, asking, log};
use crate::issuer::{LocalIssuer, Mood};
use crate::rig::{Badges, House};
use crate::tokens::SigningKey;

/// The one audience of the server itself: tokens for callers, not those that are asked about.
const US: &str = "https://log.example.com";
const API: &str = "https://api.example.com";

/// Badges for those who have one, and access tokens of an issuer for all others.
struct Gate(Keyring);

impl Access for Gate {
    fn identify(&self, presented: &Presented<'_>) -> Identifying {
        let shown = presented.headers.get("authorization").and_then(|it| it.to_str().ok());
        let is_badge = shown.is_some_and(|shown| shown.matches(' ').count() == 2);
        if is_badge { Badges.identify(presented) } else { self.0.identify(presented) }
    }

    fn permit(&self, caller: &Caller, ask: &graven_server::Ask<'_>) -> Result<(), Denied> {
        Badges.permit(caller, ask)
    }

    fn examine(
        &self,
        token: &str,
    ) -> futures_util::future::BoxFuture<'static, Result<graven_auth::Examined, graven_auth::TokenError>>
    {
        self.0.examine(token)
    }
}

/// A house with an issuer beside it.
pub(crate) struct Town {
    pub(crate) house: House,
    key: SigningKey,
    issuer: LocalIssuer,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Town {
    pub(crate) async fn new() -> Self {
        let key = SigningKey::es256("one");
        let issuer = LocalIssuer::start(&[&key]);
        let file = format!(
            "[[issuer]]\nname = \"corp\"\nurl = \"{}\"\naudience = [\"{US}\"]\ndpop = \"optional\"\n\
             [issuer.introspection]\nclient_id = \"graven\"\nclient_secret_file = \"x\"\n",
            issuer.url
        );
        let credentials = Credentials::parse(&file).unwrap();
        let secret = Some("secret".to_owned().into());
        let settings = vec![credentials.issuers()[0].settings(secret, Roots::nobody().unwrap())];
        let servers = vec![graven_auth::ServerUrl::parse(US).unwrap()];
        let validator = Validator::new(settings, servers, Arc::new(SystemTime::now)).unwrap();
        let gate = Gate(Keyring::new(credentials.with_validator(validator)));
        let house = House::governed_by(Arc::new(gate)).await;
        Self { house, key, issuer }
    }

    /// What a token of `billing` in the name of `alice` says.
    pub(crate) fn claims(&self) -> Value {
        let now = now();
        json!({
            "iss": self.issuer.url, "aud": API, "sub": "alice", "client_id": "billing", "jti": "jti-1",
            "iat": now - 10, "exp": now + 600, "scope": "openid pay.read pay.write",
        })
    }

    pub(crate) fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims();
        change(&mut claims);
        self.key.token(&claims)
    }

    /// A token by which a client shows itself to the server.
    fn own(&self, client: &str) -> String {
        self.token(|claims| {
            claims["aud"] = US.into();
            claims["sub"] = client.into();
            claims["client_id"] = client.into();
            claims["jti"] = format!("own-{client}").into();
            claims["scope"] = "openid".into();
        })
    }

    pub(crate) async fn post(&self, path: &str, authorization: &str, body: &str) -> Answer {
        let head =
            format!("content-type: application/x-www-form-urlencoded\r\nauthorization: {authorization}\r\n");
        self.send("POST", path, &head, body.as_bytes()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.house.url.trim_start_matches("http://")).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // Who is refused early is not read to the end.
        drop(stream.write_all(body).await);
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes).await);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body }
    }

    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let answer = self.post("/audit/oauth/introspect", CHECKER, &format!("token={token}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("cache-control: no-store"), "{answer:?}");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        answer.body
    }

    async fn stop(self) {
        self.house.stop().await;
    }
}

pub(crate) const CHECKER: &str = "Bearer gateway check:audit";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_token_is_active_for_the_scopes_that_its_client_was_granted() {
    let town = Town::new().await;
    town.house.define(&["pay.read", "pay.write"]).await;
    let token = town.token(|_| {});
    assert_eq!(town.introspect(&token).await, json!({"active": false}), "nobody granted anything");
    let granted = town.house.grant("billing", &["pay.read"]).await;
    let mut expected = town.claims();
    expected["active"] = true.into();
    expected["scope"] = "pay.read".into();
    expected["token_type"] = "Bearer".into();
    let answer = town.introspect(&token).await;
    for claim in ["iat", "exp"] {
        assert!(answer[claim].as_u64().unwrap().abs_diff(expected[claim].as_u64().unwrap()) <= 5);
        expected[claim] = answer[claim].clone();
    }
    assert_eq!(answer, expected);
    // Written down, and no decision: nothing of it is in the log itself.
    assert!(town.house.decisions().is_empty());
    let traces: Vec<_> =
        town.house.traces().into_iter().filter(|it| it.action == "oauth.token.introspect").collect();
    let said: Vec<_> =
        traces.iter().map(|it| (it.says("active"), it.says("why"), it.actor.as_str())).collect();
    assert_eq!(said, [("false", "no-grant", "gateway"), ("true", "granted", "gateway")]);
    assert!(
        !traces
            .iter()
            .flat_map(|it| it.labels.values())
            .any(|it| it.contains("alice") || it.contains("billing"))
    );
    // Sent escaped, with a hint and things that nobody knows.
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let body = format!("token_type_hint=access_token&token={escaped}&x=1");
    let answer = town.post("/audit/oauth/introspect", CHECKER, &body).await;
    assert_eq!(answer.body["active"], true);
    town.house.scopes("root").revoke_grant(crate::desk::revoking(&granted.id)).await.unwrap();
    assert_eq!(town.introspect(&token).await, json!({"active": false}));
    town.stop().await;
}

#[tokio::test]
async fn what_its_issuer_does_not_stand_for_is_not_active() {
    let town = Town::new().await;
    town.house.define(&["pay.read"]).await;
    town.house.grant("billing", &["pay.read"]).await;
    assert_eq!(town.introspect(&town.token(|_| {})).await["active"], true);
    let foreign = SigningKey::es256("one").token(&town.claims());
    let mut bent = town.token(|_| {}).into_bytes();
    let at = bent.len() - 10;
    bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
    let dead = [
        "opaque".to_owned(),
        "gvn_looks-like-ours".to_owned(),
        "a.b.c".to_owned(),
        foreign,
        String::from_utf8(bent).unwrap(),
        town.token(|claims| claims["exp"] = (now() - 1).into()),
        town.token(|claims| claims["nbf"] = (now() + 600).into()),
        town.token(|claims| claims["iss"] = "https://elsewhere.example.com".into()),
        town.token(|claims| drop(claims.as_object_mut().unwrap().remove("aud"))),
        town.token(|claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        town.token(|claims| claims["scope"] = "openid".into()),
        town.token(|claims| claims["client_id"] = "other".into()),
    ];
    for token in &dead {
        assert_eq!(town.introspect(token).await, json!({"active": false}), "{token}");
    }
    assert_eq!(town.issuer.asked("/introspect"), 1, "about the opaque one alone, and never about ours");
    // A token that nobody signed is what its issuer says of it.
    let mut said = town.claims();
    said["active"] = true.into();
    said["token_type"] = "bearer".into();
    town.issuer.state().tokens.insert("handle".to_owned(), said);
    assert_eq!(town.introspect("handle").await["scope"], "pay.read");
    // One that is bound says to what.
    let bound = town.token(|claims| claims["cnf"] = json!({"jkt": "A".repeat(43)}));
    let answer = town.introspect(&bound).await;
    assert_eq!((&answer["token_type"], &answer["cnf"]["jkt"]), (&json!("DPoP"), &json!("A".repeat(43))));
    // Where the issuer cannot be asked, nobody is told that a token is dead.
    town.issuer.state().mood = Mood::Down;
    let answer = town.post("/audit/oauth/introspect", CHECKER, "token=other-handle").await;
    assert_eq!((answer.status, &answer.body["error"]), (503, &json!("temporarily_unavailable")));
    assert!(answer.head.contains("retry-after:"));
    town.stop().await;
}

#[tokio::test]
async fn a_grant_for_one_resource_counts_for_tokens_that_are_for_it() {
    let town = Town::new().await;
    town.house.define(&["pay.read"]).await;
    let request = v1::RequestGrantRequest { resource: API.to_owned(), ..asking("billing", &["pay.read"]) };
    let asked = town.house.scopes("rita").request_grant(request).await.unwrap().into_inner();
    town.house.scopes("root").approve_grant(approving(&asked)).await.unwrap();
    let other = "https://other.example.com";
    let of = |audience: Value| town.token(move |claims| claims["aud"] = audience);
    assert_eq!(town.introspect(&of(json!(API))).await["active"], true);
    assert_eq!(town.introspect(&of(json!([API]))).await["aud"], API);
    assert_eq!(town.introspect(&of(json!(other))).await["active"], false);
    // Of several, the one who asks says which it is.
    let both = of(json!([other, API]));
    assert_eq!(town.introspect(&both).await["active"], false);
    let at = |resource: &str| {
        let body = format!("token={both}&resource={}", resource.replace(':', "%3A").replace('/', "%2F"));
        let town = &town;
        async move { town.post("/audit/oauth/introspect", CHECKER, &body).await }
    };
    assert_eq!(at(API).await.body["aud"], json!([other, API]));
    assert_eq!(at(other).await.body, json!({"active": false}));
    assert_eq!(at("https://third.example.com").await.body, json!({"active": false}));
    assert_eq!((at("nowhere").await.status, at("https://x#y").await.status), (400, 400));
    town.stop().await;
}

#[tokio::test]
async fn a_client_revokes_its_own_token_and_nobody_elses() {
    let town = Town::new().await;
    town.house.define(&["pay.read"]).await;
    town.house.grant("billing", &["pay.read"]).await;
    let token = town.token(|_| {});
    let revoke = |by: &str, token: &str| {
        let (by, body) = (format!("Bearer {by}"), format!("token={token}"));
        let town = &town;
        async move { town.post("/audit/oauth/revoke", &by, &body).await }
    };
    // Another client, the person, and somebody with any other permission.
    let person = town.token(|claims| {
        claims["aud"] = US.into();
        claims["jti"] = "person".into();
    });
    for other in [town.own("other"), person, "gateway check:*,query:*,admin:*".to_owned()] {
        let answer = revoke(&other, &token).await;
        assert_eq!((answer.status, &answer.body["error"]), (403, &json!("insufficient_scope")), "{answer:?}");
    }
    // Somebody who may command, and is no administrator: the log says no, and that it did.
    let answer = revoke("eve scope:audit", &token).await;
    assert_eq!((answer.status, &answer.body["error"]), (400, &json!("unauthorized_client")));
    let (_, refused) = town.house.commands().pop().unwrap();
    assert!(refused.refused.is_some() && refused.client.is_none());
    assert_eq!(town.introspect(&token).await["active"], true);

    let answer = revoke(&town.own("billing"), &token).await;
    assert_eq!((answer.status, &answer.body), (200, &Value::Null));
    assert!(answer.head.contains("cache-control: no-store"));
    assert_eq!(town.introspect(&token).await, json!({"active": false}));
    let (_, command) = town.house.commands().pop().unwrap();
    assert!(command.refused.is_none() && command.client == Some(command.by));
    let checked = town.house.check_as(v1::CheckAccessRequest {
        token: Some(v1::CheckedToken {
            id: "jti-1".to_owned(),
            issuer: town.issuer.url.clone(),
            scopes: vec!["pay.read".to_owned()],
            ..Default::default()
        }),
        ..crate::desk::checking("billing", &["pay.read"])
    });
    assert_eq!(checked.await.unwrap().reason, "token-revoked");
    // Again, or of what is none: that is no error, and nothing more in the log.
    let size = town.house.leaves("audit").len();
    for dead in [token.as_str(), "unknown", "gvn_x", &town.token(|claims| claims["exp"] = 1.into())] {
        assert_eq!(revoke(&town.own("billing"), dead).await.status, 200, "{dead}");
    }
    assert_eq!(town.house.leaves("audit").len(), size);
    // Administrators may, and other tokens go on.
    let second = town.token(|claims| claims["jti"] = "jti-2".into());
    assert_eq!(town.introspect(&second).await["active"], true);
    assert_eq!(revoke("root scope:audit", &second).await.status, 200);
    assert_eq!(town.introspect(&second).await["active"], false);
    town.stop().await;
}

#[tokio::test]
async fn who_may_ask_is_asked_first_and_nobody_learns_which_logs_there_are() {
    let town = Town::new().await;
    let token = town.token(|_| {});
    let body = format!("token={token}");
    for path in ["/audit/oauth/introspect", "/nobody/oauth/introspect"] {
        let answer = town
            .send("POST", path, "content-type: application/x-www-form-urlencoded\r\n", body.as_bytes())
            .await;
        assert_eq!((answer.status, &answer.body["error"]), (401, &json!("invalid_client")));
        assert!(answer.head.contains("www-authenticate: bearer"));
        let answer = town.post(path, "Bearer wrong", &body).await;
        assert_eq!((answer.status, &answer.body["error"]), (401, &json!("invalid_client")));
        let answer = town.post(path, "Bearer gateway check:other,scope:*,query:*", &body).await;
        assert_eq!((answer.status, &answer.body["error"]), (403, &json!("insufficient_scope")));
        assert!(answer.head.contains("error=\"insufficient_scope\""));
    }
    let answer = town.post("/nobody/oauth/introspect", "Bearer gateway check:*", &body).await;
    assert_eq!(answer.status, 404);
    assert_eq!(town.post("/access/oauth/introspect", "Bearer gateway check:*", &body).await.status, 404);
    let refusals = town.house.traces().into_iter().filter(|it| it.action == "graven.refused");
    assert_eq!(refusals.filter(|it| it.says("method").starts_with("POST /")).count(), 2);
    assert_eq!(town.post("/nobody/oauth/revoke", "Bearer eve check:*", &body).await.status, 403);
    assert_eq!(town.post("/nobody/oauth/revoke", "Bearer root scope:*", &body).await.status, 404);
    assert_eq!(
        town.post("/nobody/oauth/revoke", &format!("Bearer {}", town.own("billing")), &body).await.status,
        403
    );
    let _ = log();
    town.stop().await;
}
