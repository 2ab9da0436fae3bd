//! The bytes of leaves, payloads, disclosures and snapshots, which never change: see `tests/vectors/events/frames`.
//!
//! `GRAVEN_WRITE_VECTORS=1` writes the files of a version that has none yet. One that is there is never written again.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/vectors.rs"]
mod vectors;

#[path = "event_vectors/disclosures.rs"]
mod disclosures;
#[path = "event_vectors/leaves.rs"]
mod leaves;
#[path = "event_vectors/payloads.rs"]
mod payloads;
#[path = "event_vectors/shown.rs"]
mod shown;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// The cases of a file.
fn cases(file: &str, about: &str, made: impl FnOnce() -> Vec<Value>) -> Vec<Value> {
    let path = folder().join(file);
    if !path.exists() && std::env::var_os("GRAVEN_WRITE_VECTORS").is_some() {
        let whole = json!({ "about": about, "cases": made() });
        std::fs::write(&path, serde_json::to_string_pretty(&whole).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(cases) = whole["cases"].take() else { panic!("{file} has no cases") };
    assert!(!cases.is_empty());
    cases
}

fn folder() -> PathBuf {
    vectors::root().join("events/frames")
}

fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn array<const N: usize>(case: &Value, field: &str) -> [u8; N] {
    vectors::hex_field(case, field).try_into().unwrap()
}

fn b64_field(case: &Value, field: &str) -> Vec<u8> {
    vectors::b64(vectors::text(case, field))
}

/// A program that shares no code with this one reads the same bytes, from what the documentation says of them alone.
#[test]
#[ignore = "needs python3"]
fn a_stranger_reads_the_same() {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = workspace.join("tests/interop/python/read_event.py");
    let dictionaries = workspace.join("crates/graven-event/src");
    // Python has zstd of its own from 3.14 on.
    let python = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("event-vectors-python");
    let needs = workspace.join("tests/interop/python/event_requirements.txt");
    run(Command::new("python3").args(["-m", "venv"]).arg(&python));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(Command::new(python.join("bin/python")).args(pip).arg(needs));
    let read = Command::new(python.join("bin/python")).arg(program).arg(folder()).arg(dictionaries).output();
    let read = read.unwrap();
    let (out, error) = (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
    assert!(read.status.success(), "{out}\n{error}");
    println!("{out}");
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
