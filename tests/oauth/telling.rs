//! Every event of a real OpenID provider in a log of events: none is missing and none is there twice, whoever fails meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::LazyLock,
};

use serde_json::{Value, json};

use crate::bench::{Bench, Server};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const EXAMPLE: &str = "deploy/examples/oidc-provider";

/// The example with the packages that its lock file pins, and who walks through it.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-events");
    fs::create_dir_all(&place).unwrap();
    for name in ["package.json", "package-lock.json", "provider.mjs"] {
        fs::copy(Path::new(ROOT).join(EXAMPLE).join(name), place.join(name)).unwrap();
    }
    fs::copy(Path::new(ROOT).join("tests/oauth/provider/walk.mjs"), place.join("walk.mjs")).unwrap();
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&place)
        .output();
    let npm = npm.expect("npm is not installed");
    assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
    place
});

type Counts = BTreeMap<String, u64>;

/// A server with a log of events, always at the same address.
struct House {
    bench: Bench,
    address: String,
    server: Option<Server>,
}

/// Somebody who walks through the provider.
struct Walker {
    child: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
}

/// What the provider told of so far, and the secrets that were seen.
struct Told {
    counts: Counts,
    secrets: Vec<String>,
}

impl House {
    fn open() -> Self {
        let bench = Bench::new();
        bench.run("init --data-dir data --origin example.com/who --kind events").ok();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        bench.write(
            "graven.toml",
            format!(
                "listen = \"{address}\"\ndata_dir = \"data\"\n[access]\ncredentials = \"credentials.toml\"\n[ops]\nlisten = \"off\"\n\
                 [engine]\nsegment_mib = 1\nreserve_mib = 0\n"
            ),
        );
        for (name, grants) in
            [("idp", "--grant append:who"), ("reader", "--grant query:who --grant reveal:who")]
        {
            let made =
                bench.run(&format!("token new --name {name} {grants} --credentials credentials.toml")).ok();
            bench.write_secret(&format!("{name}.token"), made.text());
        }
        let mut house = Self { bench, address, server: None };
        house.start();
        house
    }

    fn start(&mut self) {
        self.server = Some(self.bench.serve_with("serve --config graven.toml"));
    }

    /// With SIGKILL.
    fn kill(&mut self) {
        self.server = None;
    }

    fn walker(&self) -> Walker {
        let mut child = Command::new("node")
            .arg(INSTALLED.join("walk.mjs"))
            .current_dir(self.bench.path("."))
            .env("GRAVEN_PROTO", Path::new(ROOT).join("proto"))
            .env("GRAVEN_ADDRESS", &self.address)
            .env("GRAVEN_TOKEN_FILE", self.bench.path("idp.token"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is not installed");
        let (says, hears) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut walker = Walker { child, says, hears };
        assert!(walker.hear()["issuer"].is_string(), "it serves");
        walker
    }

    /// The events of the provider in the log, oldest first.
    fn events(&self) -> Vec<Value> {
        let query = "query --log who --ascending --json --token-file reader.token product:oidc-provider";
        self.bench.at(self.server.as_ref().unwrap(), query).ok().objects()
    }

    /// Entries of another kind: of gaps, and of what was refused.
    fn others(&self) -> Vec<Value> {
        let server = self.server.as_ref().unwrap();
        let all = self.bench.at(server, "query --log who --json --token-file reader.token").ok().objects();
        all.into_iter().filter(|hit| hit["kind"] != "event" && hit["kind"] != "genesis").collect()
    }
}

impl Walker {
    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.hears.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it went no further: {line:?}"))
    }

    fn walk(&mut self, name: &str) -> Told {
        writeln!(self.says, "{name}").unwrap();
        Told::of(&self.hear())
    }

    /// Ends once all is sent.
    fn finish(mut self) -> Told {
        drop(self.says);
        let mut line = String::new();
        self.hears.read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success());
        Told::of(&serde_json::from_str(&line).unwrap())
    }

    /// With SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Told {
    fn of(said: &Value) -> Self {
        let counts = said["counts"].as_object().unwrap().iter();
        let secrets = said["secrets"].as_array().unwrap().iter();
        Self {
            counts: counts.map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect(),
            secrets: secrets.map(|secret| secret.as_str().unwrap().to_owned()).collect(),
        }
    }
}

fn counted(events: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for event in events {
        *counts.entry(event["action"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
#[ignore = "needs node"]
fn every_event_of_the_provider_is_in_the_log_by_type() {
    let house = House::open();
    let mut walker = house.walker();
    for walk in ["login", "refuse", "refresh", "credentials", "introspect", "revoke", "strange"] {
        walker.walk(walk);
    }
    let told = walker.finish();
    let events = house.events();
    assert_eq!(counted(&events), told.counts);
    assert!(house.others().is_empty(), "no number was left out, and nothing was refused");
    for name in [
        "login.success",
        "login.error",
        "grant.saved",
        "authorization.success",
        "authorization.error",
        "grant.success",
        "grant.error",
        "grant.revoked",
        "refresh_token.consumed",
        "client_credentials.saved",
        "client_credentials.destroyed",
        "introspection.error",
        "revocation.error",
        "userinfo.error",
    ] {
        assert!(told.counts.contains_key(name), "{name} never happened: {:?}", told.counts);
    }
    assert_denials_are_told(&events);
    let shown = Value::from(events).to_string();
    let leaked: Vec<_> = told.secrets.iter().filter(|secret| shown.contains(secret.as_str())).collect();
    assert!(told.secrets.len() > 10 && leaked.is_empty(), "{leaked:?}");
}

/// What must not go by in silence: a wrong password, a wrong secret, a revoked token, more scopes than there were to have.
fn assert_denials_are_told(events: &[Value]) {
    let denied = |action: &str, what: &str| {
        let found = events.iter().any(|event| {
            event["action"] == action && event["outcome"] == "denied" && event.to_string().contains(what)
        });
        assert!(found, "no denied {action} says {what}");
    };
    denied("login.error", "alice@example.com");
    denied("grant.error", "invalid_client");
    denied("grant.error", "invalid_grant");
    denied("grant.error", "invalid_scope");
    denied("introspection.error", "invalid_client");
    denied("userinfo.error", "invalid_token");
    let escalation = events.iter().find(|event| event.to_string().contains("invalid_scope")).unwrap();
    assert_eq!(escalation["scope"]["requested"], json!(["documents:modify"]));
    let login = events.iter().find(|event| event["action"] == "login.success").unwrap();
    assert_eq!(login["actor"]["id"], "alice@example.com");
    assert_eq!(login["client"]["id"], "app");
    assert_eq!(login["context"]["ip"], "127.0.0.1");
    let granted = events.iter().find(|event| event["action"] == "grant.success").unwrap();
    assert_eq!(granted["scope"]["granted"], json!(["openid", "offline_access", "documents:read"]));
    assert_eq!(granted["token"]["grant_type"], "authorization_code");
}

#[test]
#[ignore = "needs node"]
fn nothing_is_lost_or_doubled_where_the_log_and_the_provider_are_killed() {
    let mut house = House::open();
    let mut walker = house.walker();
    let mut sum = walker.walk("login").counts;
    house.kill();
    // The provider goes on, and what it tells waits on its disk.
    for walk in ["refresh", "credentials", "introspect"] {
        sum = walker.walk(walk).counts;
    }
    walker.kill();

    house.start();
    let mut walker = house.walker();
    walker.walk("login");
    house.kill();
    walker.walk("refuse");
    house.start();
    walker.walk("credentials");
    for (name, count) in walker.finish().counts {
        *sum.entry(name).or_default() += count;
    }
    assert_eq!(counted(&house.events()), sum);
    assert!(house.others().is_empty());
    assert!(house.bench.read("events.spool").is_empty(), "all of it went away");
}
