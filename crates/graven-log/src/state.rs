//! The state of a log's hook, kept so that a start need not hand it every leaf: `DATA/logs/NAME/state`, a derived file.
//!
//! ```text
//!   0   8  "GRVNSTA1"
//!   8   2  length of the origin (big-endian, as all numbers)
//!  10   …  the log's origin
//!   …   8  size: the leaves that the state has taken in
//!   …  32  root hash of the tree of that size
//!   …   8  length of the state in bytes
//!   …   …  the state, in a format of the hook's own
//!   …  32  SHA-256 of everything before
//! ```
//!
//! A snapshot is believed if it is whole, was taken in this log, and the log's tree of its size has its root: then it is of
//! the very leaves that the log begins with. Any other is set aside, as `state.aside`, and the hook sees every leaf again.
//! Missing, behind, damaged, of another log or of a future that was rolled back: none of these is an error.

use std::io;
use std::sync::atomic::Ordering;

use graven_merkle::{HASH_BYTES, Hash, LeafIndex, TreeSize, leaf_hash};
use graven_note::Origin;
use graven_store::fs::Mode;
use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::env::Env;
use crate::error::OpenError;
use crate::log::Log;
use crate::meta::Paths;
use crate::sequencer::{Sequencer, Sequencers};
use crate::writer::Lane;

/// Longest state of a hook: it is in memory while it is written, and its log waits while it is taken.
pub const MAX_STATE_BYTES: usize = 64 << 20;
/// A state this many leaves behind is written again: as many are replayed in about a second.
const SNAPSHOT_LEAVES: u64 = 1 << 18;
/// Leaves between two lines that tell how far replaying has come.
const PROGRESS_LEAVES: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"GRVNSTA1";
const DIGEST_BYTES: usize = 32;
/// What a file has beside its origin and state.
const FRAME_BYTES: usize = MAGIC.len() + 2 + 8 + HASH_BYTES + 8 + DIGEST_BYTES;

/// A hook's state after the first leaves of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    size: TreeSize,
    root: Hash,
    state: Vec<u8>,
}

impl Snapshot {
    fn encode(&self, origin: &Origin) -> Vec<u8> {
        let origin = origin.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(FRAME_BYTES + origin.len() + self.state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u16::try_from(origin.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(origin);
        bytes.extend_from_slice(&self.size.get().to_be_bytes());
        bytes.extend_from_slice(self.root.as_bytes());
        bytes.extend_from_slice(&(self.state.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&self.state);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// The snapshot that a file holds, or why it holds none of the log with this origin.
    fn parse(bytes: &[u8], origin: &Origin) -> Result<Self, &'static str> {
        let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or("it is cut short")?;
        let rest = content.strip_prefix(MAGIC).ok_or("it is of another format")?;
        if Sha256::digest(content)[..] != digest[..] {
            return Err("its digest does not hold");
        }
        let (len, rest) = rest.split_first_chunk().ok_or("it is cut short")?;
        let (found, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or("it is cut short")?;
        if found != origin.as_str().as_bytes() {
            return Err("it is of another log");
        }
        let (size, rest) = rest.split_first_chunk().ok_or("it is cut short")?;
        let (root, rest) = rest.split_first_chunk::<HASH_BYTES>().ok_or("it is cut short")?;
        let (len, state) = rest.split_first_chunk().ok_or("it is cut short")?;
        if u64::from_be_bytes(*len) != state.len() as u64 {
            return Err("its state is not as long as it says");
        }
        let size = TreeSize::new(u64::from_be_bytes(*size)).ok_or("its size is none")?;
        Ok(Self { size, root: Hash::from(*root), state: state.to_vec() })
    }
}

/// Brings a new hook to where its log is: from a snapshot, and by the leaves after it.
pub(crate) fn catch_up(
    env: &Env,
    paths: &Paths,
    sequencers: &dyn Sequencers,
    lane: &mut Lane,
) -> Result<(), OpenError> {
    let Lane { log, sequencer, .. } = lane;
    if sequencer.snapshot().is_none() {
        return Ok(());
    }
    let path = paths.state(&log.meta.name);
    let mut from = 0;
    if env.fs.exists(&path)? {
        match resume(env, paths, log, &mut **sequencer) {
            Ok(size) => from = size.get(),
            Err(why) => {
                tracing::warn!(log = %log.meta.name, why, "the state of the log's hook is not used: every leaf is replayed");
                env.fs.rename(&path, &path.with_extension("aside"))?;
                // What was taken in of a state that is no good is forgotten.
                *sequencer = sequencers
                    .of(&log.meta)
                    .ok_or_else(|| OpenError::Foreign(paths.manifest(&log.meta.name)))?;
            }
        }
    }
    log.snapshotted.store(from, Ordering::Relaxed);
    replay(log, &mut **sequencer, from)
}

/// Takes in the snapshot of a log, and returns how many leaves that spares.
fn resume(env: &Env, paths: &Paths, log: &Log, sequencer: &mut dyn Sequencer) -> Result<TreeSize, String> {
    let most = (FRAME_BYTES + usize::from(u16::MAX) + MAX_STATE_BYTES) as u64;
    let bytes = env.fs.read(&paths.state(&log.meta.name), most).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::parse(&bytes, &log.meta.origin)?;
    if snapshot.size.get() > log.integrated_size() {
        return Err("it is of a later size than the log has".to_owned());
    }
    let frontier = log.tree.frontier(snapshot.size).map_err(|error| error.to_string())?;
    if frontier.root() != snapshot.root {
        return Err("it is of other leaves than the log has".to_owned());
    }
    let is_taken = sequencer.restore(&snapshot.state);
    is_taken.then_some(snapshot.size).ok_or_else(|| "its hook does not know it".to_owned())
}

/// Hands the leaves from `from` on to a hook, one bundle in memory at a time, each compared with its leaf in the tree.
fn replay(log: &Log, sequencer: &mut dyn Sequencer, from: u64) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::Damaged { log: log.meta.name.to_string(), what };
    let size = log.integrated_size();
    let (mut at, mut told) = (from, from);
    while at < size {
        let entries = log.durable_entries(at..size).map_err(|error| damaged(error.to_string()))?;
        let hashes = log.durable_leaves(at..at + entries.len() as u64);
        for (entry, hash) in entries.iter().zip(hashes.map_err(|error| damaged(error.to_string()))?) {
            let index = LeafIndex::new(at).filter(|_| leaf_hash(entry) == hash);
            let index = index.ok_or_else(|| damaged(format!("entry {at} was changed")))?;
            sequencer.replay(index, entry).map_err(|refusal| OpenError::Unreadable {
                log: log.meta.name.to_string(),
                index: at,
                what: refusal.text,
            })?;
            at += 1;
        }
        if at - told >= PROGRESS_LEAVES {
            told = at;
            tracing::info!(log = %log.meta.name, leaves = at, of = size, "replaying");
        }
    }
    Ok(())
}

impl Engine {
    /// Writes the state of a log's hook, if it has one and enough leaves have come since the last time: any, for the
    /// `last` time before the server stops. `true`: it did.
    pub fn snapshot_step(&self, log: &Log, is_last: bool) -> bool {
        let behind = log.integrated_size().saturating_sub(log.snapshotted.load(Ordering::Relaxed));
        if self.is_poisoned() || behind < if is_last { 1 } else { SNAPSHOT_LEAVES } {
            return false;
        }
        let taken = {
            let writer = self.writer();
            // Between two commits, a hook has taken in exactly what is in the tree.
            writer.lanes.get(&log.meta.id).and_then(|lane| {
                let state = lane.sequencer.snapshot()?;
                Some(Snapshot { size: lane.frontier.size(), root: lane.frontier.root(), state })
            })
        };
        // Without a state, or with one that is too long, there is nothing to write until as many leaves have come again.
        let size = taken.as_ref().map_or_else(|| log.integrated_size(), |taken| taken.size.get());
        let Some(snapshot) = taken.filter(|taken| taken.state.len() <= MAX_STATE_BYTES) else {
            log.snapshotted.store(size, Ordering::Relaxed);
            return false;
        };
        match self.write_state(log, &snapshot) {
            Ok(true) => {
                log.snapshotted.store(size, Ordering::Relaxed);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.poison(&format!("writing the state of log `{}` failed: {error}", log.meta.name));
                false
            }
        }
    }

    fn write_state(&self, log: &Log, snapshot: &Snapshot) -> io::Result<bool> {
        let bytes = snapshot.encode(&log.meta.origin);
        if !self.has_room(bytes.len() as u64) {
            return Ok(false);
        }
        self.env.fs.replace_durable(&self.paths().state(&log.meta.name), &bytes, Mode::Private)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_as_it_was_and_not_with_a_bit_flipped_or_a_byte_gone() {
        let origin = Origin::new("example.com/audit").unwrap();
        let size = TreeSize::new(300).unwrap();
        let snapshot = Snapshot { size, root: leaf_hash(b"root"), state: b"state".to_vec() };
        let bytes = snapshot.encode(&origin);
        assert_eq!(Snapshot::parse(&bytes, &origin), Ok(snapshot));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Snapshot::parse(&flipped, &origin).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Snapshot::parse(&bytes[..len], &origin).is_err(), "{len} bytes");
        }
        let other = Origin::new("example.com/other").unwrap();
        assert_eq!(Snapshot::parse(&bytes, &other), Err("it is of another log"));
    }
}
