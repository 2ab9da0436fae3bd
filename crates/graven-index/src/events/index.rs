//! The index: what it is of, what it has, and taking in more.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_event::Ref;
use graven_event::query::Term;
use graven_merkle::Hash;
use graven_store::Fs;
use parking_lot::{Condvar, Mutex, RwLock};
use sha2::{Digest, Sha256};

use super::bits::CHUNK;
use super::pages::Seal;
use super::run::{Run, Span};
use super::tail::Tail;

/// What an index is of, and how its terms are made: a hash over the log's identity, the key that blinds and the version of terms.
/// Runs of another identity are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexId(pub [u8; 32]);

/// A leaf as it is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its hash. A run keeps that of its last leaf, and counts only while the log has that leaf there.
    pub leaf: Hash,
    /// Log time, in nanoseconds since 1970, which never falls.
    pub logged: u64,
    /// The time that the producer gave, if any.
    pub happened: Option<u64>,
    /// What it is found by, each term once.
    pub terms: Vec<Term>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// What was added does not follow on what there is.
    #[error(
        "the index has read {position} leaves, so it takes in that of index {position} next, not {index}"
    )]
    OutOfOrder {
        /// Where it is.
        position: u64,
        /// What was added.
        index: u64,
    },
    /// A run is damaged. It was dropped with all that follows it: ask again once they were read anew.
    #[error("a part of the index is damaged and is made again from leaf {position} on: ask again later")]
    Damaged {
        /// What is left is complete below this index.
        position: u64,
    },
    /// The disk, or its file system.
    #[error("the index cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// How many leaves go together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Of a small run: at most [`CHUNK`].
    pub(crate) chunk: u32,
    /// Small runs in a large one.
    pub(crate) chunks: u8,
}

pub(crate) const LENGTHS: Lengths = Lengths { chunk: CHUNK, chunks: 16 };

/// Full chunks that wait in memory for being written before taking in more waits for that: some 30 MB each.
pub(crate) const MAX_WAITING: usize = 4;

/// Finds the events of one log.
pub struct EventIndex {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    id: IndexId,
    pub(crate) lengths: Lengths,
    pub(crate) state: RwLock<State>,
    /// Held by whoever writes, replaces or removes runs.
    pub(crate) tidying: Mutex<()>,
    /// Rises with the position, and is what waits for that.
    reached: Mutex<u64>,
    rises: Condvar,
}

/// What there is to look into: parts that follow on each other, from leaf 0 on.
pub(crate) struct State {
    /// Oldest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Full chunks that are not written yet.
    pub(crate) full: Vec<Arc<Tail>>,
    pub(crate) tail: Tail,
    /// Whose terms are not taken in any more: since this was opened.
    pub(crate) erased: BTreeSet<Ref>,
    /// Those of them whose terms may still be in a run, as taking them out failed.
    pub(crate) unfinished: BTreeSet<Ref>,
}

impl EventIndex {
    /// Opens the index in `dir`, or begins one. Runs that are damaged, of another identity, or end with a leaf that is not the log's
    /// are removed, to be made again; `leaf` gives the log's leaf hash at an index.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        id: IndexId,
        leaf: impl Fn(u64) -> Option<Hash>,
    ) -> io::Result<Self> {
        Self::open_with(fs, dir, id, leaf, LENGTHS)
    }

    pub(crate) fn open_with(
        fs: Arc<dyn Fs>,
        dir: &Path,
        id: IndexId,
        leaf: impl Fn(u64) -> Option<Hash>,
        lengths: Lengths,
    ) -> io::Result<Self> {
        fs.create_dir_all(dir)?;
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let names = fs.list(dir)?;
        let mut spans: Vec<Span> = names.iter().filter_map(|name| Span::parse(name)).collect();
        // The longest first: it was merged from the others, which a crash may have left.
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.leaves)));
        for span in spans {
            let end = runs.last().map_or(0, |run| run.span.end());
            if span.start != end || !lengths.fit(span) {
                continue;
            }
            match Run::open(&*fs, &dir.join(span.file_name()), span, seal(id, span)) {
                Ok(run) if leaf(span.end() - 1) == Some(run.last) => runs.push(Arc::new(run)),
                Ok(_) => tracing::warn!(
                    start = span.start,
                    "the event index is of another history: it is made again"
                ),
                Err(error) => {
                    tracing::warn!(start = span.start, %error, "a part of the event index is made again");
                }
            }
        }
        let kept: BTreeSet<String> = runs.iter().map(|run| run.span.file_name()).collect();
        for name in names.iter().filter(|name| !kept.contains(*name)) {
            fs.remove_file(&dir.join(name))?;
        }
        fs.sync_dir(dir)?;
        let end = runs.last().map_or(0, |run| run.span.end());
        let (erased, unfinished) = (BTreeSet::new(), BTreeSet::new());
        let state = State { runs, full: Vec::new(), tail: Tail::begin(end), erased, unfinished };
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            id,
            lengths,
            state: RwLock::new(state),
            tidying: Mutex::new(()),
            reached: Mutex::new(end),
            rises: Condvar::new(),
        })
    }

    /// It has taken in every leaf below this index.
    pub fn position(&self) -> u64 {
        self.state.read().tail.end()
    }

    /// Takes in the leaves that follow on its position: from then on they are found.
    ///
    /// # Errors
    /// They do not follow, or too many wait for being written and that fails.
    pub fn add(&self, entries: Vec<Entry>) -> Result<(), IndexError> {
        while self.state.read().full.len() > MAX_WAITING {
            self.tidy()?;
        }
        let mut state = self.state.write();
        for entry in entries {
            let position = state.tail.end();
            if entry.index != position {
                return Err(IndexError::OutOfOrder { position, index: entry.index });
            }
            let State { tail, erased, .. } = &mut *state;
            tail.push(entry, erased);
            if tail.len() == self.lengths.chunk {
                let full = std::mem::replace(tail, Tail::begin(position + 1));
                state.full.push(Arc::new(full));
            }
        }
        *self.reached.lock() = state.tail.end();
        drop(state);
        self.rises.notify_all();
        Ok(())
    }

    /// Waits until every leaf below `position` is taken in, for `patience` at most. `false`: it is not. It holds up the thread.
    pub fn wait_for(&self, position: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut reached = self.reached.lock();
        while *reached < position {
            if self.rises.wait_until(&mut reached, until).timed_out() {
                return *reached >= position;
            }
        }
        true
    }

    /// Gives up what was taken in from `position` on, down to where a run begins.
    pub(crate) fn cut_back(&self, position: u64) -> u64 {
        let mut state = self.state.write();
        let keep = state.runs.iter().take_while(|run| run.span.end() <= position).count();
        for run in state.runs.drain(keep..) {
            if let Err(error) = self.fs.remove_file(&self.dir.join(run.span.file_name())) {
                tracing::warn!(%error, "a damaged part of the event index stays: it is not read");
            }
        }
        let end = state.runs.last().map_or(0, |run| run.span.end());
        state.full.clear();
        state.tail = Tail::begin(end);
        *self.reached.lock() = end;
        end
    }

    pub(crate) fn seal(&self, span: Span) -> Seal {
        seal(self.id, span)
    }
}

impl Lengths {
    pub(crate) fn large(self) -> u64 {
        u64::from(self.chunk) * u64::from(self.chunks)
    }

    /// Whether a run may cover this.
    fn fit(self, span: Span) -> bool {
        [u64::from(self.chunk), self.large()].contains(&span.leaves) && span.start.is_multiple_of(span.leaves)
    }
}

fn seal(id: IndexId, span: Span) -> Seal {
    let hash = Sha256::new().chain_update(b"graven event index v1\n").chain_update(id.0);
    hash.chain_update(span.start.to_be_bytes()).chain_update(span.leaves.to_be_bytes()).finalize().into()
}
