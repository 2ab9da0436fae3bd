//! One mirrored log: what of it is served.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use graven_merkle::tile::{
    BundlePath, EntryBundle, MAX_ENTRY_BYTES, Resource, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath,
};
use graven_merkle::{Hash, ProveError, TreeSize, leaf_hash};
use graven_note::{Checkpoint, LocalSigner, SignedNote, Signer as _, VerifiedCheckpoint, VerifierKey};
use graven_store::{Fs, Objects};
use parking_lot::{Mutex, RwLock};

use crate::alive::Alive;
use crate::copy::Growing;
use crate::edge::{
    Edge, Stored, full_bundle, partial_bundle, partial_tiles, read_full, read_row, root_of, row_bytes,
};
use crate::error::MirrorError;
use crate::meta::{self, LogMeta};
use crate::state::{State, StateFile};
use crate::ticket::Tickets;

/// Longest bundle.
pub(crate) const MAX_BUNDLE_BYTES: u64 = TILE_WIDTH as u64 * (MAX_ENTRY_BYTES as u64 + 2);

/// A copy of one log.
pub struct MirroredLog {
    pub(crate) meta: LogMeta,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) objects: Objects,
    pub(crate) signers: Arc<[LocalSigner]>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) alive: Arc<Alive>,
    /// The log signed what cannot both be true.
    pub(crate) split: AtomicBool,
    /// Held by whoever lets it grow.
    pub(crate) growing: Mutex<Growing>,
    pub(crate) published: RwLock<Option<Arc<Published>>>,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Entries under the mirror checkpoint.
    pub size: TreeSize,
    /// Its newest cosignature's time, in seconds since 1970; 0 where there is none.
    pub time_seconds: u64,
    /// Entries under the pending checkpoint.
    pub pending_size: TreeSize,
    /// See [`MirroredLog::is_split`].
    pub is_split: bool,
}

/// The mirror checkpoint, and the part of its tree that is in no full tile or bundle.
pub(crate) struct Published {
    pub(crate) note: Bytes,
    pub(crate) checkpoint: Checkpoint,
    /// Of the newest cosignature.
    pub(crate) time_seconds: u64,
    pub(crate) tiles: BTreeMap<TileId, Vec<Hash>>,
    pub(crate) bundle: Option<(BundlePath, Bytes)>,
}

impl MirroredLog {
    /// Opens a copy and checks that its tiles lead to what was cosigned.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        signers: Arc<[LocalSigner]>,
        tickets: Arc<Tickets>,
        alive: Arc<Alive>,
    ) -> Result<Self, MirrorError> {
        let damaged = |what: &str| MirrorError::Damaged { path: dir.to_owned(), what: what.to_owned() };
        let meta = meta::read_log(&**fs, dir)?;
        let (file, state) = StateFile::open(fs.clone(), dir.join("state"))?;
        let state = state.ok_or_else(|| damaged("its state is none"))?;
        let objects = Objects::open(fs.clone(), &dir.join("site"))?;
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                damaged(&format!("a tile or bundle does not read: {error}"))
            }
            _ => MirrorError::Io(error),
        };
        let published = Published::load(&state, &meta, &objects, &signers).map_err(broken)?;
        if let Some(published) = &published {
            let size = published.checkpoint.size();
            let root = graven_merkle::root(&Stored { objects: &objects, size }, size);
            let root = root.map_err(|error| match error {
                ProveError::Read(error) => broken(error),
                other => damaged(&other.to_string()),
            })?;
            if root != *published.checkpoint.root() {
                return Err(damaged("its tiles do not hash to the root that was cosigned"));
            }
            // What was cosigned is what is served, also where a crash came between.
            objects.replace("checkpoint", &published.note)?;
        }
        let edge = Edge::open(&objects, state.sealed).map_err(broken)?;
        let pending = match &state.pending[..] {
            [] => None,
            note => Some(VerifiedCheckpoint::open(note, &meta.origin, &meta.keys)),
        };
        let pending =
            pending.transpose().map_err(|error| damaged(&format!("its pending checkpoint: {error}")))?;
        let evidence = dir.join("evidence");
        let kept = if fs.exists(&evidence)? { fs.list(&evidence)? } else { Vec::new() };
        let split = AtomicBool::new(kept.iter().any(|name| name.ends_with(".evidence")));
        let growing = Growing { file, state, edge, pending: pending.into_iter().collect() };
        let (growing, published) = (Mutex::new(growing), RwLock::new(published.map(Arc::new)));
        let (fs, dir) = (fs.clone(), dir.to_owned());
        Ok(Self { meta, fs, dir, objects, signers, tickets, alive, split, growing, published })
    }

    /// The log's origin.
    pub fn origin(&self) -> &graven_note::Origin {
        &self.meta.origin
    }

    /// The tlog-tiles prefix that it is copied from.
    pub fn url(&self) -> &str {
        &self.meta.url
    }

    /// Whether the log signed what cannot both be true: nothing more of it is taken or cosigned, ever.
    pub fn is_split(&self) -> bool {
        self.split.load(Ordering::Acquire)
    }

    /// How far the copy is.
    pub fn status(&self) -> Status {
        let (published, growing) = (self.published(), self.growing.lock());
        let pending = growing.pending.back();
        Status {
            size: published.as_ref().map_or(TreeSize::ZERO, |published| published.checkpoint.size()),
            time_seconds: published.map_or(0, |published| published.time_seconds),
            pending_size: pending.map_or(TreeSize::ZERO, |pending| pending.checkpoint().size()),
            is_split: self.is_split(),
        }
    }

    /// How many entries are mirrored.
    pub fn size(&self) -> TreeSize {
        self.published().map_or(TreeSize::ZERO, |published| published.checkpoint.size())
    }

    /// The mirror checkpoint, with the log's signatures and the mirror's cosignatures.
    pub fn checkpoint(&self) -> Option<Bytes> {
        self.published().map(|published| published.note.clone())
    }

    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.published.read().clone()
    }

    /// A tile or bundle under the mirror checkpoint; `None` where that does not reach so far.
    ///
    /// # Errors
    /// Storage failed, or what it holds is not what was verified.
    pub fn resource(&self, resource: Resource) -> io::Result<Option<Bytes>> {
        let Some(published) = self.published() else { return Ok(None) };
        let size = published.checkpoint.size();
        match resource {
            Resource::Tile(path) if path.width() <= path.tile().width_in(size) => {
                let mut row = self.row(&published, path.tile())?;
                row.truncate(path.width().into());
                Ok(Some(row_bytes(&row).into()))
            }
            Resource::Entries(path) if path.width() <= path.tile().tile().width_in(size) => {
                self.bundle(&published, path).map(Some)
            }
            Resource::Tile(_) | Resource::Entries(_) => Ok(None),
        }
    }

    /// The row of a tile, verified by the tile above it.
    fn row(&self, published: &Published, tile: TileId) -> io::Result<Vec<Hash>> {
        if let Some(row) = published.tiles.get(&tile) {
            return Ok(row.clone());
        }
        let row = read_full(&self.objects, tile.level(), tile.index())?;
        let (above, at) = (tile.index() >> TILE_HEIGHT, tile.index() % u64::from(TILE_WIDTH));
        let above = TileId::new(tile.level() + 1, above).ok_or_else(|| io::Error::other("no such tile"))?;
        let above = match published.tiles.get(&above) {
            Some(row) => row.clone(),
            None => read_full(&self.objects, above.level(), above.index())?,
        };
        let known = usize::try_from(at).ok().and_then(|at| above.get(at));
        if known != Some(&root_of(&row)) {
            return Err(changed(&format!("tile {} of level {}", tile.index(), tile.level())));
        }
        Ok(row)
    }

    fn bundle(&self, published: &Published, path: BundlePath) -> io::Result<Bytes> {
        let stored = match &published.bundle {
            Some((edge, bytes)) if edge.index() == path.index() => (*edge, bytes.clone()),
            _ => {
                let full = full_bundle(path.index())?;
                (full, self.objects.read(&full.to_string(), MAX_BUNDLE_BYTES)?.into())
            }
        };
        let (stored, bytes): (BundlePath, Bytes) = stored;
        let row = self.row(published, path.tile().tile())?;
        let bundle = EntryBundle::parse(&bytes, stored.width()).map_err(|_| changed(&path.to_string()))?;
        if !bundle.entries().map(leaf_hash).eq(row) {
            return Err(changed(&path.to_string()));
        }
        let length = bundle.prefix(path.width()).map_or(0, |prefix| prefix.bytes().len());
        Ok(bytes.slice(..length))
    }
}

impl Published {
    /// What a state says was published, with its right edge from disk.
    fn load(
        state: &State,
        meta: &LogMeta,
        objects: &Objects,
        signers: &[LocalSigner],
    ) -> io::Result<Option<Self>> {
        if state.mirrored.is_empty() {
            return Ok(None);
        }
        let verified = VerifiedCheckpoint::open(&state.mirrored, &meta.origin, &meta.keys);
        let verified = verified.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let checkpoint = verified.checkpoint().clone();
        let tiles = partial_tiles(checkpoint.size())
            .map(|path: TilePath| Ok::<_, io::Error>((path.tile(), read_row(objects, path)?)));
        let bundle = partial_bundle(checkpoint.size()).map(|path| {
            Ok::<_, io::Error>((path, objects.read(&path.to_string(), MAX_BUNDLE_BYTES)?.into()))
        });
        let (tiles, bundle) = (tiles.collect::<Result<_, _>>()?, bundle.transpose()?);
        let own: Vec<_> = signers.iter().map(|signer| signer.vkey().clone()).collect();
        let time_seconds = newest_time(verified.note().note().clone(), &own)?;
        let note = Bytes::copy_from_slice(&state.mirrored);
        Ok(Some(Self { note, checkpoint, time_seconds, tiles, bundle }))
    }
}

/// The newest time at which one of `keys` cosigned, as one of them did.
fn newest_time(note: SignedNote, keys: &[VerifierKey]) -> io::Result<u64> {
    let cosigned = note.verify(keys).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(cosigned.signatures().iter().filter_map(|signature| signature.timestamp()).max().unwrap_or(0))
}

fn changed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} is not what was verified: the disk changed it"),
    )
}
