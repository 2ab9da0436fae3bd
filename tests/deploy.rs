//! What `deploy/` says agrees with itself and with the server: each alert has a test and an entry in the runbook, each
//! metric that a rule or the dashboard asks for is exported by a running server under the labels that are asked for, and
//! the settings files are ones that the server takes.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Metrics by name, each with the names of its labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

/// What Prometheus adds to everything that it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];

#[test]
fn each_alert_has_a_test_and_an_entry_in_the_runbook() {
    let rules = deploy("prometheus/rules.yml");
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() > 20, "{alerts:?}");
    assert_eq!(alerts, after(&deploy("prometheus/rules.test.yml"), "- name: Graven"), "tests");
    assert_eq!(alerts, after(&deploy("RUNBOOK.md"), "### Graven"), "entries of the runbook");

    let links =
        after(&rules, "runbook_url: https://github.com/graven-log/graven/blob/main/deploy/RUNBOOK.md#");
    let anchors: Vec<_> = alerts.iter().map(|alert| alert.to_lowercase()).collect();
    assert_eq!(links, anchors);
}

#[test]
fn each_recording_rule_is_asked_for() {
    let rules = deploy("prometheus/rules.yml");
    let recorded: BTreeSet<_> = after(&rules, "- record: ").into_iter().collect();
    let queries = [expressions_of_rules(&rules), expressions_of_dashboard()].concat();
    let asked: BTreeSet<_> = queries
        .iter()
        .flat_map(|query| selectors(query))
        .map(|(name, _)| name)
        .filter(|it| it.contains(':'))
        .collect();
    assert_eq!(asked, recorded);
}

#[test]
fn each_metric_that_is_asked_for_is_exported() {
    let exported = exported();
    let queries =
        [expressions_of_rules(&deploy("prometheus/rules.yml")), expressions_of_dashboard()].concat();
    let mut asked = 0;
    for query in &queries {
        for (name, labels) in selectors(query) {
            if !name.starts_with("graven_") && !name.starts_with("process_") {
                continue;
            }
            let known = exported.get(&name).unwrap_or_else(|| panic!("{name} is not exported: {query}"));
            for label in labels.iter().filter(|label| !SCRAPED.contains(&&label[..])) {
                assert!(known.contains(label), "{name} has no label {label}, but {known:?}: {query}");
            }
            asked += 1;
        }
    }
    assert!(asked > 100, "only {asked} metrics are asked for: were the queries found?");
}

#[test]
fn the_settings_files_are_taken() {
    for file in ["systemd/graven.toml", "compose/graven.toml", "kubernetes/graven.toml"] {
        let folder = tempfile::tempdir().unwrap();
        material(folder.path());
        let mut settings: toml::Table = deploy(file).parse().unwrap();
        for (table, key, there) in [
            ("tls", "cert", "cert.pem"),
            ("tls", "key", "key.pem"),
            ("access", "credentials", "credentials.toml"),
        ] {
            let value = settings[table].get_mut(key).unwrap();
            assert!(value.as_str().unwrap().starts_with('/'), "{file}: {table}.{key} = {value}");
            *value = there.into();
        }
        fs::write(folder.path().join("graven.toml"), settings.to_string()).unwrap();
        let checked = graven(folder.path(), "config check --config graven.toml").output().unwrap();
        assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn selectors_are_read() {
    let query = r#"sum by (job, le) (rate(graven_a_bucket{x="1", y=~"b|{}"}[5m])) > on (z) process_b offset 5m and a:b"#;
    let found: Vec<_> = selectors(query).into_iter().map(|(name, labels)| (name, labels.join(","))).collect();
    let found: Vec<_> = found.iter().map(|(name, labels)| (&name[..], &labels[..])).collect();
    assert!(found.contains(&("graven_a_bucket", "x,y")), "{found:?}");
    assert!(found.contains(&("process_b", "")) && found.contains(&("a:b", "")), "{found:?}");
}

/// What a server exports that has been appended to, read from, asked without credentials and spoken to without TLS.
fn exported() -> Metrics {
    let server = Server::start();
    let appended =
        server.graven("append --wait published --token-file token --policy data/audit.policy entry");
    assert!(appended.status.success(), "{}", String::from_utf8_lossy(&appended.stderr));
    let refused = server.graven("append --policy data/audit.policy entry");
    assert_eq!(refused.status.code(), Some(2));
    let url = format!("audit --token-file token --policy data/audit.policy --url {}/audit", server.url);
    let read = server.graven(&url);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let address = server.url.rsplit_once('/').unwrap().1;
    assert!(!request(address, "/healthz").contains("HTTP"), "plaintext where TLS is spoken");

    let page = request(&server.ops, "/metrics");
    let mut metrics = Metrics::new();
    for (name, labels) in page.lines().filter(|line| !line.starts_with('#')).flat_map(selectors) {
        metrics.entry(name).or_default().extend(labels);
    }
    // This server's log has no witnesses. `compat` holds one whose log has some to this list.
    let promised = include_str!("compat/v1/metrics.txt").lines().filter_map(|line| line.split_once(" by "));
    for (name, labels) in promised.filter(|(name, _)| name.starts_with("graven_witness_")) {
        metrics.entry(name.to_owned()).or_default().extend(labels.split(", ").map(str::to_owned));
    }
    // Nor has it a log of events, and these are of such.
    for name in
        ["graven_producer_gaps_total", "graven_producer_clock_ahead_total", "graven_event_index_lag_entries"]
    {
        metrics.entry(name.to_owned()).or_default().insert("log".to_owned());
    }
    // Nor an issuer, which `oauth` takes away and looks for in this.
    metrics
        .entry("graven_issuer_failures_total".to_owned())
        .or_default()
        .extend(["issuer", "what"].map(str::to_owned));
    metrics
}

/// A running server, killed when the test is over.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
    ops: String,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        material(at);
        fs::write(at.join("entry"), "an entry").unwrap();
        let settings =
            "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[access]\ncredentials = \"credentials.toml\"\n";
        fs::write(at.join("graven.toml"), settings).unwrap();
        let token =
            "token new --name all --grant append:audit --grant read:audit --credentials credentials.toml";
        secret(&at.join("token"), &graven(at, token).output().unwrap().stdout);
        assert!(
            graven(at, "init --data-dir data --origin example.com/audit").output().unwrap().status.success()
        );

        let serve =
            "serve --data-dir data --config graven.toml --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0";
        let log = fs::File::create(at.join("log")).unwrap();
        let mut serve = graven(at, serve);
        let mut child =
            serve.args(["--log-format", "json"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = fs::read_to_string(at.join("log")).unwrap();
        let port = line.trim().rsplit_once(':').unwrap_or_else(|| panic!("{log}")).1;
        // The operators' port is said before, in the log.
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ops = lines.filter_map(|line| Some(line.get("address")?.as_str()?.to_owned())).next().unwrap();
        Self { child, folder, url: format!("https://127.0.0.1:{port}"), ops }
    }

    fn graven(&self, arguments: &str) -> Output {
        let mut command = graven(self.folder.path(), arguments);
        command.env("GRAVEN_SERVER", &self.url).args(["--ca", "cert.pem"]).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn graven(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
    command.args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null());
    for variable in std::env::vars_os().map(|(name, _)| name) {
        if variable.to_string_lossy().starts_with("GRAVEN_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A certificate with its key, and credentials that let nobody in.
fn material(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("credentials.toml"), "").unwrap();
    secret(&folder.join("key.pem"), made.signing_key.serialize_pem().as_bytes());
}

/// A file that nobody else can read.
fn secret(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Everything that is answered, head and body; nothing where the other side hangs up.
fn request(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    drop(stream.write_all(asked.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)));
    String::from_utf8_lossy(&answer).into_owned()
}

fn deploy(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What follows this on the lines that begin with it. `Graven` at its end belongs to what follows.
fn after(text: &str, beginning: &str) -> Vec<String> {
    let kept = if beginning.ends_with("Graven") { beginning.len() - "Graven".len() } else { beginning.len() };
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with(beginning));
    lines.map(|line| line[kept..].to_owned()).collect()
}

/// The lines that are queries or parts of them.
fn expressions_of_rules(rules: &str) -> Vec<String> {
    let lines = rules.lines().map(|line| line.trim().trim_start_matches("expr: "));
    let is_query = |line: &&str| {
        let first = line.split(' ').next().unwrap_or_default();
        !first.ends_with(':') && !first.starts_with(['#', '-'])
    };
    lines.filter(is_query).map(str::to_owned).collect()
}

/// All that Grafana asks Prometheus.
fn expressions_of_dashboard() -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![serde_json::from_str::<Value>(&deploy("grafana/graven.json")).unwrap()];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "expr" || key == "query" => found.push(text),
                        value => rest.push(value),
                    }
                }
            }
            Value::Array(values) => rest.extend(values),
            _ => {}
        }
    }
    found
}

/// The names in a query or an exported line, each with the labels that stand in braces after it.
fn selectors(query: &str) -> Vec<(String, Vec<String>)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find(is_part) {
        rest = &rest[at..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        let mut labels = Vec::new();
        if let Some(mut inside) = after.strip_prefix('{') {
            while let Some((label, value)) = inside.split_once('"') {
                labels.push(label.trim_matches(|c| !is_part(c)).to_owned());
                // Past the value; none of ours holds a quotation mark.
                let (_, next) = value.split_once('"').unwrap();
                inside = next;
                if next.trim_start().starts_with('}') {
                    break;
                }
            }
            rest = inside;
        }
        found.push((name.to_owned(), labels));
    }
    found
}
