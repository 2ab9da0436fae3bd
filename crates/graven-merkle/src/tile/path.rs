//! The paths of tiles and bundles below a log's prefix, in their one canonical form.

use super::{TILE_HEIGHT, TILE_WIDTH};
use crate::{NodeId, TreeSize};
use std::{fmt, str::FromStr};

/// The highest tile level that a path can name (C2SP tlog-tiles). Trees of 2^63 − 1 leaves reach level 7.
const MAX_LEVEL: u8 = 63;

/// No canonical path is longer: `tile/entries/`, seven groups of digits, `.p/255`.
const MAX_PATH_BYTES: usize = 64;

/// A place for a tile, whatever its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
}

/// A tile of hashes as a resource: `tile/<L>/<N>`, or `tile/<L>/<N>.p/<W>` where it is partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    tile: TileId,
    width: u16,
}

/// A bundle of entries as a resource: `tile/entries/<N>`, or `tile/entries/<N>.p/<W>` where it is partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath {
    index: u64,
    width: u16,
}

/// Either kind of resource, as parsed from a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Hashes.
    Tile(TilePath),
    /// Entries.
    Entries(BundlePath),
}

/// A path that names no tile and no bundle, or not in the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical path of a tile or entry bundle (C2SP tlog-tiles)")]
pub struct PathError;

impl TileId {
    /// The `index`-th tile of tile level `level`, or `None` where that is above 63.
    pub const fn new(level: u8, index: u64) -> Option<Self> {
        if level <= MAX_LEVEL { Some(Self { level, index }) } else { None }
    }

    /// The tile level: a tile's hashes are nodes of eight times this tree level.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The tile's zero-based position among those of its level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes the tile has in a tree of `size` leaves, 0 to 256.
    pub fn width_in(self, size: TreeSize) -> u16 {
        let hashes = hashes_at(self.level, size);
        let from_here = hashes.saturating_sub(self.index.saturating_mul(TILE_WIDTH.into()));
        u16::try_from(from_here).map_or(TILE_WIDTH, |width| width.min(TILE_WIDTH))
    }

    /// The resource that holds the tile in a tree of `size` leaves, or `None` where it is empty there.
    pub fn path_in(self, size: TreeSize) -> Option<TilePath> {
        TilePath::new(self, self.width_in(size))
    }
}

impl TilePath {
    /// The tile with its first `width` hashes, or `None` where that is not 1 to 256.
    pub const fn new(tile: TileId, width: u16) -> Option<Self> {
        if width >= 1 && width <= TILE_WIDTH { Some(Self { tile, width }) } else { None }
    }

    /// Which tile it is.
    pub const fn tile(self) -> TileId {
        self.tile
    }

    /// How many hashes it has, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all 256 hashes.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The nodes whose hashes it holds, in order; none where the path is beyond every tree.
    pub fn node_ids(self) -> impl Iterator<Item = NodeId> + Clone {
        let level = self.tile.level.saturating_mul(TILE_HEIGHT);
        let first = self.tile.index.checked_mul(TILE_WIDTH.into());
        first
            .into_iter()
            .flat_map(move |first| (0..u64::from(self.width)).map(move |at| NodeId::new(level, first + at)))
    }
}

impl BundlePath {
    /// The `index`-th bundle with its first `width` entries, or `None` where that is not 1 to 256.
    pub const fn new(index: u64, width: u16) -> Option<Self> {
        if width >= 1 && width <= TILE_WIDTH { Some(Self { index, width }) } else { None }
    }

    /// The bundle's zero-based position.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many entries it has, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all 256 entries.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The tile at level 0 with the leaf hashes of the same entries.
    pub const fn tile(self) -> TilePath {
        TilePath { tile: TileId { level: 0, index: self.index }, width: self.width }
    }
}

impl FromStr for Resource {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        // Parsed leniently, then compared with the one way to write it.
        let resource = (path.len() <= MAX_PATH_BYTES).then(|| parse(path)).flatten().ok_or(PathError)?;
        if resource.to_string() == path { Ok(resource) } else { Err(PathError) }
    }
}

impl FromStr for TilePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        match path.parse()? {
            Resource::Tile(tile) => Ok(tile),
            Resource::Entries(_) => Err(PathError),
        }
    }
}

impl FromStr for BundlePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        match path.parse()? {
            Resource::Entries(bundle) => Ok(bundle),
            Resource::Tile(_) => Err(PathError),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.tile.level)?;
        write_place(f, self.tile.index, self.width)
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

/// How many nodes of the tree level that `tile_level` stores a tree of `size` leaves has.
pub(super) fn hashes_at(tile_level: u8, size: TreeSize) -> u64 {
    size.get().checked_shr(u32::from(tile_level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// Three digits to a path element, every element but the last marked with an `x`, then the width of a partial tile.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut scale = 1;
    while index / scale >= 1_000 {
        scale *= 1_000;
    }
    while scale > 1 {
        write!(f, "x{:03}/", index / scale % 1_000)?;
        scale /= 1_000;
    }
    write!(f, "{:03}", index % 1_000)?;
    if width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

fn parse(path: &str) -> Option<Resource> {
    let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (groups, width) = match place.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok()?),
        None => (place, TILE_WIDTH),
    };
    let index = groups.split('/').try_fold(0_u64, |index, group| {
        let digits: u16 = group.trim_start_matches('x').parse().ok()?;
        index.checked_mul(1_000)?.checked_add(digits.into())
    })?;
    if kind == "entries" {
        return BundlePath::new(index, width).map(Resource::Entries);
    }
    TilePath::new(TileId::new(kind.parse().ok()?, index)?, width).map(Resource::Tile)
}
