//! Audits of a whole log.

use std::time::{Duration, Instant};

use graven_merkle::{Frontier, leaf_hash};
use serde_json::Value;

use crate::calls::random_bytes;
use crate::peer::{graven, run};
use crate::report::{Table, Target};
use crate::world::{Big, World};
use crate::{ENTRY_BYTES, WORKERS};

/// Entries that bare hashing has in memory: more than any processor caches.
const HASHED: usize = 1 << 20;

pub(crate) async fn audits(world: &World, table: &mut Table) {
    let big = world.big().await;
    let entries = random_bytes(HASHED * ENTRY_BYTES);
    let hash = async |time| hash(&entries, time);
    let folder = async |_| audit(big, &["--dir", &big.data.site().to_string_lossy()]);
    let found = world.rounds().compare(hash, folder).await;
    table.add(format!("bare hashing, {WORKERS} threads"), "entries/s", found.baseline.series(|rate| *rate));
    table.add("graven audit --dir", "entries/s", found.figure.series(|rate| *rate));
    table.judge(
        "graven audit --dir ÷ bare hashing",
        "ratio",
        Target::AtLeast(0.7),
        found.ratio(|rate| *rate),
    );

    let peer = big.data.serve();
    let site = format!("{}/log", peer.url);
    let token = big.data.token_file();
    for (source, at) in [("--url", &site), ("--server", &peer.url)] {
        let served = async |_| audit(big, &[source, at, "--token-file", &token.to_string_lossy()]);
        let found = world.rounds().repeat(served).await;
        table.add(
            format!("graven audit {source}, of a server on the same cores"),
            "entries/s",
            found.series(|rate| *rate),
        );
    }
}

/// Entries a second of the command, from its start to its end.
fn audit(big: &Big, source: &[&str]) -> f64 {
    let started = Instant::now();
    let mut command = graven(["audit", "--json", "--policy"]);
    command.arg(big.data.policy()).args(source);
    let report: Value = serde_json::from_str(&run(&mut command)).expect("it prints JSON");
    let seconds = started.elapsed().as_secs_f64();
    let entries = report["entries"].as_f64().expect("it counts entries");
    assert!(entries >= big.entries as f64, "only {entries} entries were audited");
    entries / seconds
}

/// Entries a second that the processors hash into trees, doing nothing else.
fn hash(entries: &[u8], time: Duration) -> f64 {
    let started = Instant::now();
    let part = entries.len() / WORKERS;
    let hash = |part: &[u8]| {
        let (mut count, mut frontier) = (0_u64, Frontier::new());
        while started.elapsed() < time {
            for entry in part.chunks_exact(ENTRY_BYTES) {
                frontier.push(leaf_hash(entry));
            }
            count += (part.len() / ENTRY_BYTES) as u64;
        }
        std::hint::black_box(frontier.root());
        count
    };
    let count: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            entries.chunks_exact(part).map(|part| scope.spawn(move || hash(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("hashing ends")).sum()
    });
    count as f64 / started.elapsed().as_secs_f64()
}
