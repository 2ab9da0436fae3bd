//! The nodes of a log's tree: the newest in memory, the rest beside the tiles.
//!
//! Nodes of tiles that are not sealed yet are kept in memory, one queue a level. A sealed tile's hashes lie in its
//! C2SP tile file, and once more, with its inner nodes, in a derived [`Block`]. Nothing of it is cached here: the
//! system's page cache holds what is asked for often.
//!
//! Blocks are written without a sync and trusted only as far as the proofs made from them verify; one that does not
//! is made again from the tile file.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use graven_merkle::tile::{TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, TileId, TileNode, locate};
use graven_merkle::{Frontier, Hash, HashReader, LeafIndex, NodeId, TreeSize};
use graven_store::fs::{File, Fs, Mode, Open};
use graven_store::objects::Objects;
use parking_lot::{Mutex, RwLock};

use crate::block::{self, BLOCK_BYTES, Block, kept_levels};

/// The nodes of one log.
pub(crate) struct Tree {
    hot: RwLock<Vec<Row>>,
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

/// How tiles that are not in memory are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the derived blocks.
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
        let tree =
            Self { hot: RwLock::new(Vec::new()), fs, dir, blocks: Mutex::new(BTreeMap::new()), objects };
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
    pub(crate) fn hot_block(&self, tile: TileId) -> Option<Block> {
        let hot = self.hot.read();
        let bottom = usize::from(tile.level()) * usize::from(TILE_HEIGHT);
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        for inner in kept_levels() {
            let width = TILE_WIDTH >> inner;
            let nodes = hot.get(bottom + usize::from(inner))?.run(tile.index() * u64::from(width), width)?;
            nodes.for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        }
        Some(Block::new(bytes))
    }

    /// The first `width` hashes of a tile that is not sealed yet.
    pub(crate) fn hot_range(&self, tile: TileId, width: u16) -> Option<Vec<Hash>> {
        let hot = self.hot.read();
        let row = hot.get(usize::from(tile.level()) * usize::from(TILE_HEIGHT))?;
        Some(row.run(tile.index() * u64::from(TILE_WIDTH), width)?.copied().collect())
    }

    /// Writes the derived block of a tile that is being sealed.
    pub(crate) fn write_block(&self, tile: TileId, block: &Block) -> io::Result<()> {
        self.block_file(tile.level())?.write_all_at(block.bytes(), block_at(tile))
    }

    /// Lets go of the nodes of tiles that are sealed now.
    pub(crate) fn drop_sealed(&self, sealed: u64) {
        let mut hot = self.hot.write();
        for (level, row) in (0_u8..).zip(hot.iter_mut()) {
            let (tile_level, inner) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
            let full_tiles = sealed.checked_shr(8 * (u32::from(tile_level) + 1)).unwrap_or(0);
            let keep_from = full_tiles << (TILE_HEIGHT - inner);
            let gone = usize::try_from(keep_from.saturating_sub(row.base)).unwrap_or(usize::MAX);
            let gone = row.nodes.drain(..gone.min(row.nodes.len())).len();
            row.base += gone as u64;
        }
    }

    /// Reads nodes: those in memory in one look, the others tile by tile.
    fn read_from(&self, ids: &[NodeId], source: Source) -> io::Result<Vec<Hash>> {
        let mut found: Vec<Option<Hash>> = {
            let hot = self.hot.read();
            ids.iter().map(|id| hot_node(&hot, *id)).collect()
        };
        let mut sealed = Vec::new();
        for (slot, id) in ids.iter().enumerate().filter(|(slot, _)| found[*slot].is_none()) {
            sealed.push((locate(*id).ok_or_else(|| io::Error::other("no such node"))?, slot));
        }
        sealed.sort_unstable_by_key(|(at, _)| (at.tile.level(), at.tile.index()));
        for nodes in sealed.chunk_by(|(one, _), (next, _)| one.tile == next.tile) {
            let block = self.load(nodes[0].0.tile, nodes, source)?;
            for (at, slot) in nodes {
                found[*slot] = block.node(at.level, at.index);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads what has these nodes of a tile.
    fn load(&self, tile: TileId, nodes: &[(TileNode, usize)], source: Source) -> io::Result<Block> {
        if source == Source::Derived
            && let Some(block) = self.load_block(tile, nodes)
        {
            return Ok(block);
        }
        let block = self.load_tile(tile)?;
        if let Err(error) = self.write_block(tile, &block) {
            // Reads go on where nothing can be written.
            tracing::warn!(%error, "derived nodes were not mended");
        }
        Ok(block)
    }

    fn load_tile(&self, tile: TileId) -> io::Result<Block> {
        let path = tile.path_in(TreeSize::MAX).ok_or_else(|| io::Error::other("no such tile"))?;
        let row = self.objects.read(&path.to_string(), TILE_BYTES as u64)?;
        Block::from_row(&row).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    }

    fn load_block(&self, tile: TileId, nodes: &[(TileNode, usize)]) -> Option<Block> {
        let file = self.block_file(tile.level()).ok()?;
        let parts = block::parts(nodes.iter().map(|(node, _)| node));
        Block::read(&parts, |bytes, at| file.read_exact_at(bytes, block_at(tile) + at as u64))
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

fn block_at(tile: TileId) -> u64 {
    tile.index() * BLOCK_BYTES as u64
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

fn root_of(tile: &Block) -> io::Result<Hash> {
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
