//! Blocks: full tiles with inner nodes at hand, in one derived file a tile level, so that a proof reads once a tile.
//!
//! ```text
//! nodes/0: block n at n × 9,216              nodes/1 and above: block n at n × 16,384
//!      0  8192  the row, 256 hashes               0  8192  the row, 256 hashes
//!   8192   960  4 to 7 levels above it:        8192  8128  1 to 7 levels above it:
//!               16 + 8 + 4 + 2 hashes                      128 + 64 + … + 2 hashes
//!   9152    64  zero                          16320    64  zero
//! ```
//!
//! Of the tiles of level 0, which are nearly all there are, the lower inner nodes would take 28 bytes an entry; instead
//! whoever needs one hashes 7 times at most.

use std::io;

use graven_merkle::tile::{ExpandedTile, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileId};
use graven_merkle::{HASH_BYTES, Hash, node_hash};

/// A full tile, as it stands in its file.
pub(crate) struct Block {
    kept_from: u8,
    bytes: Vec<u8>,
}

/// The lowest inner level that is kept of a tile.
const fn kept_from(tile: TileId) -> u8 {
    if tile.level() == 0 { 4 } else { 1 }
}

/// The levels that are kept of a tile: its row, and upper inner nodes.
pub(crate) fn kept_levels(tile: TileId) -> impl Iterator<Item = u8> {
    std::iter::once(0).chain(kept_from(tile)..TILE_HEIGHT)
}

/// Length of a block in its file.
pub(crate) const fn block_bytes(tile: TileId) -> usize {
    TILE_BYTES + (TILE_BYTES >> (kept_from(tile) - 1))
}

impl Block {
    /// The block of a tile whose [`kept_levels`] these bytes are, one after the other.
    pub(crate) fn new(tile: TileId, mut bytes: Vec<u8>) -> Self {
        bytes.resize(block_bytes(tile), 0);
        Self { kept_from: kept_from(tile), bytes }
    }

    /// The block of a tile with this row, every inner node computed.
    pub(crate) fn from_row(tile: TileId, row: &[u8]) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let expanded = ExpandedTile::from_row_bytes(row).map_err(|error| invalid(error.to_string()))?;
        if !expanded.is_full() {
            return Err(invalid("it is cut short".to_owned()));
        }
        let mut bytes = Vec::with_capacity(block_bytes(tile));
        for level in kept_levels(tile) {
            let nodes = (0..TILE_WIDTH >> level).filter_map(|index| expanded.node(level, index));
            nodes.for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        }
        Ok(Self::new(tile, bytes))
    }

    /// The block, unless it is a hole that a crash left: that reads as zeros, and no tile begins with a hash of zeros.
    pub(crate) fn written(self) -> Option<Self> {
        self.bytes[..HASH_BYTES].iter().any(|byte| *byte != 0).then_some(self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the tile's file.
    pub(crate) fn row(&self) -> &[u8] {
        &self.bytes[..TILE_BYTES]
    }

    /// The node `index` at `level` above the row: 0 is the row itself, 8 the tile's root.
    pub(crate) fn node(&self, level: u8, index: u16) -> Option<Hash> {
        if level > TILE_HEIGHT || index >= TILE_WIDTH >> level {
            return None;
        }
        let is_kept = level == 0 || (self.kept_from..TILE_HEIGHT).contains(&level);
        if !is_kept {
            let below = |index| self.node(level - 1, index);
            return Some(node_hash(&below(2 * index)?, &below(2 * index + 1)?));
        }
        // After the row, each kept level has twice as many nodes as all above it and two more.
        let levels = |from: u8| (2 * TILE_WIDTH) >> from;
        let start = if level == 0 { 0 } else { TILE_WIDTH + levels(self.kept_from) - levels(level) };
        let at = usize::from(start + index) * HASH_BYTES;
        Hash::try_from(self.bytes.get(at..at + HASH_BYTES)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_every_node_of_its_tile() {
        let row: Vec<_> = (0..TILE_WIDTH).map(|n| graven_merkle::leaf_hash(&n.to_be_bytes())).collect();
        let expanded = ExpandedTile::from_row(&row).unwrap();
        for (tile_level, bytes) in [(0, 9216), (1, 16_384), (7, 16_384)] {
            let tile = TileId::new(tile_level, 0).unwrap();
            let block = Block::from_row(tile, &expanded.row_bytes()).unwrap();
            assert_eq!((block.bytes().len(), block_bytes(tile)), (bytes, bytes));
            assert_eq!(block.row(), expanded.row_bytes());
            for level in 0..=TILE_HEIGHT {
                for index in 0..TILE_WIDTH >> level {
                    assert_eq!(block.node(level, index), expanded.node(level, index), "{level}/{index}");
                }
            }
            assert_eq!(block.node(9, 0).or(block.node(8, 1)).or(block.node(0, TILE_WIDTH)), None);
            assert!(block.written().is_some());
        }
        let tile = TileId::new(0, 0).unwrap();
        assert!(Block::new(tile, Vec::new()).written().is_none(), "a hole");
        assert!(Block::from_row(tile, &expanded.row_bytes()[..TILE_BYTES - HASH_BYTES]).is_err());
    }
}
