//! A log's keys are rotated: by its operator, under load, and as those see it who check the log.

use std::thread;

use crate::bench::{Bench, Ran, Server};

/// The verifier key of the first Ed25519 key among these lines.
fn ed25519(lines: &str) -> String {
    // The type is the first byte after the name and id: 0x01 begins with `AR` to `AX` and such in Base64, and the key is short.
    let short = |line: &&str| line.len() < 100;
    lines.lines().find(short).expect("an Ed25519 key").to_owned()
}

struct Rotated {
    bench: Bench,
    server: Server,
    old: String,
    recovery: String,
}

impl Rotated {
    /// A log of ten entries.
    fn begin() -> Self {
        let bench = Bench::with_log();
        let shown = |flag: &str| {
            bench.run(&format!("keys show --data-dir data --log audit{flag}")).ok().text().to_owned()
        };
        let (old, recovery) = (ed25519(&shown("")), shown(" --recovery").trim().to_owned());
        let server = bench.serve();
        bench.fill(&server, 10);
        Self { bench, server, old, recovery }
    }

    /// As somebody who pinned the old key before anything happened.
    fn with_old_key(&self, arguments: &str) -> Ran {
        self.bench.at(&self.server, &format!("{arguments} --key {}", self.old))
    }

    /// As somebody who pinned the recovery key as well.
    fn following(&self, arguments: &str) -> Ran {
        self.with_old_key(&format!("{arguments} --recovery {}", self.recovery))
    }

    /// Adds entries, which makes it `size`.
    fn add(&self, entries: u64, size: u64) {
        let entries: String = (0..entries).map(|n| format!("entry {n}\n")).collect();
        self.bench.write("more", entries);
        self.bench.at(&self.server, "append --wait durable --lines more").ok();
        let wait = || self.following("head --json").ok().object()["size"].as_u64();
        while wait() < Some(size) {}
    }
}

#[test]
fn whoever_pinned_the_recovery_key_follows_and_refuses_who_still_has_the_old_keys() {
    let it = Rotated::begin();
    let bench = &it.bench;
    it.following("head --state followed").ok();
    it.following("prove --index 3 --out before.tlog-proof").ok();
    // A thief takes everything but the recovery key, which is elsewhere.
    bench.copy("data", "stolen");

    let rotate = "keys rotate --data-dir data --log audit --overlap 5 --recovery-key data/recovery-key.pem";
    let ran = bench.at(&it.server, rotate).ok();
    assert!(ran.stderr.contains("announced as entry 10") && ran.stderr.contains("15 entries"), "{ran}");
    let new = ed25519(ran.text());
    assert_ne!(new, it.old);
    it.add(3, 14);
    // Both sign, so nobody is left behind.
    it.with_old_key("head").ok();
    bench.at(&it.server, &format!("head --key {new}")).ok();
    it.following("head --state followed").ok();

    it.add(26, 40);
    it.with_old_key("head").refused(1, "no signature by a known key");
    it.following("head").ok();
    it.following("head --state followed").ok();
    it.following("append more --wait published").ok();
    it.following("audit").ok();
    bench.at(&it.server, &format!("head --key {new}")).ok();

    // Offline: what was proven before holds, what came after needs the history.
    bench.write("entry", "entry 3");
    let verify = |bundle: &str, more: &str| {
        bench.run(&format!("verify --entry entry {bundle} --key {}{more}", it.old))
    };
    verify("before.tlog-proof", "").ok();
    it.following("prove --index 3 --out after.tlog-proof").ok();
    bench.write("history", bench.at(&it.server, "keys history").ok().stdout);
    let history = format!(" --recovery {} --rotations history", it.recovery);
    verify("after.tlog-proof", "").refused(1, "no signature by a known key");
    verify("after.tlog-proof", &history).ok();
    verify("before.tlog-proof", &history).ok();

    // The thief signs on with the old keys, and goes beyond their last size.
    it.server.stop();
    bench.run("fsck --data-dir data").ok();
    let thief = bench.serve_with("serve --data-dir stolen --dev --listen 127.0.0.1:0 --ops-listen off");
    let stolen = Rotated { server: thief, recovery: it.recovery, old: it.old, bench: it.bench };
    let bench = &stolen.bench;
    let entries: String = (0..50).map(|n| format!("forged {n}\n")).collect();
    bench.write("forged", entries);
    bench.at(&stolen.server, &format!("append --lines forged --wait published --key {}", stolen.old)).ok();
    // To those who saw the log go on it is a fork, and proven one: the old keys were the log's.
    stolen.following("head --state followed").refused(5, "split view, and it is proven");
    stolen.following("head --rotations history").refused(1, "a rotation ended at 15 entries");
    let ran = stolen.following("append more --wait published --state followed");
    ran.refused(1, "does not prove it");
}

#[test]
fn the_recovery_key_never_comes_near_the_server_and_appends_go_on() {
    let it = Rotated::begin();
    let bench = &it.bench;
    let (appends, statement) = thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let append = |n: u64| {
                bench.write(&format!("load{n}"), format!("load {n}"));
                it.following(&format!("append load{n} --wait published")).ok();
            };
            (0..30).for_each(append);
        });
        let request = bench.run("keys rotate --data-dir data --log audit --overlap 8").ok();
        bench.write("request", request.stdout);
        // On the machine that has the recovery key, and nothing else.
        let vault = Bench::new();
        vault.write("request", bench.read("request"));
        vault.write_secret("recovery.pem", bench.read("data/recovery-key.pem"));
        let statement = vault.run("keys authorise request --recovery-key recovery.pem").ok();
        bench.write("statement", &statement.stdout);
        let announced = bench.at(&it.server, "keys announce statement");
        if announced.code != Some(0) {
            // The appends were faster than whoever carried the request: ask again, with more time.
            announced.refused(2, "ask for a new request");
            let rotate =
                "keys rotate --data-dir data --log audit --recovery-key data/recovery-key.pem --overlap 1";
            bench.at(&it.server, rotate).ok();
        }
        (appending.join(), announced.code == Some(0))
    });
    appends.unwrap();
    let ran = bench.at(&it.server, "keys announce statement");
    // What was announced is answered the same; what never was is refused.
    assert_eq!(ran.code == Some(0), statement, "{ran}");
    it.following("head --state followed").ok();
    it.following("audit").ok();
    assert_eq!(it.following("head --json").ok().object()["size"].as_u64(), Some(41));

    vault_is_careful(&it);
}

/// What `keys authorise` refuses to sign, or to sign with.
fn vault_is_careful(it: &Rotated) {
    let bench = &it.bench;
    bench.write("open.pem", bench.read("data/recovery-key.pem"));
    bench.set_mode("open.pem", 0o644);
    bench.run("keys authorise request --recovery-key open.pem").refused(2, "can be read by others");
    bench.write("noise", "noise");
    bench.run("keys authorise noise --recovery-key data/recovery-key.pem").refused(2, "graven-rotation/v1");
    bench.run("keys authorise request --recovery-key data/logs/audit/keys/p256.pem").refused(2, "PKCS#8");
    // Another server's recovery key signs, and this server does not listen to it.
    let other = Bench::with_log();
    bench.write_secret("other.pem", other.read("data/recovery-key.pem"));
    bench.write("forged", bench.run("keys authorise request --recovery-key other.pem").ok().stdout);
    bench.at(&it.server, "keys announce forged").refused(2, "did not authorise it");
    let with_other = "keys rotate --data-dir data --log audit --recovery-key other.pem";
    bench.at(&it.server, with_other).refused(2, "is not the key that was made here");
    bench.at(&it.server, "keys rotate --data-dir data --log nobody").refused(2, "no log `nobody`");
}
