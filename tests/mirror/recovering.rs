//! What operators do with a mirror, as the README has it: a log comes back from it, and its log tells what is wrong.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use graven_note::{Checkpoint, SignedNote};

use crate::{
    bench::{Bench, Server},
    http1::Connection,
};

const SERVE_MIRROR: &str = "mirror serve --data-dir mirror --listen 127.0.0.1:0 --poll-ms 20";

/// A log in `data` that anybody may read, with its keys in `audit.vkeys`, and a mirror in `mirror` that has no logs.
fn bench() -> Bench {
    let bench = Bench::new();
    let vkeys = bench.run("init --data-dir data --origin example.com/audit --visibility public").ok();
    bench.write("audit.vkeys", vkeys.text());
    bench.run("mirror init --data-dir mirror --name m.example.com/m1").ok();
    bench
}

/// Makes the mirror copy what `log` serves; returns its place below the mirror.
fn add_log(bench: &Bench, log: &Server, keys: &str) -> String {
    let add = format!(
        "mirror add-log --data-dir mirror --origin example.com/audit --url {}/audit {keys}",
        log.url()
    );
    bench.run(&add).ok().text().trim().to_owned()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the mirror has so many entries, under a checkpoint with that many lines.
fn wait_for(bench: &Bench, place: &str, size: u64, lines: usize) {
    let path = bench.path(format!("mirror/logs/{place}/site/checkpoint"));
    let note = || fs::read(&path).ok().and_then(|note| SignedNote::parse(&note).ok());
    wait_until("it is not mirrored", || {
        note().is_some_and(|note| {
            let checkpoint = Checkpoint::parse(note.text()).unwrap();
            checkpoint.size().get() == size && note.signatures().len() == lines
        })
    });
}

/// Of `data` only what a backup of the small files has is left.
fn lose_all_but_keys(bench: &Bench) {
    fs::rename(bench.path("data"), bench.path("lost")).unwrap();
    fs::create_dir_all(bench.path("data/logs/audit")).unwrap();
    for part in ["server", "audit.policy", "logs/audit/log", "logs/audit/keys"] {
        bench.copy(&format!("lost/{part}"), &format!("data/{part}"));
    }
}

fn recover(place: &str, mirror: &Server, policy: &str) -> String {
    let from = format!("--from {}/{place}", mirror.url());
    format!("recover --data-dir data --log audit {from} --promote --policy {policy}")
}

#[test]
fn a_log_that_is_lost_is_promoted_from_its_mirror_once_that_has_all_its_keys() {
    let bench = bench();
    let log = bench.serve();
    let vkeys = String::from_utf8(bench.read("audit.vkeys")).unwrap();
    let one = vkeys.lines().next().unwrap();
    let place = add_log(&bench, &log, &format!("--key {one}"));
    let mirror = bench.serve_with(SERVE_MIRROR);
    bench.fill(&log, 300);
    wait_for(&bench, &place, 300, 1 + 2);
    // The line of one key is no copy of a log that signs with three; the others can be added.
    let policy = "data/audit.policy";
    let running = log.url().to_owned();
    bench.copy("data", "whole");
    lose_all_but_keys(&bench);
    bench.run(&recover(&place, &mirror, policy)).refused(1, "required signatures are missing");
    mirror.stop();
    assert_eq!(place, add_log(&bench, &log, "--keys audit.vkeys"), "{running} is still there");
    let mirror = bench.serve_with(SERVE_MIRROR);
    wait_for(&bench, &place, 300, vkeys.lines().count() + 2);
    drop(log);

    bench.run(&recover(&place, &mirror, policy)).ok();
    let log = bench.serve();
    assert_eq!(bench.at(&log, "head --json").ok().object()["size"], 300);
    bench.at(&log, "audit").ok();
    log.stop();
    mirror.stop();
}

#[test]
fn a_log_whose_clients_demand_a_quorum_is_promoted_under_it() {
    let bench = bench();
    let w1 = bench.run("witness init --data-dir w1 --name w.example.com/w1 --key-types ed25519").ok();
    bench.run("witness add-log --data-dir w1 --origin example.com/audit --keys audit.vkeys").ok();
    let witness = bench.serve_with("witness serve --data-dir w1 --listen 127.0.0.1:0");
    let witnesses = format!("witness w1 {} {}\nquorum w1\n", w1.text().trim(), witness.url());
    bench.write("audit.witnesses", &witnesses);
    bench.write("graven.toml", "data_dir = \"data\"\n[witnessing.audit]\npolicy = \"audit.witnesses\"\n");
    let own = String::from_utf8(bench.read("data/audit.policy")).unwrap();
    let own: String = own.split_inclusive('\n').filter(|line| !line.starts_with("quorum")).collect();
    bench.write("witnessed.policy", own + &witnesses);
    let serve = "serve --config graven.toml --dev --listen 127.0.0.1:0 --ops-listen off";
    let log = bench.serve_with(serve);
    let place = add_log(&bench, &log, &format!("--keys audit.vkeys --witness {}", w1.text().trim()));
    let mirror = bench.serve_with(SERVE_MIRROR);
    for n in 1..=5 {
        bench.write("entry", format!("entry {n}"));
        bench.at(&log, "append --policy witnessed.policy --wait witnessed entry").ok();
    }
    wait_for(&bench, &place, 5, 3 + 1 + 2);
    drop(log);
    lose_all_but_keys(&bench);
    bench.run(&recover(&place, &mirror, "witnessed.policy")).ok();
    let log = bench.serve_with(serve);
    bench.write("entry", "entry 6");
    bench.at(&log, "append --policy witnessed.policy --wait witnessed entry").ok();
    log.stop();
    mirror.stop();
}

#[test]
fn a_source_that_keeps_failing_is_asked_less_often_and_complained_of_once() {
    let bench = bench();
    let log = bench.serve();
    let other = bench.run("init --data-dir other --origin example.com/audit").ok();
    bench.write("other.vkeys", other.text());
    add_log(&bench, &log, "--keys other.vkeys");
    let ops = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = bench.serve_with(&format!("{SERVE_MIRROR} --ops-listen {ops}"));
    let failed = "graven_mirror_polls_total{log=\"example.com/audit\",result=\"failed\"} ";
    let polls = || {
        let page = Connection::plain(&ops.to_string()).get("/metrics", &[]).text();
        let count = page.lines().find_map(|line| line.strip_prefix(failed)?.parse::<u64>().ok());
        count.unwrap_or(0)
    };
    wait_until("it does not poll", || polls() >= 5);
    let said = String::from_utf8(bench.read("server.log")).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("not mirrored")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("not signed by a key that counts here") && lines[0].len() < 1_000, "{said}");
    mirror.stop();
}

#[test]
fn a_key_file_that_is_gone_is_named() {
    let bench = bench();
    fs::remove_file(bench.path("mirror/keys/ed25519.pem")).unwrap();
    bench.run(SERVE_MIRROR).refused(2, "mirror/keys/ed25519.pem: ");
}
