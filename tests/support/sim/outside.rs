//! What a simulated engine takes for the outside: a clock that is told, entropy from a seed, faults from a seed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_log::{Clock, Entropy, Env};
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point, Script};
use graven_store::sim::{Seed, SimFs};
use parking_lot::Mutex;

use super::trace::Trace;

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

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One operation fails.
    Error(io::ErrorKind),
    /// One write is cut short.
    Short,
    /// One read answers with a bit flipped.
    Flip,
    /// From here on nothing works: the process is dead, or the power is gone.
    Death,
}

/// Fails one operation after some others, as planned.
pub(crate) struct Faults {
    plan: Mutex<Plan>,
    disk: SimFs,
    pub(crate) trace: Arc<Trace>,
}

struct Plan {
    seed: Seed,
    /// Failpoints until the fault, and the fault.
    next: Option<(u64, Fault)>,
    fired: Option<Fault>,
    is_dead: bool,
    is_quiet: bool,
    is_opening: bool,
}

impl Faults {
    pub(crate) fn new(seed: u64, disk: SimFs, trace: Arc<Trace>) -> Self {
        let seed = Seed(seed);
        let plan = Plan { seed, next: None, fired: None, is_dead: false, is_quiet: true, is_opening: false };
        Self { plan: Mutex::new(plan), disk, trace }
    }

    /// A new process begins, with a fault ahead or none.
    pub(crate) fn begin_life(&self, next: Option<(u64, Fault)>) {
        let mut plan = self.plan.lock();
        (plan.next, plan.fired, plan.is_dead, plan.is_quiet) = (next, None, false, false);
    }

    /// While a store is being opened no bit flips in the journal: a flip in its very last record cannot be told from
    /// a torn write there, and nothing but a second copy could help.
    pub(crate) fn set_opening(&self, is_opening: bool) {
        self.plan.lock().is_opening = is_opening;
    }

    /// Runs something to which nothing new happens.
    pub(crate) fn quietly<T>(&self, run: impl FnOnce() -> T) -> T {
        let was_quiet = std::mem::replace(&mut self.plan.lock().is_quiet, true);
        let value = run();
        self.plan.lock().is_quiet = was_quiet;
        value
    }

    /// Whether the process should be dead by now.
    pub(crate) fn is_dead(&self) -> bool {
        self.plan.lock().is_dead
    }

    /// The fault that has happened in this life.
    pub(crate) fn fired(&self) -> Option<Fault> {
        self.plan.lock().fired
    }
}

impl Script for Faults {
    fn fate(&self, point: Point<'_>) -> Fate {
        let mut plan = self.plan.lock();
        if plan.is_dead {
            return Fate::Fail(io::ErrorKind::Other);
        }
        self.trace.point(point);
        if plan.is_quiet {
            return Fate::Continue;
        }
        let Some((left, fault)) = plan.next else { return Fate::Continue };
        if left > 0 || !strikes(fault, point, plan.is_opening) {
            plan.next = Some((left.saturating_sub(1), fault));
            return Fate::Continue;
        }
        (plan.next, plan.fired) = (None, Some(fault));
        self.trace.event(format_args!(
            "  fault {fault:?}, {:?} {:?} {}",
            point.phase,
            point.op,
            point.path.display()
        ));
        let is_failed_sync = matches!(fault, Fault::Error(_)) && point.op == Op::SyncData;
        if is_failed_sync && point.phase == Phase::Before {
            // As Linux does: what the failed sync should have written still reads well and will never be written.
            self.disk.drop_unsynced(point.path);
        }
        match fault {
            Fault::Error(kind) => Fate::Fail(kind),
            Fault::Short => Fate::Short(usize::try_from(plan.seed.below(5000)).unwrap()),
            Fault::Flip => Fate::FlipBit(plan.seed.next()),
            Fault::Death => {
                plan.is_dead = true;
                Fate::Fail(io::ErrorKind::Other)
            }
        }
    }
}

/// Whether a fault can happen at this point.
fn strikes(fault: Fault, point: Point<'_>, is_opening: bool) -> bool {
    match fault {
        Fault::Error(io::ErrorKind::StorageFull) => point.op.mutates(),
        Fault::Error(_) | Fault::Death => true,
        Fault::Short => point.op == Op::Write && point.phase == Phase::Before,
        Fault::Flip => {
            let is_read = point.op == Op::Read && point.phase == Phase::After;
            is_read && !(is_opening && is_journal(point.path))
        }
    }
}

fn is_journal(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "journal")
}

/// The outside of an engine on `disk`.
pub(crate) fn env(
    disk: &SimFs,
    faults: &Arc<Faults>,
    clock: &Arc<SimClock>,
    entropy: &Arc<SimEntropy>,
) -> Env {
    let fs = FaultFs::new(Arc::new(disk.clone()), faults.clone());
    Env { fs: Arc::new(fs), clock: clock.clone(), entropy: entropy.clone() }
}
