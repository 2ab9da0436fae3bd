//! Reading the log, behind its published head.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use graven_log::{Engine, Log, ReadError, Status};
use graven_store::fs::{Mode, Open};
use graven_store::journal::LogId;
use graven_store::sled_rows::Rows;
use graven_store::{DurableSled, Fs};
use parking_lot::{Mutex, RwLock};

use crate::progress::Progress;
use crate::run::{Key, LENGTHS, Lengths, Run};

/// Pause of the thread once it has read all there is: what an entry may wait for to be found by its hash.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause of a log whose index could not be written.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Finds published entries by their leaf hash.
pub struct LeafIndexFollower {
    engine: Arc<Engine>,
    pub(crate) fs: Arc<dyn Fs>,
    dir: PathBuf,
    db: DurableSled,
    rows: Rows,
    logs: RwLock<BTreeMap<LogId, Arc<Followed>>>,
    pub(crate) lengths: Lengths,
}

/// One log, as far as it has been read.
pub(crate) struct Followed {
    pub(crate) state: RwLock<State>,
    /// After an error, nothing is tried before this. Held while the log is read on, by one thread at a time.
    rests_until: Mutex<Option<Instant>>,
}

/// What there is to look into.
pub(crate) struct State {
    /// The runs end before this index.
    pub(crate) end: u64,
    /// The keys of the entries from there on.
    pub(crate) tail: Vec<Key>,
}

/// Why a log was not read further.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] ReadError),
    #[error("the index cannot be written: {0}")]
    Index(#[from] io::Error),
}

/// The thread that reads the log. It ends when this is dropped, and with the engine.
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LeafIndexFollower {
    /// Opens the index in `dir`, or begins one there. What is missing, damaged, ahead of the log or of another log is
    /// dropped, to be read off the log again.
    pub fn open(engine: Arc<Engine>, fs: Arc<dyn Fs>, dir: &Path) -> io::Result<Arc<Self>> {
        Self::open_with(engine, fs, dir, LENGTHS)
    }

    pub(crate) fn open_with(
        engine: Arc<Engine>,
        fs: Arc<dyn Fs>,
        dir: &Path,
        lengths: Lengths,
    ) -> io::Result<Arc<Self>> {
        fs.create_dir_all(dir)?;
        let (db, _) = DurableSled::open(&dir.join("rows"))?;
        let rows = db.rows("leaf-index")?;
        let logs = RwLock::default();
        let follower = Self { engine, fs, dir: dir.to_owned(), db, rows, logs, lengths };
        for log in follower.engine.logs() {
            follower.followed(&log);
        }
        Ok(Arc::new(follower))
    }

    /// Follows all logs on a thread of its own.
    pub fn start(self: &Arc<Self>) -> io::Result<Following> {
        let (follower, stop) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("leaf-index".to_owned()).spawn(move || {
            give_way();
            while !stopped.load(Ordering::Acquire) && follower.engine.status() == Status::Running {
                if !follower.step() {
                    std::thread::park_timeout(PAUSE);
                }
            }
        })?;
        Ok(Following { stop, thread: Some(thread) })
    }

    /// Reads a part of each log. `true`: there is more to read.
    pub fn step(&self) -> bool {
        // The last of the disk belongs to what cannot be made again.
        if self.engine.is_disk_full() {
            return false;
        }
        let mut has_more = false;
        for log in self.engine.logs() {
            has_more |= self.try_step(&log);
        }
        has_more
    }

    /// Entries of a log that were read, from the first on.
    pub fn position(&self, log: &Log) -> u64 {
        self.followed(log).state.read().position()
    }

    pub(crate) fn followed(&self, log: &Log) -> Arc<Followed> {
        let id = log.meta().id;
        if let Some(followed) = self.logs.read().get(&id) {
            return followed.clone();
        }
        let mut logs = self.logs.write();
        let begin = || {
            let end = self.restore(log).unwrap_or_else(|error| {
                tracing::warn!(log = %log.meta().name, %error, "index unreadable: it is made again");
                0
            });
            let state = RwLock::new(State { end, tail: Vec::new() });
            Arc::new(Followed { state, rests_until: Mutex::new(None) })
        };
        logs.entry(id).or_insert_with(begin).clone()
    }

    pub(crate) fn path(&self, run: &Run) -> PathBuf {
        self.runs_dir(run.log).join(run.file_name())
    }

    fn runs_dir(&self, log: LogId) -> PathBuf {
        self.dir.join(format!("{:08x}", log.0))
    }

    /// How far the runs reach that can be used, after clearing away the others.
    fn restore(&self, log: &Log) -> io::Result<u64> {
        let id = log.meta().id;
        let dir = self.runs_dir(id);
        self.fs.create_dir_all(&dir)?;
        let row = self.rows.row(&id.0.to_be_bytes())?;
        let progress = row.and_then(|row| Progress::parse(&row)).filter(|progress| progress.is_of(log));
        let recorded = progress.map_or(0, |progress| progress.end);
        // Also where the row was written with other lengths of runs: then they do not follow on each other.
        let is_whole = |run: &Run| self.fs.open(&self.path(run), Open::Read)?.len();
        let usable = self.lengths.runs(id, recorded);
        let usable = usable.take_while(|run| {
            run.end() <= recorded && is_whole(run).is_ok_and(|bytes: u64| bytes == run.file_bytes())
        });
        let names: BTreeMap<String, u64> = usable.map(|run| (run.file_name(), run.end())).collect();
        for name in self.fs.list(&dir)? {
            if !names.contains_key(&name) {
                self.fs.remove_file(&dir.join(name))?;
            }
        }
        let end = names.into_values().max().unwrap_or(0);
        tracing::debug!(log = %log.meta().name, recorded, end, "leaf index opened");
        Ok(end)
    }

    fn try_step(&self, log: &Log) -> bool {
        let followed = self.followed(log);
        let mut rests_until = followed.rests_until.lock();
        if rests_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        self.read_on(log, &followed).unwrap_or_else(|error| {
            tracing::warn!(log = %log.meta().name, %error, "leaf index stands still");
            *rests_until = Some(Instant::now() + PAUSE_AFTER_ERROR);
            false
        })
    }

    /// Makes the next run, or where there is not enough for one, takes in the newest keys.
    fn read_on(&self, log: &Log, followed: &Followed) -> Result<bool, FollowError> {
        let head = log.head();
        let size = head.size().get();
        let (end, position) = {
            let state = followed.state.read();
            (state.end, state.position())
        };
        if let Some(run) = self.lengths.next(log.meta().id, end, size) {
            self.write(log, &run)?;
            // The run is durable now; after a crash here it is made again, because no row tells of it.
            self.rows.insert(&run.log.0.to_be_bytes(), &Progress::under(&head, run.end()).to_bytes())?;
            self.db.sync()?;
            // From here on a crash loses the tail only, and leaves runs behind that the next start clears away.
            if followed.state.write().advance(end, &run) {
                self.clear_replaced(&run, end);
            }
            tracing::debug!(log = %log.meta().name, position = run.end(), size, "leaf index");
            return Ok(true);
        }
        if position < size {
            let keys = keys(log, position, size)?;
            followed.state.write().append(position, keys);
        }
        Ok(false)
    }

    fn write(&self, log: &Log, run: &Run) -> Result<(), FollowError> {
        let bytes = run.encode(keys(log, run.start, run.end())?.into_iter());
        let path = self.path(run);
        if self.fs.exists(&path)? {
            self.fs.remove_file(&path)?;
        }
        let file = self.fs.open(&path, Open::New(Mode::Shared))?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        Ok(self.fs.sync_dir(&self.runs_dir(run.log))?)
    }

    /// Removes the runs that `run` took in. Nobody looks into them any more, and one that stays is cleared away at
    /// the next start.
    fn clear_replaced(&self, run: &Run, end: u64) {
        for replaced in self.lengths.runs(run.log, end).filter(|replaced| replaced.start >= run.start) {
            if let Err(error) = self.fs.remove_file(&self.path(&replaced)) {
                tracing::debug!(file = replaced.file_name(), %error, "a replaced run stays");
            }
        }
    }
}

impl State {
    pub(crate) fn position(&self) -> u64 {
        self.end + self.tail.len() as u64
    }

    /// Gives up a run that was found damaged when the runs ended before `end`, and with it all that follows.
    pub(crate) fn cut_back(&mut self, end: u64, run: &Run) {
        if self.end == end {
            *self = Self { end: run.start, tail: Vec::new() };
        }
    }

    /// Takes in a run that was made when the runs ended before `end`. `false`: they have been cut back since.
    fn advance(&mut self, end: u64, run: &Run) -> bool {
        if self.end != end {
            return false;
        }
        self.end = run.end();
        let covered = usize::try_from(run.end() - end).unwrap_or(usize::MAX).min(self.tail.len());
        self.tail.drain(..covered);
        true
    }

    fn append(&mut self, position: u64, keys: Vec<Key>) {
        if self.position() == position {
            self.tail.extend(keys);
        }
    }
}

impl Following {
    /// Ends the thread and waits for it: as long as the run takes that it is making.
    pub fn stop(self) {}
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the leaf index's thread panicked");
            }
        }
    }
}

/// The keys of a range of a log's entries, all of them published.
fn keys(log: &Log, from: u64, to: u64) -> Result<Vec<Key>, ReadError> {
    let mut keys = Vec::new();
    let mut at = from;
    while at < to {
        let hashes = log.leaf_hashes(at..to)?;
        at += hashes.len() as u64;
        keys.extend(hashes.iter().map(Key::of));
    }
    Ok(keys)
}

/// Lowers the priority of this thread: what is on the path of an append goes first.
pub(crate) fn give_way() {
    // On Linux this is said of the one thread; elsewhere it would slow the whole process.
    #[cfg(target_os = "linux")]
    {
        /// Of 19.
        const NICENESS: i32 = 10;
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "the leaf index runs at ordinary priority");
        }
    }
}
