//! Looking entries up.

use std::io;

use graven_log::{Log, ReadError};
use graven_merkle::{Hash, LeafIndex};
use graven_store::fs::Open;

use crate::follower::{LeafIndexFollower, State};
use crate::run::{Key, Reader, Run};

/// Why it cannot be said where a leaf is, or whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// It is not among the entries that were read so far, and there are more.
    #[error(
        "the index has read {position} of {size} entries and not met this one: ask again later, or by index"
    )]
    Lagging {
        /// Entries that were read.
        position: u64,
        /// Entries that are published.
        size: u64,
    },
    /// The log itself could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// What stopped a look into a run.
enum Stop {
    /// The run: it is to be made again.
    Run(io::Error),
    /// The log.
    Log(ReadError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Run(error)
    }
}

impl LeafIndexFollower {
    /// The index of the published entry with this leaf hash; the first, where there are several. `None`: no entry
    /// that was published when this was called has it.
    ///
    /// What the index says is compared with the log before it is returned. A run that turns out to be damaged is made
    /// again; until that is done the answer is [`FindError::Lagging`].
    pub fn find(&self, log: &Log, hash: &Hash) -> Result<Option<LeafIndex>, FindError> {
        let size = log.head().size().get();
        let followed = self.followed(log);
        // Held to the end: no run goes away while it is looked into.
        let state = followed.state.read();
        let is_it = |index| Ok(leaf_at(log, index)? == Some(*hash));
        let key = Key::of(hash);
        for run in self.lengths.runs(log.meta().id, state.end) {
            match self.look_into(run, key, |index| is_it(index).map_err(Stop::Log)) {
                Ok(None) => {}
                Ok(found) => return Ok(found.and_then(LeafIndex::new)),
                Err(Stop::Log(error)) => return Err(error.into()),
                Err(Stop::Run(error)) => {
                    let (file, end) = (run.file_name(), state.end);
                    drop(state);
                    tracing::warn!(log = %log.meta().name, file, %error, "index damaged: it is made again");
                    followed.state.write().cut_back(end, &run);
                    return Err(FindError::Lagging { position: run.start, size });
                }
            }
        }
        if let Some(index) = find_in_tail(&state, key, is_it)? {
            return Ok(LeafIndex::new(index));
        }
        match state.position() {
            position if position < size => Err(FindError::Lagging { position, size }),
            _ => Ok(None),
        }
    }

    fn look_into(
        &self,
        run: Run,
        key: Key,
        is_it: impl Fn(u64) -> Result<bool, Stop>,
    ) -> Result<Option<u64>, Stop> {
        // Opened for each look: many logs have more runs than a process may hold files open.
        let file = self.fs.open(&self.path(&run), Open::Read)?;
        Reader { run, file }.find(key, is_it)
    }
}

/// Goes through the newest keys, in the order of their entries: some ten microseconds at most.
fn find_in_tail(
    state: &State,
    key: Key,
    is_it: impl Fn(u64) -> Result<bool, ReadError>,
) -> Result<Option<u64>, ReadError> {
    for (index, _) in (state.end..).zip(&state.tail).filter(|(_, at)| **at == key) {
        if is_it(index)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The hash of a leaf, if there is one of that index: a checksum that was forged may name any.
fn leaf_at(log: &Log, index: u64) -> Result<Option<Hash>, ReadError> {
    match LeafIndex::new(index).map(|index| log.leaf_hash(index)) {
        Some(Ok(hash)) => Ok(Some(hash)),
        None | Some(Err(ReadError::OutOfRange { .. })) => Ok(None),
        Some(Err(error)) => Err(error),
    }
}
