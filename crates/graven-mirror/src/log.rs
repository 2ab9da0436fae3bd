//! One mirrored log: what of it is served.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use graven_client::Trust;
use graven_merkle::tile::{
    BundlePath, EntryBundle, MAX_ENTRY_BYTES, Resource, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath,
};
use graven_merkle::{Hash, ProveError, TreeSize, leaf_hash};
use graven_note::{Checkpoint, LocalSigner, VerifiedCheckpoint};
use graven_store::{Fs, Objects};
use parking_lot::{Mutex, RwLock};

use crate::copy::Growing;
use crate::edge::{Edge, Stored, partial_bundle, partial_tiles, read_full, read_row, root_of, row_bytes};
use crate::error::MirrorError;
use crate::meta::{LogMeta, MAX_MANIFEST_BYTES};
use crate::state::{State, StateFile};

/// Longest bundle.
const MAX_BUNDLE_BYTES: u64 = TILE_WIDTH as u64 * (MAX_ENTRY_BYTES as u64 + 2);

/// A copy of one log.
pub struct MirroredLog {
    pub(crate) meta: LogMeta,
    pub(crate) trust: Trust,
    pub(crate) objects: Objects,
    pub(crate) signers: Arc<[LocalSigner]>,
    /// Held by whoever lets it grow.
    pub(crate) growing: Mutex<Growing>,
    pub(crate) published: RwLock<Option<Arc<Published>>>,
}

/// The mirror checkpoint, and the part of its tree that is in no full tile or bundle.
pub(crate) struct Published {
    pub(crate) note: Bytes,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tiles: BTreeMap<TileId, Vec<Hash>>,
    pub(crate) bundle: Option<(BundlePath, Bytes)>,
}

impl MirroredLog {
    /// Opens a copy and checks that its tiles lead to what was cosigned.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        signers: Arc<[LocalSigner]>,
    ) -> Result<Self, MirrorError> {
        let damaged = |what: &str| MirrorError::Damaged { path: dir.to_owned(), what: what.to_owned() };
        let manifest = fs.read(&dir.join("log"), MAX_MANIFEST_BYTES)?;
        let meta = std::str::from_utf8(&manifest).ok().and_then(LogMeta::parse);
        let meta = meta.ok_or_else(|| damaged("its manifest does not hold together"))?;
        let trust = Trust::new(meta.origin.clone(), meta.keys.clone())
            .map_err(|error| MirrorError::Refused(error.to_string()))?;
        let (file, state) = StateFile::open(fs.clone(), dir.join("state"))?;
        let state = state.ok_or_else(|| damaged("its state is none"))?;
        let objects = Objects::open(fs.clone(), &dir.join("site"))?;
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                damaged(&format!("a tile or bundle does not read: {error}"))
            }
            _ => MirrorError::Io(error),
        };
        let published = Published::load(&state, &meta, &objects).map_err(broken)?;
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
        let growing = Mutex::new(Growing { file, state, edge });
        let published = RwLock::new(published.map(Arc::new));
        Ok(Self { meta, trust, objects, signers, growing, published })
    }

    /// The log's origin.
    pub fn origin(&self) -> &graven_note::Origin {
        &self.meta.origin
    }

    /// The tlog-tiles prefix that it is copied from.
    pub fn url(&self) -> &str {
        &self.meta.url
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
                let full = BundlePath::new(path.index(), TILE_WIDTH);
                let full = full.ok_or_else(|| io::Error::other("no such bundle"))?;
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
    fn load(state: &State, meta: &LogMeta, objects: &Objects) -> io::Result<Option<Self>> {
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
        Ok(Some(Self { note: Bytes::copy_from_slice(&state.mirrored), checkpoint, tiles, bundle }))
    }
}

fn changed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} is not what was verified: the disk changed it"),
    )
}
