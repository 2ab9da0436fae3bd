//! Nothing of a token, of whom it is about, or of a secret is written down.

use serde_json::json;

use crate::{
    desk::{Desk, End, bearer, claims, dpop, entry, unique},
    issuer::{LocalIssuer, Mood},
    tokens::SigningKey,
};

#[test]
fn no_token_claim_or_secret_is_written_down() {
    for format in ["human", "json"] {
        let key = SigningKey::es256("one");
        let issuer = LocalIssuer::start(&[&key]);
        let secret = unique();
        let more = "dpop = \"optional\"\n[issuer.introspection]\nclient_id = \"graven\"\nclient_secret_file = \"id.secret\"\n";
        let desk = Desk::logging("", &format!(" --log-format {format} --log-level trace"));
        desk.house.secret("id.secret", &secret);
        desk.know(&entry(&issuer.url, more));

        let scope = "graven:read:audit scope-canary";
        let good = key.token(&claims(&issuer.url, scope));
        let bad = SigningKey::es256("kid-canary").token(&claims(&issuer.url, scope));
        let own = SigningKey::es256("");
        let mut claims = claims(&issuer.url, scope);
        claims["cnf"] = json!({"jkt": own.thumbprint()});
        let bound = key.token(&claims);
        let opaque = format!("opaque-{}", unique());
        claims["active"] = true.into();
        claims["token_type"] = "Bearer".into();
        claims.as_object_mut().unwrap().remove("cnf");
        issuer.state().tokens.insert(opaque.clone(), claims.clone());

        crate::until(|| desk.head(&good) == End::LetIn);
        let proof = desk.proof(&own, &bound, "GetTreeHead");
        let mut strays = Vec::new();
        let mut said = String::new();
        for mood in [Mood::Well, Mood::Garbage, Mood::Down, Mood::Status(401)] {
            issuer.state().mood = mood;
            // What is not remembered is asked about.
            let stray = unique();
            strays.push(stray.clone());
            for headers in [
                bearer(&good),
                bearer(&bad),
                bearer(&bound),
                bearer(&opaque),
                bearer(&stray),
                bearer(&format!("{good}.{good}")),
                dpop(&bound, proof.clone()),
                dpop(&good, proof.clone()),
                dpop(&bound, "a.b.c".to_owned()),
            ] {
                for method in ["GetTreeHead", "Append", "ListLogs"] {
                    desk.call(method, &headers);
                }
                let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                said += &format!("{:?}", desk.checkpoint(&lines));
            }
        }
        said += &desk.metrics();
        let log = desk.log();
        assert!(
            log.contains("corp") && log.contains("GetTreeHead"),
            "{format}: the log says nothing of calls"
        );
        assert!(log.contains("an issuer does not answer"), "{format}: nothing went wrong");
        said += &log;
        let basic = issuer.state().authorization.clone();
        let tail = |token: &str| token.rsplit('.').next().unwrap().to_owned();
        let canaries = [
            tail(&good),
            tail(&bad),
            tail(&bound),
            tail(&proof),
            opaque,
            secret,
            basic.strip_prefix("Basic ").unwrap().to_owned(),
            "alice".to_owned(),
            "client-canary".to_owned(),
            "scope-canary".to_owned(),
            "kid-canary".to_owned(),
            claims["jti"].as_str().unwrap().to_owned(),
        ];
        for canary in canaries.into_iter().chain(strays) {
            assert!(!canary.is_empty());
            let line = said.lines().find(|line| line.contains(&canary));
            assert!(line.is_none(), "{format}: written down: {line:?}");
        }
    }
}
