//! Tiles: a log's hashes and entries as write-once files of at most 256 items (C2SP tlog-tiles).
//!
//! ```text
//! tile/<L>/<N>[.p/<W>]        W hashes of 32 bytes, one after another
//! tile/entries/<N>[.p/<W>]    W entries, each a big-endian u16 length and that many bytes
//! ```
//!
//! Tile `N` of tile level `L` holds the nodes 256 × `N` to 256 × `N` + 255 of tree level 8 × `L`; without `.p/<W>` it is full,
//! with it only the first `W` are there. The levels between are not stored: an [`ExpandedTile`] has them at hand.

mod bundle;
mod expanded;
mod layout;
mod path;
mod proven;

pub use bundle::{BundleError, EntryBundle, EntryTooLong, MAX_ENTRY_BYTES};
pub use expanded::{ExpandedTile, TileBytesError};
pub use layout::{
    BundleRange, LevelTiles, TileNode, bundle_ranges, levels, locate, new_bundles, new_tiles, tiles,
};
pub use path::{BundlePath, PathError, Resource, TileId, TilePath};
pub use proven::{ProvenBundle, UnprovenBundle};

use crate::HASH_BYTES;

/// How many levels of the tree a tile spans.
pub const TILE_HEIGHT: u8 = 8;

/// How many hashes a full tile, or entries a full bundle, has.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// The length of a full tile, 8,192 bytes.
pub const TILE_BYTES: usize = FULL * HASH_BYTES;

/// The width of a full tile, to index slices with.
const FULL: usize = 1 << TILE_HEIGHT;
