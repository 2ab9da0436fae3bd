//! The logs over HTTP: only what is published, under one spelling, and no error that a cache would keep.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use graven_merkle::leaf_hash;
use rustix::process::Signal;

use crate::{
    bench::{Bench, Server},
    h2,
    house::{ENTRIES, House},
    http1::{Answer, Connection, PATIENCE},
};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Spellings that name nothing. `/open/checkpoint`, `/open/tile/0/000` and `/open/tile/0/001.p/44` are there.
const TRICKS: &[&str] = &[
    "/",
    "//",
    "/open",
    "/open/",
    "//open/checkpoint",
    "/open//checkpoint",
    "/open/checkpoint/",
    "/./open/checkpoint",
    "/open/./checkpoint",
    "/open/../open/checkpoint",
    "/open/tile/../checkpoint",
    "/open/tile/0/../0/000",
    "/open/tile/entries/../0/000",
    "/../open/checkpoint",
    "/audit/../open/checkpoint",
    "/%6fpen/checkpoint",
    "/open/%63heckpoint",
    "/open%2fcheckpoint",
    "/open%2Fcheckpoint",
    "/open%5ccheckpoint",
    "/open\\checkpoint",
    "/open/%2e/checkpoint",
    "/open/%2e%2e/open/checkpoint",
    "/open/checkpoint%00",
    "/open/checkpoint%0a",
    "/open/checkpoint%20",
    "/open/checkpoint.",
    "/open/checkpoint;a=b",
    "/open/checkpoint%3f",
    "/open/checkpoint~",
    "/open/checkpoint.tmp",
    "/Open/checkpoint",
    "/OPEN/checkpoint",
    "/open/Checkpoint",
    "/open/CHECKPOINT",
    "/open./checkpoint",
    "/-open/checkpoint",
    "/open%00/checkpoint",
    "/op\u{435}n/checkpoint",
    "/open/checkp\u{43e}int",
    "/open/tile",
    "/open/tile/",
    "/open/tile/0",
    "/open/tile/0/",
    "/open/tile/0/0",
    "/open/tile/0/00",
    "/open/tile/0/0000",
    "/open/tile/0/000/",
    "/open/tile/0/000.",
    "/open/tile/0/x000",
    "/open/tile/0/x000/000",
    "/open/tile/0/X000/000",
    "/open/tile/0/x000/x000/000",
    "/open/tile/0/000/000",
    "/open/tile/0/+00",
    "/open/tile/0/-00",
    "/open/tile/0/ 00",
    "/open/tile/0/00a",
    "/open/tile/0/\u{660}\u{660}\u{660}",
    "/open/tile/0/\u{ff10}\u{ff10}\u{ff10}",
    "/open/tile/00/000",
    "/open/tile/+0/000",
    "/open/tile/-1/000",
    "/open/tile/8/000",
    "/open/tile/63/000",
    "/open/tile/64/000",
    "/open/tile/255/000",
    "/open/tile/256/000",
    "/open/tile/18446744073709551616/000",
    "/open/tile/0/18446744073709551616",
    "/open/tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    "/open/tile/0/x018/x446/x744/x073/x709/x551/x616",
    "/open/tile/0/000.p",
    "/open/tile/0/000.p/",
    "/open/tile/0/000.p/0",
    "/open/tile/0/000.p/256",
    "/open/tile/0/000.p/257",
    "/open/tile/0/000.p/65536",
    "/open/tile/0/001.p/044",
    "/open/tile/0/001.p/+44",
    "/open/tile/0/001.p/44/",
    "/open/tile/0/001.p/4294967340",
    "/open/tile/0/001.P/44",
    "/open/tile/0/001%2ep/44",
    "/open/tile/0.p/44/001",
    "/open/tile/Entries/000",
    "/open/tile/entries",
    "/open/tile/entries/0",
    "/open/tile/entries/000.p/0",
    "/open/tile/entries/000.p/256",
    "/open/tile/data/000",
    "/open/entries/000",
];

/// What lies in the data directory and beside it, and is nobody's.
const FILES: &[&str] = &[
    "/server",
    "/lock",
    "/recovery-key.pem",
    "/audit.policy",
    "/journal/slot-000",
    "/logs/open/site/checkpoint",
    "/open/log",
    "/open/keys/ed25519.pem",
    "/open/signer",
    "/open/site/checkpoint",
    "/open/nodes/0",
    "/open/../keys/ed25519.pem",
    "/open/tile/../../keys/ed25519.pem",
    "/open/tile/..%2f..%2fkeys%2fed25519.pem",
    "/open/tile/0/..%2f..%2f..%2f..%2fserver",
    "/..%2f..%2f..%2f..%2fetc%2fpasswd",
];

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "get"];

#[test]
fn one_spelling_names_each_resource_and_all_others_nothing() {
    let house = House::new();
    let server = house.bench.serve_with(DEV);
    let mut web = Connection::plain(server.address());
    for (target, caching) in [
        ("/open/checkpoint", "no-cache"),
        ("/open/tile/0/000", IMMUTABLE),
        ("/open/tile/0/001.p/44", IMMUTABLE),
        ("/open/tile/1/000.p/1", IMMUTABLE),
        ("/open/tile/entries/000", IMMUTABLE),
        ("/open/tile/entries/001.p/44", IMMUTABLE),
        ("/audit/checkpoint", "private, no-cache"),
        ("/audit/tile/0/000", "private, no-cache"),
    ] {
        let answer = web.get(target, &[]);
        answer.served(caching);
        let is_public = target.starts_with("/open");
        assert_eq!(answer.header("access-control-allow-origin"), is_public.then_some("*"), "{target}");
        // The same by a full address, as proxies write it, and over HTTP/2.
        let address = format!("http://localhost{target}");
        assert_eq!(web.get(&address, &[]).body, answer.body);
        assert!(h2::get(server.address(), target).unwrap().ok, "{target}");
    }
    for target in TRICKS.iter().chain(FILES) {
        let mut web = Connection::plain(server.address());
        nothing(target, &web.try_ask("GET", target, &[]).unwrap());
        // A header may hold no byte beyond ASCII, as a path over HTTP/1.1 may.
        let refused = h2::get(server.address(), target).map_or(true, |answer| !answer.ok);
        assert!(refused, "{target} over HTTP/2");
    }
    let mut deep = "/open/tile/0".to_owned();
    while deep.len() < 60_000 {
        write!(deep, "/x{:03}", deep.len() % 1000).unwrap();
    }
    nothing(&deep, &Connection::plain(server.address()).try_ask("GET", &deep, &[]).unwrap());
    server.stop();
}

/// Everybody may read everything, so that a trick that works is seen.
const DEV: &str = "serve --config fill.toml --data-dir data --dev --listen 127.0.0.1:0";

/// An answer that gives nothing away and that nobody keeps.
#[track_caller]
fn nothing(target: &str, answer: &Answer) {
    assert!(matches!(answer.status, 400 | 404 | 414 | 431), "{target}: {answer:?}");
    // What does not reach the server proper, because it is no HTTP, has no headers either.
    assert!(
        matches!((answer.status, answer.caching().as_str()), (_, "no-store") | (400 | 414 | 431, "")),
        "{answer:?}"
    );
    assert!(answer.body.len() < 200, "{target}: {answer:?}");
}

#[test]
fn every_tile_within_the_published_size_is_there_and_none_beyond() {
    let house = House::new();
    let server = house.bench.serve_with(DEV);
    let leaves: Vec<_> =
        (0..ENTRIES).flat_map(|n| *leaf_hash(format!("entry {n}").as_bytes()).as_bytes()).collect();
    sweep(&server, "open", ENTRIES, &leaves);
    server.stop();
}

#[test]
fn what_is_durable_and_not_published_is_not_there() {
    let bench = Bench::with_log();
    bench.write(
        "graven.toml",
        "[ops]\nlisten = \"off\"\n[engine]\ncheckpoint_interval_ms = 3600000\nreserve_mib = 0\n",
    );
    let server = bench.serve_with("serve --config graven.toml --data-dir data --dev --listen 127.0.0.1:0");
    bench.write("entries", "entry 0\n");
    bench.at(&server, "append --lines --wait published entries").ok();
    let more: String = (1..ENTRIES).map(|n| format!("entry {n}\n")).collect();
    bench.write("entries", more);
    bench.at(&server, "append --lines entries").ok();
    let listed = bench.at(&server, "log list --json").ok().object();
    assert_eq!((&listed["durable_size"], &listed["published_size"]), (&ENTRIES.into(), &1.into()));
    sweep(&server, "audit", 1, leaf_hash(b"entry 0").as_bytes());
}

/// Asks for every tile and bundle around a log's edge. `leaves` are the hashes of all its published entries.
fn sweep(server: &Server, log: &str, size: u64, leaves: &[u8]) {
    let mut web = Connection::plain(server.address());
    for level in 0..3_u32 {
        let hashes = size >> (8 * level);
        for (number, width) in (0..3_u64).flat_map(|number| (1..=256_u64).map(move |width| (number, width))) {
            let (begin, end) = (number * 256, number * 256 + width);
            let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
            let mut kinds = vec![format!("/{log}/tile/{level}/{number:03}{partial}")];
            if level == 0 {
                kinds.push(format!("/{log}/tile/entries/{number:03}{partial}"));
            }
            // What has to be there: full tiles, and the one partial tile at the edge.
            let is_due = end == hashes || (width == 256 && end <= hashes);
            for target in kinds {
                let answer = web.get(&target, &[]);
                if answer.status != 200 {
                    assert!(!is_due, "{target} is missing at size {size}");
                    answer.refused(404);
                    continue;
                }
                assert!(end <= hashes, "{target} is beyond size {size}");
                if level == 0 && !target.contains("entries") {
                    let range = usize::try_from(begin * 32).unwrap()..usize::try_from(end * 32).unwrap();
                    assert_eq!(answer.body, leaves[range], "{target}");
                }
            }
        }
    }
    for beyond in ["0/x001/000", "0/x999/x999/999", "3/000", "3/000.p/1", "7/000", "entries/x001/000"] {
        web.get(&format!("/{log}/tile/{beyond}"), &[]).refused(404);
    }
}

#[test]
fn no_error_may_be_kept_by_a_cache() {
    let house = House::new();
    // Half of the bundle lies in one flipped byte: it is there, and cannot be served.
    house.bench.flip("data/logs/open/site/tile/entries/000", 40);
    let server = house.serve();
    let targets = TRICKS.iter().chain(FILES).chain(&[
        "/open/checkpoint",
        "/open/tile/0/000",
        "/open/tile/0/001",
        "/open/tile/entries/000",
        "/audit/checkpoint",
        "/audit/tile/0/000",
        "/nobody/checkpoint",
        "/healthz",
        "/readyz",
        "/metrics",
        "/graven.v1.LogService/GetTreeHead",
        "/graven.v1.LogService/Nothing",
        "/grpc.health.v1.Health/Check",
    ]);
    let mut kept = 0;
    let mut web = house.browse(&server);
    for target in targets {
        for method in METHODS {
            for headers in [&[][..], &["authorization: Bearer wrong"], &["accept-encoding: gzip"]] {
                let answer = web.try_ask(method, target, headers).unwrap_or_else(|_| {
                    // The server ends a connection on which it read no HTTP.
                    web = house.browse(&server);
                    web.ask(method, target, headers)
                });
                let caching = answer.caching();
                let may_be_kept =
                    ["immutable", "max-age", "public"].iter().any(|word| caching.contains(word));
                if may_be_kept {
                    assert!(
                        matches!((answer.status, method), (200, "GET" | "HEAD")),
                        "{method} {target}: {answer:?}"
                    );
                    kept += 1;
                }
                // A cache may keep these even where nothing is said.
                let by_default = [203, 204, 206, 300, 301, 308, 404, 405, 410, 501];
                if by_default.contains(&answer.status) && method != "OPTIONS" {
                    assert_eq!(caching, "no-store", "{method} {target}: {answer:?}");
                }
                assert!(answer.header("location").is_none(), "{method} {target}: {answer:?}");
            }
        }
    }
    // One tile is there, for two methods, whatever is said besides.
    assert_eq!(kept, 6);
    let damaged = house.browse(&server).get("/open/tile/entries/000", &[]);
    damaged.refused(500);
}

#[test]
fn a_server_that_drains_says_so_and_nobody_keeps_it() {
    let house = House::new();
    let server = house.bench.serve_with(DEV);
    // Whoever is connected is still answered.
    let mut web = Connection::plain(server.address());
    web.get("/readyz", &[]).served("no-store");
    // A call that goes on keeps the server from ending.
    let _watching = h2::hold(server.address(), "/graven.v1.LogService/WatchTreeHeads");
    server.signal(Signal::TERM);
    let begun = Instant::now();
    loop {
        match web.try_ask("GET", "/readyz", &[]) {
            Ok(answer) if answer.status == 200 => assert!(begun.elapsed() < PATIENCE, "{answer:?}"),
            Ok(answer) => return answer.refused(503),
            // It may also part at once.
            Err(_) => return,
        }
        thread::sleep(Duration::from_millis(5));
    }
}
