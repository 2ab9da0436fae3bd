//! Reading, proving and administering over gRPC.

use crate::bench::Bench;

#[test]
fn everything_that_is_read_is_verified() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 300);

    let head = bench.at(&server, "head --json").ok().object();
    assert_eq!((&head["size"], &head["origin"]), (&300.into(), &"example.com/audit".into()));
    assert!(bench.at(&server, "head").ok().text().contains(head["root"].as_str().unwrap()));
    assert_eq!(bench.at(&server, "head --note").ok().text(), head["checkpoint"].as_str().unwrap());
    bench.at(&server, "head --max-age 1h --all-keys").ok();

    assert_eq!(bench.at(&server, "get --index 17").ok().stdout, b"entry 17");
    assert_eq!(bench.at(&server, "get --index 17 --json").ok().object()["entry"], "ZW50cnkgMTc=");

    let proof = bench.at(&server, "prove --index 17 --out 17.tlog-proof --json").ok().object();
    bench.write("17", "entry 17");
    let verified =
        bench.run("verify --policy data/audit.policy --entry 17 17.tlog-proof --json").ok().object();
    assert_eq!(verified["leaf_hash"], proof["leaf_hash"]);
    // Without a file the bundle itself is what is printed.
    assert_eq!(bench.at(&server, "prove --index 17").ok().stdout, bench.read("17.tlog-proof"));
    let told = bench.at(&server, "prove --index 17 --json").ok().object();
    assert_eq!(told["bundle"].as_str().unwrap().as_bytes(), bench.read("17.tlog-proof"));

    let many = bench.at(&server, "prove --indices 3,17,90-120 --out many.json --json").ok().object();
    assert_eq!(many["indices"].as_array().unwrap().len(), 33);
    assert_eq!(many["proof"].as_array().unwrap().len() as u64, many["hashes"].as_u64().unwrap());
    assert!(many["hashes"].as_u64() < many["hashes_of_single_proofs"].as_u64());
    let kept: serde_json::Value = serde_json::from_slice(&bench.read("many.json")).unwrap();
    assert_eq!(kept, many);

    let grown = bench.at(&server, "consistency --from 100 --to 300 --json").ok().object();
    assert_eq!(grown["to_root"], head["root"]);
    bench.at(&server, "consistency --from 0 --to 7").ok();
    let watched = bench.at(&server, "watch --count 1 --json").ok().object();
    assert_eq!(watched["root"], head["root"]);
    assert_eq!(bench.at(&server, "audit --json").ok().object()["entries"], 300);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 3);
    bench.at(&server, "get --index 3").refused(2, "INDEX_BEYOND_TREE");
    bench.at(&server, "get --index -1").misused("--index");
    bench.at(&server, "prove --index 9223372036854775807 --out p").misused("2^63");
    bench.at(&server, "prove --index 3 --out p").refused(2, "INDEX_BEYOND_TREE");
    bench.at(&server, "prove --indices 1,3").refused(2, "INDEX_BEYOND_TREE");
    bench.at(&server, "prove --indices 2,1").misused("sort the indices");
    bench.at(&server, "prove --indices 0-1024").misused("at most 1024");
    bench.at(&server, "prove").misused("--index");
    bench.at(&server, "consistency --from 3 --to 2").refused(2, "smaller size first");
    bench.at(&server, "consistency --from 1 --to 4").refused(2, "beyond the log");
    bench.run(&format!("head --server {} --log other", server.url())).refused(2, "LOG_NOT_FOUND");
    bench.at(&server, "watch --count 9 --max-gap 1s").refused(3, "stalled");
    bench.at(&server, "frobnicate").misused("frobnicate");
}

#[test]
fn trust_is_pinned_or_said_to_be_missing() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.fill(&server, 2);
    let unpinned = bench.run(&format!("head --server {}", server.url())).ok();
    assert!(unpinned.stderr.starts_with("unpinned: "), "{unpinned}");
    bench.run(&format!("audit --server {}", server.url())).refused(2, "whom to trust");
    bench.write("entry", "entry 0");
    bench.write("proof", "");
    bench.run("verify --entry entry proof").refused(2, "whom to trust");
    bench.at(&server, "head --key nonsense").refused(2, "--key");
    bench.at(&server, "head --policy nowhere").refused(2, "nowhere");

    // Each of the log's keys is enough; those of another log of the same origin are not, and with those of
    // another origin there is nothing to check.
    for vkey in bench.run("keys show --data-dir data").ok().text().lines() {
        bench.at(&server, &format!("head --key {vkey}")).ok();
    }
    bench.run("init --data-dir other --origin example.com/audit").ok();
    bench.run("init --data-dir third --origin example.com/third").ok();
    for verb in ["head", "audit", "audit --dir data/logs/audit/site"] {
        let ran = bench.at(&server, &format!("{verb} --policy other/audit.policy"));
        assert_eq!(ran.code, Some(1), "{ran}");
        let ran = bench.at(&server, &format!("{verb} --log audit --policy third/third.policy"));
        ran.refused(2, "no pinned key is of a log named audit, but of example.com/third");
        ran.refused(2, "graven keys show --log audit");
    }
    bench.at(&server, "head --policy third/third.policy").refused(2, "named audit, but of example.com/third");
}

#[test]
fn a_log_that_is_another_than_last_time_is_noticed() {
    let bench = Bench::with_log();
    let first = bench.serve();
    bench.copy("data", "early");
    bench.fill(&first, 5);
    bench.at(&first, "head --state heads").ok();
    first.stop();

    // The operator puts an old copy of everything in place: only who remembers can tell.
    std::fs::remove_dir_all(bench.path("data")).unwrap();
    std::fs::rename(bench.path("early"), bench.path("data")).unwrap();
    let second = bench.serve();
    bench.at(&second, "head").ok();
    bench.at(&second, "head --state heads").refused(4, "rollback");
    bench.write("fork", "x\ny\nz\nu\nv\n");
    bench.at(&second, "append --lines --wait published fork").ok();
    for kept in ["heads", "proof"] {
        let ran = bench.at(&second, &format!("head --state heads --evidence {kept}"));
        ran.refused(5, "split view");
        let file = ran.stderr.lines().find_map(|line| line.strip_prefix("evidence: ")).unwrap();
        assert!(file.starts_with(kept) && bench.path(file).is_file(), "{ran}");
        let verified = bench.run(&format!("evidence verify --policy data/audit.policy {file}")).ok();
        assert_eq!(verified.text().lines().count(), 2, "{verified}");
        assert!(
            verified.text().starts_with("proven: example.com/audit signed two different trees of 5 entries")
        );
    }
}

#[test]
fn logs_are_made_listed_and_frozen() {
    let bench = Bench::with_log();
    let server = bench.serve();
    let made = bench.at(&server, "log create payments --visibility public").ok();
    assert_eq!(made.text().lines().count(), 3);
    assert_eq!(bench.run("keys show --data-dir data --log payments").ok().text(), made.text());
    bench.at(&server, "log create payments").refused(2, "LOG_EXISTS");
    bench.at(&server, "log create Payments").refused(2, "LOG_NAME_INVALID");
    bench.at(&server, "log create access --kind events").refused(2, "LOG_KIND_UNSUPPORTED");

    let listed = bench.at(&server, "log list --json").ok().objects();
    let names: Vec<_> = listed.iter().map(|log| log["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["audit", "payments"]);
    assert_eq!(listed[1]["visibility"], "public");

    // With several logs the pinned keys say which is meant; without keys it has to be said.
    assert_eq!(bench.at(&server, "head --json").ok().object()["origin"], "example.com/audit");
    bench.run(&format!("head --server {}", server.url())).refused(2, "LOG_NAME_REQUIRED");

    bench.write("entry", "entry");
    bench.at(&server, "append --log payments entry").ok();
    let frozen = bench.at(&server, "log freeze payments --json").ok().object();
    assert_eq!((&frozen["state"], &frozen["published_size"]), (&"frozen".into(), &1.into()));
    bench.at(&server, "append --log payments entry").refused(2, "LOG_FROZEN");
    bench.at(&server, "log freeze other").refused(2, "LOG_NOT_FOUND");
}

#[test]
fn the_manual_has_the_exit_codes_and_every_command() {
    let bench = Bench::new();
    let manual = bench.run("--help").ok();
    for word in ["Exit codes:", "74", "demo", "init", "serve", "append", "watch", "fsck", "Examples:"] {
        assert!(manual.text().contains(word), "{word} is missing: {manual}");
    }
    assert!(bench.run("--version").ok().text().starts_with("graven "));
    assert!(bench.run("append --help").ok().text().contains("Examples:"));
}
