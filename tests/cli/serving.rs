//! The server as a process.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::bench::Bench;

#[test]
fn nobody_serves_to_the_world_by_mistake() {
    let bench = Bench::with_log();
    bench.run("serve --data-dir data").refused(2, "add --dev");
    bench.run("serve --data-dir data --dev --listen 0.0.0.0:0").refused(2, "loopback");
    bench.run("serve --dev").refused(2, "--data-dir");
    bench.run("serve --data-dir data --dev --listen nowhere").misused("--listen");
}

#[test]
fn a_directory_has_one_server() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.serve_refused().refused(2, "in use by another process");
    bench.run("fsck --data-dir data").refused(2, "in use by another process");
    let address = server.url().strip_prefix("http://").unwrap();
    bench.run("init --data-dir second --origin example.com/second").ok();
    let taken = bench.run(&format!("serve --data-dir second --dev --listen {address}"));
    taken.refused(2, "cannot listen on");
}

#[test]
fn a_stopped_server_leaves_everything_published_and_sealed() {
    for signal in [Signal::TERM, Signal::INT] {
        let bench = Bench::with_log();
        let server = bench.serve();
        let entries: String = (0..300).map(|n| format!("entry {n}\n")).collect();
        bench.write("entries", entries);
        bench.at(&server, "append --lines entries").ok();
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0));

        let audited = bench.run("audit --policy data/audit.policy --dir data/logs/audit/site --json").ok();
        assert_eq!(audited.object()["entries"], 300);
        let checked = bench.run("fsck --data-dir data --json").ok().object();
        assert_eq!((&checked["entries"], &checked["ok"]), (&300.into(), &true.into()));
    }
}

#[test]
fn settings_come_from_a_file_and_yield_to_the_command_line() {
    let bench = Bench::with_log();
    bench.write("graven.toml", "listen = \"127.0.0.1:1\"\ndata_dir = \"data\"\n[engine]\nheartbeat_s = 1\n");
    let server = bench.serve_with("serve --config graven.toml --dev --listen 127.0.0.1:0");
    // Of two heads at one size the second is the heartbeat.
    let heads = bench.at(&server, "watch --count 2 --max-gap 15s --json").ok().objects();
    assert_eq!((&heads[0]["size"], &heads[1]["size"]), (&0.into(), &0.into()));
    assert_ne!(heads[0]["time"], heads[1]["time"]);

    bench.write("wrong.toml", "data_dir = \"data\"\nport = 4740\n");
    bench.run("serve --config wrong.toml --dev").refused(2, "port");
    bench.run("serve --config nowhere.toml --dev").refused(2, "nowhere.toml");
}

#[test]
fn a_write_that_fails_ends_the_server_and_loses_nothing() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("entry", "kept");
    bench.at(&server, "append --wait published entry").ok();
    server.stop();

    // No file may grow beyond some hundred KiB: the next segment of the journal cannot be made.
    let limited = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1000; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_graven"),
            "serve",
        ])
        .args(["--dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(bench.path("data"))
        .output()
        .unwrap();
    let said = String::from_utf8(limited.stderr).unwrap();
    assert_eq!(limited.status.code(), Some(74), "{said}");
    assert!(said.lines().last().unwrap().starts_with("graven: storage failed: "), "{said}");

    let server = bench.serve();
    assert_eq!(bench.at(&server, "get --index 0").ok().stdout, b"kept");
}

#[test]
fn a_full_disk_stops_appends_and_not_reads() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 2);
    server.stop();
    bench.write("graven.toml", "data_dir = \"data\"\n[engine]\nreserve_mib = 1000000000\n");
    let server = bench.serve_with("serve --config graven.toml --dev --listen 127.0.0.1:0");
    bench.at(&server, "append entries").refused(2, "DISK_FULL");
    bench.at(&server, "append --lines entries").refused(2, "DISK_FULL");
    assert_eq!(bench.at(&server, "get --index 1").ok().stdout, b"entry 1");
    server.stop();
}

#[test]
fn a_second_signal_quits_at_once() {
    let bench = Bench::with_log();
    let server = bench.serve();
    // A client that greets, and then answers nothing, keeps a server waiting that would part well.
    let mut client = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    client.read_exact(&mut [0; 9]).unwrap();
    server.signal(Signal::TERM);
    let begun = Instant::now();
    while !String::from_utf8(bench.read("server.log")).unwrap().contains("shutting down") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server does not shut down");
        thread::sleep(Duration::from_millis(5));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(2));
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited for the client");
}

#[test]
fn log_lines_are_json_and_hold_no_entry() {
    let bench = Bench::with_log();
    let arguments = "serve --data-dir data --dev --listen 127.0.0.1:0 --log-format json --log-level debug";
    let server = bench.serve_with(arguments);
    bench.write("entry", "the secret of the entry");
    bench.at(&server, "append --wait published --idempotency-key hush-hush entry").ok();
    server.stop();
    let log = String::from_utf8(bench.read("server.log")).unwrap();
    assert!(log.lines().count() > 2);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"].as_str().unwrap_or_default().contains("no credentials")));
    assert!(!log.contains("secret of the entry") && !log.contains("hush-hush"), "{log}");
}
