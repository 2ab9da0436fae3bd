//! What a simulated engine takes for the outside beside its disk: a clock that is told, and entropy from a seed.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_log::{Clock, Entropy};
use graven_store::sim::Seed;
use parking_lot::Mutex;

pub(crate) const SECOND: u64 = 1_000_000_000;
/// The simulated machine's first moment, nanoseconds since 1970.
const BEGINNING_NS: u64 = 1_790_000_000 * SECOND;

/// A clock that moves only when told to.
pub(crate) struct SimClock {
    wall_ns: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { wall_ns: BEGINNING_NS.into(), monotonic_ns: SECOND.into() }
    }

    /// Time passes.
    pub(crate) fn pass(&self, ns: u64) {
        self.wall_ns.fetch_add(ns, Ordering::Relaxed);
        self.monotonic_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_wall(&self, wall_ns: u64) {
        self.wall_ns.store(wall_ns, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall_ns(&self) -> u64 {
        self.wall_ns.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }
}

/// Random bytes that a seed decides.
pub(crate) struct SimEntropy(Mutex<Seed>);

impl SimEntropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Seed(seed)))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut seed = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&seed.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
