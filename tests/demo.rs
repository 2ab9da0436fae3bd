//! The demo, as a newcomer runs it.

use std::{fs, process::Command};

use rustix::process::{Pid, Signal, kill_process};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
    command.arg("demo").env_remove("GRAVEN_SERVER").env_remove("GRAVEN_POLICY");
    command
}

#[test]
fn the_demo_succeeds_and_its_audit_names_the_entry_that_was_changed() {
    let ran = demo().output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));

    let flipped = said.split("in entry ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    assert!(said.contains(&format!("the audit failed: entry {flipped}: ")), "{said}");
    for step in
        ["graven init", "graven serve", "graven verify", "graven consistency", "graven prove", "graven fsck"]
    {
        assert!(said.contains(&format!("$ {step} ")), "{step} is not shown: {said}");
    }
    assert!(said.ends_with("Everything went as it should.\n"), "{said}");
}

#[test]
fn a_demo_that_is_kept_leaves_its_server_running() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let ran = demo().arg("--keep").arg("--dir").arg(&dir).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    let id = said.split("  kill ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let server = Pid::from_raw(id.parse().unwrap()).unwrap();
    let url = said.split("GRAVEN_SERVER=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();

    let head = Command::new(env!("CARGO_BIN_EXE_graven"))
        .args(["head", "--json", "--server", url, "--policy"])
        .arg(dir.join("data/audit.policy"))
        .output();
    kill_process(server, Signal::TERM).unwrap();
    let head = head.unwrap();
    assert!(head.status.success(), "{}", String::from_utf8_lossy(&head.stderr));
    let head: serde_json::Value = serde_json::from_slice(&head.stdout).unwrap();
    assert_eq!(head["size"], 300);
}

#[test]
fn a_folder_that_holds_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "").unwrap();
    let ran = demo().arg("--dir").arg(folder.path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("is not empty"));
}
