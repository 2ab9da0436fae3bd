//! The engine through thousands of simulated lives: crashes, torn writes, lost data, failing and lying storage.
//!
//! A seed decides everything: what callers ask, in which order the engine's steps run, what fails, what a power cut
//! keeps. The same seed gives the same trace. Beside the engine a model remembers what callers and readers were told;
//! after each step and each restart the engine is held to it:
//!
//! * no acknowledged entry is lost or changed, no index is used twice, requests are all or nothing;
//! * a repeat under an idempotency key gives the first index, or is refused as too old: never a second one;
//! * every head ever released is a root of the entries as read, sizes and times never go back;
//! * after a failure of storage nothing is acknowledged or signed until a restart;
//! * a restart succeeds, unless it is itself hit by a fault; then the one without a fault does;
//! * what was stored with an acknowledged entry is there until it is dropped, and gone after; a hook's state is that of the
//!   leaves before it, whatever snapshot it went on from;
//! * the static site is whole at any moment; storage that went back in time does not open.
//!
//! `GRAVEN_SIM_SEED=n` runs one seed and prints what happens; `GRAVEN_SIM_SEEDS=n` runs that many.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/ledger.rs"]
mod ledger;
#[path = "support/sim_outside.rs"]
mod outside;
#[path = "support/sim/mod.rs"]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use sim::tally::Tally;
use sim::world::World;

const SEEDS: u64 = 2_000;
const THREADS: u64 = 2;
/// One seed in this many runs twice, and must leave the same trace.
const TWICE_EVERY: u64 = 50;

fn number_from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{value}`")))
}

/// Runs one seed; a failure is told with its seed.
fn run(seed: u64, prints: bool) -> (Tally, u64) {
    let mut world = World::new(seed, prints);
    let hash = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|_| {
        panic!("seed {seed} failed: GRAVEN_SIM_SEED={seed} runs it alone and prints what happens")
    });
    if seed.is_multiple_of(TWICE_EVERY) {
        assert_eq!(World::new(seed, false).run(), hash, "seed {seed} gave two different traces");
    }
    (world.tally, hash)
}

#[test]
fn nothing_acknowledged_or_signed_is_ever_contradicted() {
    if let Some(seed) = number_from_env("GRAVEN_SIM_SEED") {
        let (_, hash) = run(seed, true);
        println!("seed {seed}: trace {hash:016x}");
        return;
    }
    let seeds = number_from_env("GRAVEN_SIM_SEEDS").unwrap_or(SEEDS);
    let (started, next) = (Instant::now(), AtomicU64::new(0));
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return tally;
            }
            tally.add(&run(seed, false).0);
        }
    };
    let mut total = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| total.add(&thread.join().unwrap()));
    });
    println!("{seeds} seeds in {:.1} s: {total:?}", started.elapsed().as_secs_f64());
    total.check_coverage(seeds);
}
