//! A site's bundles, each with the proof that it is part of one tree: what C2SP tlog-mirror calls entry packages.
//!
//! Nothing is verified here. The proofs come from the same site, and whoever copies the log holds both against a signed root
//! before it keeps a byte ([`ProvenBundle`](graven_merkle::tile::ProvenBundle)). So the copy grows bundle by bundle, and needs
//! neither the rest of the log nor room for it.

use std::{cell::RefCell, collections::BTreeMap, io, ops::Range, thread};

use graven_merkle::{
    ConsistencyProof, Hash, HashReader, NodeId, ProveError, Subtree, TreeSize, prove_consistency,
    prove_subtree_consistency,
    tile::{BundlePath, EntryBundle, ExpandedTile, TILE_HEIGHT, TilePath, locate},
};

use super::{
    SiteError, TileSource,
    levels::{fetch_tile, path_of},
    site::fetch_bundle,
};

/// Tiles that are kept for the next proof: those of the right edge and those above the bundles that are read.
const KEPT_TILES: usize = 64;

/// A bundle, and what is to prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Which bundle, as wide as the tree has it.
    pub path: BundlePath,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// That its entries are the tree's.
    pub proof: ConsistencyProof,
}

/// Reads packages of the tree of one size.
pub struct PackageReader<'a> {
    source: &'a dyn TileSource,
    size: TreeSize,
    tiles: RefCell<BTreeMap<TilePath, ExpandedTile>>,
}

impl<'a> PackageReader<'a> {
    /// Of the tree of `size` entries, which the site must have.
    #[must_use]
    pub fn new(source: &'a dyn TileSource, size: TreeSize) -> Self {
        Self { source, size, tiles: RefCell::default() }
    }

    /// What is to prove that the tree begins with the one of `from` entries.
    ///
    /// # Errors
    /// A tile cannot be read, or the tree has fewer entries.
    pub fn consistency(&self, from: TreeSize) -> Result<ConsistencyProof, SiteError> {
        prove_consistency(self, from, self.size).map_err(unproven)
    }

    /// How many bundles it is best asked for at a time.
    #[must_use]
    pub fn at_a_time(&self) -> u64 {
        u64::try_from(self.source.readers()).unwrap_or(1).max(1)
    }

    /// The bundles with these numbers, fetched all at once; those that the tree does not have are left out.
    ///
    /// # Errors
    /// One of them, or a tile for its proof, cannot be read.
    pub fn packages(&self, numbers: Range<u64>) -> Result<Vec<Package>, SiteError> {
        let of_tree = self.size.get().div_ceil(1 << TILE_HEIGHT);
        let numbers = numbers.start..numbers.end.min(of_tree);
        let source = self.source;
        let fetched: Vec<_> = thread::scope(|scope| {
            let paths = numbers.map(|number| {
                let tile = path_of(0, number, self.size);
                BundlePath::new(number, tile.width()).expect("a tile's width is a bundle's")
            });
            let threads: Vec<_> =
                paths.map(|path| (path, scope.spawn(move || fetch_bundle(source, path)))).collect();
            threads.into_iter().map(|(path, thread)| (path, thread.join())).collect()
        });
        fetched
            .into_iter()
            .map(|(path, fetched)| {
                let (bytes, found) = fetched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                let (bytes, proof) = (cut(bytes, found, path), self.proof_of(path)?);
                Ok(Package { path, bytes, proof })
            })
            .collect()
    }

    fn proof_of(&self, path: BundlePath) -> Result<ConsistencyProof, SiteError> {
        let first = path.index() << TILE_HEIGHT;
        let subtree = Subtree::new(first..first + u64::from(path.width()));
        let subtree = subtree.expect("a bundle begins at a multiple of its full width");
        prove_subtree_consistency(self, subtree, self.size).map_err(unproven)
    }

    fn node(&self, id: NodeId) -> Result<Hash, SiteError> {
        let beyond = || SiteError::io(&id.to_string(), io::Error::other("no tile has this node"));
        let place = locate(id).ok_or_else(beyond)?;
        let path = place.tile.path_in(self.size).ok_or_else(beyond)?;
        let mut tiles = self.tiles.borrow_mut();
        if !tiles.contains_key(&path) {
            let tile = ExpandedTile::from_row(&fetch_tile(self.source, path)?).ok_or_else(beyond)?;
            if tiles.len() >= KEPT_TILES {
                tiles.clear();
            }
            tiles.insert(path, tile);
        }
        tiles.get(&path).and_then(|tile| tile.node(place.level, place.index)).ok_or_else(beyond)
    }
}

impl HashReader for PackageReader<'_> {
    type Error = SiteError;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, SiteError> {
        ids.iter().map(|id| self.node(*id)).collect()
    }
}

/// The beginning of a bundle that has grown since. One that is none fails to verify as it is.
fn cut(bytes: Vec<u8>, found: BundlePath, wanted: BundlePath) -> Vec<u8> {
    let bundle = EntryBundle::parse(&bytes, found.width()).ok();
    match bundle.and_then(|bundle| bundle.prefix(wanted.width())) {
        Some(prefix) if found != wanted => prefix.bytes().to_vec(),
        _ => bytes,
    }
}

fn unproven(error: ProveError<SiteError>) -> SiteError {
    match error {
        ProveError::Read(error) => error,
        other => SiteError::io("tile", io::Error::other(other.to_string())),
    }
}
