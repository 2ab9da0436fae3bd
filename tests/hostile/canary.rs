//! A token is a secret: it is in no log line, no metric, no answer, no file, and in nothing that the command prints. What events say of
//! people is in no log line, metric, error or file in clear.

use std::{fs, net::TcpListener, path::Path};

use tonic::transport::Channel;

use crate::{
    bench::Bench,
    calls, h2,
    house::{Credential, House, OPEN},
    http1::Connection,
};

#[test]
fn a_token_is_written_down_nowhere() {
    for format in ["human", "json"] {
        let house = House::new();
        let [right, wrong, old] = [
            Credential::new("right", &["read:*", "append:*", "admin:*"]),
            Credential::new("stranger", &["read:*"]),
            Credential::expired("old", &["read:*"]),
        ];
        house.know(&[&right, &old], "");
        let ops = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (before, after) = (OPEN.split("[tls]").next().unwrap(), OPEN.split("[access]").nth(1).unwrap());
        let after = after.replace("listen = \"off\"", &format!("listen = \"{ops}\""));
        house.bench.write("graven.toml", format!("{before}[access]{after}"));
        let server = house
            .bench
            .serve_with(&format!("serve --config graven.toml --log-format {format} --log-level trace"));

        let secrets = [&right, &wrong, &old].map(|it| it.token.as_str());
        let mut said = String::new();
        for token in secrets {
            said += &use_everywhere(server.address(), token);
            said += &call_everything(server.url(), token);
            said += &command_with(&house, server.url(), token);
        }
        said += &Connection::plain(&ops.to_string()).get("/metrics", &[]).text();
        server.stop();
        let log = String::from_utf8_lossy(&house.bench.read("server.log")).into_owned();
        // The canary sings only where somebody is: requests and callers are in the log.
        assert!(
            log.contains("right") && log.contains("GetTreeHead"),
            "{format}: the log says nothing of calls"
        );
        assert!(said.contains("graven_rpc_requests_total"), "no metrics");
        said += &log;
        for token in secrets {
            // The part behind the prefix, which nobody else has.
            let secret = token.strip_prefix("gvn_").unwrap();
            assert_absent(&said, secret, format);
            absent_below(&house.bench.path("."), secret);
        }
    }
}

/// Shows a token in every place that one could think of, over HTTP.
fn use_everywhere(address: &str, token: &str) -> String {
    let bearer = format!("authorization: Bearer {token}");
    let mut said = String::new();
    for (method, target) in [
        ("GET", "/audit/checkpoint"),
        ("GET", "/audit/tile/0/009"),
        ("GET", "/nobody/checkpoint"),
        ("DELETE", "/audit/checkpoint"),
        ("POST", "/graven.v1.LogService/GetTreeHead"),
        ("POST", "/graven.v1.LogService/Nothing"),
    ] {
        for lines in [
            &[bearer.as_str()][..],
            &[&bearer, &bearer],
            &[&format!("authorization: Basic {token}")],
            &[&format!("authorization: Bearer {token}\u{e9}")],
            &[&bearer, "content-type: application/grpc-web+proto", "content-length: 0"],
            &[&format!("{bearer}\r\n broken header")],
        ] {
            said += &format!("{:?}", Connection::plain(address).try_ask(method, target, lines));
        }
    }
    // Where it does not belong, people put it all the same.
    for target in
        [format!("/audit/checkpoint?token={token}"), format!("/{token}/checkpoint"), format!("/{token}")]
    {
        said += &format!("{:?}", Connection::plain(address).try_ask("GET", &target, &[]));
        said += &format!("{:?}", h2::get(address, &target).map(|answer| answer.ok));
    }
    said
}

fn call_everything(url: &str, token: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut said = String::new();
    runtime.block_on(async {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        for method in calls::methods().iter().filter(|it| it.name != "FreezeLog") {
            for authorization in [format!("Bearer {token}"), format!("Bearer {token} x"), token.to_owned()] {
                said += &format!("{:?}", method.call(&channel, "audit", &[authorization]).await);
            }
        }
    });
    said
}

/// The command with the token, where it works and where it fails.
fn command_with(house: &House, url: &str, token: &str) -> String {
    house.secret("token", &format!("{token}\n"));
    let mut said = String::new();
    for (arguments, variable) in [
        (format!("head --server {url} --log audit --policy data/audit.policy"), true),
        (format!("append --server {url} --log audit entries"), true),
        (format!("append --lines --server {url} --log audit --token-file token entries"), false),
        (format!("log list --server {url} --token-file token"), false),
        (format!("head --server {url} --log audit --token-file nowhere"), false),
        ("head --server http://127.0.0.1:1".to_owned(), true),
        ("head --server nonsense".to_owned(), true),
        ("head --frobnicate".to_owned(), true),
        ("head --help".to_owned(), true),
    ] {
        let mut command = house.bench.command(&arguments);
        if variable {
            command.env("GRAVEN_TOKEN", token);
        }
        let output = command.output().unwrap();
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    fs::remove_file(house.bench.path("token")).unwrap();
    said
}

#[track_caller]
fn assert_absent(text: &str, secret: &str, place: &str) {
    if let Some(at) = text.find(secret) {
        let line = text[..at].rfind('\n').map_or(0, |begin| begin + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        panic!("{place}: a token was written down: {}", text[line..end].replace(secret, "TOKEN"));
    }
}

/// No file below a folder holds it.
fn absent_below(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            absent_below(&path, secret);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds a token", path.display());
    }
}

/// Where people, tokens and addresses stand in an event, in parts that nothing else has; with what would break a line or colour a terminal.
const PLANTED: [&str; 9] = [
    "canary-mail@example.com",
    "Canary Name",
    "canary-target",
    "canary-session",
    "canary-jti",
    "198.51.100.213",
    "gvn_canarycanarycanarycanary",
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ",
    "canary-raw",
];

fn planted() -> String {
    let [mail, name, target, session, jti, ip, token, jwt, raw] = PLANTED;
    let event = serde_json::json!({
        "action": "auth.login", "outcome": "success", "session": session,
        "actor": {"kind": "user", "id": mail, "name": format!("{name}\n\u{1b}[31m{{\"level\":\"ERROR\"}}")},
        "targets": [{"kind": "user", "id": target}],
        "token": {"id": jti},
        "decision": {"reason": format!("showed {token} and {jwt}")},
        "context": {"ip": ip, "user_agent": format!("agent of {name}")},
        "changes": [{"field": "password", "before": token, "after": jwt}],
        "raw": {"format": "text/plain", "text": raw},
    });
    format!("{event}\n")
}

#[test]
fn people_and_secrets_of_events_are_written_down_nowhere_in_clear() {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let ops = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = bench.serve_with(&format!(
        "serve --data-dir data --dev --listen 127.0.0.1:0 --ops-listen {ops} --log-level trace --log-format json"
    ));
    bench.write("events", planted());
    bench.at(&server, "record --producer app --wait published events").ok();
    // It can be told: what is found is what was recorded, and a table of it is one line without a control character.
    for query in ["actor:canary-mail@example.com", "ip:198.51.100.213", "token:canary-jti"] {
        assert_eq!(bench.at(&server, &format!("query --json {query}")).ok().objects().len(), 1);
    }
    let table = String::from_utf8(bench.at(&server, "query kind:event").ok().stdout).unwrap();
    assert!(table.contains(PLANTED[0]));
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    bench.at(&server, "reveal --out case 1").ok();
    // What is refused is not repeated.
    let mut said = String::new();
    bench.write("spoilt", planted().replace("auth.login", "auth.nothing"));
    said += &bench.at(&server, "record spoilt").stderr;
    said += &bench.at(&server, "erase canary-target-of-nobody --authority gdpr-17 --yes").stderr;
    bench.at(&server, "erase canary-mail@example.com --authority gdpr-17 --yes").ok();
    said += &Connection::plain(&ops.to_string()).get("/metrics", &[]).text();
    assert!(said.contains("graven_rpc_requests_total"), "no metrics");
    server.stop();

    let log = String::from_utf8(bench.read("server.log")).unwrap();
    assert!(log.contains("a person was erased"), "the log says nothing of what was done");
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not one object: {line}");
    }
    said += &log;
    for secret in PLANTED {
        assert_absent(&said, secret, "logs, metrics and errors");
        absent_below(&bench.path("data"), secret);
    }
}
