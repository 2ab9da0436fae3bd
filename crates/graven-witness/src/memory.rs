//! What a witness remembers: of each log the last checkpoint that it cosigned, or is about to.
//!
//! The state is a [`ChainFile`] of its own, and the only truth. A record holds the updates of all who waited while the
//! record before it was synced; an update counts once its record is durable, and only then is anything signed:
//!
//! ```text
//! record: updates, one after the other; numbers big-endian
//!    time          8   seconds since 1970, of the cosignature; never goes back for a log
//!    length        4   of the note in bytes
//!    note          …   the checkpoint with the log's own signatures that were verified, and no others
//! ```
//!
//! The origin and the size are in the note. Of several updates of one log the last counts. Before a record that comes when the
//! file has grown past [`ROTATE_BYTES`] and twice what its content needs, a new one that begins with the last update of each log
//! takes its place. A note is bounded, and so are the logs of a witness: no log's key can make the file longer than it may be.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_merkle::TreeSize;
use graven_note::{Checkpoint, SignedNote};
use graven_store::ChainFile;
use graven_store::chain::{ChainError, MAX_FILE_BYTES, MAX_PAYLOAD_BYTES};
use graven_store::fs::Fs;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::home::MAX_LOGS;

/// Longest note that is remembered, in bytes: a text, and the log's own signatures, of which three may be by ML-DSA-44.
pub(crate) const MAX_REMEMBERED_BYTES: usize = 12 << 10;
/// Length at which the file may begin anew.
const ROTATE_BYTES: u64 = 64 << 20;
/// Updates that may wait for the record after the one that is being written: 48 MiB of notes at most.
const MAX_WAITING: usize = 4096;
/// An update beside its note.
const UPDATE_HEADER_BYTES: usize = 12;

// Whatever logs sign, there is room for one more record.
const _: () = {
    let needed = MAX_LOGS * (MAX_REMEMBERED_BYTES + UPDATE_HEADER_BYTES);
    let longest = if 2 * needed as u64 > ROTATE_BYTES { 2 * needed as u64 } else { ROTATE_BYTES };
    assert!(longest + 2 * MAX_PAYLOAD_BYTES as u64 <= MAX_FILE_BYTES);
};

/// The last checkpoint of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// What the log said.
    pub checkpoint: Checkpoint,
    /// With the log's own signatures.
    pub note: SignedNote,
    /// The time of the newest cosignature, in seconds since 1970.
    pub time_seconds: u64,
}

/// Why an update was not remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Somebody else was faster: this is the size now.
    #[error("the last cosigned size is {0}")]
    Conflict(TreeSize),
    /// More is waiting than is good.
    #[error("too many requests wait: try again")]
    Overloaded,
    /// A write or a sync failed: nothing is remembered, or signed, any more.
    #[error("the witness's storage failed")]
    Failed,
}

/// A log, by the SHA-256 of its origin.
pub(crate) type LogHash = [u8; 32];

type Done = oneshot::Sender<Result<u64, MemoryError>>;

/// An update that waits for its record.
struct Waiting {
    update: Remembered,
    old_size: TreeSize,
    done: Done,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    is_closed: bool,
}

/// See the module.
pub(crate) struct Memory {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// [`ROTATE_BYTES`], but in tests.
    rotate_bytes: u64,
    chain: Mutex<ChainFile>,
    logs: Mutex<HashMap<LogHash, Remembered>>,
    queue: Mutex<Queue>,
    bell: Condvar,
}

/// Makes the state of a witness that has cosigned nothing.
pub(crate) fn create(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    ChainFile::create(fs, path, &[]).map(drop)
}

impl Memory {
    /// Reads what was remembered.
    pub(crate) fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Self, ChainError> {
        Self::open_rotating(fs, path, ROTATE_BYTES)
    }

    fn open_rotating(fs: Arc<dyn Fs>, path: &Path, rotate_bytes: u64) -> Result<Self, ChainError> {
        let (chain, payloads) = ChainFile::open(&*fs, path)?;
        let mut logs = HashMap::new();
        for payload in &payloads {
            let damaged = || ChainError::Damaged { path: path.to_owned(), offset: 0 };
            for update in updates(payload).ok_or_else(damaged)? {
                logs.insert(update.checkpoint.origin().sha256(), update);
            }
        }
        let (queue, bell) = (Mutex::default(), Condvar::new());
        let (chain, logs) = (Mutex::new(chain), Mutex::new(logs));
        Ok(Self { fs, path: path.to_owned(), rotate_bytes, chain, logs, queue, bell })
    }

    /// The last checkpoint of a log.
    pub(crate) fn of(&self, log: &LogHash) -> Option<Remembered> {
        self.logs.lock().get(log).cloned()
    }

    /// Remembers an update durably if `old_size` is still the size of its log, and returns the time to cosign it with.
    pub(crate) async fn swap(&self, update: Remembered, old_size: TreeSize) -> Result<u64, MemoryError> {
        let (done, answer) = oneshot::channel();
        {
            let mut queue = self.queue.lock();
            if queue.is_closed {
                return Err(MemoryError::Failed);
            }
            if queue.waiting.len() >= MAX_WAITING {
                return Err(MemoryError::Overloaded);
            }
            queue.waiting.push(Waiting { update, old_size, done });
        }
        self.bell.notify_one();
        answer.await.unwrap_or(Err(MemoryError::Failed))
    }

    /// Ends [`run`](Self::run) once everything that waits is written.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.bell.notify_one();
    }

    /// Writes whatever waits, a record at a time, until it is closed or storage fails.
    pub(crate) fn run(&self) -> io::Result<()> {
        while let Some(waiting) = self.next() {
            if let Err(error) = self.write(waiting) {
                let mut queue = self.queue.lock();
                queue.is_closed = true;
                // Whoever waits hears that nothing came of it.
                queue.waiting.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() {
            if queue.is_closed {
                return None;
            }
            self.bell.wait(&mut queue);
        }
        Some(std::mem::take(&mut queue.waiting))
    }

    fn write(&self, waiting: Vec<Waiting>) -> io::Result<()> {
        let (mut payload, mut batch) = (Vec::new(), Batch::default());
        for Waiting { mut update, old_size, done } in waiting {
            let log = update.checkpoint.origin().sha256();
            let known = batch.newest.get(&log).cloned().or_else(|| self.of(&log));
            if let Err(error) = follows(known.as_ref(), &update, old_size) {
                // Not told yet: what it speaks of may be an update of this very record.
                batch.done.push((done, Err(error)));
                continue;
            }
            update.time_seconds = known.map_or(0, |known| known.time_seconds).max(update.time_seconds);
            if payload.len() + UPDATE_HEADER_BYTES + update.note.as_str().len() > MAX_PAYLOAD_BYTES {
                self.commit(&mut payload, &mut batch)?;
            }
            push(&mut payload, &update);
            batch.done.push((done, Ok(update.time_seconds)));
            batch.newest.insert(log, update);
        }
        self.commit(&mut payload, &mut batch)
    }

    /// Makes a record durable, and only then known.
    fn commit(&self, payload: &mut Vec<u8>, batch: &mut Batch) -> io::Result<()> {
        if !payload.is_empty() {
            self.rotate_if_due()?;
            self.chain.lock().append(payload)?;
            payload.clear();
            self.logs.lock().extend(batch.newest.drain());
        }
        for (done, told) in batch.done.drain(..) {
            // The one who asked may be gone.
            let _ = done.send(told);
        }
        Ok(())
    }

    fn rotate_if_due(&self) -> io::Result<()> {
        let mut chain = self.chain.lock();
        if chain.len() <= self.rotate_bytes {
            return Ok(());
        }
        let logs = self.logs.lock();
        let needed: usize = logs.values().map(|log| UPDATE_HEADER_BYTES + log.note.as_str().len()).sum();
        if chain.len() / 2 <= needed as u64 {
            return Ok(());
        }
        // Whole before it has the name: a crash leaves the one or the other.
        let staged = self.path.with_extension("new");
        let mut new = ChainFile::create(&*self.fs, &staged, &[])?;
        let mut payload = Vec::new();
        for update in logs.values() {
            if payload.len() + UPDATE_HEADER_BYTES + update.note.as_str().len() > MAX_PAYLOAD_BYTES {
                new.append(&payload)?;
                payload.clear();
            }
            push(&mut payload, update);
        }
        new.append(&payload)?;
        self.fs.rename(&staged, &self.path)?;
        self.fs.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        *chain = new;
        Ok(())
    }
}

/// What goes into one record.
#[derive(Default)]
struct Batch {
    newest: HashMap<LogHash, Remembered>,
    done: Vec<(Done, Result<u64, MemoryError>)>,
}

/// Whether an update that was checked against `old_size` may be made to what is known now.
fn follows(known: Option<&Remembered>, update: &Remembered, old_size: TreeSize) -> Result<(), MemoryError> {
    let size = known.map_or(TreeSize::ZERO, |known| known.checkpoint.size());
    // Of one size there is one root, whoever came first.
    let is_same_tree = known.is_none_or(|known| {
        known.checkpoint.size() != update.checkpoint.size()
            || known.checkpoint.root() == update.checkpoint.root()
    });
    if size != old_size || update.checkpoint.size() < size || !is_same_tree {
        return Err(MemoryError::Conflict(size));
    }
    Ok(())
}

fn push(payload: &mut Vec<u8>, update: &Remembered) {
    let note = update.note.as_str().as_bytes();
    payload.extend(update.time_seconds.to_be_bytes());
    payload.extend(u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes());
    payload.extend(note);
}

fn updates(mut payload: &[u8]) -> Option<Vec<Remembered>> {
    let mut updates = Vec::new();
    while !payload.is_empty() {
        let (time, rest) = payload.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (note, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let note = SignedNote::parse(note).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        updates.push(Remembered { checkpoint, note, time_seconds: u64::from_be_bytes(*time) });
        payload = rest;
    }
    Some(updates)
}

#[cfg(test)]
mod tests {
    use graven_note::{LocalSigner, SignatureType, sign_checkpoint};
    use graven_store::sim::{Seed, SimFs};

    use super::*;

    const PATH: &str = "/w/state";
    const LOGS: u8 = 3;

    fn update(log: u8, size: u64) -> Remembered {
        let name = format!("example.com/{log}");
        let signer =
            LocalSigner::generate(name.parse().unwrap(), SignatureType::Ed25519, &[log; 32]).unwrap();
        let root = graven_merkle::leaf_hash(&size.to_be_bytes());
        let checkpoint = Checkpoint::new(name.parse().unwrap(), TreeSize::new(size).unwrap(), root);
        let note = sign_checkpoint(&checkpoint, &[&signer], 0).unwrap();
        Remembered { checkpoint, note, time_seconds: size }
    }

    /// Writes one update, on this thread.
    fn remember(memory: &Memory, log: u8, size: u64) -> io::Result<()> {
        let (done, mut answer) = oneshot::channel();
        let old_size = TreeSize::new(size - 1).unwrap();
        memory.write(vec![Waiting { update: update(log, size), old_size, done }])?;
        assert_eq!(answer.try_recv().unwrap(), Ok(size));
        Ok(())
    }

    fn sizes(memory: &Memory) -> Vec<u64> {
        let size = |log| memory.of(&update(log, 1).checkpoint.origin().sha256());
        (0..LOGS).map(|log| size(log).map_or(0, |known| known.checkpoint.size().get())).collect()
    }

    #[test]
    fn it_is_begun_anew_within_whatever_comes_at_once() {
        const ROTATE: u64 = 64 << 10;
        let disk = SimFs::new();
        disk.create_dir_all(Path::new("/w")).unwrap();
        create(&disk, Path::new(PATH)).unwrap();
        // The old file, a record more, and the new one.
        disk.set_capacity(Some(ROTATE + 2 * MAX_PAYLOAD_BYTES as u64));
        let memory = Memory::open_rotating(Arc::new(disk), Path::new(PATH), ROTATE).unwrap();
        let heartbeat = update(0, 1);
        let (waiting, answers): (Vec<_>, Vec<_>) = (1..20_000)
            .map(|time_seconds| {
                let (done, answer) = oneshot::channel();
                let update = Remembered { time_seconds, ..heartbeat.clone() };
                let old_size = if time_seconds == 1 { TreeSize::ZERO } else { TreeSize::new(1).unwrap() };
                (Waiting { update, old_size, done }, answer)
            })
            .unzip();
        memory.write(waiting).unwrap();
        for (mut answer, time_seconds) in answers.into_iter().zip(1..) {
            assert_eq!(answer.try_recv().unwrap(), Ok(time_seconds));
        }
    }

    #[test]
    fn a_state_that_is_begun_anew_forgets_nothing_wherever_the_power_is_cut() {
        let mut begun_anew = 0;
        for seed in 0..60 {
            let mut seed = Seed(seed);
            let disk = SimFs::new();
            disk.create_dir_all(Path::new("/w")).unwrap();
            create(&disk, Path::new(PATH)).unwrap();
            let mut known = vec![0; usize::from(LOGS)];
            for _life in 0..3 {
                let memory = Memory::open_rotating(Arc::new(disk.clone()), Path::new(PATH), 4 << 10).unwrap();
                assert_eq!(sizes(&memory), known, "what was acknowledged, and nothing that was not");
                for _ in 0..seed.below(40) {
                    let log = u8::try_from(seed.below(LOGS.into())).unwrap();
                    let before = memory.chain.lock().len();
                    known[usize::from(log)] += 1;
                    remember(&memory, log, known[usize::from(log)]).unwrap();
                    begun_anew += usize::from(memory.chain.lock().len() < before);
                }
                disk.crash(&mut seed);
            }
        }
        assert!(begun_anew > 20, "{begun_anew}: nothing was tried");
    }

    #[test]
    fn a_step_that_fails_while_it_is_begun_anew_leaves_the_one_or_the_other() {
        use graven_store::fault::{Fate, FaultFs, Phase, Point};
        use std::sync::atomic::{AtomicI64, Ordering};
        for step in 0.. {
            for failing in [Phase::Before, Phase::After] {
                let disk = SimFs::new();
                disk.create_dir_all(Path::new("/w")).unwrap();
                create(&disk, Path::new(PATH)).unwrap();
                let countdown = Arc::new(AtomicI64::new(step));
                let script = move |point: Point<'_>| {
                    let counts = point.op.mutates() && point.phase == failing;
                    match counts && countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
                        true => Fate::Fail(io::ErrorKind::Other),
                        false => Fate::Continue,
                    }
                };
                let faulty = FaultFs::new(Arc::new(disk.clone()), Arc::new(script));
                let memory = Memory::open_rotating(Arc::new(faulty), Path::new(PATH), 2 << 10);
                let Ok(memory) = memory else { continue };
                let mut known = 0;
                let failed = (1..30).find(|size| match remember(&memory, 0, *size) {
                    Ok(()) => {
                        known = *size;
                        false
                    }
                    Err(_) => true,
                });
                disk.crash(&mut Seed(step.unsigned_abs()));
                let memory = Memory::open(Arc::new(disk), Path::new(PATH)).unwrap();
                let size = sizes(&memory)[0];
                assert!(size == known || failed == Some(size), "{size}, {known}, {failed:?}");
                if failed.is_none() {
                    assert!(step > 60, "all of it was tried: {step}");
                    return;
                }
            }
        }
    }
}
