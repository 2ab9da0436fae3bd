//! The nodes of a log's tree: the newest in memory, the rest beside the tiles.
//!
//! Nodes of tiles that are not sealed yet are kept in memory, one queue a level. A sealed tile's hashes lie in its
//! C2SP tile file, and once more, with all its inner nodes, in a derived file of fixed blocks, so that a proof costs
//! one read a tile and no hashing:
//!
//! ```text
//! nodes/LEVEL: block n at n × 16,384
//!      0  8192  the tile's row, 256 hashes
//!   8192  8128  its inner nodes (see graven_merkle::tile::ExpandedTile)
//!  16320    64  zero
//! ```
//!
//! Blocks are written without a sync and trusted only as far as the proofs made from them verify; one that does not
//! is made again from the tile file.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use graven_merkle::tile::{ExpandedTile, INNER_BYTES, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileId, locate};
use graven_merkle::{Frontier, Hash, HashReader, LeafIndex, NodeId, TreeSize};
use graven_store::fs::{File, Fs, Mode, Open};
use graven_store::objects::Objects;
use parking_lot::{Mutex, RwLock};

/// Length of a block of the derived file.
const BLOCK_BYTES: usize = 2 * TILE_BYTES;
/// Expanded tiles (16 KiB each) kept in memory at level 0, and at all levels above together.
const CACHED_TILES: usize = 1024;

/// The nodes of one log.
pub(crate) struct Tree {
    hot: RwLock<Vec<Row>>,
    cached: [Mutex<Cache>; 2],
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    blocks: Mutex<BTreeMap<u8, Arc<dyn File>>>,
    objects: Arc<Objects>,
}

/// Unsealed nodes of one level, in order.
#[derive(Default)]
struct Row {
    base: u64,
    nodes: VecDeque<Hash>,
}

impl Row {
    /// The `count` nodes from the `first`-th of the level on, if all are here.
    fn run(&self, first: u64, count: u16) -> Option<impl Iterator<Item = &Hash>> {
        let start = usize::try_from(first.checked_sub(self.base)?).ok()?;
        let end = start.checked_add(usize::from(count))?;
        (end <= self.nodes.len()).then(|| self.nodes.range(start..end))
    }
}

#[derive(Default)]
struct Cache {
    tiles: BTreeMap<(u8, u64), Arc<ExpandedTile>>,
    /// In the order of arrival: the oldest goes first.
    order: VecDeque<(u8, u64)>,
}

/// How tiles that are not in memory are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the cache and the derived blocks.
    Derived,
    /// From the tile files alone, mending blocks on the way.
    Tiles,
}

impl Tree {
    /// The tree of the first `sealed` entries (a multiple of 256), from its tile files.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        objects: Arc<Objects>,
        sealed: u64,
    ) -> io::Result<Self> {
        fs.create_dir_all(&dir)?;
        let tree = Self {
            hot: RwLock::new(Vec::new()),
            cached: Default::default(),
            fs,
            dir,
            blocks: Mutex::new(BTreeMap::new()),
            objects,
        };
        tree.rebuild_edge(sealed)?;
        Ok(tree)
    }

    /// Puts the rows of all unfinished upper tiles into memory: each hash is the root of a full tile below.
    fn rebuild_edge(&self, sealed: u64) -> io::Result<()> {
        let mut hot = vec![Row { base: sealed, ..Row::default() }];
        for level in 1..=7_u8 {
            // The inner levels of the tiles below begin where those tiles begin.
            let full_below = sealed >> (8 * u32::from(level));
            for inner in 1..TILE_HEIGHT {
                hot.push(Row { base: full_below << (TILE_HEIGHT - inner), ..Row::default() });
            }
            let first = full_below / u64::from(TILE_WIDTH) * u64::from(TILE_WIDTH);
            let mut row = Row { base: first, ..Row::default() };
            for index in first..full_below {
                let tile =
                    TileId::new(level - 1, index).ok_or_else(|| io::Error::other("tile out of range"))?;
                row.nodes.push_back(root_of(&self.load_tile(tile)?)?);
            }
            hot.push(row);
        }
        hot.extend((1..TILE_HEIGHT).map(|_| Row::default()));
        *self.hot.write() = hot;
        for level in 1..=7_u8 {
            self.rebuild_inner(level);
        }
        Ok(())
    }

    /// Computes the inner nodes above the row of the unfinished tile of a level.
    fn rebuild_inner(&self, tile_level: u8) {
        let mut hot = self.hot.write();
        let bottom = usize::from(tile_level) * usize::from(TILE_HEIGHT);
        for level in bottom..bottom + usize::from(TILE_HEIGHT) - 1 {
            let (below, above) = hot.split_at_mut(level + 1);
            let (Some(below), Some(above)) = (below.last(), above.first_mut()) else { continue };
            above.base = below.base / 2;
            above.nodes = pairs(&below.nodes);
        }
    }

    /// Takes in nodes as they are completed, from left to right on each level.
    pub(crate) fn extend(&self, nodes: &[(NodeId, Hash)]) {
        let mut hot = self.hot.write();
        for (id, hash) in nodes {
            let level = usize::from(id.level());
            while hot.len() <= level {
                hot.push(Row::default());
            }
            debug_assert_eq!(hot[level].base + hot[level].nodes.len() as u64, id.index());
            hot[level].nodes.push_back(*hash);
        }
    }

    /// The frontier at `size`, whose peaks the tree has.
    pub(crate) fn frontier(&self, size: TreeSize) -> io::Result<Frontier> {
        let ids: Vec<_> = Frontier::peak_ids(size).collect();
        Frontier::from_peaks(size, self.read(&ids)?)
            .ok_or_else(|| io::Error::other("peaks do not fit the size"))
    }

    /// The leaf's hash.
    pub(crate) fn leaf(&self, index: LeafIndex) -> io::Result<Hash> {
        let found = self.read(&[NodeId::leaf(index)])?;
        found.first().copied().ok_or_else(|| io::Error::other("a leaf hash is missing"))
    }

    /// A full tile that is not sealed yet, with its inner nodes as they were computed when it grew.
    pub(crate) fn hot_tile(&self, tile: TileId) -> Option<ExpandedTile> {
        let hot = self.hot.read();
        let bottom = usize::from(tile.level()) * usize::from(TILE_HEIGHT);
        let mut bytes = Vec::with_capacity(TILE_BYTES + INNER_BYTES);
        for inner in 0..TILE_HEIGHT {
            let width = TILE_WIDTH >> inner;
            let nodes = hot.get(bottom + usize::from(inner))?.run(tile.index() * u64::from(width), width)?;
            bytes.extend(nodes.flat_map(|hash| *hash.as_bytes()));
        }
        ExpandedTile::from_parts(&bytes[..TILE_BYTES], &bytes[TILE_BYTES..]).ok()
    }

    /// The first `width` hashes of a tile that is not sealed yet.
    pub(crate) fn hot_range(&self, tile: TileId, width: u16) -> Option<Vec<Hash>> {
        let hot = self.hot.read();
        let row = hot.get(usize::from(tile.level()) * usize::from(TILE_HEIGHT))?;
        Some(row.run(tile.index() * u64::from(TILE_WIDTH), width)?.copied().collect())
    }

    /// Writes the derived block of a tile that is being sealed.
    pub(crate) fn write_block(&self, tile: TileId, expanded: &ExpandedTile) -> io::Result<()> {
        let mut block = expanded.row_bytes();
        block.extend(expanded.inner_bytes().ok_or_else(|| io::Error::other("only full tiles are sealed"))?);
        block.resize(BLOCK_BYTES, 0);
        let file = self.block_file(tile.level())?;
        file.write_all_at(&block, tile.index() * BLOCK_BYTES as u64)
    }

    /// Lets go of the nodes of tiles that are sealed now.
    pub(crate) fn drop_sealed(&self, sealed: u64) {
        let mut hot = self.hot.write();
        for (level, row) in (0_u8..).zip(hot.iter_mut()) {
            let (tile_level, inner) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
            let full_tiles = sealed.checked_shr(8 * (u32::from(tile_level) + 1)).unwrap_or(0);
            let keep_from = full_tiles << (TILE_HEIGHT - inner);
            while row.base < keep_from && row.nodes.pop_front().is_some() {
                row.base += 1;
            }
        }
    }

    /// Reads nodes, those in memory in one look.
    fn read_from(&self, ids: &[NodeId], source: Source) -> io::Result<Vec<Hash>> {
        let mut found: Vec<Option<Hash>> = {
            let hot = self.hot.read();
            ids.iter().map(|id| hot_node(&hot, *id)).collect()
        };
        for (id, slot) in ids.iter().zip(&mut found) {
            if slot.is_none() {
                *slot = Some(self.sealed_node(*id, source)?);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn sealed_node(&self, id: NodeId, source: Source) -> io::Result<Hash> {
        let at = locate(id).ok_or_else(|| io::Error::other("no such node"))?;
        let cache = &self.cached[usize::from(at.tile.level() > 0)];
        let key = (at.tile.level(), at.tile.index());
        let cached = (source == Source::Derived).then(|| cache.lock().tiles.get(&key).cloned()).flatten();
        let tile = match cached {
            Some(tile) => tile,
            None => {
                let tile = Arc::new(self.load(at.tile, source)?);
                cache.lock().insert(key, tile.clone());
                tile
            }
        };
        tile.node(at.level, at.index).ok_or_else(|| io::Error::other(format!("node {id} is missing")))
    }

    fn load(&self, tile: TileId, source: Source) -> io::Result<ExpandedTile> {
        if source == Source::Derived
            && let Some(expanded) = self.load_block(tile)
        {
            return Ok(expanded);
        }
        let expanded = self.load_tile(tile)?;
        if let Err(error) = self.write_block(tile, &expanded) {
            // Reads go on where nothing can be written.
            tracing::warn!(%error, "derived nodes were not mended");
        }
        Ok(expanded)
    }

    fn load_tile(&self, tile: TileId) -> io::Result<ExpandedTile> {
        let path = tile.path_in(TreeSize::MAX).ok_or_else(|| io::Error::other("no such tile"))?;
        let row = self.objects.read(&path.to_string(), TILE_BYTES as u64)?;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let expanded = ExpandedTile::from_row_bytes(&row).map_err(invalid)?;
        if !expanded.is_full() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path} is cut short")));
        }
        Ok(expanded)
    }

    fn load_block(&self, tile: TileId) -> Option<ExpandedTile> {
        let file = self.block_file(tile.level()).ok()?;
        let mut block = vec![0; TILE_BYTES + INNER_BYTES];
        file.read_exact_at(&mut block, tile.index() * BLOCK_BYTES as u64).ok()?;
        // A hole left by a crash reads as zeros; no tile begins with a hash of zeros.
        if block[..32] == [0; 32] {
            return None;
        }
        ExpandedTile::from_parts(&block[..TILE_BYTES], &block[TILE_BYTES..]).ok()
    }

    fn block_file(&self, level: u8) -> io::Result<Arc<dyn File>> {
        let mut blocks = self.blocks.lock();
        if let Some(file) = blocks.get(&level) {
            return Ok(file.clone());
        }
        let path = self.dir.join(level.to_string());
        let how = if self.fs.exists(&path)? { Open::ReadWrite } else { Open::New(Mode::Shared) };
        let file = self.fs.open(&path, how)?;
        blocks.insert(level, file.clone());
        Ok(file)
    }
}

impl Cache {
    fn insert(&mut self, key: (u8, u64), tile: Arc<ExpandedTile>) {
        if self.tiles.insert(key, tile).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > CACHED_TILES {
            if let Some(oldest) = self.order.pop_front() {
                self.tiles.remove(&oldest);
            }
        }
    }
}

fn hot_node(hot: &[Row], id: NodeId) -> Option<Hash> {
    let row = hot.get(usize::from(id.level()))?;
    let at = usize::try_from(id.index().checked_sub(row.base)?).ok()?;
    row.nodes.get(at).copied()
}

fn pairs(below: &VecDeque<Hash>) -> VecDeque<Hash> {
    let below: Vec<_> = below.iter().collect();
    below.chunks_exact(2).map(|pair| graven_merkle::node_hash(pair[0], pair[1])).collect()
}

fn root_of(tile: &ExpandedTile) -> io::Result<Hash> {
    tile.node(TILE_HEIGHT, 0).ok_or_else(|| io::Error::other("a full tile has a root"))
}

impl HashReader for Tree {
    type Error = io::Error;

    fn read(&self, ids: &[NodeId]) -> io::Result<Vec<Hash>> {
        self.read_from(ids, Source::Derived)
    }
}

/// The same tree, read from the tile files alone: slower, and mends the derived blocks.
pub(crate) struct FromTiles<'a>(pub(crate) &'a Tree);

impl HashReader for FromTiles<'_> {
    type Error = io::Error;

    fn read(&self, ids: &[NodeId]) -> io::Result<Vec<Hash>> {
        self.0.read_from(ids, Source::Tiles)
    }
}
