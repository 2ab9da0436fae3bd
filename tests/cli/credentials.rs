//! What the command shows to whom, and what it refuses to use or to send.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
};

use crate::bench::{Bench, ended};

const SECRET: &str = "gvn_0123456789abcdef";

/// Answers one request with 404, and hands on its lines.
fn listen() -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/audit", listener.local_addr().unwrap());
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let lines = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
        lines
    });
    (url, heard)
}

#[test]
fn secrets_that_others_can_read_are_not_used() {
    let bench = Bench::with_log();
    bench.write_secret("token", SECRET);
    bench.write("chain.pem", "no certificate");
    bench.write_secret("key.pem", "no key");
    for mode in [0o640, 0o604, 0o620] {
        bench.set_mode("token", mode);
        let refused = bench.run("head --token-file token");
        refused.refused(2, &format!("this token (mode {mode:04o}): run chmod 600 token"));
        bench.set_mode("key.pem", mode);
        let refused = bench.run("head --client-cert chain.pem --client-key key.pem");
        refused.refused(2, &format!("this key (mode {mode:04o}): run chmod 600 key.pem"));
        assert!(!refused.stderr.contains("no key"));
    }
}

#[test]
fn credentials_that_cannot_be_used_are_refused_by_name_and_not_repeated() {
    let bench = Bench::with_log();
    let with = |variables: &[(&str, &str)], arguments: &str| {
        let ran = ended(bench.command(arguments).envs(variables.iter().copied()));
        assert!(!ran.stderr.contains("s3cret"), "{ran}");
        ran
    };
    bench.write("chain.pem", "no certificate");
    bench.write_secret("key.pem", "s3cret");
    bench.write_secret("token", "two s3cret words");
    bench.write_secret("long", "s3cret".repeat(1_000));
    with(&[], "head --token-file token").refused(2, "token: a token has letters, digits");
    with(&[], "head --token-file long").refused(2, "long: it is longer than");
    with(&[], "head --token-file nowhere").refused(2, "nowhere");
    with(&[("GRAVEN_TOKEN", "s3cret\n!")], "head").refused(2, "GRAVEN_TOKEN: a token has");
    let both = [("GRAVEN_TOKEN", "s3cret"), ("GRAVEN_TOKEN_FILE", "token")];
    with(&both, "head").refused(2, "are both set");
    with(&[], "head --ca chain.pem").refused(2, "chain.pem: there is no certificate in it");
    with(&[("GRAVEN_CA", "chain.pem")], "head").refused(2, "chain.pem: there is no certificate in it");
    with(&[], "head --client-cert chain.pem --client-key key.pem").refused(2, "there is no certificate");
    with(&[], "head --client-cert chain.pem").misused("--client-key");
    with(&[("GRAVEN_CLIENT_CERT", "chain.pem")], "head").refused(2, "set both");
}

#[test]
fn nothing_secret_goes_out_unencrypted() {
    let bench = Bench::with_log();
    bench.write_secret("token", SECRET);
    // Addresses that nobody has (RFC 5737): a test that fails here waits for an answer.
    let far = "--server http://192.0.2.1:4740 --plaintext-anywhere --token-file token";
    bench.run(&format!("head {far}")).refused(2, "the token would go to 192.0.2.1");
    bench.run(&format!("log list {far}")).refused(2, "the token would go to 192.0.2.1");
    let far = "audit --policy data/audit.policy --token-file token --url http://192.0.2.1/audit";
    bench.run(far).refused(2, "the token would go to 192.0.2.1");
    bench.run("head --server http://192.0.2.1:4740").refused(2, "use https://");

    let server = bench.serve();
    bench.at(&server, "head --token-file token").ok();
    let encrypted = server.url().replace("http:", "https:");
    let ran = bench.run(&format!("head --server {encrypted}"));
    assert!(ran.code == Some(2) && ran.stderr.contains("speak TLS"), "{ran}");
}

#[test]
fn the_environments_token_is_for_the_server_and_not_for_a_url() {
    let bench = Bench::with_log();
    bench.write_secret("token", format!("{SECRET}\n"));
    for (option, sent) in [("", false), (" --token-file token", true)] {
        let (url, heard) = listen();
        let arguments = format!("audit --policy data/audit.policy --url {url}{option}");
        let mut command = bench.command(&arguments);
        let audited = ended(command.env("GRAVEN_TOKEN", SECRET).env("GRAVEN_CLIENT_CERT", "nowhere"));
        audited.refused(1, "there is no checkpoint");
        let lines = heard.join().unwrap();
        assert_eq!(lines[0], "GET /audit/checkpoint HTTP/1.1");
        assert_eq!(lines.iter().any(|line| line.contains(SECRET)), sent, "{lines:?}");
    }
    bench.run("audit --policy data/audit.policy --url ftp://127.0.0.1/x").refused(2, "does not speak ftp");
    bench.run("audit --policy data/audit.policy --url http://x --dir y").misused("--dir");
}

#[test]
#[ignore = "needs python3"]
fn a_log_is_audited_from_any_web_server() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 700);
    server.stop();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut web = Command::new("python3");
    web.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]).stderr(Stdio::null());
    let mut web = web.current_dir(bench.path("data/logs/audit")).spawn().unwrap();
    let audit = format!("audit --json --policy data/audit.policy --url http://127.0.0.1:{port}/site");
    // The first attempts meet nobody: the audit is patient.
    let audited = bench.run(&audit);
    let bundle = "data/logs/audit/site/tile/entries/001";
    bench.flip(bundle, 100);
    let spoilt = bench.run(&audit);
    web.kill().unwrap();
    web.wait().unwrap();
    assert_eq!(audited.ok().object()["entries"], 700);
    assert_eq!(spoilt.code, Some(1), "{spoilt}");
}
