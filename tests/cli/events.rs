//! Logs of events: recorded, imported, found, proven, followed, disclosed and erased.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use flate2::read::GzDecoder;
use graven_event::{
    Time,
    map::{Format, map},
};
use serde_json::Value;

use crate::bench::{Bench, Server, fed, finish};

/// Real CloudTrail events, one a line.
fn trail() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/events/cloudtrail.jsonl.gz")
}

fn records() -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(trail()).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn with_events() -> (Bench, Server) {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let server = bench.serve();
    (bench, server)
}

fn event(number: u32) -> String {
    let actor = ["alice", "bob", "service:ci"][usize::try_from(number % 3).unwrap()];
    format!(
        r#"{{"action":"x.step.{number}","actor":"{actor}","outcome":"success","context":{{"ip":"192.0.2.7"}}}}"#
    )
}

fn lines(numbers: impl IntoIterator<Item = u32>) -> String {
    numbers.into_iter().map(|number| event(number) + "\n").collect()
}

#[test]
fn every_event_of_a_trail_is_imported_found_and_proven() {
    let (bench, server) = with_events();
    let records = records();
    let total = records.len();
    let import = format!("import cloudtrail --producer trail --wait published --json {}", trail().display());
    let imported = bench.at(&server, &import).ok().object();
    assert_eq!((imported["recorded"].as_u64(), total), (Some(2_900), 2_900));

    let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &records {
        *actions.entry(record["eventName"].as_str().unwrap()).or_default() += 1;
    }
    let mut sorted: Vec<_> = actions.into_iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let (most, least) = (&sorted[..5], &sorted[sorted.len() - 3..]);
    for (name, count) in most.iter().chain(least) {
        for prove in ["", "--prove "] {
            let hits = bench.at(&server, &format!("query {prove}--json action:{name}")).ok().objects();
            assert_eq!(hits.len(), *count, "{prove}{name}");
            assert!(hits.iter().all(|hit| hit["action"] == **name));
        }
    }

    let noon = "2023-07-10T12:00:00Z";
    let later = records.iter().filter(|record| record["eventTime"].as_str().unwrap() >= noon).count();
    let hits = bench.at(&server, &format!("query --json --no-raw happened-since:{noon}")).ok().objects();
    assert_eq!(hits.len(), later);

    // All of them, over several pages, newest first, each once; and proven.
    let ran = bench.at(&server, "query --prove --json --no-raw kind:event").ok();
    let hits = ran.objects();
    assert_eq!(hits.len(), total);
    assert!(hits.is_sorted_by(|one, next| one["index"].as_u64() > next["index"].as_u64()));
    assert!(ran.stderr.contains("2900 hits, proven under the signed head of "), "{}", ran.stderr);
    assert!(ran.stderr.contains("complete for the first "), "{}", ran.stderr);
    assert_eq!(bench.at(&server, "query --limit 7 --json kind:event").ok().objects().len(), 7);

    // Nothing is gone, and nothing kept from who may see everything: not the records either, which an audit does not ask for.
    let audited = bench.at(&server, "audit --policy data/audit.policy --events --json").ok().object();
    let account = |field: &str| audited["events"][field].as_u64().unwrap();
    assert_eq!(["payloads", "dropped", "erased", "hidden"].map(account), [2_900, 0, 0, 0]);

    // Again: nothing is recorded twice.
    let again = bench.at(&server, &import).ok().object();
    assert_eq!((&again["recorded"], &again["recorded_before"]), (&0.into(), &2_900.into()));
    assert_eq!(bench.at(&server, "query --json --no-raw kind:event").ok().objects().len(), total);
}

/// The records of each system that the labelled set has, one a line: some are no event of it.
fn labelled() -> BTreeMap<String, Vec<String>> {
    let mut text = String::new();
    let packed = trail().with_file_name("labelled.jsonl.gz");
    GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_string(&mut text).unwrap();
    let mut systems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // Three are null: between records that ends a file.
    for case in cases.filter(|case| case["event"].is_object()) {
        let system = case["source"].as_str().unwrap().replace("kubernetes", "k8s");
        systems.entry(system).or_default().push(case["event"].to_string());
    }
    systems
}

#[test]
fn what_other_systems_tell_is_imported_found_proven_and_disclosed() {
    let (bench, server) = with_events();
    let systems = labelled();
    let words: Vec<_> = systems.keys().map(String::as_str).collect();
    assert_eq!(words, ["auth0", "cloudtrail", "github", "k8s", "okta", "teleport"]);
    for (system, records) in &systems {
        let format: Format = system.parse().unwrap();
        let actions = records.iter().filter_map(|record| Some(map(format, record).ok()?.action));
        let mut actions: Vec<_> = actions.collect();
        bench.write("records", records.join("\n"));
        let import =
            format!("import {system} --producer {system} --skip-invalid --wait published --json records");
        let imported = bench.at(&server, &import);
        assert_eq!(imported.code, Some(i32::from(actions.len() < records.len())), "{imported}");
        let told = imported.object();
        assert_eq!(told["recorded"], actions.len(), "{system}");
        assert_eq!(told["invalid"], records.len() - actions.len(), "{system}");

        let hits = bench.at(&server, &format!("query --prove --json product:{system}")).ok().objects();
        let mut found: Vec<_> = hits.iter().map(|hit| hit["action"].as_str().unwrap().to_owned()).collect();
        actions.sort();
        found.sort();
        assert_eq!(found, actions, "{system}");
        let action = &actions[0];
        let query =
            bench.command_at(&server, "query --prove --json").arg(format!("action:\"{action}\"")).output();
        let count = String::from_utf8(query.unwrap().stdout).unwrap().lines().count();
        assert_eq!(count, actions.iter().filter(|other| *other == action).count(), "{system}: {action}");

        // What was made of a record is what the record says: anybody can check that.
        let index = &hits[0]["index"];
        let shown = bench.at(&server, &format!("reveal --json --out {system} {index}")).ok().object();
        assert_eq!(shown["record"], "agrees", "{system}: {shown}");
        bench.run(&format!("verify --policy data/audit.policy {system}/{index}.graven-disclosure")).ok();
    }
}

#[test]
fn an_event_that_has_not_happened_yet_is_told_of() {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let ops = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server =
        bench.serve_with(&format!("serve --data-dir data --dev --listen 127.0.0.1:0 --ops-listen {ops}"));
    let in_seconds = |seconds: u64| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = Time::from_seconds(since.as_secs() + seconds);
        format!(r#"{{"time":"{time}","action":"x.step","actor":"alice","outcome":"success"}}"#) + "\n"
    };
    bench.write("events", [in_seconds(0), in_seconds(60), in_seconds(60)].concat());
    bench.at(&server, "record events").ok();
    let mut stream = TcpStream::connect(ops).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("graven_producer_clock_ahead_total{log=\"audit\"} 2"), "{page}");
    let log = String::from_utf8(bench.read("server.log")).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("an event of the future")).collect();
    assert!(told.len() == 1 && told[0].contains("producer"), "{log}");
    // So far ahead is no clock that is a little fast.
    bench.write("events", in_seconds(600));
    bench.at(&server, "record events").refused(2, "time");
}

#[test]
fn a_recording_goes_on_where_it_was() {
    let (bench, server) = with_events();
    bench.write("events", lines(1..=40));
    let first = bench.at(&server, "record --producer app --json events").ok().object();
    assert_eq!(first["recorded"], 40);
    bench.write("events", lines(1..=100));
    let ran = bench.at(&server, "record --producer app events").ok();
    assert!(ran.text().contains("60 events recorded"), "{ran}");
    assert!(ran.text().contains("40 events had been recorded before"), "{ran}");
    let hits = bench.at(&server, "query --ascending --json action:x.step.*").ok().objects();
    let actions: Vec<_> = hits.iter().map(|hit| hit["action"].as_str().unwrap()).collect();
    assert_eq!(actions, (1..=100).map(|number| format!("x.step.{number}")).collect::<Vec<_>>());

    // From standard input, without numbers.
    let ran = fed(&mut bench.command_at(&server, "record"), lines(500..=501).as_bytes()).ok();
    assert!(ran.text().contains("2 events recorded"), "{ran}");
}

#[test]
fn what_is_no_event_is_named_and_never_left_out_in_silence() {
    let (bench, server) = with_events();
    let bad = [
        event(1),
        event(2),
        r#"{"action":"x.step.3","outcome":"success"}"#.to_owned(),
        event(4),
        "nonsense".to_owned(),
        event(6),
    ];
    bench.write("events", bad.join("\n"));
    let strict = bench.at(&server, "record --producer app events");
    strict.refused(2, "events line 3: column");
    strict.refused(2, "`actor`");
    assert!(strict.text().contains("2 events recorded"), "{strict}");

    let lax = bench.at(&server, "record --producer app --skip-invalid events");
    lax.refused(1, "2 of the input are no events");
    assert!(lax.stderr.contains("events line 3: ") && lax.stderr.contains("events line 5: "), "{lax}");
    assert!(lax.text().contains("2 events recorded"), "{lax}");

    // Put right, the same input fills what was missing.
    bench.write("events", lines(1..=6));
    let filled = bench.at(&server, "record --producer app --json events").ok().object();
    assert_eq!((&filled["recorded"], &filled["recorded_before"]), (&2.into(), &4.into()));
    assert_eq!(bench.at(&server, "query --json action:x.step.*").ok().objects().len(), 6);

    bench.at(&server, "record nowhere").refused(2, "nowhere");
    bench.at(&server, "query colour:red").refused(2, "no such field");
    bench.at(&server, "query --prove colour:red").refused(2, "no such field");
    bench.at(&server, "append events").refused(2, "LOG_KIND_MISMATCH");
}

#[test]
fn nothing_of_an_event_takes_over_the_terminal() {
    let (bench, server) = with_events();
    let event = r#"{"action":"x.odd","actor":"mal\u001b[2J\u009b31m\u202eory","outcome":"denied"}"#;
    bench.write("events", event);
    bench.at(&server, "record events").ok();
    for json in ["", "--json "] {
        let ran = bench.at(&server, &format!("query {json}action:x.odd")).ok();
        let unsafe_chars = ran.text().chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(unsafe_chars.count(), 0, "{ran}");
        assert!(ran.text().contains("ory"), "{ran}");
    }
    let hit = bench.at(&server, "query --json action:x.odd").ok().object();
    assert_eq!(hit["actor"]["id"], "mal\u{1b}[2J\u{9b}31m\u{202e}ory", "programs get what was recorded");
}

#[test]
fn a_tail_shows_the_newest_and_follows() {
    let (bench, server) = with_events();
    bench.write("events", lines(1..=20));
    bench.at(&server, "record --wait published events").ok();
    let newest = bench.at(&server, "tail --json kind:event").ok().objects();
    assert_eq!(newest.len(), 10);
    assert_eq!((&newest[0]["action"], &newest[9]["action"]), (&"x.step.11".into(), &"x.step.20".into()));
    let all = bench.at(&server, "tail --from 0 --json kind:event").ok().objects();
    assert_eq!(all.len(), 20);

    let mut follow = bench.command_at(&server, "tail -f --json action:x.step.5*");
    let child = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bench.write("events", lines(49..=52));
    bench.at(&server, "record --wait published events").ok();
    std::thread::sleep(std::time::Duration::from_secs(1));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let actions: Vec<_> = finish(child).objects().iter().map(|hit| hit["action"].clone()).collect();
    assert_eq!(actions, ["x.step.5", "x.step.50", "x.step.51", "x.step.52"]);
}

#[test]
fn chosen_parts_are_disclosed_and_verify_anywhere() {
    let (bench, server) = with_events();
    bench.write("events", lines(1..=3));
    bench.at(&server, "record --wait published events").ok();
    let hit = bench.at(&server, "query --json action:x.step.3").ok().object();
    let index = hit["index"].as_u64().unwrap();
    bench.at(&server, &format!("reveal --groups actor --out case --purpose case-7 {index}")).ok();
    let file = format!("case/{index}.graven-disclosure");
    let verify = format!("verify --policy data/audit.policy {file}");
    let shown = bench.run(&format!("{verify} --json")).ok().object();
    assert_eq!((&shown["index"], &shown["event"]["actor"]["id"]), (&index.into(), &"alice".into()));
    assert!(shown["event"].get("context").is_none(), "it was not asked for");
    assert!(bench.run(&verify).ok().text().contains("alice"));

    let text = String::from_utf8(bench.read(&file)).unwrap();
    let at = text.find("\ngroup 1 ").unwrap() + 12;
    bench.flip(&file, at);
    bench.run(&verify).refused(1, "");
    bench.at(&server, &format!("reveal --groups colour {index}")).misused("no such group");
}

#[test]
fn people_are_erased_by_authority_and_not_under_a_hold() {
    let (bench, server) = with_events();
    bench.write("events", lines(1..=3));
    bench.at(&server, "record events").ok();
    bench.at(&server, "erase alice --authority gdpr-17").refused(2, "--yes");
    let hold = bench.at(&server, "hold place --authority case-7 --subject alice --json").ok().object();
    let hold = hold["hold"].as_str().unwrap();
    bench.at(&server, "erase alice --authority gdpr-17 --yes").refused(2, "HOLD_FORBIDS");
    assert_eq!(bench.at(&server, "hold list --json").ok().object()["hold"], hold);
    bench.at(&server, &format!("hold release {hold} --authority case-7")).ok();
    bench.at(&server, "erase alice --authority gdpr-17 --yes").ok();
    assert!(bench.at(&server, "query --json actor:alice").ok().objects().is_empty());
    let gone = bench.at(&server, "query --json action:x.step.3").ok().object();
    assert!(
        gone["actor"].is_null() && gone["erased"].as_array().unwrap().contains(&"actor".into()),
        "{gone}"
    );
    assert!(bench.at(&server, "query action:x.step.3").ok().text().contains("(erased)"));
    assert_eq!(bench.at(&server, "query --json actor:bob").ok().objects().len(), 1);
    let erasure = bench.at(&server, "query --json kind:erasure").ok().object();
    assert_eq!(erasure["facts"]["authority"], "gdpr-17");

    bench.at(&server, "retention define short --keep 90days").ok();
    let classes = bench.at(&server, "retention list --json").ok().objects();
    assert!(
        classes.iter().any(|class| class["class"] == "short" && class["keep_seconds"] == 90 * 86_400),
        "{classes:?}"
    );
    bench.at(&server, "record --retention short events").ok();
    bench.at(&server, "record --retention none events").refused(2, "RETENTION_UNKNOWN");
}
