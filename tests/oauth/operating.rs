//! What operators and callers see of issuers: refusals, challenges, metrics, and settings that are read again.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

use crate::{
    desk::{Desk, End, bearer, claims, dpop, entry, unique},
    house::{House, Identity},
    http1::Connection,
    issuer::{LocalIssuer, Mood},
    tokens::{SigningKey, encode, sha256},
    until,
};

const READ: &str = "graven:read:audit";

fn issuer() -> (SigningKey, LocalIssuer) {
    let key = SigningKey::es256("one");
    let issuer = LocalIssuer::start(&[&key]);
    (key, issuer)
}

#[test]
fn a_token_opens_what_its_scopes_say_over_grpc_and_http() {
    let (key, issuer) = issuer();
    let desk = Desk::trusting(&entry(&issuer.url, ""));
    let token = key.token(&claims(&issuer.url, READ));
    for _ in 0..3 {
        assert_eq!((desk.head(&token), desk.append(&token)), (End::LetIn, End::Forbidden));
        let line = format!("authorization: Bearer {token}");
        desk.checkpoint(&[&line]).served("private, no-cache");
    }
    assert_eq!(issuer.asked("/jwks"), 1);
    let mut old = claims(&issuer.url, READ);
    old["exp"] = (crate::desk::now() - 1).into();
    for (token, reason) in [
        (key.token(&old), "access_expired"),
        (SigningKey::es256("one").token(&claims(&issuer.url, READ)), "signature"),
        (key.token(&claims("https://id.example.com", READ)), "issuer"),
        ("opaque".to_owned(), "opaque"),
    ] {
        assert_eq!(desk.head(&token), End::Invalid);
        let answer = desk.checkpoint(&[&format!("authorization: Bearer {token}")]);
        answer.refused(401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"graven\", error=\"invalid_token\"")
        );
        let counted = format!("graven_auth_refusals_total{{reason=\"{reason}\"}} 2");
        assert!(desk.metrics().contains(&counted), "{counted}");
    }
    let append = key.token(&claims(&issuer.url, "graven:append:audit"));
    let answer = desk.checkpoint(&[&format!("authorization: Bearer {append}")]);
    answer.refused(403);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"graven\", error=\"insufficient_scope\"")
    );
    assert_eq!(desk.checkpoint(&[]).header("www-authenticate"), Some("Bearer realm=\"graven\""));
}

#[test]
fn a_bound_token_needs_its_proof() {
    let (key, issuer) = issuer();
    let desk = Desk::trusting(&entry(&issuer.url, "dpop = \"optional\"\n"));
    let own = SigningKey::eddsa("");
    let mut bound = claims(&issuer.url, READ);
    bound["cnf"] = json!({"jkt": own.thumbprint()});
    let token = key.token(&bound);
    let proof = desk.proof(&own, &token, "GetTreeHead");
    assert_eq!(desk.head(&token), End::Invalid);
    assert_eq!(desk.call("GetTreeHead", &dpop(&token, proof.clone())), End::LetIn);
    assert_eq!(desk.call("GetTreeHead", &dpop(&token, proof)), End::Invalid, "again");
    let elsewhere = desk.proof(&own, &token, "Append");
    assert_eq!(desk.call("GetTreeHead", &dpop(&token, elsewhere)), End::Invalid);
    let two = [dpop(&token, desk.proof(&own, &token, "GetTreeHead")), vec![("dpop", unique())]].concat();
    assert_eq!(desk.call("GetTreeHead", &two), End::Invalid);
    // What is bound to nothing is no better for a proof.
    let unbound = key.token(&claims(&issuer.url, READ));
    let proof = desk.proof(&own, &unbound, "GetTreeHead");
    assert_eq!(desk.call("GetTreeHead", &dpop(&unbound, proof)), End::Invalid);
    assert_eq!(desk.call("GetTreeHead", &bearer(&unbound)), End::LetIn);
    let challenge = |lines: &[&str]| desk.checkpoint(lines).header("www-authenticate").unwrap().to_owned();
    let scheme = "DPoP realm=\"graven\", algs=\"ES256 EdDSA RS256 PS256\", error=";
    assert_eq!(challenge(&[&format!("authorization: Bearer {token}")]), format!("{scheme}\"invalid_token\""));
    let wrong = format!("dpop: {}", desk.proof(&own, &token, "GetTreeHead"));
    assert_eq!(
        challenge(&[&format!("authorization: DPoP {token}"), &wrong]),
        format!("{scheme}\"invalid_dpop_proof\"")
    );
}

#[test]
fn an_issuer_that_is_away_is_nobodys_fault_and_only_its_own_tokens_wait() {
    let (key, issuer) = issuer();
    issuer.state().mood = Mood::Down;
    let static_token = crate::house::Credential::new("static", &["read:audit"]);
    let desk = Desk::trusting(&entry(&issuer.url, ""));
    desk.house.know(&[&static_token], &entry(&issuer.url, ""));
    desk.server.signal(rustix::process::Signal::HUP);
    until(|| desk.head(&static_token.token) == End::LetIn);
    let token = key.token(&claims(&issuer.url, READ));
    assert_eq!(desk.head(&token), End::Unavailable);
    let answer = desk.checkpoint(&[&format!("authorization: Bearer {token}")]);
    answer.refused(503);
    assert_eq!((answer.header("www-authenticate"), answer.header("retry-after")), (None, Some("10")));
    assert!(desk.metrics().contains("graven_issuer_failures_total{issuer=\"corp\",what=\"keys\"} 1"));
    assert_eq!(desk.head(&static_token.token), End::LetIn);
}

#[test]
fn issuers_are_read_again_with_the_other_credentials() {
    let (key, issuer) = issuer();
    let desk = Desk::trusting("");
    let token = key.token(&claims(&issuer.url, READ));
    assert_eq!(desk.head(&token), End::Invalid);
    desk.know(&entry(&issuer.url, ""));
    until(|| desk.head(&token) == End::LetIn);
    // With another prefix its scopes are somebody else's.
    desk.know(&entry(&issuer.url, "scope_prefix = \"log:\"\n"));
    until(|| desk.head(&token) == End::Forbidden);
    // What cannot be used changes nothing.
    desk.know(&entry(&issuer.url, "leeway_s = 61\n"));
    until(|| desk.log().contains("leeway_s is out of range"));
    assert_eq!(desk.head(&token), End::Forbidden);
    desk.know("");
    until(|| desk.head(&token) == End::Invalid);
}

#[test]
fn settings_are_checked_before_anything_is_served() {
    let desk = Desk::trusting("");
    let url = "https://id.example.com";
    desk.house.secret("id.secret", "secret\n");
    let introspection =
        "[issuer.introspection]\nclient_id = \"graven\"\nclient_secret_file = \"id.secret\"\n";
    desk.house.know(&[], &entry(url, introspection));
    let said = desk.house.bench.run("config check --config graven.toml").ok();
    assert!(
        said.text().contains("issuer       corp: https://id.example.com: it is asked about opaque tokens")
    );
    for (entries, says) in [
        (entry("http://id.example.com", ""), "issuer `corp`: url is no https:// address"),
        (entry(url, "algorithms = [\"none\"]\n"), "algorithms"),
        (entry(url, "algorithms = [\"HS256\"]\n"), "algorithms"),
        (entry(url, "algorithms = []\n"), "algorithms is empty"),
        (entry(url, "").replace("[\"https://log.example.com\"]", "[]"), "audience is empty"),
        (entry(url, "scope_prefix = \"\"\n"), "scope_prefix"),
        (entry(url, "typ = \"JWT\"\n"), "not understood"),
        (entry(url, "colour = \"red\"\n"), "not understood"),
        (entry(url, "keys_max_age_s = 100000\n"), "keys_max_age_s"),
        (entry(url, "keys_url = \"http://id.example.com\"\n"), "keys_url"),
        (entry(url, "ca = \"nowhere.pem\"\n"), "nowhere.pem"),
        (entry(url, &introspection.replace("id.secret", "nowhere")), "nowhere"),
        (entry(url, &format!("{introspection}max_age_s = 301\n")), "introspection.max_age_s"),
        (entry(url, "") + &entry(url, ""), "twice"),
        (entry(url, "") + &entry(url, "").replace("corp", "other"), "another one has its url"),
        (
            entry(url, introspection) + &entry("https://b.example.com", introspection).replace("corp", "b"),
            "another issuer is asked",
        ),
    ] {
        desk.house.know(&[], &entries);
        desk.house.bench.run("config check --config graven.toml").refused(2, says);
    }
    desk.house.bench.set_mode("id.secret", 0o644);
    desk.house.know(&[], &entry(url, introspection));
    desk.house.bench.run("config check --config graven.toml").refused(2, "chmod 600");
    // A proof is for an address, so somebody has to say which one is ours.
    desk.house.know(&[], &entry(url, "dpop = \"required\"\n"));
    desk.house.bench.run("config check --config graven.toml").ok();
    let settings = String::from_utf8(desk.house.bench.read("graven.toml")).unwrap();
    let without: String =
        settings.lines().filter(|line| !line.starts_with("urls")).map(|line| format!("{line}\n")).collect();
    desk.house.bench.write("graven.toml", without);
    desk.house.bench.run("config check --config graven.toml").refused(2, "access.urls");
}

#[test]
fn a_token_of_a_client_certificate_counts_over_its_own_connection() {
    let (key, issuer) = issuer();
    let house = House::new();
    house.know(&[], &entry(&issuer.url, ""));
    let server = house.serve();
    let [own, other] = [(); 2].map(|()| house.clients.certify(&[], &["spiffe://example.com/gateway"], 2099));
    let der = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let mut bound = claims(&issuer.url, READ);
    bound["cnf"] = json!({"x5t#S256": encode(sha256(&der))});
    let line = format!("authorization: Bearer {}", key.token(&bound));
    let over = |identity: Option<&Identity>| {
        let config = house.client(identity, &[&rustls::version::TLS13]);
        Connection::new(house.connect(&server, config).unwrap()).get("/audit/checkpoint", &[&line])
    };
    over(Some(&own)).served("private, no-cache");
    over(Some(&other)).refused(401);
    over(None).refused(401);
    over(Some(&own)).served("private, no-cache");
}
