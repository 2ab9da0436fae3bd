//! The engine as its callers see it, and the three threads that drive it.
//!
//! All rules are in steps that run to completion on the thread that calls them — [`Engine::commit_step`],
//! [`Engine::publish_step`], [`Engine::seal_step`] — so that a test can run them in any order on one thread, with a
//! crash anywhere. [`Engine::start`] runs each on a thread of its own: the writer on the path of every append, the
//! publisher beside it, the sealer behind both.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use graven_merkle::LeafIndex;
use graven_merkle::tile::TILE_WIDTH;
use graven_store::fs::{Lock, Mode};
use graven_store::journal::LogId;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{Notify, watch};

use crate::clock::{LogClock, micros};
use crate::config::{Config, MAX_LOGS, MAX_REQUEST_BYTES};
use crate::env::Env;
use crate::error::{AppendError, CreateError, KeyError, OpenError};
use crate::log::{Head, Log};
use crate::meta::{Kind, LogName, Paths, ServerMeta, Visibility};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::recover::{self, Opened};
use crate::replay::Replayed;
use crate::window::KeyDigester;
use crate::writer::{Lane, Writer};
use crate::{create, drive, rollback, seal};

/// Room that the signer journal must have before anything is signed: a rotation and a few notes.
const SIGNING_BYTES: u64 = 64 << 10;
/// Room on disk for an export beside its partial bundle: the partial tiles and the checkpoint.
const EXPORT_BYTES: u64 = 1 << 20;
/// Room on disk for the files of a new log.
const CREATING_BYTES: u64 = 1 << 20;

/// Whether the engine takes and acknowledges entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Running,
    /// It finishes what it has and takes nothing more.
    Stopping,
    /// Storage failed, or something that must hold does not: nothing is acknowledged or signed any more.
    Poisoned(String),
    /// A witness knows more of a log than this data directory: nothing is acknowledged or signed any more.
    RolledBack(String),
}

impl Status {
    /// Whether nothing is acknowledged or signed any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Poisoned(_) | Self::RolledBack(_))
    }
}

/// A server's logs.
pub struct Engine {
    pub(crate) env: Env,
    pub(crate) config: Config,
    paths: Paths,
    server: ServerMeta,
    pub(crate) digester: KeyDigester,
    logs: RwLock<BTreeMap<LogName, Arc<Log>>>,
    /// Held while a log is created.
    creating: Mutex<()>,
    pub(crate) pool: Pool,
    pub(crate) writer: Mutex<Writer>,
    poisoned: Arc<AtomicBool>,
    status: watch::Sender<Status>,
    signing_clock: Mutex<LogClock>,
    log_clock: Arc<Mutex<LogClock>>,
    /// Whether it was said that nothing is signed for want of a clock.
    unsigned_told: AtomicBool,
    free_bytes: AtomicU64,
    disk_full: AtomicBool,
    metrics: Metrics,
    /// Told whenever sealing made room.
    pub(crate) drained: Notify,
    pub(crate) doorbells: drive::Doorbells,
    pub(crate) max_request_bytes: usize,
    _lock: Box<dyn Lock>,
}

impl Engine {
    /// Opens a data directory: checks it, rebuilds what is in memory, releases the last signed heads again.
    ///
    /// Commits, publications and sealing are measured for the recorder of [`metrics`](::metrics) that is installed now.
    pub fn open(env: Env, dir: &Path, config: Config) -> Result<Arc<Self>, OpenError> {
        let Opened { paths, server, logs, mut writer, lock } = recover::open(&env, dir, &config)?;
        let ids: Vec<_> = writer.lanes.keys().copied().collect();
        ids.into_iter().try_for_each(|id| writer.begin(id))?;
        let max_request_bytes = MAX_REQUEST_BYTES.min(writer.journal.max_body_bytes() / 2);
        let engine = Self {
            digester: KeyDigester::new(&server.secret),
            pool: Pool::new(config.max_pending_bytes),
            poisoned: writer.poisoned.clone(),
            log_clock: writer.clock.clone(),
            metrics: writer.metrics.clone(),
            env,
            config,
            paths,
            server,
            logs: RwLock::new(logs),
            creating: Mutex::new(()),
            writer: Mutex::new(writer),
            status: watch::Sender::new(Status::Running),
            signing_clock: Mutex::new(LogClock::after(0)),
            unsigned_told: AtomicBool::new(false),
            free_bytes: AtomicU64::new(0),
            disk_full: AtomicBool::new(false),
            drained: Notify::new(),
            doorbells: drive::Doorbells::default(),
            max_request_bytes,
            _lock: lock,
        };
        // A slot that the start gave back is used or removed now: a server that dies right after each start must not
        // fill the disk.
        engine.upkeep_step();
        Ok(Arc::new(engine))
    }

    /// Runs the engine on threads of its own until the handle is stopped.
    pub fn start(self: &Arc<Self>) -> io::Result<drive::Running> {
        drive::start(self)
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// What origins of this server's logs begin with.
    pub fn prefix(&self) -> &str {
        &self.server.prefix
    }

    /// A log by its name.
    pub fn log(&self, name: &str) -> Option<Arc<Log>> {
        let name = LogName::new(name).ok()?;
        self.logs.read().get(&name).cloned()
    }

    /// All logs, by name.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().cloned().collect()
    }

    /// Bytes that one request may bring.
    pub fn max_request_bytes(&self) -> usize {
        self.max_request_bytes
    }

    /// The settings that it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Free bytes on the disk, when it was last looked at: a moment ago.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Whether the machine's clock cannot be believed, so that nothing is signed, or appended.
    pub fn is_clock_suspect(&self) -> bool {
        let (wall_ns, monotonic_ns) = (self.env.clock.wall_ns(), self.env.clock.monotonic_ns());
        let is_suspect = |clock: &Mutex<LogClock>| clock.lock().check(wall_ns, monotonic_ns).is_err();
        is_suspect(&self.signing_clock) || is_suspect(&self.log_clock)
    }

    /// The present status.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Follows the status.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Whether appends are refused for want of disk.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Waits until a checkpoint covers `size` entries, and returns it.
    pub async fn published(&self, log: &Log, size: u64) -> Result<Arc<Head>, AppendError> {
        let mut heads = log.watch();
        let mut status = self.watch_status();
        tokio::select! {
            head = heads.wait_for(|head| head.size().get() >= size) => match head {
                Ok(head) => Ok(head.clone()),
                Err(_) => Err(AppendError::Stopping),
            },
            _ = status.wait_for(Status::is_over) => Err(AppendError::Poisoned),
        }
    }

    /// Creates a log, empty and published at size 0.
    pub fn create_log(
        &self,
        name: &LogName,
        kind: Kind,
        visibility: Visibility,
    ) -> Result<Arc<Log>, CreateError> {
        let _one_at_a_time = self.creating.lock();
        if !self.config.sequencers.serves(kind) {
            return Err(CreateError::Kind(kind));
        }
        if self.is_poisoned() {
            return Err(CreateError::Poisoned);
        }
        let logs = self.logs();
        if logs.iter().any(|log| log.meta.name == *name) {
            return Err(CreateError::Exists(name.clone()));
        }
        if logs.len() >= MAX_LOGS {
            return Err(CreateError::TooMany(MAX_LOGS));
        }
        let id = LogId(logs.iter().map(|log| log.meta.id.0).max().unwrap_or(0) + 1);
        if !self.has_room(CREATING_BYTES) {
            return Err(KeyError::Io(io::ErrorKind::StorageFull.into()).into());
        }
        let lane = self.make_log(name, id, kind, visibility).inspect_err(|error| {
            if !matches!(error, CreateError::Key(KeyError::Name(_))) {
                // Whether the log exists now is not known: another try could put other keys under its manifest.
                self.poison(&format!("creating log `{name}` failed: {error}"));
            }
        })?;
        let log = lane.log.clone();
        let mut writer = self.writer();
        writer.lanes.insert(id, lane);
        // Nobody finds the log before its first leaf is durable.
        let begun = writer.begin(id);
        drop(writer);
        begun.map_err(|error| {
            self.poison(&format!("the journal failed: {error}"));
            CreateError::Poisoned
        })?;
        self.logs.write().insert(name.clone(), log.clone());
        Ok(log)
    }

    fn make_log(
        &self,
        name: &LogName,
        id: LogId,
        kind: Kind,
        visibility: Visibility,
    ) -> Result<Lane, CreateError> {
        let name = name.clone();
        let meta = create::create_log(&self.env, &self.paths, name, &self.server, id, kind, visibility)?;
        Ok(recover::open_log(&self.env, &self.paths, meta, Replayed::default(), &self.config)?)
    }

    /// Freezes a log for good: once this returns, also after a crash, it takes no more entries. What it holds is
    /// still published.
    pub fn freeze(&self, log: &Log) -> io::Result<()> {
        // Under the writer's lock no commit is on its way: what comes after sees the mark.
        let writer = self.writer();
        if self.is_poisoned() {
            return Err(io::Error::other("storage failed: the server must be restarted"));
        }
        let path = self.paths.frozen(&log.meta.name);
        if !self.env.fs.exists(&path)? {
            let text = format!("{}\n", log.durable_size());
            let made = self.env.fs.create_durable(&path, text.as_bytes(), Mode::ReadOnly);
            if let Err(error) = made {
                drop(writer);
                self.poison(&format!("freezing failed: {error}"));
                return Err(error);
            }
        }
        log.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Commits what waits, waiting up to `patience` for it. `false`: stopped, and nothing waits any more.
    pub fn commit_step(&self, patience: Duration) -> bool {
        let max_bytes = self.config.max_commit_bytes.min(self.max_request_bytes);
        let Some(jobs) = self.pool.take(max_bytes, patience) else { return false };
        if jobs.is_empty() {
            return !self.is_poisoned();
        }
        let mut writer = self.writer();
        let result = writer.commit(jobs);
        // The sealer wants the lock too, now and then: hand it over instead of racing it.
        MutexGuard::unlock_fair(writer);
        match result {
            Ok(()) => {
                self.doorbells.publisher.ring();
                true
            }
            Err(error) => {
                self.poison(&format!("the journal failed: {error}"));
                false
            }
        }
    }

    /// Signs and releases a new head of a log, if there is anything new, or its heartbeat is due. `true`: it did.
    pub fn publish_step(&self, log: &Log) -> bool {
        if self.is_poisoned() {
            return false;
        }
        let now_ns = self.env.clock.monotonic_ns();
        if log.witnesses.as_ref().is_some_and(|witnesses| !witnesses.may_sign(log, now_ns)) {
            return false;
        }
        let Some(now_seconds) = self.signing_seconds() else { return false };
        let mut signing = log.signing.lock();
        let (from, to) = (signing.size().get(), log.integrated_size());
        let is_heartbeat = now_seconds >= signing.time_seconds() + self.config.heartbeat.as_secs();
        if (from == to && !is_heartbeat) || !self.has_room(SIGNING_BYTES) {
            return false;
        }
        let started = std::time::Instant::now();
        let chunks = log.tail.read().chunks_in(from..to);
        match signing.publish(&log.tree, &chunks, now_seconds) {
            Ok(head) if !self.is_poisoned() => {
                let took = started.elapsed();
                self.metrics.publish_seconds.record(took);
                let took_us = micros(took);
                tracing::debug!(log = %log.meta.name, size = to, entries = to - from, took_us, "publish");
                match &log.witnesses {
                    Some(witnesses) => witnesses.signed(log, head, now_ns),
                    None => log.release(head),
                }
                true
            }
            Ok(_) => false,
            Err(error) => {
                self.poison(&format!("log `{}`: {error}", log.meta.name));
                false
            }
        }
    }

    /// The time to sign at, unless the machine's clock cannot be believed: a head dated into the future would pass for
    /// fresh until that time has come. What changes is said once.
    fn signing_seconds(&self) -> Option<u64> {
        let tick = self.signing_clock.lock().tick(self.env.clock.wall_ns(), self.env.clock.monotonic_ns());
        if self.unsigned_told.swap(tick.is_err(), Ordering::Relaxed) != tick.is_err() {
            match &tick {
                Err(error) => tracing::error!(%error, "nothing is signed"),
                Ok(_) => tracing::info!("the clock is believed again: signing goes on"),
            }
        }
        tick.ok().map(|ns| ns / 1_000_000_000)
    }

    /// Seals a round of published entries of a log. `true`: there may be more to seal.
    pub fn seal_step(&self, log: &Log) -> bool {
        if self.is_poisoned() || !self.has_room(seal::room_for_round(log)) {
            return false;
        }
        let started = std::time::Instant::now();
        let sealed = match seal::round(log) {
            Ok(None) => return false,
            Ok(Some(sealed)) => sealed,
            Err(error) => {
                self.poison(&format!("sealing log `{}` failed: {error}", log.meta.name));
                return false;
            }
        };
        let before = log.sealed_size();
        if let Err(error) = self.writer().sealed(log, sealed) {
            self.poison(&format!("the journal failed: {error}"));
            return false;
        }
        self.drained.notify_waiters();
        let took = started.elapsed();
        self.metrics.seal_seconds.record(took);
        let took_us = micros(took);
        tracing::debug!(log = %log.meta.name, sealed, entries = sealed - before, took_us, "seal");
        true
    }

    /// Deletes the attachments of a class of all bundles that are sealed and whose entries all lie before `before`, and
    /// returns how many files that were; durable when it returns. It takes whole files only and can be repeated at any time:
    /// entries, proofs and other classes are left alone, and what is sealed later waits for the next call. A crash on
    /// the way leaves some of the files. The journal still has attachments of the last minutes, until its segments
    /// are used again.
    ///
    /// # Errors
    /// Storage failed; the server must be restarted.
    pub fn drop_blobs(&self, log: &Log, class: u8, before: LeafIndex) -> io::Result<u64> {
        if self.is_poisoned() {
            return Err(io::Error::other("storage failed: the server must be restarted"));
        }
        let bundles = before.get().min(log.sealed_size()) / u64::from(TILE_WIDTH);
        log.blobs.drop_before(class, bundles).inspect_err(|error| {
            self.poison(&format!("dropping attachments of log `{}` failed: {error}", log.meta.name));
        })
    }

    /// Completes a log's static site at its published head. `None`: not before more is sealed, or there is room.
    pub fn export_step(&self, log: &Log) -> Option<Arc<Head>> {
        let head = log.head();
        let is_sealed = log.sealed_size() / 256 == head.size().get() / 256;
        let wanted = EXPORT_BYTES + log.tail.read().bytes() as u64;
        if self.is_poisoned() || !is_sealed || !self.has_room(wanted) {
            return None;
        }
        let before =
            rollback::exported(&self.env, &self.paths, &log.meta, &log.keys()).map_err(io::Error::other);
        let before = before.map(|before| before.map_or(graven_merkle::TreeSize::ZERO, |it| it.size()));
        match before.and_then(|before| seal::export(log, &head, before)) {
            Ok(()) => Some(head),
            Err(error) => {
                self.poison(&format!("exporting log `{}` failed: {error}", log.meta.name));
                None
            }
        }
    }

    /// Makes the next journal segment ready and looks at the disk.
    pub fn upkeep_step(&self) {
        if self.is_poisoned() {
            return;
        }
        let free = self.look_at_disk().unwrap_or(u64::MAX);
        let segments = self.writer().journal.segments();
        let mut is_full = free < self.config.reserve_bytes;
        if !is_full && !segments.is_ready() {
            let made = self.env.random().and_then(|nonce| segments.prepare(nonce));
            match made {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => is_full = true,
                Err(error) => self.poison(&format!("the journal failed: {error}")),
                Ok(()) => {}
            }
        }
        if self.disk_full.swap(is_full, Ordering::Relaxed) != is_full {
            if is_full {
                tracing::error!(
                    free_bytes = free,
                    "disk nearly full: appends are refused until there is room"
                );
            } else {
                tracing::info!(free_bytes = free, "disk has room again: appends go on");
            }
        }
    }

    /// Gives back disk that only a busy server needs.
    pub fn rest_step(&self) {
        let segments = self.writer().journal.segments();
        if !self.is_poisoned()
            && let Err(error) = segments.shrink()
        {
            self.poison(&format!("the journal failed: {error}"));
        }
    }

    /// Whether `bytes` may be written without filling the disk. Where not, appends are refused from now on, and what
    /// was to be written waits: running into the end of the disk would poison the server.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let has_room = self.look_at_disk().is_ok_and(|free| free >= bytes);
        if !has_room {
            self.disk_full.store(true, Ordering::Relaxed);
        }
        has_room
    }

    fn look_at_disk(&self) -> io::Result<u64> {
        let free = self.env.fs.free_bytes(self.paths.root())?;
        self.free_bytes.store(free, Ordering::Relaxed);
        Ok(free)
    }

    /// No more acknowledgements, no more signatures: the process is to end, and to recover from disk.
    pub(crate) fn poison(&self, why: &str) {
        self.end(Status::Poisoned(why.to_owned()));
    }

    pub(crate) fn end(&self, status: Status) {
        if self.poisoned.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!(why = ?status, "nothing is acknowledged or signed any more");
        self.status.send_replace(status);
        self.pool.abandon();
        self.drained.notify_waiters();
        self.doorbells.ring_all();
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.status.send_if_modified(|status| {
            let was_running = *status == Status::Running;
            if was_running {
                *status = Status::Stopping;
            }
            was_running
        });
        self.pool.close();
        self.drained.notify_waiters();
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }
}
