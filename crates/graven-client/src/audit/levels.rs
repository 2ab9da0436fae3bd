//! The tiles above the leaves, compared with what the tiles below them hash to.

use std::{io, ops::Range};

use graven_merkle::{
    Frontier, HASH_BYTES, Hash, HashReader, NodeId, TreeSize,
    tile::{ExpandedTile, TILE_HEIGHT, TILE_WIDTH, TileId, TilePath, locate},
};

use super::{Finding, SiteError, TileSource, site::fetch};

/// Checks each full tile's hash against the tile above it, from left to right.
pub(super) struct Levels<'a> {
    source: &'a dyn TileSource,
    size: TreeSize,
    /// For tile level 1 and up: the stored tile that is being compared.
    rows: Vec<Row>,
}

struct Row {
    path: TilePath,
    stored: Vec<Hash>,
}

impl<'a> Levels<'a> {
    pub(super) fn new(source: &'a dyn TileSource, size: TreeSize) -> Self {
        Self { source, size, rows: Vec::new() }
    }

    /// Takes the hash of the full level-0 tile number `index`; they come in order, without a gap.
    pub(super) fn push(&mut self, index: u64, hash: Hash) -> Result<(), SiteError> {
        let (mut level, mut index, mut hash) = (0, index, hash);
        loop {
            let position = index % u64::from(TILE_WIDTH);
            let tile = path_of(level, index, self.size);
            let above = self.row_above(level, index)?;
            let stored = usize::try_from(position).ok().and_then(|position| above.stored.get(position));
            if stored != Some(&hash) {
                return Err(mismatch(tile, above.path));
            }
            if position + 1 < u64::from(TILE_WIDTH) {
                return Ok(());
            }
            // Its last hash was compared, so the tile above is a full one that was checked.
            hash = root_of(&above.stored);
            (level, index) = (level + 1, index >> TILE_HEIGHT);
        }
    }

    /// The stored tile with the hash of tile `index` of `level`, read when it is first needed.
    fn row_above(&mut self, level: u8, index: u64) -> Result<&Row, SiteError> {
        let path = path_of(level + 1, index >> TILE_HEIGHT, self.size);
        let at = usize::from(level);
        if self.rows.get(at).is_none_or(|row| row.path != path) {
            let row = Row { path, stored: fetch_tile(self.source, path)? };
            self.rows.truncate(at + 1);
            match self.rows.get_mut(at) {
                Some(old) => *old = row,
                None => self.rows.push(row),
            }
        }
        Ok(&self.rows[at])
    }
}

/// The stored tiles as a tree, for a root that owes nothing to the entries.
pub(crate) struct StoredTree<'a> {
    pub(crate) source: &'a dyn TileSource,
    pub(crate) size: TreeSize,
}

impl HashReader for StoredTree<'_> {
    type Error = SiteError;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, SiteError> {
        ids.iter().map(|id| self.node(*id)).collect()
    }
}

impl StoredTree<'_> {
    fn node(&self, id: NodeId) -> Result<Hash, SiteError> {
        let beyond = || SiteError::io(&id.to_string(), io::Error::other("no tile has this node"));
        let place = locate(id).ok_or_else(beyond)?;
        let path = place.tile.path_in(self.size).ok_or_else(beyond)?;
        let row = fetch_tile(self.source, path)?;
        ExpandedTile::from_row(&row).and_then(|tile| tile.node(place.level, place.index)).ok_or_else(beyond)
    }
}

/// The hashes of a stored tile, of exactly the width that it has in the signed tree.
///
/// Where a log has already replaced a partial tile by the full one, its beginning is the partial one
/// (C2SP tlog-tiles, "Partial Tiles").
pub(super) fn fetch_tile(source: &dyn TileSource, path: TilePath) -> Result<Vec<Hash>, SiteError> {
    let entries = entries_of(path);
    let full = TilePath::new(path.tile(), TILE_WIDTH).filter(|_| !path.is_full());
    let (bytes, found) = match (fetch(source, &path.to_string())?, full) {
        (Some(bytes), _) => (bytes, path),
        (None, Some(full)) => (fetch(source, &full.to_string())?.ok_or_else(|| missing(path))?, full),
        (None, None) => return Err(missing(path).into()),
    };
    let expected = usize::from(found.width()) * HASH_BYTES;
    if bytes.len() != expected {
        return Err(Finding::TileLength { path: found, expected, found: bytes.len(), entries }.into());
    }
    let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
    Ok(hashes.iter().take(path.width().into()).copied().map(Hash::from).collect())
}

pub(super) fn path_of(level: u8, index: u64, size: TreeSize) -> TilePath {
    let tile = TileId::new(level, index).and_then(|tile| tile.path_in(size));
    tile.expect("only tiles that the tree has are walked")
}

pub(super) fn root_of(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    frontier.append(hashes.iter().copied());
    frontier.root()
}

fn missing(path: TilePath) -> Finding {
    Finding::Missing { path: path.to_string(), entries: entries_of(path) }
}

fn mismatch(tile: TilePath, above: TilePath) -> SiteError {
    Finding::Tile { tile, above, entries: entries_of(tile) }.into()
}

/// The entries below a tile's hashes.
fn entries_of(path: TilePath) -> Range<u64> {
    let shift = u32::from(path.tile().level()) * u32::from(TILE_HEIGHT);
    let first = path.tile().index() << TILE_HEIGHT;
    first << shift..(first + u64::from(path.width())) << shift
}
