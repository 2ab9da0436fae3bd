//! One simulated server through many lives: random steps, one fault a life, and the model that watches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use graven_log::{AppendError, Config, Engine, Kind, Log, LogName, OpenError, Sequenced, Status, Visibility};
use graven_log::{IdempotencyKey, WindowLimits, init};
use graven_merkle::{LeafIndex, verify_inclusion};
use graven_store::fs::{Fs, Mode};
use graven_store::journal::MIN_SEGMENT_BYTES;
use graven_store::sim::{Seed, SimFs};
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::faults::{Fault, Faults, env};
use super::model::{LogModel, Outcome, Request, entries_of};
use super::tally::Tally;
use super::trace::Trace;
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
                Kind::Bytes,
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

    fn step(&mut self) {
        let pause = 1 + self.seed.below(SECOND / 10);
        self.clock.pass(pause);
        match self.seed.below(100) {
            0..22 => self.append(1, 4),
            22..32 => self.append(60, 1),
            32..37 => self.append(400, 1),
            37..47 => self.repeat(),
            47..50 => self.other_content(),
            50..66 => self.commit(),
            66..80 => self.publish(),
            80..85 => self.seal(),
            85..88 => self.export(),
            88..91 => self.upkeep(),
            91..95 => self.prove(),
            95..97 => self.leap(),
            97 => self.create_log(),
            98 if self.seed.one_in(4) => self.freeze(),
            _ => self.clock.pass(20 * SECOND),
        }
    }

    fn append(&mut self, most_entries: u64, most_requests: u64) {
        for _ in 0..=self.seed.below(most_requests) {
            let log = self.any_log();
            let number = self.requests.len();
            let (count, padding) = (1 + self.seed.below(most_entries), self.seed.below(40));
            let entries =
                entries_of(number, usize::try_from(count).unwrap(), usize::try_from(padding).unwrap());
            let skew = self.seed.below(20 * SECOND);
            let issued_ns = self.wall_ns() - skew;
            let key = self.seed.one_in(2).then(|| (format!("key-{number}"), issued_ns));
            let (log, outcome) = (log.meta().name.to_string(), Outcome::Unknown);
            self.requests.push(Request { log, entries, key, outcome });
            self.submit(number, Asked::Same);
        }
    }

    /// A caller that lost its answer, or never got one, asks again.
    fn repeat(&mut self) {
        if let Some(number) = self.keyed_request(|_| true) {
            self.tally.repeats += 1;
            self.submit(number, Asked::Same);
        }
    }

    fn other_content(&mut self) {
        let is_acked = |request: &Request| matches!(request.outcome, Outcome::Acked { .. });
        if let Some(number) = self.keyed_request(is_acked) {
            self.submit(number, Asked::OtherContent);
        }
    }

    fn keyed_request(&mut self, is_wanted: impl Fn(&Request) -> bool) -> Option<usize> {
        let keyed: Vec<usize> = (0..self.requests.len())
            .rev()
            .filter(|number| {
                let request = &self.requests[*number];
                request.key.is_some() && request.outcome != Outcome::Refused && is_wanted(request)
            })
            .take(24)
            .collect();
        let at = usize::try_from(self.seed.below(keyed.len().max(1) as u64)).unwrap();
        keyed.get(at).copied()
    }

    fn submit(&mut self, number: usize, asked: Asked) {
        let engine = self.engine();
        let request = &self.requests[number];
        let Some(log) = engine.log(&request.log) else { return };
        let entries = match asked {
            Asked::Same => request.entries.clone(),
            Asked::OtherContent => entries_of(number, request.entries.len(), 41),
        };
        let key = request.key.as_ref().map(|(key, issued_ns)| IdempotencyKey { key, issued_ns: *issued_ns });
        let count = entries.len();
        let submitted = engine.append_later(&log, entries, key);
        let note = submitted.as_ref().map(drop);
        self.trace.event(format_args!("{asked:?} {number} to {}, {count} entries: {note:?}", request.log));
        match submitted {
            Ok(answer) => self.waiting.push(Waiting { number, asked, answer }),
            Err(error) => self.refused(number, asked, &error),
        }
    }

    fn refused(&mut self, number: usize, asked: Asked, error: &AppendError) {
        let is_first_try = self.waiting.iter().all(|waiting| waiting.number != number);
        let request = &mut self.requests[number];
        let is_final = !matches!(error, AppendError::Poisoned | AppendError::Stopping);
        // A repeat that is refused says nothing about the first time.
        if asked == Asked::Same && is_final && is_first_try && request.key.is_none() {
            request.outcome = Outcome::Refused;
        }
        self.tally.too_old += u64::from(*error == AppendError::KeyTooOld);
        if let AppendError::KeyReused { index } = error {
            let acked = matches!(request.outcome, Outcome::Acked { first, .. } if first == *index);
            assert!(asked == Asked::OtherContent && acked, "request {number}: {error}");
        }
    }

    fn commit(&mut self) {
        let goes_on = self.engine().commit_step(Duration::ZERO);
        self.trace.event(format_args!("commit: {goes_on}"));
        self.collect();
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.answer.try_recv() {
                Err(TryRecvError::Empty) => self.waiting.push(waiting),
                Err(TryRecvError::Closed) => {}
                Ok(answer) => self.answered(waiting.number, waiting.asked, answer),
            }
        }
    }

    fn answered(&mut self, number: usize, asked: Asked, answer: Result<Sequenced, AppendError>) {
        self.trace.event(format_args!("  request {number}: {answer:?}"));
        let sequenced = match answer {
            Ok(sequenced) => sequenced,
            Err(error) => return self.refused(number, asked, &error),
        };
        assert_eq!(asked, Asked::Same, "request {number} was taken with other content under its key");
        assert!(!self.is_poisoned(), "request {number} was acknowledged although storage failed");
        let request = &mut self.requests[number];
        let Sequenced { first, count, time_ns, duplicate } = sequenced;
        assert_eq!(count as usize, request.entries.len());
        if let Outcome::Acked { first: known, time_ns: time } = request.outcome {
            assert!(
                duplicate && (known, time) == (first, time_ns),
                "request {number} was {known}, is {first}"
            );
            return;
        }
        self.tally.acked_requests += 1;
        request.outcome = Outcome::Acked { first, time_ns };
        let log = self.logs.get_mut(&request.log).unwrap();
        log.ack(number, request.entries.len(), first, time_ns);
    }

    fn publish(&mut self) {
        let log = self.any_log();
        let released = self.engine().publish_step(&log);
        self.tally.heads += u64::from(released);
        self.trace.event(format_args!("publish {}: {released}, {}", log.meta().name, log.head().size()));
    }

    fn seal(&mut self) {
        let log = self.any_log();
        let before = log.sealed_size();
        self.engine().seal_step(&log);
        self.tally.sealed_bundles += (log.sealed_size() - before) / 256;
        self.trace.event(format_args!("seal {}: {}", log.meta().name, log.sealed_size()));
    }

    fn export(&mut self) {
        let log = self.any_log();
        let exported = self.engine().export_step(&log).is_some();
        self.tally.exports += u64::from(exported);
        self.trace.event(format_args!("export {}: {exported}", log.meta().name));
    }

    fn upkeep(&mut self) {
        self.engine().upkeep_step();
        self.trace.event(format_args!("upkeep"));
    }

    /// A proof that is given out verifies, whatever storage answers.
    fn prove(&mut self) {
        let log = self.any_log();
        let size = log.head().size();
        if size.get() == 0 {
            return;
        }
        let index = LeafIndex::new(self.seed.below(size.get())).unwrap();
        let model = &self.logs[log.meta().name.as_str()];
        let (leaf, root) = model.expected(index.get(), size.get());
        match log.inclusion(index, size) {
            Ok((found, proof)) => {
                assert_eq!(found, leaf);
                verify_inclusion(leaf, index, size, &proof, &root).unwrap();
                self.tally.proofs += 1;
            }
            Err(error) => assert!(self.faults.fired().is_some(), "{}: {error}", log.meta().name),
        }
    }

    /// The wall clock is set, by somebody or something, and the next time set right again.
    fn leap(&mut self) {
        use graven_log::Clock;
        let by = self.seed.below(1200 * SECOND);
        let wall_ns = self.clock.wall_ns();
        self.clock.set_wall(if self.seed.one_in(2) { wall_ns + by } else { wall_ns - by.min(240 * SECOND) });
        self.trace.event(format_args!("the clock leaps from {wall_ns} to {}", self.clock.wall_ns()));
    }

    fn wall_ns(&self) -> u64 {
        use graven_log::Clock;
        self.clock.wall_ns()
    }

    fn create_log(&mut self) {
        if self.logs.len() >= 4 {
            return;
        }
        let name = format!("log-{}", self.seed.below(4));
        let made = self.engine().create_log(&LogName::new(&name).unwrap(), Kind::Bytes, Visibility::Public);
        self.trace.event(format_args!("create {name}: {}", made.is_ok()));
        if let Ok(log) = made {
            self.tally.logs_made += 1;
            let known = self.logs.insert(name.clone(), LogModel::new(&log));
            assert!(known.is_none(), "log {name} was made twice");
        }
    }

    fn freeze(&mut self) {
        let log = self.any_log();
        let name = log.meta().name.to_string();
        // The first log goes on, so that something happens to the end.
        if name == FIRST_LOG {
            return;
        }
        let frozen = self.engine().freeze(&log).is_ok();
        self.trace.event(format_args!("freeze {name}: {frozen}"));
        self.tally.logs_frozen += u64::from(frozen);
        self.logs.get_mut(&name).unwrap().frozen |= frozen;
    }

    fn observe(&mut self) {
        let engine = self.engine();
        for (name, model) in &mut self.logs {
            let log = engine.log(name).unwrap();
            self.faults.quietly(|| model.observe(&log, &self.requests));
        }
    }

    /// After a failure of storage: no acknowledgement, no signature.
    fn check_poisoned(&mut self) {
        self.tally.poisoned += 1;
        let engine = self.engine();
        let heads: Vec<_> = engine.logs().iter().map(|log| log.head()).collect();
        self.append(1, 1);
        self.commit();
        for log in engine.logs() {
            assert!(!engine.publish_step(&log) && !engine.seal_step(&log));
            assert!(engine.export_step(&log).is_none());
        }
        let after: Vec<_> = engine.logs().iter().map(|log| log.head()).collect();
        assert!(heads == after, "a head was signed after storage had failed");
    }

    /// What a web server would serve is whole and right, in any life and between them.
    fn check_sites(&self) {
        let files = self.disk.snapshot();
        for (name, model) in &self.logs {
            let site = self.dir.join(format!("logs/{name}/site"));
            model.check_site(|path| files.get(&site.join(path)).map(Vec::as_slice));
        }
    }

    /// Without faults: everything durable is published, sealed, exported and proven; then the same after a restart.
    fn audit(&mut self) {
        for _ in 0..2 {
            self.faults.begin_life(None);
            let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
            let opened = Engine::open(outside, &self.dir, self.config.clone());
            self.engine = Some(opened.unwrap_or_else(|error| panic!("the last opening: {error}")));
            self.meet_logs();
            for log in self.engine().logs() {
                self.audit_log(&log);
            }
            self.settle();
            self.check_sites();
        }
    }

    fn audit_log(&mut self, log: &Arc<Log>) {
        let engine = self.engine();
        engine.publish_step(log);
        while engine.seal_step(log) {}
        engine.export_step(log).unwrap();
        self.observe();
        let model = &self.logs[log.meta().name.as_str()];
        model.check_complete(&self.requests);
        let size = log.head().size();
        for n in (0..size.get()).step_by(97).chain(size.get().checked_sub(1)) {
            let (leaf, root) = model.expected(n, size.get());
            let index = LeafIndex::new(n).unwrap();
            let (found, proof) = log.inclusion(index, size).unwrap();
            assert_eq!(found, leaf);
            verify_inclusion(leaf, index, size, &proof, &root).unwrap();
        }
        for _ in 0..4 {
            model.check_consistency(log, |count| self.seed.below(count));
        }
    }

    /// The journal of an older copy of the disk, under a signer journal that has signed more: it must not open.
    fn roll_back(&mut self) {
        let older = self.disk.snapshot();
        let known = self.logs[FIRST_LOG].published();
        self.faults.begin_life(None);
        let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
        self.clock.pass(SECOND);
        self.engine = Some(Engine::open(outside.clone(), &self.dir, self.config.clone()).unwrap());
        self.fill(known);
        self.settle();
        let newer = self.disk.snapshot();
        let mixed: BTreeMap<_, _> = newer
            .iter()
            .filter(|(path, _)| path.ends_with("signer"))
            .chain(older.iter().filter(|(path, _)| !path.ends_with("signer")))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect();
        self.disk.restore(&mixed);
        self.trace.event(format_args!("rolled back"));
        self.tally.rollbacks += 1;
        match Engine::open(outside, &self.dir, self.config.clone()) {
            Err(OpenError::Behind { .. }) => {}
            Err(error) => panic!("a data directory that went back: {error}"),
            Ok(engine) => {
                self.engine = Some(engine);
                self.fill(known);
                panic!("a data directory that went back was opened, and nothing came of it");
            }
        }
    }

    /// Appends to the first log and publishes, until it has published more than `known` entries.
    fn fill(&mut self, known: u64) {
        let name = FIRST_LOG.to_owned();
        let engine = self.engine();
        let log = engine.log(&name).unwrap();
        // Whatever the clock was made to say, it is right from here on.
        self.clock.pass(3600 * SECOND);
        let number = self.requests.len();
        let (entries, outcome) = (entries_of(number, 3, 0), Outcome::Unknown);
        self.requests.push(Request { log: name.clone(), entries, key: None, outcome });
        self.submit(number, Asked::Same);
        self.commit();
        engine.publish_step(&log);
        self.observe();
        assert!(self.logs[&name].published() > known, "{:?}", self.requests[number].outcome);
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
        ..Config::default()
    }
}
