//! What a big log takes.

use crate::ENTRY_BYTES;
use crate::report::{Table, Target};
use crate::world::World;

/// What an entry may take beside its bytes before it counts as overhead: its hash, and as much again.
const BESIDE_ENTRY: u64 = 64;

pub(crate) async fn sizes(world: &World, table: &mut Table) {
    let big = world.big().await;
    let of = format!("{} entries of {ENTRY_BYTES} B", big.entries);
    table.add(
        format!("appended, sealed and indexed: {of}"),
        "entries/s",
        big.entries as f64 / big.fill_seconds,
    );
    let allowed = (big.entries * (ENTRY_BYTES as u64 + BESIDE_ENTRY)) as f64;
    table.add("disk after sealing, all files", "B/entry", big.disk_bytes as f64 / big.entries as f64);
    table.judge(
        "disk ÷ (payload + 64 B an entry)",
        "ratio",
        Target::AtMost(1.15),
        big.disk_bytes as f64 / allowed,
    );
    table.add("peak resident memory meanwhile", "MB", big.peak_memory_mb);
    table.judge("resident memory afterwards", "MB", Target::AtMost(300.0), big.memory_mb);
}
