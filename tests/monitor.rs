//! `graven monitor` against real servers: what state it finds a log in, and whom it tells.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "cli/bench.rs"]
mod bench;
#[path = "monitor/files.rs"]
mod files;
#[path = "monitor/policies.rs"]
mod policies;
#[path = "monitor/running.rs"]
mod running;

use std::{fs, thread, time::Duration};

use bench::{Bench, Ran, Server};

const POLICY: &str = "--policy data/audit.policy";

/// Two servers with one key, `data` and `fork`, that went apart after two entries.
struct Fork {
    bench: Bench,
    one: Server,
    other: Server,
}

impl Fork {
    fn with(more: u64) -> Self {
        let bench = Bench::with_log();
        let server = bench.serve();
        bench.fill(&server, 2);
        server.stop();
        bench.copy("data", "fork");
        let one = bench.serve();
        append(&bench, &one, "entry", 3);
        let other = bench.serve_with("serve --data-dir fork --dev --listen 127.0.0.1:0");
        append(&bench, &other, "fork", more);
        Self { bench, one, other }
    }
}

fn append(bench: &Bench, server: &Server, word: &str, count: u64) {
    let entries: String = (0..count).map(|n| format!("{word} {n}\n")).collect();
    bench.write("more", entries);
    bench.at(server, "append --wait published --lines more").ok();
}

fn once(bench: &Bench, rest: &str) -> Ran {
    bench.run(&format!("monitor --once --ops-listen off {POLICY} {rest}"))
}

/// The files of evidence in a folder.
fn evidence(bench: &Bench, folder: &str) -> Vec<String> {
    let names = fs::read_dir(bench.path(folder)).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".evidence")).map(|name| format!("{folder}/{name}")).collect()
}

#[test]
fn a_split_view_is_proven_by_one_look_whichever_tree_is_larger() {
    // The other server has as many entries, more, and fewer: by its tiles and over gRPC.
    for more in [3, 6, 1] {
        let fork = Fork::with(more);
        let (bench, one, other) = (&fork.bench, fork.one.url(), fork.other.url());
        let sources = [
            format!("--log-url {one}/audit --log-url {other}/audit"),
            format!("--log-url {one}/audit --server {other} --log audit"),
        ];
        for (n, sources) in sources.into_iter().enumerate() {
            let ran = once(bench, &format!("--state state-{n} --evidence proof-{n} {sources}"));
            ran.refused(5, "split view");
            assert!(ran.text().starts_with("split-view example.com/audit: 5 entries verified"), "{ran}");
            let files = evidence(bench, &format!("proof-{n}"));
            assert_eq!(files.len(), 1, "{ran}");
            let verified = bench.run(&format!("evidence verify {POLICY} --json {}", files[0])).ok().object();
            let sizes: Vec<_> = verified["heads"].as_array().unwrap().iter().map(|it| &it["size"]).collect();
            let mut expected = [5, 2 + more];
            expected.sort_unstable();
            assert_eq!(sizes, expected);
        }
        // One after the other, across a restart, it is the same.
        once(bench, &format!("--state later --log-url {one}/audit")).ok();
        let ran = once(bench, &format!("--state later --server {other} --log audit"));
        // Of the fewer entries the other server cannot show what the larger tree begins with: it may only be behind.
        let expected = if more == 1 { 2 } else { 5 };
        assert_eq!(ran.code, Some(expected), "{ran}");
    }
}

#[test]
fn evidence_is_for_the_logs_own_keys() {
    let fork = Fork::with(3);
    let bench = &fork.bench;
    once(
        bench,
        &format!("--state s --log-url {}/audit --log-url {}/audit", fork.one.url(), fork.other.url()),
    )
    .refused(5, "split view");
    let file = evidence(bench, "s").remove(0);
    let told = bench.run(&format!("evidence verify {POLICY} {file}")).ok();
    assert_eq!(told.text().lines().count(), 2, "{told}");
    bench.run("init --data-dir stranger --origin example.com/audit").ok();
    bench.run("init --data-dir third --origin example.com/third").ok();
    let strange = |policy: &str| bench.run(&format!("evidence verify --policy {policy} {file}"));
    strange("stranger/audit.policy").refused(1, "proves nothing");
    strange("third/third.policy").refused(1, "which no pinned key is of");
    bench.run(&format!("evidence verify {file}")).refused(2, "whom to trust");
    let bytes = bench.read(&file);
    bench.write("cut.evidence", &bytes[..bytes.len() - 9]);
    bench.run(&format!("evidence verify {POLICY} cut.evidence")).refused(1, "cut short");
    bench.run(&format!("evidence verify {POLICY} nowhere")).refused(2, "nowhere");
}

#[test]
fn it_goes_on_where_it_was_and_reads_no_entry_twice() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 2_600); // more bundles than are fetched at once
    for source in ["url", "grpc"] {
        watch(&bench, source, &server).ok();
    }
    server.stop();
    // An entry that was verified is altered since: who has seen it does not read it again, who is new finds it.
    let bundle = "data/logs/audit/site/tile/entries/000";
    // Which entry it is depends on who came first.
    let at = bench.read(bundle).windows(6).rposition(|window| window == b"entry ").unwrap();
    bench.flip(bundle, at);
    let server = bench.serve();
    append(&bench, &server, "later", 3);
    for source in ["url", "grpc"] {
        let ran = watch(&bench, source, &server).ok();
        assert!(ran.text().starts_with("ok example.com/audit: 2603 entries verified"), "{ran}");
        bench.copy(source, &format!("kept-{source}"));
        fs::remove_dir_all(bench.path(source)).unwrap();
    }
    // Of the tile's bundle the server finds it, and refuses to serve it: then nothing is known.
    watch(&bench, "url", &server).refused(2, "cannot be read");
    watch(&bench, "grpc", &server).refused(1, "but the log signed");
    // Whoever puts the files on the web all the same is found out. It is no fork, so there is no evidence of one.
    server.stop();
    let web = files::serve(bench.path("data/logs/audit/site"));
    let ran = once(&bench, &format!("--state new --log-url {web}"));
    ran.refused(1, "but the log signed");
    assert!(ran.text().starts_with("tampered example.com/audit: nothing verified yet"), "{ran}");
    assert_eq!(evidence(&bench, "new"), Vec::<String>::new());

    // A position that was altered is not gone on from.
    let name = fs::read_dir(bench.path("kept-url")).unwrap().map(|it| it.unwrap().file_name());
    let name = name.map(|it| it.into_string().unwrap()).find(|it| it.ends_with(".monitor")).unwrap();
    bench.flip(format!("kept-url/{name}"), 30);
    once(&bench, &format!("--state kept-url --log-url {web}")).refused(2, "remove it");
}

fn watch(bench: &Bench, source: &str, server: &Server) -> Ran {
    let at = match source {
        "url" => format!("--log-url {}/audit", server.url()),
        _ => format!("--server {} --log audit", server.url()),
    };
    once(bench, &format!("--state {source} {at}"))
}

#[test]
fn trouble_a_stall_and_a_rollback_are_told_apart() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 2);
    server.stop();
    bench.copy("data", "early");
    let server = bench.serve();
    append(&bench, &server, "entry", 3);
    let address = server.url().to_owned();
    watch(&bench, "url", &server).ok();
    once(&bench, &format!("--state other --log-url {address}/nowhere")).refused(2, "there is no checkpoint");

    // The newest head is renewed every minute: two seconds after it was signed it is older than one.
    thread::sleep(Duration::from_millis(2_100));
    once(&bench, &format!("--state url --fresh-within 1s --log-url {address}/audit")).refused(3, "stalled");
    once(&bench, &format!("--state url --fresh-within 1h --log-url {address}/audit")).ok();
    bench.at(&server, "head --fresh-within 1s").refused(3, "stalled");
    bench.at(&server, "head --fresh-within 1h").ok();

    server.stop();
    once(&bench, &format!("--state url --log-url {address}/audit")).refused(2, "no server answers");
    once(&bench, &format!("--state url --server {address} --log audit")).refused(2, "no server answers");

    fs::rename(bench.path("data"), bench.path("newest")).unwrap();
    fs::rename(bench.path("early"), bench.path("data")).unwrap();
    // It is the same source only under the same address.
    let listen = address.split_once("://").unwrap().1;
    let server = bench.serve_with(&format!("serve --data-dir data --dev --listen {listen}"));
    watch(&bench, "url", &server).refused(4, "rollback");
}

#[test]
fn a_source_that_lags_is_no_rollback_when_the_others_are_gone() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 2);
    let exported = bench.path("data/logs/audit/site/checkpoint");
    while !fs::read_to_string(&exported).is_ok_and(|note| note.contains("audit\n2\n")) {
        thread::sleep(Duration::from_millis(20));
    }
    bench.copy("data/logs/audit/site", "lagging");
    append(&bench, &server, "entry", 3);
    let (address, lagging) = (server.url().to_owned(), files::serve(bench.path("lagging")));
    let sources = format!("--state s --log-url {address}/audit --log-url {lagging}");
    once(&bench, &sources).ok();
    server.stop();
    let ran = once(&bench, &sources);
    assert_eq!(ran.code, Some(2), "{ran}");
}

#[test]
fn a_page_that_is_no_bundle_is_trouble() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 3);
    server.stop();
    let bundles = bench.path("data/logs/audit/site/tile/entries/000.p");
    let bundle = fs::read_dir(&bundles).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&bundle).unwrap();
    let web = files::serve(bench.path("data/logs/audit/site"));
    for page in [&b"<html>back soon</html>"[..], &bytes[..bytes.len() - 1], b""] {
        fs::remove_file(&bundle).unwrap();
        fs::write(&bundle, page).unwrap();
        once(&bench, &format!("--state s --log-url {web}")).refused(2, "is damaged");
    }
}

#[test]
fn a_split_view_stays_proven_across_restarts() {
    let fork = Fork::with(3);
    let (bench, one) = (&fork.bench, format!("--log-url {}/audit", fork.one.url()));
    // Where the evidence is to be there is something else: it is said, and not taken for evidence.
    let both = format!("{one} --log-url {}/audit", fork.other.url());
    once(bench, &format!("--state s {both}")).refused(5, "split view");
    let name = evidence(bench, "s").remove(0);
    bench.write("other", "");
    let ran = once(bench, &format!("--state t --evidence other {both}"));
    ran.refused(5, "split view");
    assert!(ran.stderr.contains("graven-evidence@v1"), "{ran}");
    once(bench, &format!("--state s {one}")).refused(5, "split view");
    fs::remove_file(bench.path(&name)).unwrap();
    once(bench, &format!("--state s {one}")).ok();
    bench.write(&name, "");
    let ran = once(bench, &format!("--state s {both}"));
    assert!(
        ran.stderr.contains("is not this evidence") && ran.stderr.contains("graven-evidence@v1"),
        "{ran}"
    );
}

#[test]
fn a_policy_may_change_and_the_position_stays() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 3);
    watch(&bench, "url", &server).ok();
    policies::write_policy(&bench);
    let strict = format!("--state url --policy strict.policy --log-url {}/audit", server.url());
    bench.run(&format!("monitor --once --ops-listen off {strict}")).refused(3, "witnessed");
    watch(&bench, "url", &server).ok();
}
