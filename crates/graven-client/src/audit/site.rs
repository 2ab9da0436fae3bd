//! Auditing a log's files.
//!
//! ```text
//! checkpoint        signatures, origin
//! tile/entries/N    width; each entry hashed  =  tile/0/N, hash by hash
//! tile/L/N          width; full ones hashed   =  their hash in tile/L+1
//! root              of the entries' hashes    =  of the stored hashes alone  =  signed
//! ```
//!
//! Bundles are hashed by several threads, a few dozen at a time; all else is little work and done in order, so
//! that the first finding is the one with the lowest index.

use std::{io, num::NonZero, ops::Range, panic::resume_unwind, thread};

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

/// How many bundles a thread takes at a time: up to a few milliseconds of work, and 4 MiB of usual entries.
const BUNDLES_PER_TURN: u16 = 32;

/// More threads than this wait for the disk.
const MAX_THREADS: usize = 8;

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
    let mut audit = Walk::new(source, &head);
    let bundles = head.size().get().div_ceil(TILE_WIDTH.into());
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let turn = u64::from(BUNDLES_PER_TURN) * u64::try_from(threads).unwrap_or(1);
    let mut next = 0;
    while next < bundles {
        let end = bundles.min(next + turn);
        for (index, checked) in (next..).zip(check_bundles(source, &head, next..end)) {
            audit.take(index, checked?)?;
        }
        next = end;
        progress(audit.progress());
    }
    audit.finish()
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
    hashes: Vec<Hash>,
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
        if bundle.hashes.len() < usize::from(TILE_WIDTH) {
            self.tail = bundle.hashes;
            return Ok(());
        }
        self.levels.push(index, bundle.root)?;
        self.tiles.push(bundle.root);
        Ok(())
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

/// Checks some bundles, in threads, and answers in their order.
fn check_bundles(
    source: &dyn TileSource,
    head: &VerifiedHead,
    bundles: Range<u64>,
) -> Vec<Result<CheckedBundle, SiteError>> {
    let turn = u64::from(BUNDLES_PER_TURN);
    let check = |from: u64| {
        let indices = from..bundles.end.min(from + turn);
        indices.map(|index| check_bundle(source, head, index)).collect::<Vec<_>>()
    };
    if bundles.end - bundles.start <= turn {
        return check(bundles.start);
    }
    let check = &check;
    thread::scope(|scope| {
        let starts = bundles.clone().step_by(usize::from(BUNDLES_PER_TURN));
        let threads: Vec<_> = starts.map(|from| scope.spawn(move || check(from))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.flatten().collect()
    })
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
    Ok(CheckedBundle { root: root_of(&hashes), hashes, entry_bytes })
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
fn fetch_bundle(source: &dyn TileSource, path: BundlePath) -> Result<(Vec<u8>, BundlePath), SiteError> {
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
fn bad_position(problem: BundleError, width: u16) -> u16 {
    match problem {
        BundleError::Truncated { position } => position,
        BundleError::TrailingBytes(_) | BundleError::TooWide(_) => width - 1,
    }
}
