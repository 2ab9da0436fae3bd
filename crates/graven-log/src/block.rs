//! Blocks: full tiles with inner nodes at hand, in one derived file a tile level, so that a proof reads some 1,500 bytes
//! a tile and hashes little.
//!
//! ```text
//! nodes/LEVEL: block n at n × 9,216
//!      0  8192  the row, 256 hashes
//!   8192   960  the nodes 4 to 7 levels above it: 16 + 8 + 4 + 2 hashes
//!   9152    64  zero
//! ```
//!
//! The lower inner nodes would take 28 bytes an entry; instead they are hashed from the 16 hashes of the row that are
//! read with any of them.

use std::io;
use std::ops::Range;

use graven_merkle::tile::{ExpandedTile, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileNode};
use graven_merkle::{HASH_BYTES, Hash, node_hash};

/// Length of a block in its file.
pub(crate) const BLOCK_BYTES: usize = TILE_BYTES + (TILE_BYTES >> (KEPT_FROM - 1));
/// The lowest inner level that is kept.
const KEPT_FROM: u8 = 4;
/// As many hashes of the row as are below one node of that level.
const GROUP_BYTES: usize = HASH_BYTES << KEPT_FROM;

/// A full tile, as it stands in its file, or the parts of it that were read.
pub(crate) struct Block(Vec<u8>);

/// The levels that are kept of a tile: its row, and upper inner nodes.
pub(crate) fn kept_levels() -> impl Iterator<Item = u8> {
    std::iter::once(0).chain(KEPT_FROM..TILE_HEIGHT)
}

/// The parts of a block that have these nodes, or what they are hashed from.
pub(crate) fn parts<'a>(nodes: impl Iterator<Item = &'a TileNode>) -> Vec<Range<usize>> {
    let part = |node: &TileNode| {
        if node.level >= KEPT_FROM {
            return TILE_BYTES..BLOCK_BYTES;
        }
        let group = usize::from(node.index) >> (KEPT_FROM - node.level);
        group * GROUP_BYTES..(group + 1) * GROUP_BYTES
    };
    let mut parts: Vec<_> = nodes.map(part).collect();
    parts.sort_unstable_by_key(|part| part.start);
    parts.dedup();
    parts
}

impl Block {
    /// The block whose [`kept_levels`] these bytes are, one after the other.
    pub(crate) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.resize(BLOCK_BYTES, 0);
        Self(bytes)
    }

    /// The block of a tile with this row, every inner node computed.
    pub(crate) fn from_row(row: &[u8]) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let expanded = ExpandedTile::from_row_bytes(row).map_err(|error| invalid(error.to_string()))?;
        if !expanded.is_full() {
            return Err(invalid("it is cut short".to_owned()));
        }
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        for level in kept_levels() {
            let nodes = (0..TILE_WIDTH >> level).filter_map(|index| expanded.node(level, index));
            nodes.for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        }
        Ok(Self::new(bytes))
    }

    /// Reads parts of a block; nothing where one is a hole that a crash left: that reads as zeros, and no part begins
    /// with a hash of zeros.
    pub(crate) fn read(
        parts: &[Range<usize>],
        mut read: impl FnMut(&mut [u8], usize) -> io::Result<()>,
    ) -> Option<Self> {
        let mut bytes = vec![0; BLOCK_BYTES];
        for part in parts {
            let part_bytes = &mut bytes[part.clone()];
            read(part_bytes, part.start).ok()?;
            part_bytes[..HASH_BYTES].iter().any(|byte| *byte != 0).then_some(())?;
        }
        Some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the tile's file.
    pub(crate) fn row(&self) -> &[u8] {
        &self.0[..TILE_BYTES]
    }

    /// The node `index` at `level` above the row: 0 is the row itself, 8 the tile's root.
    pub(crate) fn node(&self, level: u8, index: u16) -> Option<Hash> {
        if level > TILE_HEIGHT || index >= TILE_WIDTH >> level {
            return None;
        }
        let is_kept = level == 0 || (KEPT_FROM..TILE_HEIGHT).contains(&level);
        if !is_kept {
            let below = |index| self.node(level - 1, index);
            return Some(node_hash(&below(2 * index)?, &below(2 * index + 1)?));
        }
        // After the row, each kept level has twice as many nodes as the next.
        let from = |level: u8| (2 * TILE_WIDTH) >> level;
        let start = if level == 0 { 0 } else { TILE_WIDTH + from(KEPT_FROM) - from(level) };
        let at = usize::from(start + index) * HASH_BYTES;
        Hash::try_from(self.0.get(at..at + HASH_BYTES)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_merkle::tile::TileId;

    #[test]
    fn every_node_of_a_tile_is_in_its_block_and_in_the_parts_that_are_read_for_it() {
        let row: Vec<_> = (0..TILE_WIDTH).map(|n| graven_merkle::leaf_hash(&n.to_be_bytes())).collect();
        let expanded = ExpandedTile::from_row(&row).unwrap();
        let whole = Block::from_row(&expanded.row_bytes()).unwrap();
        assert_eq!((whole.bytes().len(), whole.row()), (9216, &expanded.row_bytes()[..]));
        let tile = TileId::new(0, 0).unwrap();
        for level in 0..TILE_HEIGHT {
            for index in 0..TILE_WIDTH >> level {
                let parts = parts([TileNode { tile, level, index }].iter());
                let read = |bytes: &mut [u8], at| {
                    bytes.copy_from_slice(&whole.bytes()[at..at + bytes.len()]);
                    Ok(())
                };
                let partly = Block::read(&parts, read).unwrap();
                for block in [&whole, &partly] {
                    assert_eq!(block.node(level, index), expanded.node(level, index), "{level}/{index}");
                }
                assert!(Block::read(&parts, |_, _| Ok(())).is_none(), "a hole");
            }
        }
        assert_eq!(whole.node(8, 0), expanded.node(8, 0));
        assert_eq!(whole.node(9, 0).or(whole.node(8, 1)).or(whole.node(0, TILE_WIDTH)), None);
        assert!(Block::from_row(&expanded.row_bytes()[..TILE_BYTES - HASH_BYTES]).is_err());
    }
}
