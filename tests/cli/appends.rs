//! Appending: single entries, streams of lines, repeats.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::Value;

use crate::bench::{Bench, fed, finish};

#[test]
fn an_entry_is_appended_and_proven_offline() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("entry", b"\x00any bytes\xff\n");
    let durable = bench.at(&server, "append --json entry").ok().object();
    assert_eq!((&durable["index"], &durable["duplicate"]), (&0.into(), &false.into()));

    let published = bench.at(&server, "append --wait published --out proof --json entry").ok().object();
    assert_eq!(published["index"], 1);
    assert!(published["proven_in_size"].as_u64().unwrap() >= 2);
    server.stop();
    let verified = bench.run("verify --policy data/audit.policy --entry entry --json proof").ok().object();
    assert_eq!((&verified["index"], &verified["verified"]), (&1.into(), &true.into()));
    assert!(
        bench.run("verify --policy data/audit.policy --entry entry proof").ok().text().contains("entry 1 of")
    );
}

#[test]
fn an_entry_may_come_from_standard_input() {
    let bench = Bench::with_log();
    let server = bench.serve();
    let ran = fed(&mut bench.command_at(&server, "append --json -"), b"typed\n").ok();
    assert_eq!(ran.object()["index"], 0);
    bench.wait_for(&server, 1);
    assert_eq!(bench.at(&server, "get --index 0").ok().stdout, b"typed\n");
}

#[test]
fn what_is_no_entry_is_refused() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("empty", "");
    bench.at(&server, "append empty").refused(2, "empty is empty");
    bench.write("longest", vec![b'x'; 65_535]);
    bench.at(&server, "append longest").ok();
    bench.write("longer", vec![b'x'; 65_536]);
    bench.at(&server, "append longer").refused(2, "65535 bytes");
    bench.at(&server, "append nowhere").refused(2, "nowhere");
    bench.at(&server, "append --out proof longest").refused(2, "--wait published");
    bench.at(&server, "append --wait witnessed longest").refused(2, "WITNESS_POLICY_MISSING");
    bench.at(&server, "append --log other longest").refused(2, "LOG_NOT_FOUND");
    bench.run("append --server http://127.0.0.1:1 longest").refused(2, "no server answers");
    bench.run("append --server http://192.0.2.1:4740 longest").refused(2, "not encrypted");
    bench.run("append --server nonsense longest").refused(2, "server address");
}

#[test]
fn lines_are_acknowledged_as_they_come() {
    let bench = Bench::with_log();
    let server = bench.serve();
    let mut command = bench.command_at(&server, "append --lines --json -");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        writeln!(input, "line {n}").unwrap();
        // The input stays open: the answer must not wait for its end.
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["index"], n);
    }
    drop(input);
    finish(child).ok();
    bench.wait_for(&server, 3);
    assert_eq!(bench.at(&server, "get --index 2").ok().stdout, b"line 2");
}

#[test]
fn a_server_that_dies_ends_the_stream_with_what_is_durable() {
    let bench = Bench::with_log();
    let server = bench.serve();
    let mut command = bench.command_at(&server, "append --lines --json -");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "before").unwrap();
    output.read_line(&mut String::new()).unwrap();
    drop(server);
    // The input is open and silent: the command must notice by itself.
    finish(child).refused(2, "1 entry acknowledged, 0 sent and not acknowledged");
    drop(input);

    let server = bench.serve();
    bench.wait_for(&server, 1);
    assert_eq!(bench.at(&server, "get --index 0").ok().stdout, b"before");
}

#[test]
fn a_line_that_is_no_entry_ends_the_stream_after_those_before_it() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("lines", "one\ntwo\n\nfour\n");
    let ran = bench.at(&server, "append --lines --json lines");
    ran.refused(2, "lines line 3 is empty");
    ran.refused(2, "before it, 2 entries acknowledged as durable");
    let indices: Vec<_> = ran.objects().iter().map(|ack| ack["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1]);

    bench.write("lines", [b"three\n".as_slice(), &[b'x'; 65_536], b"\nfive\n"].concat());
    let ran = bench.at(&server, "append --lines lines");
    ran.refused(2, "lines line 2 has more than 65535 bytes");
    ran.refused(2, "before it, 1 entry acknowledged as durable");
    bench.write("lines", "\n");
    bench.at(&server, "append --lines lines").refused(2, "before it, 0 entries acknowledged as durable");
}

#[test]
fn a_repeat_under_the_same_key_appends_nothing() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("entry", "entry");
    bench.write("other", "other");
    let first = bench.at(&server, "append --idempotency-key k --json entry").ok().object();
    let again = bench.at(&server, "append --idempotency-key k --json entry").ok().object();
    assert_eq!((&again["index"], &again["duplicate"]), (&first["index"], &true.into()));
    bench.at(&server, "append --idempotency-key k other").refused(2, "IDEMPOTENCY_KEY_REUSED");
    bench
        .at(&server, "append --idempotency-key old --key-issued 1000 other")
        .refused(2, "IDEMPOTENCY_KEY_EXPIRED");
    let malformed =
        bench.command_at(&server, "append entry").args(["--idempotency-key", "a b"]).output().unwrap();
    assert_eq!(malformed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&malformed.stderr).contains("visible ASCII"));

    bench.write("lines", "a\nb\nc\n");
    let appended = |ran: crate::bench::Ran| -> Vec<_> {
        ran.ok().objects().iter().map(|ack| ack["index"].as_u64().unwrap()).collect()
    };
    let run = "append --lines --idempotency-key import --json lines";
    let first = appended(bench.at(&server, run));
    assert_eq!(first, [1, 2, 3]);
    bench.write("lines", "a\nb\nc\nd\n");
    assert_eq!(appended(bench.at(&server, run)), [1, 2, 3, 4]);
}
