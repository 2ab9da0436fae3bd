//! What was altered is found, and named.

use std::{fs, process::Command};

use crate::bench::{Bench, Ran};

const SITE: &str = "data/logs/audit/site";

/// A log of 600 entries, on disk, with nobody serving it.
fn sealed() -> Bench {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 600);
    bench.at(&server, "prove --index 5 --out proof").ok();
    server.stop();
    bench.write("entry", "entry 5");
    bench
}

fn audit(bench: &Bench, site: &str) -> Ran {
    bench.run(&format!("audit --policy data/audit.policy --dir {site}"))
}

fn verify(bench: &Bench, rest: &str) -> Ran {
    bench.run(&format!("verify --policy data/audit.policy {rest}"))
}

#[test]
fn a_changed_entry_or_proof_does_not_verify() {
    let bench = sealed();
    verify(&bench, "--entry entry proof").ok();
    bench.write("changed", "entry 6");
    verify(&bench, "--entry changed proof").refused(1, "does not prove");
    let told = verify(&bench, "--json --entry changed proof");
    told.refused(1, "does not prove");
    assert_eq!(told.object()["ok"], false);
    assert!(told.object()["error"].as_str().unwrap().contains("does not prove"), "{told}");
    assert_eq!(verify(&bench, "--json --entry nowhere proof").object()["ok"], false);
    assert_eq!(verify(&bench, "--json --entry entry proof").ok().object()["ok"], true);
    verify(&bench, "--entry nowhere proof").refused(2, "nowhere");

    let proof = String::from_utf8(bench.read("proof")).unwrap();
    for (from, to) in
        [("index 5", "index 6"), ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"), ("600\n", "601\n")]
    {
        assert!(proof.contains(from), "{proof}");
        bench.write("bent", proof.replacen(from, to, 1));
        let ran = verify(&bench, "--entry entry bent");
        assert_eq!(ran.code, Some(1), "{from} → {to}: {ran}");
    }
    bench.write("short", &proof[..proof.len() / 2]);
    assert_eq!(verify(&bench, "--entry entry short").code, Some(1));

    bench.run("init --data-dir other --origin example.com/audit").ok();
    let stranger = bench.run("verify --policy other/audit.policy --entry entry proof");
    assert_eq!(stranger.code, Some(1), "{stranger}");
    bench.run("init --data-dir third --origin example.com/third").ok();
    let third = bench.run("verify --policy third/third.policy --entry entry proof");
    third.refused(1, "which no pinned key is of");
}

#[test]
fn an_audit_names_what_was_altered() {
    let bench = sealed();
    audit(&bench, SITE).ok();
    audit(&bench, "nowhere").refused(2, "is no folder");

    // Bundles and tiles alike, full and partial; each in a copy of its own.
    let offset_of = |file: &str, text: &[u8]| {
        let bytes = bench.read(&format!("{SITE}/{file}"));
        bytes.windows(text.len()).position(|window| window == text).unwrap()
    };
    for (n, (file, at, index)) in [
        ("tile/entries/000", offset_of("tile/entries/000", b"entry 137"), 137),
        ("tile/entries/001", offset_of("tile/entries/001", b"entry 256"), 256),
        ("tile/entries/002.p/88", offset_of("tile/entries/002.p/88", b"entry 599"), 599),
        ("tile/0/000", 32 * 99, 99),
        ("tile/0/002.p/88", 32 * 3 + 31, 515),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = format!("copy-{n}");
        bench.copy(SITE, &copy);
        bench.flip(format!("{copy}/{file}"), at);
        audit(&bench, &copy).refused(1, &format!("entry {index}:"));
        let told = bench.run(&format!("audit --json --policy data/audit.policy --dir {copy}"));
        assert_eq!((&told.object()["ok"], &told.object()["first_bad_index"]), (&false.into(), &index.into()));
    }
    for (n, (file, at)) in [("checkpoint", 25), ("tile/1/000.p/2", 0)].into_iter().enumerate() {
        let copy = format!("other-{n}");
        bench.copy(SITE, &copy);
        bench.flip(format!("{copy}/{file}"), at);
        assert_eq!(audit(&bench, &copy).code, Some(1), "{file}");
    }
    bench.copy(SITE, "missing");
    fs::remove_file(bench.path("missing/tile/entries/001")).unwrap();
    audit(&bench, "missing").refused(1, "tile/entries/001 is missing");
    // A pipe in the place of a tile: nothing is known, and nobody waits for it.
    assert!(Command::new("mkfifo").arg(bench.path("missing/tile/entries/001")).status().unwrap().success());
    audit(&bench, "missing").refused(2, "tile/entries/001 cannot be read: not a regular file");
}

#[test]
fn fsck_and_a_live_audit_name_the_entry_that_was_altered_on_disk() {
    let bench = Bench::with_log();
    let server = bench.serve();
    // A whole bundle and then some: what is in one commit with unsealed entries is read from the journal.
    bench.fill(&server, 256);
    bench.fill(&server, 10);
    server.stop();
    let bundle = format!("{SITE}/tile/entries/000");
    let bytes = bench.read(&bundle);
    let at = bytes.windows(9).position(|window| window == b"entry 137").unwrap();
    bench.run("fsck --data-dir data").ok();
    bench.flip(&bundle, at);
    let checked = bench.run("fsck --data-dir data");
    checked.refused(1, "entry 137");

    // The server starts: its signed tree does not need the bundle. Whoever reads the entry is not deceived.
    let server = bench.serve();
    let ran = bench.at(&server, "get --index 137");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.is_empty());
    bench.at(&server, "audit").refused(1, "entry 137");
}
