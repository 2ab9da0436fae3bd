//! One simulated server through many lives: random steps, one fault a life, and the model that watches.

mod checks;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use graven_log::{AppendError, Config, Engine, Kind, Log, Sequenced, Status, Visibility, WindowLimits, init};
use graven_store::fs::{Fs, Mode};
use graven_store::journal::MIN_SEGMENT_BYTES;
use graven_store::sim::{Seed, SimFs};
use tokio::sync::oneshot::Receiver;

use super::faults::{Fault, Faults, env};
use super::model::{LogModel, Request};
use super::tally::Tally;
use super::trace::Trace;
use crate::ledger::Ledgers;
use crate::outside::{SECOND, SimClock, SimEntropy};

const FIRST_LOG: &str = "audit";
const LIVES: u64 = 4;
const STEPS: u64 = 30;
/// Opens that may fail because of an injected fault, before one without faults.
const MAX_FAULTY_OPENS: u64 = 3;

/// What a waiting answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The request itself, or the same once more.
    Same,
    /// Other content under its key.
    OtherContent,
}

struct Waiting {
    number: usize,
    asked: Asked,
    answer: Receiver<Result<Sequenced, AppendError>>,
}

pub(crate) struct World {
    seed: Seed,
    disk: SimFs,
    dir: PathBuf,
    faults: Arc<Faults>,
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    config: Config,
    engine: Option<Arc<Engine>>,
    trace: Arc<Trace>,
    requests: Vec<Request>,
    waiting: Vec<Waiting>,
    logs: BTreeMap<String, LogModel>,
    has_all_keys: bool,
    /// Whether the first log has a hook that does something.
    is_ledger: bool,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64, prints: bool) -> Self {
        let mut seed = Seed(seed);
        let (disk, trace) = (SimFs::new(), Arc::new(Trace::new(prints)));
        let config = config(&mut seed);
        trace.event(format_args!("{config:?}"));
        Self {
            faults: Arc::new(Faults::new(seed.next(), disk.clone(), trace.clone())),
            clock: Arc::new(SimClock::new()),
            entropy: Arc::new(SimEntropy::new(seed.next())),
            has_all_keys: seed.one_in(8),
            is_ledger: seed.one_in(3),
            seed,
            disk,
            dir: PathBuf::from("/data"),
            config,
            engine: None,
            trace,
            requests: Vec::new(),
            waiting: Vec::new(),
            logs: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Runs the whole story and returns the hash of its trace.
    pub(crate) fn run(&mut self) -> u64 {
        self.init();
        for _ in 0..LIVES {
            self.open();
            let steps = self.seed.below(STEPS * 2);
            for _ in 0..steps {
                self.step();
                self.observe();
                if self.faults.is_dead() {
                    break;
                }
                if self.is_poisoned() {
                    self.check_poisoned();
                    break;
                }
            }
            self.end_life();
        }
        self.audit();
        if self.seed.one_in(2) {
            self.roll_back();
        }
        self.trace.hash()
    }

    /// Makes the data directory; an interrupted `init` is cleared away and run again.
    fn init(&mut self) {
        let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
        let fault = self.plan(8, 400);
        self.faults.begin_life(fault);
        loop {
            let made = init(
                &outside,
                &self.dir,
                "example.com/audit",
                if self.is_ledger { Kind::Events } else { Kind::Bytes },
                Visibility::Private,
                &self.config,
            );
            self.trace.event(format_args!("init: {}", made.is_ok()));
            if made.is_ok() && !self.faults.is_dead() {
                return;
            }
            assert!(self.faults.fired().is_some(), "init: {made:?}");
            self.settle();
            self.faults.begin_life(None);
            let finished = self.disk.snapshot().contains_key(&self.dir.join("server"));
            if finished {
                return;
            }
            self.trace.event(format_args!("the half-made data directory is left, and another one begun"));
            self.dir.set_extension(self.tally.deaths.to_string());
        }
    }

    /// Turns off all keys of the logs but Ed25519: the other signatures would take most of the time.
    fn keep_one_key(&self) {
        let fs: &dyn Fs = &self.disk;
        for (path, text) in self.disk.snapshot().iter().filter(|(path, _)| path.ends_with("log")) {
            let mut keys = 0..;
            let is_kept = |line: &&str| !line.starts_with("key ") || keys.next() == Some(1);
            let text = std::str::from_utf8(text).unwrap();
            if text.matches("\nkey ").count() > 1 {
                let kept: String = text.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
                fs.replace_durable(path, kept.as_bytes(), Mode::Shared).unwrap();
            }
        }
    }

    /// What a dead process leaves: all that it wrote, or, where the power went too, what it synced.
    fn settle(&mut self) {
        self.engine = None;
        self.tally.deaths += 1;
        if self.seed.one_in(3) {
            self.trace.event(format_args!("killed"));
            self.disk.kill();
        } else {
            self.trace.event(format_args!("power cut"));
            self.disk.crash(&mut self.seed);
        }
    }

    /// One fault within the next failpoints, most often soon; or none, once in `n` times.
    fn plan(&mut self, n: u64, most: u64) -> Option<(u64, Fault)> {
        use std::io::ErrorKind::{Other, StorageFull};
        if self.seed.one_in(n) {
            return None;
        }
        let bound = 1 + self.seed.below(most);
        let after = self.seed.below(bound);
        let fault = match self.seed.below(8) {
            0 => Fault::Error(StorageFull),
            1 | 2 => Fault::Error(Other),
            3 => Fault::Short,
            4 => Fault::Flip,
            _ => Fault::Death,
        };
        Some((after, fault))
    }

    fn open(&mut self) {
        self.tally.lives += 1;
        if !self.has_all_keys {
            self.keep_one_key();
        }
        for attempt in 0.. {
            let fault = if attempt < MAX_FAULTY_OPENS { self.plan(4, 900) } else { None };
            self.faults.begin_life(fault);
            self.faults.set_opening(true);
            let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
            let opened = Engine::open(outside, &self.dir, self.config.clone());
            self.faults.set_opening(false);
            match opened {
                Ok(engine) => {
                    self.trace.event(format_args!("opened"));
                    self.engine = Some(engine);
                    self.meet_logs();
                    return;
                }
                Err(error) => {
                    self.trace.event(format_args!("not opened: {error}"));
                    assert!(self.faults.fired().is_some(), "nothing happened, and it does not open: {error}");
                    self.tally.refused_opens += 1;
                    self.settle();
                }
            }
        }
    }

    /// All logs that were created are there; one whose creation was interrupted may be.
    fn meet_logs(&mut self) {
        let engine = self.engine.clone().unwrap();
        for log in engine.logs() {
            let name = log.meta().name.to_string();
            self.logs.entry(name).or_insert_with(|| LogModel::new(&log));
        }
        for name in self.logs.keys() {
            assert!(engine.log(name).is_some(), "log {name} is gone");
        }
        self.observe();
    }

    fn end_life(&mut self) {
        self.collect();
        self.tally.faults += u64::from(self.faults.fired().is_some());
        for waiting in self.waiting.drain(..) {
            self.trace.event(format_args!("request {} has no answer", waiting.number));
        }
        self.settle();
        self.check_sites();
        self.clock.pass(SECOND);
    }

    fn engine(&self) -> Arc<Engine> {
        self.engine.clone().unwrap()
    }

    fn is_poisoned(&self) -> bool {
        matches!(self.engine().status(), Status::Poisoned(_))
    }

    fn any_log(&mut self) -> Arc<Log> {
        let logs = self.engine().logs();
        logs[usize::try_from(self.seed.below(logs.len() as u64)).unwrap()].clone()
    }

    fn observe(&mut self) {
        let engine = self.engine();
        for (name, model) in &mut self.logs {
            let log = engine.log(name).unwrap();
            self.faults.quietly(|| model.observe(&log, &self.requests));
        }
    }
}

fn config(seed: &mut Seed) -> Config {
    Config {
        segment_bytes: MIN_SEGMENT_BYTES * (1 + seed.below(3)),
        max_unsealed_bytes: 64 << (10 + seed.below(3)),
        reserve_bytes: 0,
        heartbeat: Duration::from_secs(10 + seed.below(50)),
        window: WindowLimits {
            max_age: Duration::from_secs(60 + seed.below(600)),
            max_keys: 4 << seed.below(6),
            max_segments: 1 + seed.below(6),
        },
        sequencers: Arc::new(Ledgers),
        ..Config::default()
    }
}
