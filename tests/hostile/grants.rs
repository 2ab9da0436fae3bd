//! Who may do what: every call with every kind of credential, and tiles alike.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use graven_proto::{Refusal, v1::ErrorReason};
use tokio::runtime::Runtime;
use tonic::{Code, Status, transport::Channel};

use crate::{
    bench::Server,
    calls::{self, Method},
    house::{Credential, House},
    http1::Connection,
    issuer::LocalIssuer,
    tokens::SigningKey,
};

/// What a call needs. A method that is not here fails the test: whoever adds one says what it needs.
const NEEDED: [(&str, &str); 58] = [
    ("Append", "append"),
    ("AppendBatch", "append"),
    ("AppendStream", "append"),
    ("GetTreeHead", "read"),
    ("WatchTreeHeads", "read"),
    ("GetInclusionProof", "read"),
    ("GetMultiInclusionProof", "read"),
    ("GetConsistencyProof", "read"),
    ("GetEntries", "read"),
    ("GetEntryAndProof", "read"),
    ("ListKeyRotations", "read"),
    ("CreateLog", "admin"),
    ("ListLogs", "admin"),
    ("GetLog", "admin"),
    ("FreezeLog", "admin"),
    ("RotateKeys", "admin"),
    ("Record", "append"),
    ("RecordBatch", "append"),
    ("RecordStream", "append"),
    ("GetProducer", "append"),
    ("Query", "query"),
    ("Tail", "query"),
    ("Reveal", "reveal"),
    ("EraseSubject", "erase"),
    ("DefineRetention", "admin"),
    ("PlaceHold", "admin"),
    ("ReleaseHold", "admin"),
    ("ListRetention", "query"),
    ("WatchPending", "witness"),
    ("GetPendingConsistency", "witness"),
    ("AddCosignature", "witness"),
    ("DefineScope", "scope"),
    ("RequestGrant", "scope"),
    ("ApproveGrant", "scope"),
    ("DenyGrant", "scope"),
    ("NarrowGrant", "scope"),
    ("RenewGrant", "scope"),
    ("RevokeGrant", "scope"),
    ("RevokeToken", "scope"),
    ("RotateScope", "scope"),
    ("AppointAdministrator", "scope"),
    ("DismissAdministrator", "scope"),
    ("CheckAccess", "check"),
    ("ExplainDecision", "query"),
    ("ListScopes", "query"),
    ("ListGrants", "query"),
    ("GrantHistory", "query"),
    ("ListUnused", "query"),
    ("OpenReview", "scope"),
    ("AttestItem", "scope"),
    ("CloseReview", "scope"),
    ("ListReviews", "query"),
    ("Watch", "query"),
    ("DefineRule", "admin"),
    ("RetireRule", "admin"),
    ("ListRules", "query"),
    // And `reveal`, once there is such a log.
    ("TestRule", "query"),
    ("WatchAlerts", "query"),
];

/// Every permission that there is. `audit` opens the access log alone, which is none of those here.
const PERMISSIONS: [&str; 10] =
    ["append", "read", "admin", "witness", "query", "reveal", "erase", "audit", "scope", "check"];

/// Logs that are there, one that is public, and one that is not there.
const LOGS: [&str; 3] = ["audit", "open", "nobody"];

/// How a call ends, as far as credentials go.
#[derive(Debug, PartialEq)]
enum End {
    LetIn,
    Missing,
    Invalid,
    Forbidden,
}

/// A server with credentials on the loopback interface, and a connection to it.
struct Guarded {
    house: House,
    server: Server,
    runtime: Runtime,
}

impl Guarded {
    fn new(credentials: &[&Credential]) -> Self {
        Self::trusting(credentials, "")
    }

    /// One that knows more than tokens of its own.
    fn trusting(credentials: &[&Credential], more: &str) -> Self {
        let house = House::new();
        house.know(credentials, more);
        let settings = crate::house::OPEN.split("[tls]").next().unwrap().to_owned()
            + "[access]"
            + crate::house::OPEN.split("[access]").nth(1).unwrap();
        house.bench.write("graven.toml", settings);
        let server = house.serve();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { house, server, runtime }
    }

    fn channel(&self) -> Channel {
        let connecting =
            async { Channel::from_shared(self.server.url().to_owned()).unwrap().connect().await };
        self.runtime.block_on(connecting).unwrap()
    }

    fn web(&self) -> Connection {
        Connection::plain(self.server.address())
    }

    fn call(&self, channel: &Channel, method: &Method, log: &str, authorization: &[String]) -> End {
        end(self.runtime.block_on(method.call(channel, log, authorization)))
    }
}

fn end(answer: Result<(), Status>) -> End {
    let Err(status) = answer else { return End::LetIn };
    match Refusal::of(&status).map(|refusal| refusal.reason()) {
        Some(ErrorReason::CredentialsMissing) => End::Missing,
        Some(ErrorReason::CredentialsInvalid) => End::Invalid,
        Some(ErrorReason::PermissionMissing) => End::Forbidden,
        // It is let in and then told what is wrong with its request.
        Some(_) => End::LetIn,
        // What is not ours says only whether it was let in.
        None if status.code() == Code::InvalidArgument => End::LetIn,
        None => panic!("no refusal of ours: {status:?}"),
    }
}

fn bearer(token: &str) -> Vec<String> {
    vec![format!("Bearer {token}")]
}

#[test]
fn every_call_needs_its_own_permission_on_its_own_log() {
    let (key, issuer) = issuer();
    let grants = PERMISSIONS.iter().flat_map(|permission| {
        LOGS.iter().chain(&["*", "elsewhere"]).map(move |log| format!("{permission}:{log}"))
    });
    let credentials: BTreeMap<_, _> = grants
        .map(|grant| (grant.clone(), Credential::new(&grant.replace(['*', ':'], "-"), &[grant.as_str()])))
        .collect();
    let guarded = Guarded::trusting(&credentials.values().collect::<Vec<_>>(), &entry(&issuer));
    // Each grant by a token of the server's, and by one of an issuer with the scope of that name.
    let tokens: Vec<_> = credentials
        .iter()
        .map(|(grant, credential)| {
            (grant, [credential.token.clone(), access_token(&key, &issuer, &format!("graven:{grant}"))])
        })
        .collect();
    let channel = guarded.channel();
    let needed: BTreeMap<_, _> = NEEDED.into();
    let methods = calls::methods();
    assert_eq!(methods.len(), needed.len(), "a method is gone: take it out here as well");

    let mut cells = 0;
    for method in &methods {
        let needed =
            needed.get(method.name.as_str()).unwrap_or_else(|| panic!("what does {} need?", method.name));
        for log in LOGS {
            let at = |credential: &str| format!("{} on {log} with {credential}", method.name);
            let call = |authorization: &[String]| guarded.call(&channel, method, log, authorization);
            assert_eq!(call(&[]), End::Missing, "{}", at("nothing"));
            assert_eq!(call(&bearer("gvn_unknown")), End::Invalid, "{}", at("an unknown token"));
            for (grant, tokens) in &tokens {
                let (permission, on) = grant.split_once(':').unwrap();
                // The list of all logs is nobody's who may administer one of them.
                let covers = on == "*" || (on == log && method.name != "ListLogs");
                let expected = if permission == *needed && covers { End::LetIn } else { End::Forbidden };
                if expected == End::LetIn && method.name == "FreezeLog" && log != "nobody" {
                    // It cannot be undone, and the rest of the table needs the log.
                    continue;
                }
                for token in tokens {
                    assert_eq!(call(&bearer(token)), expected, "{}", at(grant));
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 2 * (58 * 3 * 50 - 2 * 2));
    // Nothing came of all the calls that were refused, and of those that were not only what they may.
    let admin = &credentials["admin:*"];
    let made = methods.iter().find(|it| it.name == "CreateLog").unwrap();
    assert_eq!(
        guarded.call(&channel, made, "new", &bearer(&credentials["admin:elsewhere"].token)),
        End::Forbidden
    );
    assert_eq!(guarded.call(&channel, made, "new", &bearer(&admin.token)), End::LetIn);
}

/// An issuer of access tokens, and its key.
fn issuer() -> (SigningKey, LocalIssuer) {
    let key = SigningKey::es256("one");
    let issuer = LocalIssuer::start(&[&key]);
    (key, issuer)
}

/// How it is trusted.
fn entry(issuer: &LocalIssuer) -> String {
    format!("[[issuer]]\nname = \"corp\"\nurl = \"{}\"\naudience = [\"graven\"]\n", issuer.url)
}

fn access_token(key: &SigningKey, issuer: &LocalIssuer, scope: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    key.token(&serde_json::json!({
        "iss": issuer.url, "aud": "graven", "sub": "somebody", "client_id": "c", "jti": "token", "iat": now,
        "exp": now + 3600, "scope": scope,
    }))
}

#[test]
fn what_is_no_grant_among_scopes_opens_nothing() {
    let (key, issuer) = issuer();
    let guarded = Guarded::trusting(&[], &entry(&issuer));
    let channel = guarded.channel();
    let methods = calls::methods();
    let head = methods.iter().find(|it| it.name == "GetTreeHead").unwrap();
    let call =
        |scope: &str| guarded.call(&channel, head, "audit", &bearer(&access_token(&key, &issuer, scope)));
    for scope in [
        "",
        "openid profile",
        "read:audit",
        "graven:read",
        "graven:read:",
        "graven:read:Audit",
        "graven:read:audi",
        "graven:read:audit2",
        "graven:read:aud*",
        "graven:read:*audit",
        "graven:*:audit",
        "GRAVEN:read:audit",
        "graven:read:audit,graven:read:*",
        "graven:graven:read:audit",
        "graven:append:audit graven:admin:* graven:query:audit",
    ] {
        assert_eq!(call(scope), End::Forbidden, "{scope}");
    }
    for scope in ["graven:read:audit", "x graven:read:* y", "graven:nothing graven:read:audit"] {
        assert_eq!(call(scope), End::LetIn, "{scope}");
    }
}

#[test]
fn health_is_everybodys_and_reflection_is_for_those_who_may_call_something() {
    let somebody = Credential::new("somebody", &["append:nobody"]);
    let old = Credential::expired("old", &["read:*"]);
    let guarded = Guarded::new(&[&somebody, &old]);
    let channel = guarded.channel();
    let call = |path: &str, authorization: &[String]| {
        guarded.call(&channel, &Method::at(path), "audit", authorization)
    };
    assert_eq!(call("/grpc.health.v1.Health/Check", &[]), End::LetIn);
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        assert_eq!(call(&path, &[]), End::Missing);
        assert_eq!(call(&path, &bearer("gvn_unknown")), End::Invalid);
        assert_eq!(call(&path, &bearer(&old.token)), End::Invalid);
        assert_eq!(call(&path, &bearer(&somebody.token)), End::LetIn);
    }
}

#[test]
fn a_private_log_is_read_with_permission_alone() {
    let [reader, everywhere, elsewhere, appender, admin] = [
        ("reader", "read:audit"),
        ("everywhere", "read:*"),
        ("elsewhere", "read:open"),
        ("appender", "append:*"),
        ("admin", "admin:*"),
    ]
    .map(|(name, grant)| Credential::new(name, &[grant]));
    let old = Credential::expired("old", &["read:*"]);
    let guarded = Guarded::new(&[&reader, &everywhere, &elsewhere, &appender, &admin, &old]);
    let mut web = guarded.web();
    for resource in
        ["checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/0/002", "tile/entries/000.p/7"]
    {
        // A log that is not there is refused alike.
        for log in ["audit", "nobody"] {
            let target = format!("/{log}/{resource}");
            let missing = web.get(&target, &[]);
            missing.refused(401);
            assert!(missing.header("www-authenticate").unwrap().starts_with("Bearer"), "{missing:?}");
            web.get(&target, &["authorization: Bearer gvn_unknown"]).refused(401);
            web.get(&target, &[&old.line()]).refused(401);
            for wrong in [&elsewhere, &appender, &admin] {
                web.get(&target, &[&wrong.line()]).refused(403);
            }
        }
        let target = format!("/audit/{resource}");
        let is_there = !resource.contains("002");
        for right in [&reader, &everywhere] {
            let answer = web.get(&target, &[&right.line()]);
            if is_there && answer.status == 200 {
                answer.served("private, no-cache");
                assert!(answer.header("access-control-allow-origin").is_none(), "{answer:?}");
            } else {
                // A narrower tile than the one at the edge may be gone.
                assert!(!is_there || resource.ends_with("/7"), "{answer:?}");
                answer.refused(404);
            }
        }
        web.get(&format!("/nobody/{resource}"), &[&reader.line()]).refused(403);
        web.get(&format!("/nobody/{resource}"), &[&everywhere.line()]).refused(404);
        // A public log asks for nothing.
        if is_there {
            let answer = web.get(&format!("/open/{resource}"), &[]);
            assert!(answer.status == 200 || resource.ends_with("/7"), "{answer:?}");
        }
    }
}

#[test]
fn a_token_counts_in_one_place_and_in_one_form() {
    let right = Credential::new("right", &["read:*", "append:*"]);
    let second = Credential::new("second", &["read:*"]);
    let old = Credential::expired("old", &["read:*", "append:*"]);
    let guarded = Guarded::new(&[&right, &second, &old]);
    let token = &right.token;
    let target = "/audit/checkpoint";
    let mut web = guarded.web();
    web.get(target, &[&right.line()]).served("private, no-cache");
    // The scheme's name has no case (RFC 9110 §11.1); the token has.
    web.get(target, &[&format!("Authorization: bearer {token}")]).served("private, no-cache");

    let long = format!("authorization: Bearer {}", "x".repeat(8 << 10));
    let wrong = [
        old.line(),
        long,
        format!("authorization: {token}"),
        format!("authorization: Basic {token}"),
        format!("authorization: Token {token}"),
        format!("authorization: Bearer{token}"),
        format!("authorization: Bearer  {token}"),
        format!("authorization: Bearer {token} {token}"),
        format!("authorization: Bearer {token},"),
        format!("authorization: Bearer \"{token}\""),
        format!("authorization: Bearer {}", token.to_uppercase()),
        format!("authorization: Bearer {}", &token[1..]),
        format!("authorization: Bearer {}", &token[..token.len() - 1]),
        format!("authorization: Bearer {token}x"),
        "authorization: Bearer".to_owned(),
        "authorization: Bearer ".to_owned(),
        "authorization:".to_owned(),
        "authorization: Bearer \u{e9}\u{e9}".to_owned(),
    ];
    for line in &wrong {
        web.get(target, &[line]).refused(401);
    }
    // Two of them, right or not, are ambiguous: whoever is in front may have judged by the other one.
    for lines in [[&right.line(), &right.line()], [&right.line(), &second.line()], [&wrong[0], &right.line()]]
    {
        web.get(target, &lines.map(String::as_str)).refused(401);
    }
    // In the address, a cookie, or a header of another name it is not looked for.
    for target in [
        format!("{target}?access_token={token}"),
        format!("{target}?token={token}&authorization=Bearer%20{token}"),
        format!("http://user:{token}@localhost{target}"),
    ] {
        let answer = web.try_ask("GET", &target, &[]);
        answer.map_or_else(
            |_| web = guarded.web(),
            |answer| assert!(matches!(answer.status, 400 | 401), "{answer:?}"),
        );
    }
    for line in [
        format!("cookie: authorization=Bearer {token}"),
        format!("x-authorization: Bearer {token}"),
        format!("proxy-authorization: Bearer {token}"),
        format!("x-forwarded-authorization: Bearer {token}"),
        "x-forwarded-user: right".to_owned(),
        "x-ssl-client-san: spiffe://example.com/gateway".to_owned(),
    ] {
        web.get(target, &[&line]).refused(401);
    }

    let channel = guarded.channel();
    let methods = calls::methods();
    let head = methods.iter().find(|it| it.name == "GetTreeHead").unwrap();
    let call = |authorization: &[String]| guarded.call(&channel, head, "audit", authorization);
    assert_eq!(call(&bearer(token)), End::LetIn);
    assert_eq!(call(&[bearer(token), bearer(token)].concat()), End::Invalid);
    for line in wrong.iter().filter(|line| line.is_ascii() && line.len() < 1000) {
        let value = line.strip_prefix("authorization:").unwrap().trim().to_owned();
        assert_eq!(call(&[value]), End::Invalid, "{line}");
    }

    // A token that is taken away counts no more, a new one at once.
    let new = Credential::new("new", &["read:audit"]);
    guarded.house.know(&[&second, &new], "");
    guarded.server.signal(rustix::process::Signal::HUP);
    crate::until(|| web.get(target, &[&new.line()]).status == 200);
    web.get(target, &[&right.line()]).refused(401);
    assert_eq!(call(&bearer(token)), End::Invalid);
    // A file that is wrong changes nothing, and is not taken for one that lets nobody in, nor everybody.
    guarded.house.secret("credentials.toml", "[[token]]\nname = \"x\"\n");
    guarded.server.signal(rustix::process::Signal::HUP);
    crate::until(|| guarded.house.bench.read("server.log").windows(11).any(|it| it == b"credentials"));
    web.get(target, &[&new.line()]).served("private, no-cache");
    web.get(target, &[]).refused(401);
}
