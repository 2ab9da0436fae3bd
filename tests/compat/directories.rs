//! Directories and bundles that an earlier version wrote.

use std::{fs, sync::Arc};

use graven_log::{AppendError, Config, Engine, Env};
use serde_json::Value;

use crate::{
    golden::Golden,
    make::{MADE_NS, Ticking, append, entry},
};

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_directory_is_whole() {
    let golden = Golden::open("stopped");
    let checked = golden.bench.run("fsck --data-dir data --json").ok().objects();
    assert_eq!(checked.len(), 3);
    for (log, found) in golden.logs().zip(&checked) {
        let (name, expected) = log;
        assert_eq!((&found["log"], &found["ok"]), (&name.as_str().into(), &true.into()));
        for key in ["entries", "sealed", "signed"] {
            let expected = &expected[if key == "sealed" { "sealed" } else { "size" }];
            assert_eq!(&found[key], expected, "{name}: {key}");
        }
    }
    for (name, expected) in golden.logs() {
        let site = format!("data/logs/{name}/site");
        assert_eq!(
            golden.bench.read(&format!("{site}/checkpoint")),
            text(&expected["checkpoint"]).as_bytes()
        );
        let audited =
            golden.bench.run(&format!("audit --json {} --dir {site}", keys(expected))).ok().object();
        assert_eq!((&audited["entries"], &audited["root"]), (&expected["size"], &expected["root"]));
    }
}

#[test]
fn it_is_served_as_it_was_left_and_goes_on() {
    let golden = Golden::open("stopped");
    let bench = &golden.bench;
    let server = golden.serve();
    let listed = bench.at(&server, "log list --json").ok().objects();
    for ((name, expected), found) in golden.logs().zip(&listed) {
        for (key, golden) in [
            ("origin", "origin"),
            ("visibility", "visibility"),
            ("state", "state"),
            ("vkeys", "vkeys"),
            ("durable_size", "durable"),
            ("published_size", "size"),
        ] {
            assert_eq!(found[key], expected[golden], "{name}: {key}");
        }
        let told = |arguments: &str| {
            let arguments = format!("{arguments} {} --log {name} --server {}", keys(expected), server.url());
            bench.run(&arguments).ok()
        };
        assert_eq!(told("head --note").text(), text(&expected["checkpoint"]), "{name}");
        let audited = told("audit --json").object();
        assert_eq!((&audited["entries"], &audited["root"]), (&expected["size"], &expected["root"]), "{name}");
    }

    let at = |arguments: &str| bench.run(&format!("{arguments} --log audit --server {}", server.url()));
    // A client comes back with what it kept when the log had 300 entries.
    at("head --policy audit.policy --state heads").ok();
    bench.write("entry", "one more");
    let more =
        at("append --json --wait published --out more.tlog-proof --policy audit.policy entry").ok().object();
    assert_eq!(more["index"], golden.log("audit")["durable"]);
    at("head --policy audit.policy --state heads").ok();
    at("consistency --policy audit.policy --from 600 --to 601").ok();
    // What is older than the window can no longer be told from a repeat.
    let made = MADE_NS / SECOND;
    at(&format!("append --idempotency-key unknown --key-issued {made} entry"))
        .refused(2, "IDEMPOTENCY_KEY_EXPIRED");
    bench.run(&format!("append --log payments --server {} entry", server.url())).refused(2, "LOG_FROZEN");
    server.stop();

    bench.run("fsck --data-dir data").ok();
    bench.run("verify --policy audit.policy --entry entry more.tlog-proof").ok();
    for derived in ["data/index", "data/logs/audit/nodes"] {
        assert!(bench.path(derived).exists(), "{derived} was not made anew");
    }
}

#[test]
fn within_the_window_a_repeat_is_still_known() {
    let golden = Golden::open("stopped");
    let config = Config { reserve_bytes: 0, ..Config::default() };
    let open = |seconds: u64| {
        let clock = Arc::new(Ticking::from(MADE_NS + seconds * SECOND));
        Engine::open(Env { clock, ..Env::system() }, &golden.bench.path("data"), config.clone()).unwrap()
    };
    let engine = open(60);
    let (audit, payments) = (engine.log("audit").unwrap(), engine.log("payments").unwrap());
    for n in (7..600).step_by(50) {
        let key = format!("key-{n}");
        let repeat = append(&engine, &audit, vec![entry(n)], Some(&key)).unwrap();
        assert_eq!((repeat.first, repeat.count, repeat.duplicate), (n, 1, true), "{key}");
        let other = append(&engine, &audit, vec![entry(n + 1)], Some(&key)).unwrap_err();
        assert_eq!(other, AppendError::KeyReused { index: n });
    }
    let batch = append(&engine, &payments, (600..640).map(entry).collect(), Some("batch")).unwrap();
    assert_eq!((batch.first, batch.count, batch.duplicate), (0, 40, true), "of a frozen log, too");
    assert_eq!(audit.durable_size(), 600);
    drop((engine, audit, payments));

    let engine = open(3_600);
    let audit = engine.log("audit").unwrap();
    // What is forgotten is refused; what is still known may be answered.
    for n in (7..600).step_by(50) {
        match append(&engine, &audit, vec![entry(n)], Some(&format!("key-{n}"))) {
            Ok(repeat) => assert!(repeat.duplicate && repeat.first == n),
            Err(error) => assert_eq!(error, AppendError::KeyTooOld),
        }
    }
    assert_eq!(append(&engine, &audit, vec![entry(1)], Some("new")).unwrap_err(), AppendError::KeyTooOld);
    assert_eq!(audit.durable_size(), 600);
}

#[test]
fn a_server_that_was_killed_recovers() {
    for name in ["killed-while-writing", "killed-while-signing"] {
        let golden = Golden::open(name);
        let bench = &golden.bench;
        let expected = golden.log("audit");
        assert_eq!((&expected["size"], &expected["durable"]), (&290.into(), &300.into()));
        bench.run("fsck --data-dir data").ok();
        let server = golden.serve();
        bench.write("vkeys.policy", bench.run("keys show --data-dir data --policy").ok().stdout);
        let at = |arguments: &str| {
            bench.run(&format!("{arguments} --policy vkeys.policy --server {}", server.url()))
        };
        bench.write("entry", "after the crash");
        let appended = at("append --json --wait published entry").ok().object();
        assert_eq!(appended["index"], 300, "{name}");
        at("consistency --from 290 --to 301").ok();
        assert_eq!(at("get --index 299").ok().stdout, entry(599));
        assert_eq!(at("audit --json").ok().object()["entries"], 301, "{name}");
        server.stop();
        let checked = bench.run("fsck --data-dir data --json").ok().object();
        assert_eq!((&checked["entries"], &checked["ok"]), (&301.into(), &true.into()), "{name}");
    }
}

#[test]
fn bundles_verify_for_ever() {
    let golden = Golden::open("stopped");
    let bench = &golden.bench;
    let mut count = 0;
    for file in fs::read_dir(bench.path("bundles")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".tlog-proof") else { continue };
        let verify = |entry: &str| {
            let bundle = format!("bundles/{name}.tlog-proof");
            bench.run(&format!("verify --json --policy audit.policy --all-keys --entry {entry} {bundle}"))
        };
        let verified = verify(&format!("bundles/{name}.entry")).ok().object();
        assert_eq!(name, format!("audit-{}", verified["index"]));
        assert_eq!(verify("audit.policy").code, Some(1), "{name} proves what it does not");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn what_a_later_version_wrote_is_refused_by_name() {
    for (file, from, to) in [
        ("data/server", "graven-server/v1", "graven-server/v2"),
        ("data/logs/audit/log", "graven-log/v1", "graven-log/v2"),
    ] {
        let golden = Golden::open("stopped");
        let manifest = String::from_utf8(golden.bench.read(file)).unwrap();
        golden.bench.write(file, manifest.replace(from, to));
        golden.bench.run("fsck --data-dir data").refused(2, "not of a format that this version knows");
        let refused = golden.bench.run("serve --config graven.toml --dev --listen 127.0.0.1:0");
        refused.refused(2, "not of a format that this version knows");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The options that trust a log's keys.
fn keys(log: &Value) -> String {
    let vkeys = log["vkeys"].as_array().unwrap().iter();
    vkeys.map(|vkey| format!("--key {}", text(vkey))).collect::<Vec<_>>().join(" ")
}
