//! From kill -9 to the first answers.

use std::time::{Duration, Instant};

use crate::ENTRY_BYTES;
use crate::calls;
use crate::load::Load;
use crate::report::{Table, Target};
use crate::world::World;

/// Long enough for as much to be unsealed as ever is.
const LOAD_BEFORE: Duration = Duration::from_secs(3);

struct Started {
    backlog_mb: f64,
    first_ack_s: f64,
    first_proof_s: f64,
}

pub(crate) async fn starts(world: &World, table: &mut Table) {
    let big = world.big().await;
    let found = world
        .rounds()
        .repeat(async |time| {
            let graven = big.data.serve();
            let load = Load::connect(&graven).await;
            load.run(16, LOAD_BEFORE.min(time), calls::append_batch(ENTRY_BYTES, 256)).await;
            let durable = load.log_info().await.durable_size;
            drop(graven);
            let backlog_mb = (durable - big.data.sealed(durable)) as f64 * ENTRY_BYTES as f64 / 1e6;
            let started = Instant::now();
            let graven = big.data.serve();
            let load = Load::connect(&graven).await;
            load.times(1, 1, calls::append(ENTRY_BYTES)).await;
            let first_ack_s = started.elapsed().as_secs_f64();
            load.times(1, 1, calls::prove(big.entries)).await;
            Started { backlog_mb, first_ack_s, first_proof_s: started.elapsed().as_secs_f64() }
        })
        .await;
    let at = format!("kill -9 at {} entries", big.entries);
    table.add("killed with this much not sealed", "MB", found.series(|start| start.backlog_mb));
    let ack = found.series(|start| start.first_ack_s);
    table.judge(format!("{at} to first ack"), "s", Target::AtMost(3.0), ack);
    let proof = found.series(|start| start.first_proof_s);
    table.judge(format!("{at} to first proof"), "s", Target::AtMost(3.0), proof);
}
