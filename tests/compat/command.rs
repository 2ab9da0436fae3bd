//! The command, as scripts use it: its options, the members of its JSON objects, its exit codes.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    bench::{Bench, Ran, Server, finish},
    facts::{Facts, keep},
    scopes,
};

/// An event that says all that one can.
const EVENT: &str = r#"
{"time": "2026-03-01T09:30:00Z", "action": "x.all", "actor": {"kind": "user", "id": "alice", "name": "Alice"},
"client": "application:console", "on_behalf_of": ["bob"], "session": "s-1", "outcome": "denied",
"targets": [{"kind": "role", "id": "owner", "name": "Owner"}], "decision": {"reason": "not an owner", "policy": "p7"},
"token": {"id": "jti-1", "issuer": "https://id.example.com", "audience": ["console"], "grant_type": "authorization_code",
"expires": "2026-03-01T10:30:00Z", "confirmation": "jkt:x", "acr": "2", "amr": ["pwd"]},
"scope": {"requested": ["roles.write"], "granted": ["roles.read"], "used": ["roles.write"]},
"context": {"request_id": "r-1", "trace_id": "t-1", "ip": "192.0.2.7", "user_agent": "browser"},
"changes": [{"field": "role", "before": "", "after": "owner"}],
"source": {"product": "console", "service": "roles", "event_id": "e-1"}, "labels": {"env": "prod"}, "about": ["carol"],
"raw": {"format": "application/json", "text": "{}"}}"#;

const SITE: &str = "data/logs/audit/site";

#[test]
fn scripts_go_on_working() {
    let mut facts = options();
    facts.extend(objects());
    facts.extend(objects_of_events());
    facts.extend(scopes::objects(|command, object, facts| shape(command, "", object, facts)));
    facts.extend(exit_codes());
    keep("command.txt", &facts);
}

/// Every option of every command, and the environment variables that stand for them.
fn options() -> Facts {
    let mut facts = Facts::new();
    collect_options(&Bench::new(), "graven", &mut facts);
    facts
}

fn collect_options(bench: &Bench, command: &str, facts: &mut Facts) {
    let arguments = format!("{command} --help");
    let manual = bench.run(arguments.strip_prefix("graven ").unwrap()).ok();
    let mut is_command = false;
    for line in manual.text().lines() {
        let text = line.trim_start();
        match line.len() - text.len() {
            0 => is_command = line == "Commands:",
            2 if is_command => {
                let command = format!("{command} {}", text.split(' ').next().unwrap());
                facts.push(command.clone());
                collect_options(bench, &command, facts);
            }
            // What is indented further, or stands behind two spaces, describes them.
            2 | 6 if text.starts_with('-') => {
                facts.push(format!("{command} {}", text.split("  ").next().unwrap()));
            }
            _ => {}
        }
    }
    let words: Vec<_> = manual.text().split_whitespace().collect();
    let variables = words.windows(2).filter(|pair| pair[0] == "[env:");
    let name = |pair: &[&str]| pair[1].trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    facts.extend(variables.map(|pair| format!("{command} with {} in the environment", name(pair))));
}

/// The members of every object that is printed for programs.
fn objects() -> Facts {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 300);
    bench.write("entry", "entry 5");
    let mut facts = Facts::new();
    let mut tell = |command: &str, ran: &Ran| {
        let objects = ran.objects();
        assert!(!objects.is_empty(), "{command} printed nothing: {ran}");
        for object in objects {
            shape(command, "", &object, &mut facts);
        }
    };
    let at = |arguments: &str| bench.at(&server, arguments);
    tell("append --json", &at("append --json entry"));
    tell("append --wait published --json", &at("append --wait published --json entry"));
    tell("append --lines --json", &at("append --lines --json entry"));
    tell("head --json", &at("head --json"));
    tell("get --json", &at("get --index 5 --json"));
    tell("prove --index --json", &at("prove --index 5 --json"));
    tell("prove --index --out --json", &at("prove --index 5 --out proof --json"));
    tell("prove --indices --json", &at("prove --indices 5,7 --json"));
    tell("consistency --json", &at("consistency --from 1 --to 300 --json"));
    tell("watch --json", &at("watch --count 1 --json"));
    tell("audit --json", &at("audit --json"));
    tell("log create --json", &at("log create other --json"));
    tell("log list --json", &at("log list --json"));
    tell("log freeze --json", &at("log freeze other --json"));
    server.stop();
    let verify = "verify --json --policy data/audit.policy proof --entry";
    tell("verify --json", &bench.run(&format!("{verify} entry")));
    tell("verify --json, refused", &bench.run(&format!("{verify} proof")));
    tell("keys show --json", &bench.run("keys show --data-dir data --json"));
    tell("fsck --json", &bench.run("fsck --data-dir data --json"));
    let audit = format!("audit --json --policy data/audit.policy --dir {SITE}");
    tell("audit --dir --json", &bench.run(&audit));
    bench.flip(format!("{SITE}/tile/entries/000"), 5);
    tell("audit --dir --json, failed", &bench.run(&audit));
    tell("fsck --json, damaged", &bench.run("fsck --data-dir data --json"));
    facts
}

/// The same, of a log of events.
fn objects_of_events() -> Facts {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let server = bench.serve();
    bench.write("event", EVENT.replace('\n', ""));
    bench.write("trail", r#"{"eventName": "GetObject", "userIdentity": {"type": "Root"}}"#);
    let mut facts = Facts::new();
    let mut tell = |command: &str, ran: &Ran| {
        let objects = ran.objects();
        assert!(!objects.is_empty(), "{command} printed nothing: {ran}");
        objects.iter().for_each(|object| shape(command, "", object, &mut facts));
    };
    let at = |arguments: &str| bench.at(&server, arguments);
    tell("record --json", &at("record --wait published --json event"));
    tell("record --json, once more", &at("record --json --producer app event"));
    tell("import --json", &at("import cloudtrail --json trail"));
    let hit = at("query --json action:x.all");
    let index = hit.objects()[0]["index"].to_string();
    tell("query --json", &hit);
    tell("query --prove --json", &at("query --prove --json action:x.all"));
    tell("tail --json", &at("tail --json action:x.all"));
    tell("reveal --out --json", &at(&format!("reveal --json --groups actor --out case {index}")));
    tell(
        "verify --json, of a disclosure",
        &bench.run(&format!("verify --json --policy data/audit.policy case/{index}.graven-disclosure")),
    );
    tell("retention define --json", &at("retention define short --keep 90days --json"));
    tell("retention list --json", &at("retention list --json"));
    let hold = at("hold place --authority case-7 --json");
    let number = hold.object()["hold"].as_str().unwrap().to_owned();
    tell("hold place --json", &hold);
    tell("hold list --json", &at("hold list --json"));
    tell("hold release --json", &at(&format!("hold release {number} --authority case-7 --json")));
    tell("erase --json", &at("erase alice --authority gdpr-17 --yes --json"));
    for kind in ["erasure", "retention", "hold", "release"] {
        tell(&format!("query --json kind:{kind}"), &at(&format!("query --json kind:{kind}")));
    }
    server.stop();
    facts
}

/// What a value looks like: the facts of its members, or of what kind it is.
fn shape(command: &str, path: &str, value: &Value, facts: &mut Facts) {
    let fact = match value {
        Value::Object(members) => {
            for (name, value) in members {
                shape(command, &format!("{path}.{name}"), value, facts);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            return items.iter().for_each(|item| shape(command, &format!("{path}[]"), item, facts));
        }
        Value::Array(_) => "empty list",
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    let fact = format!("{command}: {path} {fact}");
    if !facts.contains(&fact) {
        facts.push(fact);
    }
}

/// How the command ends in each kind of case.
fn exit_codes() -> Facts {
    let bench = Bench::with_log();
    bench.copy("data", "early");
    let server = bench.serve();
    bench.fill(&server, 300);
    bench.at(&server, "prove --index 5 --out proof").ok();
    bench.at(&server, "head --state heads").ok();
    let mut facts = Facts::new();
    let mut tell = |case: &str, ran: Ran| facts.push(format!("exit {}: {case}", ran.code.unwrap()));
    tell("watch, when no newer head came in time", bench.at(&server, "watch --count 9 --max-gap 1s"));
    tell("a call that the server refuses", bench.at(&server, "get --index 300"));
    tell("an unknown command", bench.run("frobnicate"));
    tell("no server", bench.run("head --server http://127.0.0.1:1"));
    tell("serve, of a directory that is served", bench.serve_refused());
    server.stop();

    bench.write("entry", "entry 5");
    let verify = |entry: &str| bench.run(&format!("verify --policy data/audit.policy --entry {entry} proof"));
    tell("verify", verify("entry"));
    tell("verify, of another entry", verify("proof"));
    tell("verify, of an entry that is not there", verify("nowhere"));
    tell("fsck", bench.run("fsck --data-dir data"));
    bench.copy("data", "damaged");
    bench.flip("damaged/logs/audit/site/tile/entries/000", 5);
    tell("fsck, of a damaged directory", bench.run("fsck --data-dir damaged"));
    let audit = "audit --policy data/audit.policy --dir damaged/logs/audit/site";
    tell("audit, of a damaged log", bench.run(audit));
    tell("storage that fails under a server", poisoned());
    fs::rename(bench.path("data/journal"), bench.path("journal")).unwrap();
    bench.copy("early/journal", "data/journal");
    tell("fsck, of a directory that went back", bench.run("fsck --data-dir data"));
    tell("serve, of a directory that went back", bench.serve_refused());

    fs::remove_dir_all(bench.path("data")).unwrap();
    fs::rename(bench.path("early"), bench.path("data")).unwrap();
    let server: Server = bench.serve();
    tell("head, of a log that went back", bench.at(&server, "head --state heads"));
    facts
}

/// A server that may write no file beyond some hundred KiB, and is given more than that.
fn poisoned() -> Ran {
    let bench = Bench::with_log();
    bench.write("lines", format!("{}\n", "x".repeat(60_000)).repeat(20));
    let mut server = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_graven")])
        .args("serve --data-dir data --dev --listen 127.0.0.1:0 --ops-listen off".split(' '))
        .current_dir(bench.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let url = ready.trim().trim_start_matches("listening on ");
    let appended = bench.run(&format!("append --lines --server {url} lines"));
    assert_ne!(appended.code, Some(0), "it was all written: {appended}");
    finish(server)
}
