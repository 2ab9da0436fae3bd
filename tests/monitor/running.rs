//! A monitor that runs on: what it tells a webhook and its metrics, and how it ends.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    Fork, POLICY, append,
    bench::{Bench, Server},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A web server that takes alerts; it refuses the first attempt at each.
fn hook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook?key=secret", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut refused = None;
        for stream in listener.incoming() {
            let (mut stream, mut bytes) = (stream.unwrap(), Vec::new());
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut part) {
                bytes.extend_from_slice(&part[..read]);
                if bytes.ends_with(b"}") {
                    break;
                }
            }
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("POST /hook?key=secret HTTP/1.1\r\n"), "{text}");
            let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
            let again = refused.as_ref() == Some(&body);
            let status = if again { "204 No Content" } else { "503 Service Unavailable" };
            write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            if again {
                tell.send(serde_json::from_str(&body).unwrap()).unwrap();
            }
            refused = Some(body);
        }
    });
    (address, told)
}

struct Running(Option<Child>);

impl Running {
    /// Looks often, and finds trouble soon. Its logs are its own from here on.
    fn start(bench: &Bench, rest: &str) -> Self {
        let log = std::fs::File::create(bench.path("monitor.log")).unwrap();
        let arguments = format!("monitor --interval 50ms --ops-listen 127.0.0.1:0 {rest}");
        let running =
            Self(Some(bench.command(&arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap()));
        let begun = Instant::now();
        while !Self::said(bench).contains("/healthz") {
            assert!(begun.elapsed() < PATIENCE, "it does not start: {}", Self::said(bench));
            thread::sleep(Duration::from_millis(5));
        }
        running
    }

    fn said(bench: &Bench) -> String {
        String::from_utf8(bench.read("monitor.log")).unwrap()
    }

    /// A page of the operators' port.
    fn page(bench: &Bench, path: &str) -> String {
        let said = Self::said(bench);
        let line = said.lines().find(|line| line.contains("/healthz")).unwrap();
        let address = line.rsplit_once("address=").unwrap().1.split(' ').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ended(mut self, signal: Signal) -> Option<i32> {
        let mut child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn at(bench: &Bench, data: &str, address: &str) -> Server {
    bench.serve_with(&format!("serve --data-dir {data} --dev --listen {address}"))
}

#[test]
fn each_change_is_told_once_and_a_proof_is_for_good() {
    let Fork { bench, one, other } = Fork::with(4);
    other.stop();
    let (hook, told) = hook();
    let address = one.address().to_owned();
    let sources = format!("--log-url http://{address}/audit");
    let running = Running::start(
        &bench,
        &format!("{POLICY} --trouble-after 100ms --state state --webhook {hook} {sources}"),
    );
    let next = || told.recv_timeout(PATIENCE).expect("an alert");
    let is_at = |metric: &str| {
        let begun = Instant::now();
        while !Running::page(&bench, "/metrics").lines().any(|line| line == metric) {
            assert!(begun.elapsed() < PATIENCE, "{metric}: {}", Running::page(&bench, "/metrics"));
            thread::sleep(Duration::from_millis(20));
        }
    };
    assert!(Running::page(&bench, "/healthz").starts_with("HTTP/1.1 200 OK"));
    is_at("graven_monitor_size{log=\"example.com/audit\"} 5");
    append(&bench, &one, "more", 1);
    is_at("graven_monitor_size{log=\"example.com/audit\"} 6");

    one.stop();
    let alert = next();
    assert_eq!(
        (&alert["state"], &alert["was"], &alert["exit_code"]),
        (&"trouble".into(), &"ok".into(), &2.into())
    );
    let one = at(&bench, "data", &address);
    let alert = next();
    assert_eq!((&alert["state"], &alert["was"]), (&"ok".into(), &"trouble".into()));

    // The operator serves another history under the same address.
    one.stop();
    let alert = next();
    assert_eq!(alert["state"], "trouble");
    let fork = at(&bench, "fork", &address);
    let alert = next();
    assert_eq!((&alert["state"], &alert["exit_code"]), (&"split-view".into(), &5.into()));
    assert_eq!(alert["log"], "example.com/audit");
    bench.run(&format!("evidence verify {POLICY} {}", alert["evidence"].as_str().unwrap())).ok();
    is_at("graven_monitor_state{log=\"example.com/audit\",state=\"split-view\"} 1");

    // And back to the first one, as if nothing had been: it stays proven.
    fork.stop();
    let _one = at(&bench, "data", &address);
    assert!(told.recv_timeout(Duration::from_millis(700)).is_err(), "told again");
    is_at("graven_monitor_state{log=\"example.com/audit\",state=\"split-view\"} 1");
    assert_eq!(running.ended(Signal::TERM), Some(5));
    let said = Running::said(&bench);
    assert!(!said.contains("secret"), "the hook's address is in the log: {said}");
}

#[test]
fn one_monitor_watches_many_logs() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 3);
    let vkeys = bench.at(&server, "log create payments").ok().text().to_owned();
    let keys: Vec<_> = vkeys.lines().map(|vkey| format!("{vkey:?}")).collect();
    let url = server.url();
    bench.write(
        "monitor.toml",
        format!(
            "state = \"state\"\nops_listen = \"off\"\n[[log]]\npolicy = \"data/audit.policy\"\nurls = [\"{url}/audit\"]\n\
             [[log]]\nkeys = [{}]\nserver = \"{url}\"\nname = \"payments\"\n",
            keys.join(", ")
        ),
    );
    let ran = bench.run("monitor --once --config monitor.toml").ok();
    let lines: Vec<_> = ran.text().lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(
        lines,
        ["ok example.com/audit: 3 entries verified", "ok example.com/payments: 0 entries verified"]
    );
    // Nobody else moves their positions meanwhile.
    let running = Running::start(&bench, "--config monitor.toml");
    bench.run("monitor --once --config monitor.toml").refused(2, "in use by another monitor");
    assert_eq!(running.ended(Signal::INT), Some(0));
    bench.run(&format!("monitor --once --config monitor.toml {POLICY}")).misused("cannot be used with");
    bench.write("wrong.toml", "logs = 1\n");
    bench.run("monitor --once --config wrong.toml").refused(2, "logs");
    bench.run(&format!("monitor --once {POLICY}")).refused(2, "--log-url");
}

#[test]
fn what_was_never_verified_is_not_well() {
    let bench = Bench::with_log();
    let running = Running::start(
        &bench,
        &format!("{POLICY} --state s --trouble-after 1h --log-url http://127.0.0.1:1"),
    );
    let state = "graven_monitor_state{log=\"example.com/audit\",state=\"starting\"} 1";
    assert!(Running::page(&bench, "/metrics").contains(state), "{}", Running::page(&bench, "/metrics"));
    assert_eq!(running.ended(Signal::TERM), Some(2));
}
