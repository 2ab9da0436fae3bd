//! How fast it is, as ratios against baselines measured in the same run.
//!
//! `cargo bench -p graven --bench figures` prints a table and one JSON line a figure; `-- --quick` takes shorter rounds.
//! Baselines: **E**, a bare tonic echo with the same messages, concurrency and connections; **F**, one write and
//! `fdatasync` on a prewritten file; **L**, the serial loop that hashes, writes and syncs 4,096 entries. Rounds of
//! baseline and figure alternate, so that a machine that changes its speed changes both. Server and echo are processes
//! of their own; the load comes from this one.

#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // figures: a failed run says so and ends
#![allow(missing_docs, unreachable_pub)]

mod disk;
mod echo;
mod load;
mod machine;
mod peer;
mod report;

use std::time::Duration;

use load::{Load, Sample};
use report::Table;

/// Rounds of each figure.
const ROUNDS: usize = 5;
/// Bytes of an entry, incompressible.
const ENTRY_BYTES: usize = 256;
/// Connections that the load is spread over.
const CONNECTIONS: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--echo-server") {
        return echo::serve();
    }
    let is_quick = args.iter().any(|arg| arg == "--quick");
    let round = Duration::from_secs(if is_quick { 2 } else { 5 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(measure(round));
}

async fn measure(round: Duration) {
    let dir = tempfile::tempdir_in(".").expect("a directory beside the target can be made");
    let echo = peer::Peer::echo();
    let graven = peer::Peer::graven(&dir.path().join("data"));
    let mut table = Table::default();
    let machine = machine::Cpu::now(&[echo.pid(), graven.pid()]);

    let e = Load::connect(&echo.url, CONNECTIONS).await;
    let g = Load::connect(&graven.url, CONNECTIONS).await;
    for concurrency in [256, 1024] {
        let (mut ratios, mut tails) = (Vec::new(), Vec::new());
        let (mut echoes, mut appends) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let base = e.echo(concurrency, round).await;
            let found = g.append(concurrency, round).await;
            ratios.push(found.per_second / base.per_second);
            tails.push(found.p99_us / base.p99_us);
            echoes.push(base.per_second);
            appends.push(found.per_second);
        }
        table.add(&format!("E: bare echo, concurrency {concurrency}"), "calls/s", &echoes);
        table.add(&format!("unary durable append, concurrency {concurrency}"), "entries/s", &appends);
        table.add(&format!("unary durable append ÷ E, concurrency {concurrency}"), "ratio", &ratios);
        table.add(&format!("p99 append ÷ p99 E, concurrency {concurrency}"), "ratio", &tails);
    }

    let (mut lone, mut syncs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let base = e.echo(1, round).await;
        let sync_us = disk::sync_p50_us(dir.path(), round / 2);
        let found = g.append(1, round).await;
        lone.push(found.p50_us);
        syncs.push(sync_us);
        ratios.push(found.p50_us / (base.p50_us + sync_us));
    }
    table.add("F: write + fdatasync, p50", "µs", &syncs);
    table.add("ack p50, concurrency 1", "µs", &lone);
    table.add("ack p50 ÷ (E p50 + F), concurrency 1", "ratio", &ratios);

    for bytes in [ENTRY_BYTES, 1024] {
        let (mut loops, mut batches, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let base = disk::serial_loop(dir.path(), bytes, round);
            let found = g.append_batch(16, 256, bytes, round).await;
            ratios.push(found.per_second / base);
            loops.push(base);
            batches.push(found.per_second);
        }
        table.add(&format!("L: hash + write + fdatasync of 4,096, {bytes} B"), "entries/s", &loops);
        table.add(&format!("AppendBatch of 256, {bytes} B"), "entries/s", &batches);
        table.add(&format!("AppendBatch ÷ L, {bytes} B"), "ratio", &ratios);
    }

    let (mut streams, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let unary: Sample = g.append(256, round).await;
        let found = g.append_stream(CONNECTIONS, ENTRY_BYTES, round).await;
        streams.push(found.per_second);
        ratios.push(found.per_second / unary.per_second);
    }
    table.add("AppendStream, 4 streams", "entries/s", &streams);
    table.add("AppendStream ÷ unary append", "ratio", &ratios);
    table.print(&machine::Cpu::now(&[echo.pid(), graven.pid()]).since(&machine));
}
