//! `graven append --lines --json -`, fed until its server is gone.

use std::{
    io::Write,
    process::{Child, ChildStdin, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use graven_merkle::leaf_hash;
use serde_json::Value;

use crate::{
    bench::{Ran, Server, fed, finish},
    load::entry,
    record::Record,
    rig::Rig,
    seed::Seed,
};

/// Lines that are written in one go, and the pause after it: enough for a load, not more than can be read again.
const BURST: u64 = 12;
const PAUSE: Duration = Duration::from_millis(2);

/// How long a command may take to notice that its server is gone. More would also be more lines than the server
/// remembers keys for: a window of segments this short is soon left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command that appends lines as they come.
pub(crate) struct Piped {
    child: Child,
    feeding: JoinHandle<Vec<Bytes>>,
    key: Option<String>,
}

/// What it was given, and what it was told.
pub(crate) struct Lines {
    lines: Vec<Bytes>,
    indices: Vec<u64>,
    key: Option<String>,
}

impl Piped {
    pub(crate) fn start(rig: &Rig, server: &Server, name: String, keyed: bool, seed: Seed) -> Self {
        let key = keyed.then(|| name.clone());
        let mut command = rig.bench.command_at(server, &arguments(key.as_deref()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let feeding = thread::spawn(move || feed(stdin, &name, seed));
        Self { child, feeding, key }
    }

    /// Waits until it noticed that its server is gone. It said so, unless it did not even get to connect.
    pub(crate) fn end(self) -> Lines {
        let begun = Instant::now();
        let ran = finish(self.child);
        ran.refused(2, "");
        assert!(begun.elapsed() < PATIENCE, "it noticed after {:?} only: {}", begun.elapsed(), ran.stderr);
        let lines = self.feeding.join().unwrap();
        let indices = acknowledged(&ran, &lines);
        Lines { lines, indices, key: self.key }
    }
}

impl Lines {
    pub(crate) fn tell(&self, record: &mut Record) {
        for (index, line) in self.indices.iter().zip(&self.lines) {
            record.acknowledged(*index, line);
        }
    }

    /// Runs the same command again, as it advised: nothing is appended twice.
    pub(crate) fn repeat(&self, rig: &mut Rig, server: &Server) {
        let input: Vec<u8> = self.lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        let mut command = rig.bench.command_at(server, &arguments(self.key.as_deref()));
        let ran = fed(&mut command, &input).ok();
        let indices = acknowledged(&ran, &self.lines);
        assert_eq!(indices.len(), self.lines.len());
        assert_eq!(indices[..self.indices.len()], self.indices, "a repeat was appended again");
        let told = ran.objects();
        assert!(told[..self.indices.len()].iter().all(|ack| ack["duplicate"] == true));
        for (index, line) in indices.into_iter().zip(&self.lines) {
            rig.record.repeated();
            rig.record.acknowledged(index, line);
        }
    }
}

fn arguments(key: Option<&str>) -> String {
    let key = key.map(|key| format!(" --idempotency-key {key}")).unwrap_or_default();
    format!("append --lines --json{key} -")
}

/// Writes lines that nobody else does until nobody reads them. Answers those that may have been read.
fn feed(mut stdin: ChildStdin, name: &str, mut seed: Seed) -> Vec<Bytes> {
    let mut lines = Vec::new();
    loop {
        for _ in 0..=seed.below(BURST) {
            let line = entry(&format!("{name}-{}", lines.len()), &mut seed);
            lines.push(line.clone());
            if stdin.write_all(&[&line, &b"\n"[..]].concat()).is_err() {
                return lines;
            }
        }
        thread::sleep(PAUSE);
    }
}

/// The indices that it printed: one a line, in their order, each with the line's own hash.
fn acknowledged(ran: &Ran, lines: &[Bytes]) -> Vec<u64> {
    let acks = ran.objects();
    assert!(acks.len() <= lines.len());
    let index = |(ack, line): (&Value, &Bytes)| {
        assert_eq!(ack["leaf_hash"], leaf_hash(line).to_string(), "{ack}");
        ack["index"].as_u64().unwrap()
    };
    acks.iter().zip(lines).map(index).collect()
}
