//! Auditing a log's files.
//!
//! ```text
//! checkpoint        signatures, origin
//! tile/entries/N    width; each entry hashed  =  tile/0/N, hash by hash
//! tile/L/N          width; full ones hashed   =  their hash in tile/L+1
//! root              of the entries' hashes    =  of the stored hashes alone  =  signed
//! ```
//!
//! Bundles are hashed by several threads; all else is little work and done in order, so that the first finding is
//! the one with the lowest index. Of T threads number t takes the runs of bundles t, t + T, t + 2T, … and hands
//! each on through a channel of its own, so that taking from one channel after the other restores the order. What
//! the channels hold is how far a thread may run ahead: none waits for the slowest fetch of a round.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use graven_merkle::{
    EMPTY_ROOT, Frontier, Hash, HashReader as _, NodeId, ProveError, TreeSize, leaf_hash, root,
    tile::{BundleError, BundlePath, EntryBundle, TILE_HEIGHT, TILE_WIDTH, TilePath},
};
use thiserror::Error;

use super::{
    Altered, Audited, Finding, Progress, RootSource, TileSource,
    levels::{Levels, StoredTree, fetch_tile, path_of, root_of},
};
use crate::{Trust, VerifiedHead};

/// How many bundles a thread hands on at a time: some hundred microseconds of work, next to which handing it on is
/// nothing. A log too short for that many is spread over the threads all the same.
const BUNDLES_PER_RUN: u64 = 8;

/// How often progress is told: each so many bundles, of 256 entries each.
const PROGRESS_BUNDLES: u64 = 16;

/// How many runs a thread may be ahead. They are small: of a full bundle only its hash is handed on.
const RUNS_AHEAD: usize = 16;

/// Why an audit did not end well.
#[derive(Debug, Error)]
pub enum SiteError {
    /// The log is not what its head signs.
    #[error(transparent)]
    Found(#[from] Box<Finding>),
    /// A file could not be read, so nothing is known about it.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Its path within the log.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl From<Finding> for SiteError {
    fn from(finding: Finding) -> Self {
        Self::Found(Box::new(finding))
    }
}

impl SiteError {
    pub(super) fn io(path: &str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Audits the log at `source`: its checkpoint by `trust`, and every entry and tile up to it.
///
/// # Errors
/// [`SiteError::Found`] where the log is not what was signed, [`SiteError::Io`] where it could not be read.
pub fn site(
    source: &dyn TileSource,
    trust: &Trust,
    mut progress: impl FnMut(Progress),
) -> Result<Audited, SiteError> {
    let note = fetch(source, "checkpoint")?.ok_or(Finding::NoCheckpoint)?;
    let head = trust.verify_head(&note).map_err(Finding::from)?;
    let mut walk = Walk::new(source, &head);
    read_bundles(source, &head, |index, bundle| {
        walk.take(index, bundle)?;
        if index % PROGRESS_BUNDLES == 0 || walk.is_complete() {
            progress(walk.progress());
        }
        Ok(())
    })?;
    walk.finish()
}

/// Checks all bundles in threads, and hands them on in order, until the first that is bad.
fn read_bundles(
    source: &dyn TileSource,
    head: &VerifiedHead,
    mut take: impl FnMut(u64, CheckedBundle) -> Result<(), SiteError>,
) -> Result<(), SiteError> {
    let bundles = head.size().get().div_ceil(TILE_WIDTH.into());
    let readers = u64::try_from(source.readers()).unwrap_or(u64::MAX).clamp(1, bundles.max(1));
    let length = bundles.div_ceil(readers).clamp(1, BUNDLES_PER_RUN);
    let starts = (0..bundles).step_by(usize::try_from(length).unwrap_or(1));
    let over = AtomicBool::new(false);
    let check = |first: u64| {
        let mut run = Vec::new();
        for index in first..bundles.min(first + length) {
            let is_good = run.last().is_none_or(Result::is_ok);
            if is_good && !over.load(Ordering::Relaxed) {
                run.push(check_bundle(source, head, index));
            }
        }
        run
    };
    thread::scope(|scope| {
        let channels = (0..readers).map(|_| sync_channel(RUNS_AHEAD));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        for (number, sender) in senders.into_iter().enumerate() {
            let (check, mut own) = (&check, starts.clone().skip(number).step_by(receivers.len()));
            scope.spawn(move || own.try_for_each(|first| sender.send(check(first))));
        }
        let walked = (|| {
            for (first, receiver) in starts.zip(receivers.iter().cycle()) {
                // A thread that hands nothing on has panicked, as the scope will.
                let run = receiver.recv().unwrap_or_default();
                (first..).zip(run).try_for_each(|(index, checked)| take(index, checked?))?;
            }
            Ok(())
        })();
        // The others stop at their next bundle, and those that cannot hand on any more at once.
        over.store(true, Ordering::Relaxed);
        walked
    })
}

/// The bytes of a resource.
pub(super) fn fetch(source: &dyn TileSource, path: &str) -> Result<Option<Vec<u8>>, SiteError> {
    source.fetch(path).map_err(|error| SiteError::io(path, error))
}

/// Everything above the bundles, in order.
struct Walk<'a> {
    source: &'a dyn TileSource,
    head: &'a VerifiedHead,
    levels: Levels<'a>,
    /// The tree over the hashes of the full level-0 tiles.
    tiles: Frontier,
    /// The leaf hashes after the last full tile.
    tail: Vec<Hash>,
    entry_bytes: u64,
}

/// A bundle whose entries match their stored hashes.
struct CheckedBundle {
    /// The leaf hashes of the last bundle, where it is not full. Of a full one the root is all that is needed.
    tail: Option<Vec<Hash>>,
    root: Hash,
    entry_bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn TileSource, head: &'a VerifiedHead) -> Self {
        let levels = Levels::new(source, head.size());
        Self { source, head, levels, tiles: Frontier::new(), tail: Vec::new(), entry_bytes: 0 }
    }

    fn take(&mut self, index: u64, bundle: CheckedBundle) -> Result<(), SiteError> {
        self.entry_bytes = self.entry_bytes.saturating_add(bundle.entry_bytes);
        if let Some(tail) = bundle.tail {
            self.tail = tail;
            return Ok(());
        }
        self.levels.push(index, bundle.root)?;
        self.tiles.push(bundle.root);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.progress().entries == self.head.size().get()
    }

    fn progress(&self) -> Progress {
        let full = self.tiles.size().get() << TILE_HEIGHT;
        let entries = full + u64::try_from(self.tail.len()).unwrap_or(0);
        Progress { entries, of_entries: self.head.size().get(), entry_bytes: self.entry_bytes }
    }

    fn finish(self) -> Result<Audited, SiteError> {
        self.check_root(RootSource::Entries, self.root_of_entries())?;
        let stored = StoredTree { source: self.source, size: self.head.size() };
        let stored = match root(&stored, self.head.size()) {
            Ok(root) => root,
            Err(ProveError::Read(error)) => return Err(error),
            Err(other) => return Err(SiteError::io("tile", io::Error::other(other.to_string()))),
        };
        self.check_root(RootSource::Tiles, stored)?;
        Ok(Audited::new(self.head.clone(), self.entry_bytes))
    }

    /// The root of all leaf hashes: the peaks over full tiles, then those of the tail.
    fn root_of_entries(&self) -> Hash {
        let mut tail = Frontier::new();
        tail.append(self.tail.iter().copied());
        let peaks = [self.tiles.peaks(), tail.peaks()].concat();
        Frontier::from_peaks(self.head.size(), peaks).map_or(EMPTY_ROOT, |frontier| frontier.root())
    }

    fn check_root(&self, from: RootSource, computed: Hash) -> Result<(), Finding> {
        let (size, signed) = (self.head.size(), *self.head.root());
        if computed == signed { Ok(()) } else { Err(Finding::Root { size, signed, computed, from }) }
    }
}

fn check_bundle(
    source: &dyn TileSource,
    head: &VerifiedHead,
    index: u64,
) -> Result<CheckedBundle, SiteError> {
    let size = head.size();
    let tile = path_of(0, index, size);
    let path = BundlePath::new(index, tile.width()).expect("a tile's width is a bundle's");
    let first = index << TILE_HEIGHT;
    let (bytes, found) = fetch_bundle(source, path)?;
    let bundle = EntryBundle::parse(&bytes, found.width()).map_err(|problem| {
        let index = first + u64::from(bad_position(problem, found.width()));
        Finding::Bundle { path: found, index, problem }
    })?;
    let stored = fetch_tile(source, tile)?;
    let entries = || bundle.entries().take(stored.len());
    let hashes: Vec<_> = entries().map(leaf_hash).collect();
    let mut differ = (first..).zip(hashes.iter().zip(&stored)).filter(|(_, (hash, stored))| hash != stored);
    if let Some((index, _)) = differ.next() {
        let altered = which_was_altered(&StoredTree { source, size }, head, tile, [&hashes, &stored]);
        return Err(Finding::Entry {
            index,
            altered: altered.unwrap_or(Altered::Either),
            bundle: found,
            tile,
        }
        .into());
    }
    let entry_bytes = entries().map(|entry| u64::try_from(entry.len()).unwrap_or(0)).sum();
    let root = root_of(&hashes);
    Ok(CheckedBundle { root, tail: (!tile.is_full()).then_some(hashes), entry_bytes })
}

/// Asks the stored tree around a level-0 tile whether it was made from the entries or from the stored hashes.
fn which_was_altered(
    tree: &StoredTree<'_>,
    head: &VerifiedHead,
    tile: TilePath,
    [hashes, stored]: [&[Hash]; 2],
) -> Result<Altered, SiteError> {
    Ok(match (is_vouched_for(tree, head, tile, stored)?, is_vouched_for(tree, head, tile, hashes)?) {
        (true, _) => Altered::Entry,
        (false, true) => Altered::StoredHash,
        (false, false) => Altered::Either,
    })
}

/// Whether a level-0 tile with this row fits: a full one to its hash in the tile above, the last one with all
/// that is left of it to the signed root.
fn is_vouched_for(
    tree: &StoredTree<'_>,
    head: &VerifiedHead,
    tile: TilePath,
    row: &[Hash],
) -> Result<bool, SiteError> {
    let index = tile.tile().index();
    if tile.is_full() {
        return Ok(tree.read(&[NodeId::new(TILE_HEIGHT, index)])? == [root_of(row)]);
    }
    let before = TreeSize::new(index << TILE_HEIGHT).unwrap_or_default();
    let peaks = tree.read(&Frontier::peak_ids(before).collect::<Vec<_>>())?;
    let Some(mut whole) = Frontier::from_peaks(before, peaks) else { return Ok(false) };
    whole.append(row.iter().copied());
    Ok(whole.root() == *head.root())
}

/// A bundle, or the full one that has replaced it.
pub(crate) fn fetch_bundle(
    source: &dyn TileSource,
    path: BundlePath,
) -> Result<(Vec<u8>, BundlePath), SiteError> {
    let full = BundlePath::new(path.index(), TILE_WIDTH).filter(|_| !path.is_full());
    for path in [path].into_iter().chain(full) {
        if let Some(bytes) = fetch(source, &path.to_string())? {
            return Ok((bytes, path));
        }
    }
    let first = path.index() << TILE_HEIGHT;
    let entries = first..first + u64::from(path.width());
    Err(Finding::Missing { path: path.to_string(), entries }.into())
}

/// The entry within a bundle from which on it cannot be read.
pub(crate) fn bad_position(problem: BundleError, width: u16) -> u16 {
    match problem {
        BundleError::Truncated { position } => position,
        BundleError::TrailingBytes(_) | BundleError::TooWide(_) => width - 1,
    }
}
