//! Checking a data directory, by its operator, while no server runs on it.
//!
//! Every entry is read and hashed, every tile compared with what its entries and the tiles below it hash to, and every
//! head that the signer journal holds compared with the root of the entries at its size (that journal begins anew with its
//! newest head when it has grown to 8 MiB; older heads are with those who kept them). Every attachment that is there is
//! read; which of them should be there, only who [looks](fsck_with) at the entries can tell. Nothing is repaired.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use bytes::Bytes;
use graven_merkle::tile::{
    BundlePath, EntryBundle, ExpandedTile, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath,
};
use graven_merkle::{Frontier, Hash, leaf_hash};
use graven_note::Checkpoint;
use graven_store::ChainFile;
use graven_store::journal::{Journal, OpenError as JournalError};

use crate::blobs::{Blobs, Foreign};
use crate::env::Env;
use crate::error::OpenError;
use crate::log::MAX_BUNDLE_BYTES;
use crate::meta::{LogMeta, LogName, Paths};
use crate::replay::{Replay, Replayed};
use crate::window::{Window, WindowLimits};
use crate::{keys, recover, rollback, rotation, signing};

/// Problems of one log that are reported; what comes after is only counted.
pub const MAX_PROBLEMS: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct FsckReport {
    /// What is wrong with the journal, if anything.
    pub journal: Option<String>,
    /// Each log, in the order of their numbers.
    pub logs: Vec<LogReport>,
}

/// What was found in one log.
#[derive(Clone, Debug)]
pub struct LogReport {
    /// Which log.
    pub name: LogName,
    /// Entries that were read and hashed.
    pub entries: u64,
    /// Those of them in sealed bundles.
    pub sealed: u64,
    /// Size of the newest signed head.
    pub signed: u64,
    /// Signed heads that were compared with the entries.
    pub heads: u64,
    /// What is wrong, the lowest index first.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub more_problems: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An entry does not hash to what the tree has at its index.
    Entry(u64),
    /// A bundle or tile is missing, cut short or otherwise no such thing, or a file of attachments does not hold.
    Object {
        /// Its C2SP path; that of a file of attachments begins with `blobs/`.
        path: String,
        /// The first entry that it concerns.
        first_index: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The entries do not hash to a root that was signed.
    Root {
        /// The signed size.
        size: u64,
    },
    /// Fewer entries are there than were signed.
    Behind {
        /// Entries that are there.
        have: u64,
        /// The signed size.
        signed: u64,
    },
    /// Something else.
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(index) => {
                write!(f, "entry {index} was changed: it does not hash to its leaf in the tree")
            }
            Self::Object { path, first_index, what } => {
                write!(f, "{path} (entries from {first_index}): {what}")
            }
            Self::Root { size } => {
                write!(f, "the entries do not hash to the root that was signed at size {size}")
            }
            Self::Behind { have, signed } => {
                write!(f, "{have} entries are there, and size {signed} was signed")
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl FsckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.journal.is_none() && self.logs.iter().all(|log| log.problems.is_empty())
    }
}

/// What there is beside an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Nothing.
    Nothing,
    /// This.
    Bytes(Bytes),
    /// Something, or nothing: what there is cannot be read, which is a [`Problem`] by itself.
    Unreadable,
}

/// Looks at the entries of a directory while they are checked.
pub trait Look {
    /// An entry as it is stored, in index order; one that is a [`Problem`] itself is passed over.
    fn entry(&mut self, log: &LogMeta, index: u64, entry: &[u8], attached: Attached);

    /// Every entry was looked at; no server can have started on the directory yet.
    fn end(&mut self) {}
}

impl Look for () {
    fn entry(&mut self, _log: &LogMeta, _index: u64, _entry: &[u8], _attached: Attached) {}
}

/// Checks a data directory. `progress` is told of each log how many of how many entries have been read.
pub fn fsck(
    env: &Env,
    dir: &Path,
    progress: impl FnMut(&LogName, u64, u64),
) -> Result<FsckReport, OpenError> {
    fsck_with(env, dir, progress, &mut ())
}

/// As [`fsck`], and lets somebody look at each entry with what is attached to it.
pub fn fsck_with(
    env: &Env,
    dir: &Path,
    mut progress: impl FnMut(&LogName, u64, u64),
    look: &mut dyn Look,
) -> Result<FsckReport, OpenError> {
    let paths = Paths::new(dir);
    let (_server, _lock) = recover::enter(env, &paths)?;
    let mut replay = Replay::new(Window::new(WindowLimits::default(), 0));
    let opened = Journal::open(&env.fs, &paths.journal(), 0, |record, stored| replay.visit(record, &stored));
    let journal = match opened {
        Ok(_) => None,
        Err(JournalError::Io { source, .. }) => return Err(source.into()),
        Err(damage) => Some(damage.to_string()),
    };
    let mut report = FsckReport { journal, logs: Vec::new() };
    for meta in recover::manifests(env, &paths)? {
        let replayed = replay.logs.remove(&meta.id).unwrap_or_default();
        let name = meta.name.clone();
        let check = Check::new(env, &paths, meta, &mut *look);
        report.logs.push(check.run(&replayed, &mut |at, of| progress(&name, at, of)));
    }
    look.end();
    // What the journal knows and no folder does; a server has one log at least.
    let lost = replay.logs.keys().next().map(|id| format!("the journal has entries of log number {}", id.0));
    let none = report.logs.is_empty().then(|| "there is no log".to_owned());
    if let Some(lost) = lost.or(none)
        && report.journal.is_none()
    {
        report.journal = Some(format!("{lost}, and the folder of a log is gone: restore it from a copy"));
    }
    Ok(report)
}

struct Check<'a> {
    env: &'a Env,
    paths: &'a Paths,
    meta: LogMeta,
    frontier: Frontier,
    /// Hashes of the unfinished tile of each level above the leaves.
    rows: Vec<Vec<Hash>>,
    /// Signed heads by size, not yet compared.
    signed: BTreeMap<u64, Vec<Checkpoint>>,
    look: &'a mut dyn Look,
    report: LogReport,
}

impl<'a> Check<'a> {
    fn new(env: &'a Env, paths: &'a Paths, meta: LogMeta, look: &'a mut dyn Look) -> Self {
        let name = meta.name.clone();
        let (problems, more_problems) = (Vec::new(), 0);
        let report = LogReport { name, entries: 0, sealed: 0, signed: 0, heads: 0, problems, more_problems };
        Self {
            env,
            paths,
            meta,
            frontier: Frontier::new(),
            rows: vec![Vec::new(); 8],
            signed: BTreeMap::new(),
            look,
            report,
        }
    }

    fn run(mut self, replayed: &Replayed, progress: &mut dyn FnMut(u64, u64)) -> LogReport {
        if let Err(what) = replayed.check() {
            self.problem(Problem::Other(what));
        }
        self.load_signed();
        self.report.sealed = replayed.sealed;
        let width = u64::from(TILE_WIDTH);
        let blobs = Blobs::open(self.env.fs.clone(), self.paths.blobs(&self.meta.name), self.meta.id).ok();
        for number in 0..replayed.sealed / width {
            self.bundle(number, blobs.as_ref());
            if number % 64 == 0 {
                progress(number * width, replayed.sequenced);
            }
        }
        for (chunk, leaves) in &replayed.chunks {
            let skip = self.frontier.size().get().saturating_sub(chunk.first);
            for leaf in leaves.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
                self.push(*leaf);
            }
            let (entries, mut attached) = chunk.unsealed(chunk.first + skip..chunk.end());
            for (index, entry) in (chunk.first + skip..).zip(entries) {
                let found = attached.remove(&index).map_or(Attached::Nothing, Attached::Bytes);
                self.look.entry(&self.meta, index, &entry, found);
            }
        }
        self.attachments(replayed);
        self.report.entries = self.frontier.size().get();
        progress(self.report.entries, self.report.entries);
        if self.report.entries < self.report.signed {
            self.problem(Problem::Behind { have: self.report.entries, signed: self.report.signed });
        }
        self.report
    }

    fn attachments(&mut self, replayed: &Replayed) {
        let width = u64::from(TILE_WIDTH);
        let folder = self.paths.blobs(&self.meta.name);
        let found = Blobs::open(self.env.fs.clone(), folder, self.meta.id)
            .and_then(|blobs| blobs.check(replayed.sealed / width, replayed.sequenced / width));
        match found {
            Err(error) => self.problem(Problem::Other(format!("blobs: {error}"))),
            Ok(found) => found.into_iter().for_each(|Foreign { path, number, what }| {
                let first_index = number.unwrap_or(0) * width;
                self.problem(Problem::Object { path, first_index, what });
            }),
        }
    }

    fn problem(&mut self, problem: Problem) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(problem);
        } else {
            self.report.more_problems += 1;
        }
    }

    /// Collects every head that was signed, and checks the keys.
    fn load_signed(&mut self) {
        let keys = match rotation::peek(&*self.env.fs, self.paths, &self.meta) {
            Ok(keys) => keys,
            Err(error) => return self.problem(Problem::Other(format!("rotations: {error}"))),
        };
        let payloads = match ChainFile::peek(&*self.env.fs, &self.paths.signer(&self.meta.name)) {
            Ok(payloads) => payloads,
            Err(error) => return self.problem(Problem::Other(format!("signer journal: {error}"))),
        };
        match signing::last_signed(&payloads, &self.meta.origin, &keys) {
            Some(signed) => {
                self.report.signed = signed.checkpoint.size().get();
                let valid = keys.valid_at(signed.checkpoint.size());
                let folder = self.paths.keys(&self.meta.name);
                if let Err(error) = keys::load_all(&*self.env.fs, &folder, valid, &self.meta) {
                    self.problem(Problem::Other(format!("signing keys: {error}")));
                }
            }
            None => self.problem(Problem::Other("the signer journal is not one of this log".to_owned())),
        }
        for checkpoint in signing::bodies(&payloads) {
            self.expect(checkpoint);
        }
        match rollback::exported(self.env, self.paths, &self.meta, &keys) {
            Ok(Some(checkpoint)) => self.expect(checkpoint),
            Ok(None) => {}
            Err(error) => self.problem(Problem::Other(format!("site/checkpoint: {error}"))),
        }
        self.compare_head();
    }

    fn expect(&mut self, checkpoint: Checkpoint) {
        self.signed.entry(checkpoint.size().get()).or_default().push(checkpoint);
    }

    /// Compares the heads signed at the present size with the root of the entries.
    fn compare_head(&mut self) {
        let size = self.frontier.size().get();
        for checkpoint in self.signed.remove(&size).unwrap_or_default() {
            self.report.heads += 1;
            if !signing::agrees(&self.frontier, &checkpoint) {
                self.problem(Problem::Root { size });
            }
        }
    }

    fn push(&mut self, leaf: Hash) {
        self.frontier.push(leaf);
        if !self.signed.is_empty() {
            self.compare_head();
        }
    }

    /// Reads a sealed bundle and its tile, and every tile above that it completes.
    fn bundle(&mut self, number: u64, blobs: Option<&Blobs>) {
        let first_index = number * u64::from(TILE_WIDTH);
        let row = TileId::new(0, number).and_then(|tile| self.tile(tile, first_index));
        match (self.entries(number, first_index), row) {
            (Some(entries), row) => {
                let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
                let beside = |blobs: &Blobs| {
                    blobs.read(number, first_index..first_index + u64::from(TILE_WIDTH), usize::MAX)
                };
                let mut attached = blobs
                    .and_then(|blobs| beside(blobs).ok())
                    .map(|(_, found)| found.into_iter().collect::<BTreeMap<_, _>>());
                for ((index, leaf), entry) in (first_index..).zip(&leaves).zip(&entries) {
                    let at = usize::try_from(index - first_index).unwrap_or(usize::MAX);
                    let is_changed = row.as_ref().is_some_and(|row| row.get(at) != Some(leaf));
                    if is_changed {
                        self.problem(Problem::Entry(index));
                    }
                    self.push(*leaf);
                    if is_changed {
                        continue;
                    }
                    let found = match &mut attached {
                        None => Attached::Unreadable,
                        Some(all) => all.remove(&index).map_or(Attached::Nothing, Attached::Bytes),
                    };
                    self.look.entry(&self.meta, index, entry, found);
                }
                self.complete(0, number, &row.unwrap_or(leaves));
            }
            (None, Some(row)) => {
                row.iter().for_each(|leaf| self.push(*leaf));
                self.complete(0, number, &row);
            }
            (None, None) => {
                self.problem(Problem::Other(format!("entries from {first_index} cannot be checked")));
            }
        }
    }

    fn entries(&mut self, number: u64, first_index: u64) -> Option<Vec<Vec<u8>>> {
        let path = BundlePath::new(number, TILE_WIDTH)?.to_string();
        let entries =
            self.read(&path, MAX_BUNDLE_BYTES).map_err(|error| error.to_string()).and_then(|bytes| {
                let bundle = EntryBundle::parse(&bytes, TILE_WIDTH).map_err(|error| error.to_string())?;
                Ok(bundle.entries().map(<[u8]>::to_vec).collect())
            });
        entries.map_err(|what| self.problem(Problem::Object { path, first_index, what })).ok()
    }

    fn tile(&mut self, tile: TileId, first_index: u64) -> Option<Vec<Hash>> {
        let path = TilePath::new(tile, TILE_WIDTH)?.to_string();
        let row = self.read(&path, TILE_BYTES as u64).map_err(|error| error.to_string()).and_then(|bytes| {
            let tile = ExpandedTile::from_row_bytes(&bytes).map_err(|error| error.to_string())?;
            if tile.is_full() { Ok(tile.row().to_vec()) } else { Err("it is cut short".to_owned()) }
        });
        row.map_err(|what| self.problem(Problem::Object { path, first_index, what })).ok()
    }

    fn read(&self, path: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
        self.env.fs.read(&self.paths.site(&self.meta.name).join(path), max_bytes)
    }

    /// A tile is whole: its root belongs to the row above, and where that is whole too, to a tile on disk.
    fn complete(&mut self, level: usize, number: u64, row: &[Hash]) {
        let root = ExpandedTile::from_row(row).and_then(|tile| tile.node(TILE_HEIGHT, 0));
        let (Some(root), Some(above)) = (root, self.rows.get_mut(level + 1)) else { return };
        above.push(root);
        if above.len() < usize::from(TILE_WIDTH) {
            return;
        }
        let computed = std::mem::take(above);
        let above_number = number / u64::from(TILE_WIDTH);
        let first_index = (number + 1 - u64::from(TILE_WIDTH)) << (8 * (level + 1));
        let Some(id) = u8::try_from(level + 1).ok().and_then(|level| TileId::new(level, above_number)) else {
            return;
        };
        if let Some(stored) = self.tile(id, first_index)
            && stored != computed
        {
            let at =
                stored.iter().zip(&computed).position(|(stored, computed)| stored != computed).unwrap_or(0);
            let path = TilePath::new(id, TILE_WIDTH).map_or_else(String::new, |path| path.to_string());
            let first_index = first_index + ((at as u64) << (8 * (level + 1)));
            let what = format!("hash {at} is not that of the tile below it");
            self.problem(Problem::Object { path, first_index, what });
        }
        self.complete(level + 1, above_number, &computed);
    }
}
