//! A log that lost entries, or everything but its keys, goes on from a copy, and never as a fork.

use std::fs;

use serde_json::Value;

use crate::bench::Bench;

/// A log of 900 entries in `data`. `old` is its folder as it was at 300, `newest` as it is, and this is its head.
fn grown() -> (Bench, Value) {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 300);
    server.stop();
    bench.copy("data", "old");
    let server = bench.serve();
    bench.fill(&server, 600);
    server.stop();
    // What is published last is sealed and exported by the next start at the latest.
    let server = bench.serve();
    let head = bench.at(&server, "head --json").ok().object();
    assert_eq!(head["size"], 900);
    server.stop();
    bench.copy("data", "newest");
    (bench, head)
}

fn put_back(bench: &Bench, part: &str) {
    let path = bench.path(format!("data{part}"));
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    } else {
        fs::remove_file(&path).unwrap();
    }
    bench.copy(&format!("old{part}"), &format!("data{part}"));
}

/// The log in `data` serves as if nothing had happened, and goes on.
fn goes_on(bench: &Bench, head: &Value) {
    bench.run("fsck --data-dir data").ok();
    let server = bench.serve();
    let now = bench.at(&server, "head --json").ok().object();
    assert_eq!((&now["size"], &now["root"]), (&head["size"], &head["root"]));
    bench.write("more", "one more");
    bench.at(&server, "append --wait published more").ok();
    bench.at(&server, "consistency --from 900 --to 901").ok();
    bench.at(&server, "audit").ok();
    server.stop();
}

const FROM_NEWEST: &str = "recover --data-dir data --log audit --from-dir newest/logs/audit/site";

#[test]
fn lost_entries_come_back_and_the_log_goes_on() {
    for part in ["/journal", "/logs/audit/signer", ""] {
        let (bench, head) = grown();
        put_back(&bench, part);
        if !part.is_empty() {
            bench.serve_refused().refused(4, "graven recover");
        }
        assert!(bench.run(FROM_NEWEST).ok().text().contains("has 900 entries again"), "{part}");
        goes_on(&bench, &head);
    }
}

#[test]
fn the_copy_may_be_on_the_web() {
    let (bench, head) = grown();
    put_back(&bench, "/journal");
    let mirror = bench.serve_with("serve --data-dir newest --dev --listen 127.0.0.1:0");
    bench.run(&format!("recover --data-dir data --log audit --from {}/audit", mirror.url())).ok();
    mirror.stop();
    goes_on(&bench, &head);
}

#[test]
fn a_copy_that_was_changed_is_refused_and_the_log_stays_behind_until_it_is_whole() {
    let (bench, head) = grown();
    bench.copy("newest", "changed");
    bench.flip("changed/logs/audit/site/tile/entries/002", 100);
    // All of it went back, so that nothing in it tells of more: from the first attempt on, it knows.
    put_back(&bench, "");
    let from = |copy: &str| {
        bench.run(&format!("recover --data-dir data --log audit --from-dir {copy}/logs/audit/site"))
    };
    from("changed").refused(1, "tile/entries/002");
    bench.serve_refused().refused(4, "900 was signed");
    from("old").refused(4, "the copy has 300");
    from("newest").ok();
    goes_on(&bench, &head);
}

#[test]
fn a_log_that_went_on_differently_is_left_as_it_is() {
    let (bench, _) = grown();
    put_back(&bench, "");
    let server = bench.serve();
    bench.write("other", "another history");
    bench.at(&server, "append --wait published other").ok();
    server.stop();
    let before = bench.read("data/logs/audit/signer");
    bench.run(FROM_NEWEST).refused(1, "not the beginning of the copy's");
    assert_eq!(bench.read("data/logs/audit/signer"), before);
    bench.serve().stop();
}

#[test]
fn a_checkpoint_of_another_log_or_with_a_signature_less_is_no_copys() {
    let (bench, _) = grown();
    put_back(&bench, "/journal");
    let path = "newest/logs/audit/site/checkpoint";
    let note = String::from_utf8(bench.read(path)).unwrap();
    let without_last = note.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    bench.write(path, without_last);
    bench.run(FROM_NEWEST).refused(1, "not to be trusted");
    bench.write(path, note.replacen("example.com/audit\n", "example.com/other\n", 1));
    bench.run(FROM_NEWEST).refused(1, "not to be trusted");
    bench.serve_refused().refused(4, "went back in time");
}

/// Of `data` only what a backup of the small files has is left.
fn lose_all_but_keys(bench: &Bench) {
    bench.copy("data", "lost");
    fs::remove_dir_all(bench.path("data")).unwrap();
    fs::create_dir_all(bench.path("data/logs/audit")).unwrap();
    for part in ["server", "audit.policy", "logs/audit/log", "logs/audit/keys"] {
        bench.copy(&format!("lost/{part}"), &format!("data/{part}"));
    }
}

#[test]
fn a_promotion_that_failed_leaves_no_log_that_signs() {
    let (bench, head) = grown();
    lose_all_but_keys(&bench);
    let (promote, key) = (format!("{FROM_NEWEST} --promote"), "data/logs/audit/keys/ed25519.pem");
    bench.set_mode(key, 0o644);
    bench.run(&promote).refused(2, "chmod 600");
    bench.set_mode(key, 0o600);
    bench.serve_refused().refused(2, "there is no journal");
    bench.run(&promote).ok();
    goes_on(&bench, &head);
}

#[test]
fn a_log_whose_primary_is_gone_is_promoted_from_its_copy() {
    let (bench, head) = grown();
    lose_all_but_keys(&bench);
    bench.run(FROM_NEWEST).refused(2, "there is no journal");
    bench.run(&format!("{FROM_NEWEST} --promote --policy data/audit.policy")).ok();
    goes_on(&bench, &head);
}
