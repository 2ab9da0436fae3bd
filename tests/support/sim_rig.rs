//! One engine on a simulated disk, with faults on command: for tests that direct every step.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_log::{
    AppendError, Config, Engine, Env, IdempotencyKey, InitError, Kind, Log, OpenError, Sequenced, Status,
    Visibility, init,
};
use graven_merkle::{LeafIndex, verify_inclusion};
use graven_store::fault::{Fate, FaultFs, Point};
use graven_store::journal::MIN_SEGMENT_BYTES;
use graven_store::sim::{Seed, SimFs};
use parking_lot::Mutex;

use crate::ledger::Ledgers;
use crate::outside::{SimClock, SimEntropy};

pub(crate) const DATA: &str = "/data";

type Script = Box<dyn FnMut(Point<'_>) -> Fate + Send>;

/// A data directory on a simulated disk, and what opens it.
pub(crate) struct Rig {
    pub(crate) disk: SimFs,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) config: Config,
    entropy: Arc<SimEntropy>,
    script: Arc<Mutex<Option<Script>>>,
}

impl Rig {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        let sequencers = Arc::new(Ledgers);
        let config =
            Config { segment_bytes: MIN_SEGMENT_BYTES, reserve_bytes: 0, sequencers, ..Config::default() };
        Self {
            disk: SimFs::new(),
            clock: Arc::new(SimClock::new()),
            config,
            entropy: Arc::new(SimEntropy::new(1)),
            script: Arc::default(),
        }
    }

    /// A disk with the log `audit` on it, and its engine.
    pub(crate) fn with_log() -> (Self, Arc<Engine>, Arc<Log>) {
        let rig = Self::new();
        rig.init().unwrap();
        let (engine, log) = rig.open();
        (rig, engine, log)
    }

    pub(crate) fn env(&self) -> Env {
        let script = self.script.clone();
        let ask = move |point: Point<'_>| script.lock().as_mut().map_or(Fate::Continue, |ask| ask(point));
        let fs = FaultFs::new(Arc::new(self.disk.clone()), Arc::new(ask));
        Env { fs: Arc::new(fs), clock: self.clock.clone(), entropy: self.entropy.clone() }
    }

    pub(crate) fn init(&self) -> Result<(), InitError> {
        self.init_kind(Kind::Bytes)
    }

    pub(crate) fn init_kind(&self, kind: Kind) -> Result<(), InitError> {
        let (origin, visibility) = ("example.com/audit", Visibility::Private);
        init(&self.env(), Path::new(DATA), origin, kind, visibility, &self.config).map(drop)
    }

    pub(crate) fn try_open(&self) -> Result<Arc<Engine>, OpenError> {
        Engine::open(self.env(), Path::new(DATA), self.config.clone())
    }

    pub(crate) fn open(&self) -> (Arc<Engine>, Arc<Log>) {
        let engine = self.try_open().unwrap();
        let log = engine.log("audit").unwrap();
        (engine, log)
    }

    /// Kills the process, keeps the machine, and opens again.
    pub(crate) fn reopen(&self) -> (Arc<Engine>, Arc<Log>) {
        self.disk.kill();
        self.open()
    }

    /// From now on storage does what `script` says.
    pub(crate) fn fail(&self, script: impl FnMut(Point<'_>) -> Fate + Send + 'static) {
        *self.script.lock() = Some(Box::new(script));
    }

    /// Storage works again.
    pub(crate) fn heal(&self) {
        *self.script.lock() = None;
    }

    /// From the `at`-th failpoint on nothing works.
    pub(crate) fn die_at(&self, at: u64) {
        let mut points = 0;
        self.fail(move |_| {
            points += 1;
            if points > at { Fate::Fail(std::io::ErrorKind::Other) } else { Fate::Continue }
        });
    }

    pub(crate) fn crash(&self, seed: u64) {
        self.disk.crash(&mut Seed(seed));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(DATA).join(name)
    }
}

/// The `n`-th entry.
pub(crate) fn entry(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}"))
}

/// Appends and commits.
pub(crate) fn append(engine: &Engine, log: &Arc<Log>, entries: Vec<Bytes>) -> Result<Sequenced, AppendError> {
    append_as(engine, log, entries, None)
}

/// Appends under an idempotency key issued at a time, and commits.
pub(crate) fn append_as(
    engine: &Engine,
    log: &Arc<Log>,
    entries: Vec<Bytes>,
    key: Option<(&str, u64)>,
) -> Result<Sequenced, AppendError> {
    let key = key.map(|(key, issued_ns)| IdempotencyKey { key, issued_ns });
    let mut answer = engine.append_later(log, entries, key)?;
    engine.commit_step(Duration::ZERO);
    answer.try_recv().unwrap_or(Err(AppendError::Poisoned))
}

/// Appends entries up to the `n`-th, in batches.
pub(crate) fn fill(engine: &Engine, log: &Arc<Log>, n: u64) {
    while log.durable_size() < n {
        let first = log.durable_size();
        append(engine, log, (first..n.min(first + 100)).map(entry).collect()).unwrap();
    }
}

/// Publishes and seals.
pub(crate) fn publish(engine: &Engine, log: &Log) {
    assert!(engine.publish_step(log), "{:?}", engine.status());
    while engine.seal_step(log) {}
}

pub(crate) fn is_poisoned(engine: &Engine) -> bool {
    matches!(engine.status(), Status::Poisoned(_))
}

/// Every published entry is the one that was appended, and has a proof.
pub(crate) fn check(log: &Log) {
    let head = log.head();
    for n in 0..head.size().get() {
        let index = LeafIndex::new(n).unwrap();
        let (leaf, proof) = log.inclusion(index, head.size()).unwrap();
        assert_eq!(leaf, graven_merkle::leaf_hash(&entry(n)));
        verify_inclusion(leaf, index, head.size(), &proof, head.checkpoint.root()).unwrap();
        assert_eq!(log.entries(n..n + 1, 1).unwrap(), [entry(n)]);
    }
}
