//! How fast it is, as ratios against baselines measured in the same run. `benches/README.md` says what each figure
//! means, what it came to and what bounds it.
//!
//! `cargo bench -p graven --bench figures` prints a table, then JSON; `-- --help` lists the options.
//! Baselines: **E**, a bare tonic echo with the same bytes, concurrency and connections; **F**, one write and
//! `fdatasync` on a prewritten file; **L**, the serial loop that hashes, writes and syncs 4,096 entries. Rounds of
//! baseline and figure alternate, so that a machine that changes its speed changes both. Server and echo are processes
//! of their own; the load comes from this one; each side has two workers.

#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // figures: a failed run says so and ends
#![allow(missing_docs, unreachable_pub)]

mod append;
mod audit;
mod batch;
mod calls;
mod check;
mod disk;
mod echo;
mod event_size;
mod events;
mod find;
mod growth;
#[allow(dead_code)] // Shared with the tests of tokens, which use more of it.
#[path = "../../tests/support/issuer.rs"]
mod issuer;
mod load;
mod machine;
mod options;
mod parts;
mod peer;
mod proof;
mod record;
mod rehash;
mod report;
mod rounds;
mod size;
mod start;
mod stream;
#[allow(dead_code)]
#[path = "../../tests/support/tokens.rs"]
mod tokens;
#[path = "../../tests/support/trees.rs"]
mod trees;
mod visible;
mod witness;
mod world;

use clap::{Parser, ValueEnum};
use options::{Family, Options};
use report::Table;
use tokio::signal::unix::{SignalKind, signal};
use world::World;

/// Threads of a runtime, on either side.
const WORKERS: usize = 2;
/// Bytes of an entry, incompressible.
const ENTRY_BYTES: usize = 256;
/// Connections that the load is spread over.
const CONNECTIONS: usize = 4;

fn main() {
    let options = Options::parse();
    if options.echo_server {
        return echo::serve(options.answer.as_deref());
    }
    if options.list {
        return Family::value_variants().iter().for_each(|family| println!("{}", family.line()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let mut terminated = signal(SignalKind::terminate()).expect("signals can be listened to");
        // What was started ends, and what was written goes, with the values that own them.
        tokio::select! {
            () = measure(options) => {}
            _ = tokio::signal::ctrl_c() => eprintln!("interrupted"),
            _ = terminated.recv() => eprintln!("terminated"),
        }
    });
}

async fn measure(options: Options) {
    let (is_quick, file) = (options.quick, options.json.clone());
    let families = options.families();
    let world = World::new(options);
    let mut table = Table::new(is_quick);
    for family in families {
        eprintln!("── {}", family.line());
        match family {
            Family::Append => append::unary(&world, &mut table).await,
            Family::Ack => append::lone_ack(&world, &mut table).await,
            Family::Batch => batch::batches(&world, &mut table).await,
            Family::Stream => stream::streams(&world, &mut table).await,
            Family::Checkpoints => append::checkpoints(&world, &mut table).await,
            Family::Size => size::sizes(&world, &mut table).await,
            Family::Proof => proof::proofs(&world, &mut table).await,
            Family::Growth => growth::growth(&world, &mut table).await,
            Family::Audit => audit::audits(&world, &mut table).await,
            Family::Start => start::starts(&world, &mut table).await,
            Family::Witnessed => witness::witnessed_append(&world, &mut table).await,
            Family::Witness => witness::cosigning(&world, &mut table).await,
            Family::Mirror => rehash::mirrors(&world, &mut table).await,
            Family::Record => record::recording(&world, &mut table).await,
            Family::Visible => visible::visible(&world, &mut table).await,
            Family::EventSize => event_size::event_sizes(&world, &mut table).await,
            Family::Find => find::finding(&world, &mut table).await,
            Family::Check => check::checks(&world, &mut table).await,
        }
    }
    table.print(file.as_deref());
}
