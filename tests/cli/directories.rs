//! Data directories: made, refused, damaged, gone back in time.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::bench::Bench;

#[test]
fn init_prints_vkeys_and_nothing_else() {
    let bench = Bench::new();
    let made = bench.run("init --data-dir data --origin example.com/audit --visibility public").ok();
    let vkeys: Vec<_> = made.text().lines().collect();
    assert_eq!(vkeys.len(), 3);
    assert!(vkeys.iter().all(|vkey| vkey.starts_with("example.com/audit+")), "{vkeys:?}");

    assert!(made.stderr.contains("audit.policy") && made.stderr.contains("offline"), "{}", made.stderr);
    let policy = String::from_utf8(bench.read("data/audit.policy")).unwrap();
    assert!(vkeys.iter().all(|vkey| policy.contains(vkey)));
    let recovery = fs::metadata(bench.path("data/recovery-key.pem")).unwrap();
    assert_eq!(recovery.permissions().mode() & 0o777, 0o600);
}

#[test]
fn init_changes_nothing_that_exists() {
    let bench = Bench::with_log();
    let before = bench.read("data/server");
    let again = bench.run("init --data-dir data --origin example.com/audit");
    again.refused(2, "holds a server already");
    assert_eq!(bench.read("data/server"), before);

    fs::create_dir(bench.path("other")).unwrap();
    bench.write("other/mine", "");
    bench.run("init --data-dir other --origin example.com/audit").refused(2, "is not empty");
}

#[test]
fn init_refuses_what_can_be_no_log() {
    let bench = Bench::new();
    for (origin, says) in [
        ("audit", "must be `prefix/name`"),
        ("/audit", "must be `prefix/name`"),
        ("example.com/", "cannot name a log"),
        ("example.com/Audit", "use 1 to 63 of a-z"),
        // Addresses of the server's own.
        ("example.com/metrics", "none of healthz, readyz, metrics"),
    ] {
        bench.run(&format!("init --data-dir data --origin {origin}")).refused(2, says);
        assert!(!bench.path("data").exists(), "{origin} left something behind");
    }
    bench
        .run("init --data-dir data --origin example.com/audit --kind access")
        .refused(2, "made by the server itself");
    assert!(!bench.path("data").exists());
    bench.run("init --data-dir data --origin example.com/audit --kind words").misused("words");
}

#[test]
fn keys_are_shown_as_init_printed_them() {
    let bench = Bench::new();
    let made = bench.run("init --data-dir data --origin example.com/audit").ok();
    assert_eq!(bench.run("keys show --data-dir data").ok().text(), made.text());
    let objects = bench.run("keys show --data-dir data --log audit --json").ok().objects();
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0]["origin"], "example.com/audit");
    let policy = bench.run("keys show --data-dir data --policy").ok();
    assert_eq!(policy.stdout, bench.read("data/audit.policy"));

    bench.run("keys show --data-dir data --log other").refused(2, "has no log other");
    bench.run("keys show --data-dir nowhere").refused(2, "holds no server");
}

#[test]
fn a_missing_or_foreign_directory_is_not_served() {
    let bench = Bench::new();
    let refused = bench.serve_refused();
    refused.refused(2, "`graven init` makes one");
    assert!(!refused.stderr.contains("everybody"), "nothing is served, so nobody may do anything: {refused}");
    fs::create_dir(bench.path("data")).unwrap();
    bench.serve_refused().refused(2, "`graven init` makes one");
    bench.write("data/server", "something else\n");
    bench.serve_refused().refused(2, "not of a format that this version knows");
    bench.run("fsck --data-dir data").refused(2, "not of a format that this version knows");
}

#[test]
fn a_directory_that_went_back_in_time_is_refused() {
    let bench = Bench::with_log();
    bench.copy("data/journal", "old-journal");
    let server = bench.serve();
    bench.fill(&server, 3);
    server.stop();

    fs::rename(bench.path("data/journal"), bench.path("new-journal")).unwrap();
    bench.copy("old-journal", "data/journal");
    bench.serve_refused().refused(4, "went back in time");
    bench.run("fsck --data-dir data").refused(4, "3 was signed");

    fs::remove_dir_all(bench.path("data/journal")).unwrap();
    fs::rename(bench.path("new-journal"), bench.path("data/journal")).unwrap();
    let server = bench.serve();
    assert_eq!(bench.at(&server, "head --json").ok().object()["size"], 3);
}

#[test]
fn a_journal_that_is_damaged_in_the_middle_is_refused() {
    let bench = Bench::with_log();
    let server = bench.serve();
    for entry in ["the first entry", "the second entry", "the third entry"] {
        bench.write("entry", entry);
        bench.at(&server, "append --wait published entry").ok();
    }
    server.stop();

    let slots = fs::read_dir(bench.path("data/journal")).unwrap();
    let found = slots.filter_map(|slot| {
        let path = slot.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(16).position(|window| window == b"the second entry")?;
        Some((path, at))
    });
    let (slot, at) = found.into_iter().next().expect("the journal holds the entry");
    bench.flip(&slot, at);
    bench.serve_refused().refused(1, "is damaged");
    bench.run("fsck --data-dir data").refused(1, "damaged");
}
