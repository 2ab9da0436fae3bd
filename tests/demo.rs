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
fn the_demo_of_witnesses_shows_what_they_are_for() {
    let ran = demo().args(["--witnesses", "3"]).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));

    let parts: Vec<_> = said.split("\n── ").collect();
    let part = |title: &str| {
        parts.iter().find(|part| part.starts_with(title)).unwrap_or_else(|| panic!("{title}: {said}"))
    };
    let cosigned = |title: &str, name: &str| {
        let head = part(title).split("$ graven head\n").nth(1).unwrap().lines().next().unwrap();
        head.split("cosigned by ").nth(1).unwrap().contains(name)
    };
    assert!(part("Whom to believe: 2 of 3").contains("group w3 all w3.ed25519 w3.ml-dsa-44"), "{said}");
    assert!(part("Events").contains("is witnessed by w") && part("Events").contains("verified: "), "{said}");
    // One is away, and is not counted; with two away the head stays what it was.
    assert!(!cosigned("One witness stops", "w1.") && cosigned("One witness stops", "w3.ml-dsa-44"), "{said}");
    assert!(
        part("One more stops").contains("is durable") && part("One more stops").contains("has 301 entries"),
        "{said}"
    );
    assert!(part("They come back").contains("has 302 entries"), "{said}");
    let refusals = part("Now somebody").matches(" answers 422: ").count();
    assert_eq!(refusals, 3, "{said}");
    assert!(part("Now somebody").contains("proven: demo.example/audit signed two different trees"), "{said}");
    assert!(said.ends_with("Everything went as it should.\n"), "{said}");
    // Two witnesses have no majority that can spare one.
    assert_eq!(demo().args(["--witnesses", "2"]).output().unwrap().status.code(), Some(2));
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
