//! What the size of a log costs.

use std::time::Duration;

use crate::ENTRY_BYTES;
use crate::calls;
use crate::load::Load;
use crate::machine;
use crate::peer::{Data, Peer};
use crate::report::{Table, Target};
use crate::world::{self, World};

const SMALL: u64 = 10_000;

/// What one round found.
struct Costs {
    append_cpu_us: f64,
    ack_us: f64,
    proof_us: f64,
}

type Cost = fn(&Costs) -> f64;

pub(crate) async fn growth(world: &World, table: &mut Table) {
    let big = world.big().await;
    let graven = big.data.serve();
    let load = Load::connect(&graven).await;
    let mut round = 0;
    // Appends make a small log larger, so each round has a new one.
    let small = async |time| {
        round += 1;
        let data = Data::init(world.home(&format!("small-{round}")), "");
        let graven = data.serve();
        let load = Load::connect(&graven).await;
        world::fill(&load, SMALL).await;
        world::settle(&load, &data, &graven).await;
        costs(&load, &graven, SMALL, time).await
    };
    let found =
        world.rounds().compare(small, async |time| costs(&load, &graven, big.entries, time).await).await;
    let sizes = format!("{SMALL} → {}", big.entries);
    let costs: [(&str, Cost); 3] = [
        ("append CPU", |costs| costs.append_cpu_us),
        ("ack p50", |costs| costs.ack_us),
        ("proof p50", |costs| costs.proof_us),
    ];
    for (name, of) in costs {
        table.add(format!("{name}, {SMALL} entries"), "µs", found.baseline.series(of));
        table.add(format!("{name}, {} entries", big.entries), "µs", found.figure.series(of));
        table.judge(format!("{name}, {sizes}"), "ratio", Target::AtMost(1.1), found.ratio(of));
    }
}

/// The proof and the acknowledgement at concurrency 1, then the processor time of an append, sealed and indexed.
async fn costs(load: &Load, graven: &Peer, entries: u64, time: Duration) -> Costs {
    let proof_us = load.run(1, time / 2, calls::prove(entries)).await.p50_us;
    let ack_us = load.run(1, time / 2, calls::append(ENTRY_BYTES)).await.p50_us;
    machine::peers_are_idle().await;
    let before = machine::cpu_seconds(graven.pid());
    let appended = load.run(256, time / 2, calls::append(ENTRY_BYTES)).await.calls;
    machine::peers_are_idle().await;
    let append_cpu_us = (machine::cpu_seconds(graven.pid()) - before) * 1e6 / appended as f64;
    Costs { append_cpu_us, ack_us, proof_us }
}
