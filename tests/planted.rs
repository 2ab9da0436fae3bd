//! Does the simulation find what it is there to find? Bugs on purpose, each of which must make it fail.
//!
//! One more build, with `--cfg planted` and a target directory of its own, has the bugs asleep in it; the variable
//! `GRAVEN_PLANTED` wakes one by its name.

use std::path::PathBuf;
use std::process::{Command, Output};

const BUGS: [&str; 5] =
    ["skip-fsync", "ack-early", "sign-before-journal", "no-compare-and-swap", "blobs-unsynced"];
/// Seeds that each bug has time for.
const SEEDS: u32 = 200;

/// Cargo with bugs planted, in a target directory beside the usual one.
fn cargo(arguments: &[&str]) -> Command {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("planted");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "--cfg planted");
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUST_BACKTRACE", "0");
    cargo
}

fn simulate(bug: &str) -> Output {
    let mut cargo = cargo(&["test", "-p", "graven-log", "--test", "simulation"]);
    cargo.env("GRAVEN_PLANTED", bug).env("GRAVEN_SIM_SEEDS", SEEDS.to_string());
    cargo.env_remove("GRAVEN_SIM_SEED");
    cargo.output().expect("cargo runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "needs a second build; run by .ci/run"]
fn every_planted_bug_is_found_by_the_simulation() {
    let healthy = simulate("none");
    assert!(healthy.status.success(), "without a bug: {}", text(&healthy));
    for bug in BUGS {
        let output = simulate(bug);
        let said = text(&output);
        assert!(!output.status.success(), "{bug} was not found in {SEEDS} seeds");
        // A build that fails is no discovery: the simulation itself must have complained.
        let complaint = said.lines().find(|line| line.contains("GRAVEN_SIM_SEED="));
        println!(
            "{bug}: {}",
            complaint.unwrap_or_else(|| panic!("{bug}: the simulation did not run: {said}"))
        );
    }
}

#[test]
#[ignore = "needs a second build; run by .ci/run"]
fn a_release_build_with_planted_bugs_is_refused() {
    let output = cargo(&["check", "--release", "-p", "graven-store"]).output().expect("cargo runs");
    let said = text(&output);
    assert!(!output.status.success() && said.contains("planted bugs are for debug builds"), "{said}");
}
