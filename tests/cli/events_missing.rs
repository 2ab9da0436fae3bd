//! What is gone of a log of events: what an entry says went, and what nobody decided.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::bench::{Bench, Server};

const FSCK: &str = "fsck --data-dir data --json";

/// A log of events about alice and bob, the first 256 leaves sealed, and its server stopped.
fn stopped(retention: &str) -> Bench {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let server = bench.serve();
    bench.at(&server, "retention define short --keep 1s").ok();
    record(&bench, &server, 300, retention);
    server.stop();
    bench
}

fn record(bench: &Bench, server: &Server, count: usize, retention: &str) {
    let line = |n: usize| {
        let actor = ["alice", "bob"][n % 2];
        format!(
            "{{\"action\":\"x.step\",\"actor\":\"{actor}\",\"outcome\":\"success\",\"labels\":{{\"n\":\"{n}\"}}}}\n"
        )
    };
    bench.write("events", (0..count).map(line).collect::<String>());
    bench.at(server, &format!("record --retention {retention} --wait published events")).ok();
}

fn events(object: &Value) -> [u64; 5] {
    ["payloads", "present", "dropped", "people", "erased"]
        .map(|field| object["events"][field].as_u64().unwrap())
}

/// `fsck` of the log `audit`, which must end so; the access log must be well.
fn checked(bench: &Bench, ends: i32) -> Value {
    let ran = bench.run(FSCK);
    if ends != 0 {
        ran.refused(ends, "");
    }
    assert_eq!(ran.code, Some(ends), "{ran}");
    let objects = ran.objects();
    let of = |name: &str| objects.iter().find(|object| object["log"] == name).unwrap().clone();
    assert_eq!(of("access")["ok"], true);
    of("audit")
}

fn doubts(object: &Value) -> Vec<&str> {
    object["events"]["doubts"].as_array().unwrap().iter().map(|doubt| doubt.as_str().unwrap()).collect()
}

fn blob(bench: &Bench, class: &str) -> PathBuf {
    bench.path(format!("data/logs/audit/blobs/{class}/000"))
}

/// The server drops what is over when it starts.
fn until_dropped(bench: &Bench, server: &Server) {
    for _ in 0..100 {
        let is_said = !bench.at(server, "query --json kind:expiry").ok().objects().is_empty();
        if is_said && !blob(bench, "001").exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("nothing was dropped");
}

#[test]
fn a_log_of_which_nothing_is_missing_is_well() {
    let bench = stopped("default");
    let object = checked(&bench, 0);
    assert_eq!((&object["ok"], events(&object)), (&true.into(), [300, 300, 0, 2, 0]));
    let text = bench.run("fsck --data-dir data").ok();
    assert!(
        text.text().contains("payloads: 300 there, 0 dropped with authority, of 300: all is as the log says"),
        "{text}"
    );
    // Without the key store the rest can still be said.
    fs::rename(bench.path("data/vault-key"), bench.path("elsewhere")).unwrap();
    assert_eq!(checked(&bench, 0)["events"]["keys_compared"], false);
}

/// Every file below a folder, with when it was last changed.
fn image(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            (path.clone(), (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()))
        })
        .collect()
}

#[test]
fn a_key_store_is_looked_at_where_the_settings_say_and_not_changed() {
    let bench = stopped("default");
    fs::rename(bench.path("data/vault"), bench.path("keys")).unwrap();
    fs::rename(bench.path("data/vault-key"), bench.path("master")).unwrap();
    bench.write("graven.toml", "[vault]\nfolder = \"keys\"\nmaster_key = \"master\"\n");
    let compared = |arguments: &str| {
        let objects = bench.run(&format!("{FSCK}{arguments}")).ok().objects();
        let audit = objects.into_iter().find(|object| object["log"] == "audit").unwrap();
        audit["events"]["keys_compared"].as_bool().unwrap()
    };
    let before = image(&bench.path("keys"));
    assert!(!compared("") && compared(" --config graven.toml"));
    assert!(compared(" --vault keys --master-key master"));
    assert_eq!(image(&bench.path("keys")), before);
    // A key that is named and not there is no reason to compare nothing.
    bench.run(&format!("{FSCK} --vault keys --master-key nowhere")).refused(2, "nowhere");
    let token =
        "pkcs11 = { module = \"nowhere.so\", token = \"graven\", key = \"vault\", pin_file = \"pin\" }";
    bench.write("graven.toml", format!("[vault]\nfolder = \"keys\"\n{token}\n"));
    bench.write_secret("pin", "1234");
    bench.run(&format!("{FSCK} --config graven.toml")).refused(2, "the master key of the key store");
    assert!(compared(" --config graven.toml --master-key master"));
}

#[test]
fn payloads_that_somebody_deleted_are_missing() {
    let bench = stopped("default");
    fs::remove_file(blob(&bench, "000")).unwrap();
    let object = checked(&bench, 1);
    assert_eq!(object["ok"], false);
    let first = doubts(&object)[0].to_owned();
    // Index 0 is the genesis, 1 the retention class: the first event is leaf 2.
    assert!(first.starts_with("the payload of entry 2 is missing, and no entry says"), "{first}");
    assert_eq!(doubts(&object).len() as u64 + object["events"]["more_doubts"].as_u64().unwrap(), 254);
    bench.run("fsck --data-dir data").refused(1, "the payload of entry 2 is missing");
}

#[test]
fn payloads_that_somebody_changed_are_not_taken_for_dropped() {
    let bench = stopped("default");
    let length = fs::metadata(blob(&bench, "000")).unwrap().len();
    bench.flip("data/logs/audit/blobs/000/000", usize::try_from(length).unwrap() - 1);
    let object = checked(&bench, 1);
    assert!(!object["problems"].as_array().unwrap().is_empty());
    assert!(doubts(&object).iter().all(|doubt| doubt.contains("was changed")), "{object}");
}

#[test]
fn payloads_whose_time_was_over_were_dropped_with_authority() {
    let bench = stopped("short");
    std::thread::sleep(Duration::from_millis(1_500));
    let server = bench.serve();
    for _ in 0..50 {
        if !bench.at(&server, "query --json kind:expiry").ok().objects().is_empty()
            && !blob(&bench, "001").exists()
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    server.stop();
    assert!(!blob(&bench, "001").exists(), "the server drops what is over when it starts");
    let object = checked(&bench, 0);
    assert_eq!(events(&object)[..3], [300, 46, 254]);
}

#[test]
fn people_are_erased_by_an_entry_or_lost() {
    let bench = stopped("default");
    fs::create_dir(bench.path("before")).unwrap();
    bench.copy("data/vault", "before/vault");
    let server = bench.serve();
    bench.at(&server, "erase alice --authority gdpr-17 --yes").ok();
    server.stop();
    let object = checked(&bench, 0);
    assert_eq!(events(&object)[3..], [2, 1]);

    // A key store from before the erasure: the entry is there, and so is the key.
    fs::rename(bench.path("data/vault"), bench.path("after")).unwrap();
    bench.copy("before/vault", "data/vault");
    let object = checked(&bench, 1);
    assert!(
        doubts(&object).iter().any(|doubt| doubt.contains("was erased, and their key is still there")),
        "{object}"
    );
    // The next start completes it.
    bench.serve().stop();
    assert_eq!(events(&checked(&bench, 0))[4], 1);

    // A key store that never knew anybody: bob is gone, and nobody decided that.
    fs::remove_dir_all(bench.path("data/vault")).unwrap();
    let other = Bench::new();
    other.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let (from, to) = (other.path("data/vault"), bench.path("data/vault"));
    fs::rename(from, to).unwrap();
    fs::copy(other.path("data/vault-key"), bench.path("data/vault-key")).unwrap();
    let ran = bench.run(FSCK);
    ran.refused(1, "is gone, and no entry says that they were erased");
}

#[test]
fn an_auditor_tells_what_went_by_an_entry_from_what_is_missing() {
    let bench = stopped("short");
    std::thread::sleep(Duration::from_millis(1_500));
    let server = bench.serve();
    bench.at(&server, "erase alice --authority gdpr-17 --yes").ok();
    until_dropped(&bench, &server);
    record(&bench, &server, 300, "default");
    let audit = "audit --policy data/audit.policy --events --json";
    let object = bench.at(&server, audit).ok().object();
    let account = |field: &str| object["events"][field].as_u64().unwrap();
    // Of the 300 that are short 254 were dropped, and half of the others are about alice; the new ones are about a new alice.
    assert_eq!(
        (&object["ok"], account("payloads"), account("dropped"), account("erased")),
        (&true.into(), 600, 254, 23)
    );
    server.stop();

    fs::remove_file(bench.path("data/logs/audit/blobs/000/001")).unwrap();
    let server = bench.serve();
    let ran = bench.at(&server, audit);
    ran.refused(1, "is missing, and no entry says that it was dropped");
    assert_eq!(ran.object()["events"]["dropped"], 254);
}
