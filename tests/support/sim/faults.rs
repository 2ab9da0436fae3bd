//! Faults from a seed: one a life, at any step of storage.

use std::io;
use std::path::Path;
use std::sync::Arc;

use graven_log::Env;
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point, Script};
use graven_store::sim::{Seed, SimFs};
use parking_lot::Mutex;

use super::trace::Trace;
use crate::outside::{SimClock, SimEntropy};

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
