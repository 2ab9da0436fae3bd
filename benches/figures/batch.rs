//! Many entries a call, for as long as sealing must keep up.

use std::time::{Duration, Instant};

use crate::ENTRY_BYTES;
use crate::calls;
use crate::disk;
use crate::load::Load;
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::rounds::Rounds;
use crate::world::World;

const CALLERS: usize = 16;
const BATCH: usize = 256;
/// All rounds together take a minute, far more than what may wait to be sealed.
const ROUND: Duration = Duration::from_secs(12);

/// One round.
#[derive(Default)]
struct Sealed {
    /// Entries a second, up to the moment when all of them were sealed.
    per_second: f64,
    /// Entries a second, up to the last acknowledgement.
    acked_per_second: f64,
    /// What was acknowledged and not yet sealed at that moment, in MB of entries.
    backlog_mb: f64,
}

pub(crate) async fn batches(world: &World, table: &mut Table) {
    let rounds = world.rounds();
    let rounds = if world.is_quick() { rounds } else { Rounds { time: ROUND, ..rounds } };
    for bytes in [ENTRY_BYTES, 1024] {
        let data = Data::init(world.home(&format!("batch-{bytes}")), "");
        let graven = data.serve();
        let load = Load::connect(&graven).await;
        let base = async |_| {
            let per_second = disk::serial_loop(world.folder(), bytes, world.rounds().time);
            Sealed { per_second, ..Sealed::default() }
        };
        let found = rounds.compare(base, async |time| batch(&load, &data, bytes, time).await).await;
        let name = format!("AppendBatch of {BATCH}, {bytes} B");
        table.add(
            format!("L: hash + write + fdatasync of 4,096, {bytes} B"),
            "entries/s",
            found.baseline.series(|round| round.per_second),
        );
        table.add(format!("{name}, all sealed"), "entries/s", found.figure.series(|round| round.per_second));
        table.add(
            format!("{name}, acknowledged"),
            "entries/s",
            found.figure.series(|round| round.acked_per_second),
        );
        table.add(
            format!("{name}, not sealed at its end"),
            "MB",
            found.figure.series(|round| round.backlog_mb),
        );
        let ratio = found.ratio(|round| round.per_second);
        table.judge(format!("{name}, all sealed ÷ L"), "ratio", Target::AtLeast(0.6), ratio);
    }
}

async fn batch(load: &Load, data: &Data, bytes: usize, time: Duration) -> Sealed {
    let started = Instant::now();
    let acked = load.run(CALLERS, time, calls::append_batch(bytes, BATCH)).await;
    let durable = load.log_info().await.durable_size;
    let unsealed = durable - data.sealed(durable);
    // What is left of a bundle at the end is never sealed.
    while durable - data.sealed(durable) >= 256 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let entries = (acked.calls * BATCH as u64) as f64;
    Sealed {
        per_second: entries / started.elapsed().as_secs_f64(),
        acked_per_second: acked.per_second * BATCH as f64,
        backlog_mb: unsealed as f64 * bytes as f64 / 1e6,
    }
}
