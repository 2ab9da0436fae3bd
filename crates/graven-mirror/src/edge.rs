//! The right edge of a growing copy: the hashes that fill no tile yet, level by level.

use std::io;

use graven_merkle::tile::{
    BundlePath, ExpandedTile, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath, levels, locate,
};
use graven_merkle::{Frontier, Hash, HashReader, NodeId, TreeSize};
use graven_store::Objects;

/// The highest tile level of any tree.
const TOP_LEVEL: u8 = 7;

/// The rows of the unfinished tiles above the full bundles.
pub(crate) struct Edge {
    /// Full bundles so far.
    bundles: u64,
    /// The row of tile level 1, of level 2, and so on.
    rows: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge above the first `sealed` entries, a multiple of 256, from their tiles.
    pub(crate) fn open(objects: &Objects, sealed: u64) -> io::Result<Self> {
        let mut rows = Vec::new();
        for level in 1..=TOP_LEVEL {
            let below = sealed >> (u32::from(TILE_HEIGHT) * u32::from(level));
            let first = below - below % u64::from(TILE_WIDTH);
            let roots = (first..below).map(|index| read_full(objects, level - 1, index));
            rows.push(roots.map(|row| row.map(|row| root_of(&row))).collect::<io::Result<_>>()?);
        }
        Ok(Self { bundles: sealed >> TILE_HEIGHT, rows })
    }

    /// Entries in full bundles.
    pub(crate) fn sealed(&self) -> u64 {
        self.bundles << TILE_HEIGHT
    }

    /// Takes the leaf hashes of the next full bundle, and hands on every tile that they complete.
    pub(crate) fn push(
        &mut self,
        leaves: &[Hash],
        mut write: impl FnMut(TilePath, &[Hash]) -> io::Result<()>,
    ) -> io::Result<()> {
        write(full_path(0, self.bundles)?, leaves)?;
        let (mut hash, mut index) = (root_of(leaves), self.bundles);
        for (level, row) in (1_u8..).zip(&mut self.rows) {
            row.push(hash);
            index >>= TILE_HEIGHT;
            if row.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let full = std::mem::take(row);
            write(full_path(level, index)?, &full)?;
            hash = root_of(&full);
        }
        self.bundles += 1;
        Ok(())
    }

    /// The root of all entries, with the leaf hashes after the last full bundle.
    pub(crate) fn root(&self, tail: &[Hash]) -> Option<Hash> {
        let size = TreeSize::new(self.sealed() + u64::try_from(tail.len()).ok()?)?;
        let rows = self.rows.iter().rev().map(Vec::as_slice).chain([tail]);
        let peaks = rows.flat_map(|row| frontier_of(row).peaks().to_vec()).collect();
        Frontier::from_peaks(size, peaks).map(|frontier| frontier.root())
    }

    /// The tiles that are not full, with the leaf hashes after the last full bundle.
    pub(crate) fn partial_tiles(&self, tail: &[Hash]) -> Vec<(TilePath, Vec<Hash>)> {
        let rows = [tail].into_iter().chain(self.rows.iter().map(Vec::as_slice));
        let size = TreeSize::new(self.sealed() + tail.len() as u64).unwrap_or_default();
        let paths = partial_tiles(size);
        paths
            .filter_map(|path| Some((path, rows.clone().nth(path.tile().level().into())?.to_vec())))
            .collect()
    }
}

/// The tiles of a tree that are not full.
pub(crate) fn partial_tiles(size: TreeSize) -> impl Iterator<Item = TilePath> {
    levels(size).filter_map(|level| TilePath::new(TileId::new(level.level, level.full)?, level.partial))
}

/// The bundle of a log that is not full.
pub(crate) fn partial_bundle(size: TreeSize) -> Option<BundlePath> {
    let number = size.get() >> TILE_HEIGHT;
    BundlePath::new(number, TileId::new(0, number)?.width_in(size))
}

/// A stored copy of the tree of one size, as its tiles are on disk.
pub(crate) struct Stored<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) size: TreeSize,
}

impl HashReader for Stored<'_> {
    type Error = io::Error;

    fn read(&self, ids: &[NodeId]) -> io::Result<Vec<Hash>> {
        let none = || io::Error::new(io::ErrorKind::InvalidData, "no tile has this node");
        ids.iter()
            .map(|id| {
                let place = locate(*id).ok_or_else(none)?;
                let path = place.tile.path_in(self.size).ok_or_else(none)?;
                let tile = ExpandedTile::from_row(&read_row(self.objects, path)?).ok_or_else(none)?;
                tile.node(place.level, place.index).ok_or_else(none)
            })
            .collect()
    }
}

/// A full tile, as it is on disk.
pub(crate) fn read_full(objects: &Objects, level: u8, index: u64) -> io::Result<Vec<Hash>> {
    read_row(objects, full_path(level, index)?)
}

/// A tile, as it is on disk.
pub(crate) fn read_row(objects: &Objects, path: TilePath) -> io::Result<Vec<Hash>> {
    let bytes = objects.read(&path.to_string(), TILE_BYTES as u64)?;
    let tile = ExpandedTile::from_row_bytes(&bytes).ok().filter(|tile| tile.width() == path.width());
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{path} is no such tile"));
    Ok(tile.ok_or_else(wrong)?.row().to_vec())
}

pub(crate) fn full_path(level: u8, index: u64) -> io::Result<TilePath> {
    let path = TileId::new(level, index).and_then(|tile| TilePath::new(tile, TILE_WIDTH));
    path.ok_or_else(|| io::Error::other("no such tile"))
}

pub(crate) fn full_bundle(index: u64) -> io::Result<BundlePath> {
    BundlePath::new(index, TILE_WIDTH).ok_or_else(|| io::Error::other("no such bundle"))
}

pub(crate) fn root_of(row: &[Hash]) -> Hash {
    frontier_of(row).root()
}

pub(crate) fn row_bytes(row: &[Hash]) -> Vec<u8> {
    row.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn frontier_of(row: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    frontier.append(row.iter().copied());
    frontier
}
