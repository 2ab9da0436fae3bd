//! A tile with the nodes between its row and its root at hand.
//!
//! A proof takes up to eight hashes from each tile on its way. Rebuilt from the row, each costs the hashing of half a tile;
//! kept, each is a copy.

use super::{FULL, TILE_HEIGHT, TILE_WIDTH};
use crate::{EMPTY_ROOT, HASH_BYTES, Hash, node_hash};

/// A tile, full or still growing, with all its inner nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedTile {
    row: Vec<Hash>,
    /// Levels 1 to 8 one after another, each as long as in a full tile; what the row does not complete yet is filler.
    inner: Box<[Hash; FULL - 1]>,
}

/// Bytes that are not those of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileBytesError {
    /// The row is not 1 to 256 hashes long.
    #[error("{0} bytes are not a tile of 1 to {TILE_WIDTH} hashes")]
    Row(usize),
}

impl Default for ExpandedTile {
    fn default() -> Self {
        Self::new()
    }
}

impl ExpandedTile {
    /// A tile without hashes.
    pub fn new() -> Self {
        Self { row: Vec::new(), inner: Box::new([EMPTY_ROOT; FULL - 1]) }
    }

    /// The tile with this row of 1 to 256 hashes, its inner nodes computed; `None` where there are more or none.
    pub fn from_row(row: &[Hash]) -> Option<Self> {
        if row.is_empty() || row.len() > FULL {
            return None;
        }
        let mut tile = Self { row: row.to_vec(), ..Self::new() };
        for level in 1..=TILE_HEIGHT {
            for index in 0..row.len() >> level {
                tile.complete(level, index);
            }
        }
        Some(tile)
    }

    /// The tile whose row is these bytes, its inner nodes computed.
    pub fn from_row_bytes(row: &[u8]) -> Result<Self, TileBytesError> {
        let hashes = hashes(row).ok_or(TileBytesError::Row(row.len()))?;
        Self::from_row(&hashes).ok_or(TileBytesError::Row(row.len()))
    }

    /// Adds a hash to the row and answers its position; a full tile stays as it is and answers `None`.
    pub fn push(&mut self, hash: Hash) -> Option<u8> {
        let position = u8::try_from(self.row.len()).ok()?;
        self.row.push(hash);
        for level in 1..=self.row.len().trailing_zeros() {
            self.complete(crate::node::level_byte(level), usize::from(position) >> level);
        }
        Some(position)
    }

    /// How many hashes the row has, 0 to 256.
    pub fn width(&self) -> u16 {
        u16::try_from(self.row.len()).unwrap_or(TILE_WIDTH)
    }

    /// Whether the row has all 256 hashes.
    pub fn is_full(&self) -> bool {
        self.row.len() == FULL
    }

    /// The row, as far as it has got.
    pub fn row(&self) -> &[Hash] {
        &self.row
    }

    /// The node `index` at `level` above the row (0 is the row itself, 8 the tile's root), or `None` where the row does not
    /// complete it.
    pub fn node(&self, level: u8, index: u16) -> Option<Hash> {
        let index = usize::from(index);
        if level > TILE_HEIGHT || index >= self.row.len() >> level {
            return None;
        }
        Some(self.at(level, index))
    }

    /// The row as the bytes of a tile resource: 32 for each hash.
    pub fn row_bytes(&self) -> Vec<u8> {
        self.row.iter().flat_map(Hash::as_bytes).copied().collect()
    }

    fn complete(&mut self, level: u8, index: usize) {
        let below = level - 1;
        let hash = node_hash(&self.at(below, 2 * index), &self.at(below, 2 * index + 1));
        self.inner[inner_start(level) + index] = hash;
    }

    fn at(&self, level: u8, index: usize) -> Hash {
        if level == 0 { self.row[index] } else { self.inner[inner_start(level) + index] }
    }
}

/// Where a level from 1 up starts among the inner nodes: after 128, 64, … of the levels below it.
const fn inner_start(level: u8) -> usize {
    FULL - (FULL >> (level - 1))
}

fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.iter().copied().map(Hash::from).collect())
}
