//! One entry a call.

use crate::ENTRY_BYTES;
use crate::calls;
use crate::disk;
use crate::load::{Load, Sample};
use crate::peer::{Data, Peer};
use crate::report::{Table, Target};
use crate::world::World;

/// Checkpoints so far apart that a run sees the first one only. Nothing is sealed meanwhile, so much must have room.
const WITHOUT_CHECKPOINTS: &str = "checkpoint_interval_ms = 3600000\nmax_unsealed_mib = 8192";
const WITH_CHECKPOINTS: &str = "checkpoint_interval_ms = 100\nmax_unsealed_mib = 8192";

pub(crate) async fn unary(world: &World, table: &mut Table) {
    let data = Data::init(world.home("unary"), "");
    let (echo, graven) = (Peer::echo(), data.serve());
    let (e, g) = (Load::connect(&echo).await, Load::connect(&graven).await);
    for concurrency in [256, 1024] {
        let base = async |time| e.run(concurrency, time, calls::echo_append(ENTRY_BYTES)).await;
        let append = async |time| g.run(concurrency, time, calls::append(ENTRY_BYTES)).await;
        let found = world.rounds().compare(base, append).await;
        let at = format!("concurrency {concurrency}");
        let rate = |sample: &Sample| sample.per_second;
        table.add(format!("E: bare echo, {at}"), "calls/s", found.baseline.series(rate));
        table.add(format!("unary durable append, {at}"), "entries/s", found.figure.series(rate));
        let ratio = found.ratio(rate);
        table.judge(format!("unary durable append ÷ E, {at}"), "ratio", Target::AtLeast(0.6), ratio);
        if concurrency == 256 {
            let p99 = |sample: &Sample| sample.p99_us;
            table.add(format!("E p99, {at}"), "µs", found.baseline.series(p99));
            table.add(format!("append p99, {at}"), "µs", found.figure.series(p99));
            let tail = found.ratio(p99);
            table.judge(format!("append p99 ÷ E p99, {at}"), "ratio", Target::AtMost(1.5), tail);
        }
    }
}

pub(crate) async fn lone_ack(world: &World, table: &mut Table) {
    let data = Data::init(world.home("lone-ack"), "");
    let (echo, graven) = (Peer::echo(), data.serve());
    let (e, g) = (Load::connect(&echo).await, Load::connect(&graven).await);
    // Each round: the median of E and F, apart.
    let base = async |time| {
        let call = e.run(1, time / 2, calls::echo_append(ENTRY_BYTES)).await.p50_us;
        (call, disk::sync_p50_us(world.folder(), time / 2))
    };
    let ack = async |time| (g.run(1, time, calls::append(ENTRY_BYTES)).await.p50_us, 0.0);
    let found = world.rounds().compare(base, ack).await;
    table.add("E p50, concurrency 1", "µs", found.baseline.series(|(call, _)| *call));
    table.add("F: write + fdatasync, p50", "µs", found.baseline.series(|(_, sync)| *sync));
    table.add("ack p50, concurrency 1", "µs", found.figure.series(|(ack, _)| *ack));
    let ratio = found.ratio(|(call, sync)| call + sync);
    table.judge("ack p50 ÷ (E p50 + F), concurrency 1", "ratio", Target::AtMost(1.5), ratio);
}

pub(crate) async fn checkpoints(world: &World, table: &mut Table) {
    let serve = |name, engine| Data::init(world.home(name), engine).serve();
    let (without, with) =
        (serve("no-checkpoints", WITHOUT_CHECKPOINTS), serve("checkpoints", WITH_CHECKPOINTS));
    let (base, figure) = (Load::connect(&without).await, Load::connect(&with).await);
    let found = world
        .rounds()
        .compare(
            async |time| base.run(256, time, calls::append(ENTRY_BYTES)).await.per_second,
            async |time| figure.run(256, time, calls::append(ENTRY_BYTES)).await.per_second,
        )
        .await;
    table.add(
        "append without checkpoints, concurrency 256",
        "entries/s",
        found.baseline.series(|rate| *rate),
    );
    table.add("append with 100 ms checkpoints", "entries/s", found.figure.series(|rate| *rate));
    let ratio = found.ratio(|rate| *rate);
    table.judge("append with 100 ms checkpoints ÷ without", "ratio", Target::AtLeast(0.95), ratio);
}
