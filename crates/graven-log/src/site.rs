//! A log's static resources as of its published head: any tile and any bundle, in any width that the tree has.
//!
//! What comes from disk is held against its neighbours before it is handed out, because caches keep it for a year: a
//! bundle's entries must hash to the tile below which they stand, and a tile must hash to its node in the tile above.

use bytes::Bytes;
use graven_merkle::tile::{
    BundlePath, EntryBundle, ExpandedTile, Resource, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath,
};
use graven_merkle::{Hash, HashReader, NodeId, leaf_hash};

use crate::error::ReadError;
use crate::log::{Log, damaged};
use crate::tree::FromTiles;

impl Log {
    /// The bytes of a tile or an entry bundle (C2SP tlog-tiles); `None` where the published tree does not reach that far.
    ///
    /// # Errors
    /// Storage failed, or what it holds does not verify.
    pub fn resource(&self, resource: Resource) -> Result<Option<Bytes>, ReadError> {
        let size = self.head().size();
        match resource {
            Resource::Tile(path) if path.width() <= path.tile().width_in(size) => self.tile(path).map(Some),
            Resource::Entries(path) if path.width() <= path.tile().tile().width_in(size) => {
                self.bundle(path).map(Some)
            }
            Resource::Tile(_) | Resource::Entries(_) => Ok(None),
        }
    }

    fn tile(&self, path: TilePath) -> Result<Bytes, ReadError> {
        let row = self.verified_row(path.tile(), path.width())?;
        Ok(row.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }

    /// The first `width` hashes of a tile. Where it is sealed, all of it is read and verified.
    fn verified_row(&self, tile: TileId, width: u16) -> Result<Vec<Hash>, ReadError> {
        if let Some(row) = self.tree.hot_range(tile, width) {
            return Ok(row);
        }
        let mut row = self.tile_row(tile, TILE_WIDTH)?;
        let above = NodeId::new((tile.level() + 1) * TILE_HEIGHT, tile.index());
        let root = ExpandedTile::from_row(&row).and_then(|tile| tile.node(TILE_HEIGHT, 0));
        // Derived nodes may be wrong without any harm: then the tile above itself decides.
        let is_below = |nodes: std::io::Result<Vec<Hash>>| nodes.map(|nodes| root.as_slice() == nodes);
        if !is_below(self.tree.read(&[above])).unwrap_or(false)
            && !is_below(FromTiles(&self.tree).read(&[above]))?
        {
            let (level, index) = (tile.level(), tile.index());
            return Err(damaged(&format!("tile {index} of level {level} differs from the tile above it")));
        }
        row.truncate(usize::from(width));
        Ok(row)
    }

    fn bundle(&self, path: BundlePath) -> Result<Bytes, ReadError> {
        let first = path.index() * u64::from(TILE_WIDTH);
        let entries = self.entries(first..first + u64::from(path.width()), usize::MAX)?;
        let row = self.verified_row(path.tile().tile(), path.width())?;
        if !entries.iter().map(|entry| leaf_hash(entry)).eq(row) {
            return Err(damaged(&format!("{path} differs from its tile")));
        }
        EntryBundle::encode(&entries).map(Bytes::from).map_err(|error| damaged(&error.to_string()))
    }
}
