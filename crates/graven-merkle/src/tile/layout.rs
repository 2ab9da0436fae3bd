//! Which tiles and bundles a tree has, which of them growth makes new, and where a node is found.

use super::{BundlePath, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath, path::hashes_at};
use crate::{NodeId, TreeSize};
use std::ops::Range;

/// The highest tile level that a tree can have: 2^63 − 1 leaves have a partial tile at level 7.
const TOP_LEVEL: u8 = 7;

/// The tiles of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelTiles {
    /// The tile level.
    pub level: u8,
    /// How many full tiles there are.
    pub full: u64,
    /// The width of the partial tile after them, 0 where there is none.
    pub partial: u16,
}

/// Where a node is found: in a tile's row, or above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileNode {
    /// The tile.
    pub tile: TileId,
    /// The levels between the tile's row and the node, 0 (in the row) to 7.
    pub level: u8,
    /// The node's position at that level within the tile, below 256 >> `level`.
    pub index: u16,
}

/// A run of entries within one bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleRange {
    /// The bundle, as wide as the tree has it.
    pub bundle: BundlePath,
    /// The position within the bundle of the first entry of the run.
    pub first: u16,
    /// How many entries the run has, 1 or more.
    pub count: u16,
}

/// The levels that have tiles in a tree of `size` leaves, from the leaves up.
pub fn levels(size: TreeSize) -> impl Iterator<Item = LevelTiles> + Clone {
    (0..=TOP_LEVEL)
        .map(move |level| (level, hashes_at(level, size)))
        .take_while(|&(_, hashes)| hashes > 0)
        .map(|(level, hashes)| LevelTiles {
            level,
            full: hashes >> TILE_HEIGHT,
            partial: within_tile(hashes),
        })
}

/// Every tile that a tree of `size` leaves has, level by level from the leaves.
pub fn tiles(size: TreeSize) -> impl Iterator<Item = TilePath> + Clone {
    new_tiles(TreeSize::ZERO, size)
}

/// Every tile of the tree of `to` leaves that is new, or wider, since it had `from`; none where `to` is not larger.
pub fn new_tiles(from: TreeSize, to: TreeSize) -> impl Iterator<Item = TilePath> + Clone {
    (0..=TOP_LEVEL).flat_map(move |level| {
        let (old, new) = (hashes_at(level, from), hashes_at(level, to));
        let touched = if old < new { old >> TILE_HEIGHT..new.div_ceil(TILE_WIDTH.into()) } else { 0..0 };
        touched.filter_map(move |index| TileId::new(level, index)?.path_in(to))
    })
}

/// Every bundle of the log of `to` entries that is new, or wider, since it had `from`; none where `to` is not larger.
pub fn new_bundles(from: TreeSize, to: TreeSize) -> impl Iterator<Item = BundlePath> + Clone {
    bundle_ranges(from.get()..to.get(), to).map(|range| range.bundle)
}

/// The runs, bundle by bundle, that make up those of `entries` that a log of `size` has; none for a reversed range.
pub fn bundle_ranges(entries: Range<u64>, size: TreeSize) -> impl Iterator<Item = BundleRange> + Clone {
    let entries = entries.start..entries.end.min(size.get());
    let bundles = if entries.is_empty() {
        0..0
    } else {
        entries.start >> TILE_HEIGHT..entries.end.div_ceil(TILE_WIDTH.into())
    };
    bundles.filter_map(move |index| {
        let width = TileId::new(0, index)?.width_in(size);
        let start = index << TILE_HEIGHT;
        let first = within(entries.start.saturating_sub(start));
        let end = within(entries.end - start);
        Some(BundleRange { bundle: BundlePath::new(index, width)?, first, count: end - first })
    })
}

/// Where the hash of `node` is found, or `None` where its level is above every tree's.
pub fn locate(node: NodeId) -> Option<TileNode> {
    let level = node.level() % TILE_HEIGHT;
    // As many nodes of this level in each tile, as a power of two.
    let per_tile = TILE_HEIGHT - level;
    let tile = TileId::new(node.level() / TILE_HEIGHT, node.index() >> per_tile)?;
    let index = within_tile(node.index() & !(u64::MAX << per_tile));
    Some(TileNode { tile, level, index })
}

/// The part of a position that is within its tile.
fn within_tile(position: u64) -> u16 {
    within(position % u64::from(TILE_WIDTH))
}

/// A distance from a tile's start, cut at its end.
fn within(distance: u64) -> u16 {
    u16::try_from(distance).map_or(TILE_WIDTH, |distance| distance.min(TILE_WIDTH))
}
