//! One log as its readers see it: the published head, proofs under it, and the entries.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use graven_merkle::tile::{BundlePath, EntryBundle, MAX_ENTRY_BYTES, TILE_BYTES, TILE_WIDTH, TileId};
use graven_merkle::{
    ConsistencyProof, HASH_BYTES, Hash, HashReader, InclusionProof, LeafIndex, MultiProof, ProveError,
    TreeSize, prove_consistency, prove_leaf, prove_leaves, verify_consistency, verify_inclusion,
    verify_multi,
};
use graven_note::Checkpoint;
use graven_store::objects::Objects;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::error::ReadError;
use crate::meta::LogMeta;
use crate::rotation::{KeyRing, Rotations};
use crate::sequencer::MAX_ATTACHMENT_BYTES;
use crate::signing::Signing;
use crate::tail::{self, Tail};
use crate::tree::{FromTiles, Tree};
use crate::witnessing::LogWitnesses;

/// Longest entry bundle: 256 entries with their lengths.
pub(crate) const MAX_BUNDLE_BYTES: u64 = TILE_WIDTH as u64 * (MAX_ENTRY_BYTES as u64 + 2);

/// Heads whose roots are remembered: callers ask for proofs under the checkpoint they hold, seldom an old one.
const RECENT_HEADS: usize = 1024;

/// A published tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Origin, size and root.
    pub checkpoint: Checkpoint,
    /// When it was signed last, in seconds since 1970, from its timestamped signature.
    pub time_seconds: u64,
    /// The signed note, byte for byte.
    pub note: Bytes,
}

impl Head {
    /// The tree size.
    pub fn size(&self) -> TreeSize {
        self.checkpoint.size()
    }
}

/// A log.
pub struct Log {
    pub(crate) meta: LogMeta,
    pub(crate) tree: Tree,
    pub(crate) tail: RwLock<Tail>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) blobs: Blobs,
    /// Entries that are durable: their index is fixed.
    pub(crate) sequenced: AtomicU64,
    /// Those of them that are in the tree, a moment later.
    pub(crate) integrated: AtomicU64,
    /// Entries in durable bundles.
    pub(crate) sealed: AtomicU64,
    /// Leaves that the newest snapshot of its hook has taken in.
    pub(crate) snapshotted: AtomicU64,
    pub(crate) frozen: AtomicBool,
    pub(crate) head: watch::Sender<Arc<Head>>,
    /// Sizes and roots of the newest heads of this process, in order.
    pub(crate) recent: RwLock<VecDeque<(TreeSize, Hash)>>,
    pub(crate) signing: Mutex<Signing>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) rotations: Mutex<Rotations>,
    /// Held while a rotation is announced.
    pub(crate) announcing: tokio::sync::Mutex<()>,
    pub(crate) witnesses: Option<LogWitnesses>,
    pub(crate) site: PathBuf,
}

impl Log {
    /// Most hashes that one [`leaf_hashes`](Self::leaf_hashes) returns: 2 MiB of them.
    pub const MAX_LEAF_HASHES: u64 = 65_536;

    /// What the log is.
    pub fn meta(&self) -> &LogMeta {
        &self.meta
    }

    /// Releases a head.
    pub(crate) fn release(&self, head: Head) {
        let mut recent = self.recent.write();
        if recent.back().is_none_or(|(size, _)| *size < head.size()) {
            recent.push_back((head.size(), *head.checkpoint.root()));
        }
        if recent.len() > RECENT_HEADS {
            recent.pop_front();
        }
        drop(recent);
        self.head.send_replace(Arc::new(head));
    }

    /// The root that was signed at a size, if that is not long ago.
    fn signed_root(&self, size: TreeSize) -> Option<Hash> {
        let head = self.head.borrow();
        if head.size() == size {
            return Some(*head.checkpoint.root());
        }
        drop(head);
        if let Some(root) = self.witnesses.as_ref().and_then(|witnesses| witnesses.pending_root(size)) {
            return Some(root);
        }
        let recent = self.recent.read();
        let at = recent.binary_search_by_key(&size, |(size, _)| *size).ok()?;
        recent.get(at).map(|(_, root)| *root)
    }

    /// The newest published head.
    pub fn head(&self) -> Arc<Head> {
        self.head.borrow().clone()
    }

    /// Follows the published head.
    pub fn watch(&self) -> watch::Receiver<Arc<Head>> {
        self.head.subscribe()
    }

    /// Entries whose index is fixed for ever, published or not.
    pub fn durable_size(&self) -> u64 {
        self.sequenced.load(Ordering::Acquire)
    }

    /// Entries that are durable and in the tree.
    pub(crate) fn integrated_size(&self) -> u64 {
        self.integrated.load(Ordering::Acquire)
    }

    /// Entries in sealed bundles.
    pub fn sealed_size(&self) -> u64 {
        self.sealed.load(Ordering::Acquire)
    }

    /// Bytes of entries and attachments that are durable and not sealed yet. Appends are refused beyond
    /// [`max_unsealed_bytes`](crate::Config::max_unsealed_bytes).
    pub fn unsealed_bytes(&self) -> u64 {
        self.tail.read().bytes() as u64
    }

    /// Whether it takes no more entries.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Its C2SP tlog-tiles folder.
    pub fn site(&self) -> &std::path::Path {
        &self.site
    }

    /// The leaf hash of an entry within the published tree.
    pub fn leaf_hash(&self, index: LeafIndex) -> Result<Hash, ReadError> {
        self.require_index(index, self.head().size())?;
        Ok(self.tree.leaf(index)?)
    }

    /// Leaf hashes of a range within the published tree, in order: at most [`MAX_LEAF_HASHES`](Self::MAX_LEAF_HASHES) of them. They are read
    /// in tile rows and past the cache, so that who reads a whole log does not push out what proofs need.
    pub fn leaf_hashes(&self, range: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        let size = self.head().size().get();
        if range.end > size {
            return Err(ReadError::OutOfRange { asked: range.end, size });
        }
        let end = range.end.min(range.start.saturating_add(Self::MAX_LEAF_HASHES));
        self.durable_leaves(range.start..end)
    }

    /// Leaf hashes of a range within the tree, published or not.
    pub(crate) fn durable_leaves(&self, Range { start, end }: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        let mut found = Vec::new();
        let mut at = start;
        while at < end {
            let number = at / u64::from(TILE_WIDTH);
            let first = number * u64::from(TILE_WIDTH);
            let tile = TileId::new(0, number).ok_or_else(|| damaged("no such tile"))?;
            let width = u16::try_from(end - first).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
            let skip = usize::try_from(at - first).map_err(|_| damaged("index"))?;
            found.extend(self.tile_row(tile, width)?.into_iter().skip(skip));
            at = first + u64::from(width);
        }
        Ok(found)
    }

    /// Proves that entry `index` is in the published tree of `size`, and returns its leaf hash with the proof.
    pub fn inclusion(&self, index: LeafIndex, size: TreeSize) -> Result<(Hash, InclusionProof), ReadError> {
        self.require_size(size)?;
        self.require_index(index, size)?;
        self.checked(size, |reader, root| {
            let (leaf, proof) = prove_leaf(reader, index, size).map_err(broken)?;
            let holds = verify_inclusion(leaf, index, size, &proof, root).is_ok();
            Ok(holds.then_some((leaf, proof)))
        })
    }

    /// Proves several entries at once, and returns their leaf hashes with the proof.
    pub fn multi(&self, indices: &[LeafIndex], size: TreeSize) -> Result<(Vec<Hash>, MultiProof), ReadError> {
        self.require_size(size)?;
        if let Some(last) = indices.last() {
            self.require_index(*last, size)?;
        }
        self.checked(size, |reader, root| {
            let (leaves, proof) = match prove_leaves(reader, indices, size) {
                Err(ProveError::Indices(error)) => return Err(ReadError::Indices(error.to_string())),
                other => other.map_err(broken)?,
            };
            let holds = verify_multi(indices, &leaves, size, &proof, root).is_ok();
            Ok(holds.then_some((leaves, proof)))
        })
    }

    /// Proves that the published tree of `to` begins with that of `from`.
    pub fn consistency(&self, from: TreeSize, to: TreeSize) -> Result<ConsistencyProof, ReadError> {
        self.require_size(to)?;
        self.prove_consistent(from, to)
    }

    /// As [`consistency`](Self::consistency), for any tree that was signed.
    pub(crate) fn prove_consistent(
        &self,
        from: TreeSize,
        to: TreeSize,
    ) -> Result<ConsistencyProof, ReadError> {
        if from > to {
            return Err(ReadError::Reversed { from: from.get(), to: to.get() });
        }
        self.checked(to, |reader, root| {
            let from_root = graven_merkle::root(reader, from).map_err(broken)?;
            let proof = prove_consistency(reader, from, to).map_err(broken)?;
            let holds = verify_consistency(from, &from_root, to, root, &proof).is_ok();
            Ok(holds.then_some(proof))
        })
    }

    /// Entries of a range within the published tree, in order: at most `max_bytes` of them, but at least one.
    pub fn entries(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Bytes>, ReadError> {
        let size = self.head().size().get();
        if range.end > size {
            return Err(ReadError::OutOfRange { asked: range.end, size });
        }
        let mut found = Vec::new();
        let (mut at, mut bytes) = (range.start, 0);
        while at < range.end {
            for entry in self.entries_at(at..range.end)? {
                bytes += entry.len();
                if bytes > max_bytes && !found.is_empty() {
                    return Ok(found);
                }
                at += 1;
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// What was stored with an entry that is durable, published or not. `None`: there never was anything, or it was
    /// [dropped](crate::Engine::drop_blobs), or the entry was restored from a copy of the log, which has no attachments.
    ///
    /// # Errors
    /// There is no such entry, storage failed, or what it holds is not what was written.
    pub fn attachment(&self, index: LeafIndex) -> Result<Option<Bytes>, ReadError> {
        let range = index.get()..index.get().saturating_add(1);
        Ok(self.attachments(range, MAX_ATTACHMENT_BYTES)?.pop().flatten())
    }

    /// What was stored with the entries of a range within the durable size, one answer an entry from its start on: until
    /// they have `max_bytes`, and at least one.
    ///
    /// # Errors
    /// As for [`attachment`](Self::attachment).
    pub fn attachments(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Option<Bytes>>, ReadError> {
        let size = self.durable_size();
        if range.end > size {
            return Err(ReadError::OutOfRange { asked: range.end, size });
        }
        let mut found = Vec::new();
        let (mut at, mut bytes) = (range.start, 0);
        while at < range.end {
            let (end, attachments) = self.attachments_at(at..range.end, max_bytes - bytes)?;
            let mut attachments = attachments.into_iter().peekable();
            for index in at..end {
                let attachment = attachments.next_if(|(of, _)| *of == index).map(|(_, bytes)| bytes);
                let len = attachment.as_ref().map_or(0, Bytes::len);
                if bytes + len > max_bytes && !found.is_empty() {
                    return Ok(found);
                }
                bytes = max_bytes.min(bytes + len);
                found.push(attachment);
            }
            at = end;
        }
        Ok(found)
    }

    /// Attachments of the first entries of a range, within one bundle, and up to where these are all of them.
    fn attachments_at(&self, range: Range<u64>, most: usize) -> Result<(u64, Vec<(u64, Bytes)>), ReadError> {
        let number = range.start / u64::from(TILE_WIDTH);
        let part = range.start..range.end.min((number + 1) * u64::from(TILE_WIDTH));
        // What is sealed is in files, or was dropped, whatever the tail still has of it.
        if part.start >= self.sealed_size() {
            let chunks = self.tail.read().chunks_in(part.clone());
            if chunks.first().is_some_and(|chunk| chunk.first <= part.start) {
                return Ok((part.end, tail::attachments(&chunks, part)));
            }
        }
        self.blobs.read(number, part, most)
    }

    /// Some entries from the start of a range within the durable size on, at least one. What is durable and not yet published is under no
    /// signature: for followers of the log on its own machine.
    pub fn durable_entries(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.entries_at(range)
    }

    /// Some entries from the range's start on, at least one: those of one bundle, or of the tail.
    fn entries_at(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        let width = u64::from(TILE_WIDTH);
        let number = range.start / width;
        let bundle_end = (number + 1) * width;
        // The tail first: what is not in it any more has been sealed before it went.
        let part = range.start..range.end.min(bundle_end);
        if let Some(entries) = self.tail.read().entries(part.clone()) {
            return Ok(entries);
        }
        let path = BundlePath::new(number, TILE_WIDTH).ok_or_else(|| damaged("no such bundle"))?;
        let bytes = Bytes::from(self.objects.read(&path.to_string(), MAX_BUNDLE_BYTES)?);
        let bundle = EntryBundle::parse(&bytes, TILE_WIDTH).map_err(|e| damaged(&format!("{path}: {e}")))?;
        let skip = usize::try_from(part.start % width).map_err(|_| damaged("index"))?;
        let take = usize::try_from(part.end - part.start).map_err(|_| damaged("range"))?;
        Ok(bundle.entries().skip(skip).take(take).map(|entry| bytes.slice_ref(entry)).collect())
    }

    /// The first `width` hashes of a tile: from memory, or else it has been sealed before it went from there.
    pub(crate) fn tile_row(&self, tile: TileId, width: u16) -> Result<Vec<Hash>, ReadError> {
        if let Some(row) = self.tree.hot_range(tile, width) {
            return Ok(row);
        }
        let path = tile.path_in(TreeSize::MAX).ok_or_else(|| damaged("no such tile"))?;
        let bytes = self.objects.read(&path.to_string(), TILE_BYTES as u64)?;
        if bytes.len() != TILE_BYTES {
            return Err(damaged(&format!("{path} is cut short")));
        }
        let row = bytes.chunks_exact(HASH_BYTES).take(usize::from(width)).map(Hash::try_from);
        row.collect::<Result<_, _>>().map_err(|error| damaged(&format!("{path}: {error}")))
    }

    /// Makes something that verifies under the root of `size`: from derived nodes, and where those do not verify, from
    /// the tile files.
    fn checked<T>(
        &self,
        size: TreeSize,
        make: impl Fn(&dyn HashReader<Error = std::io::Error>, &Hash) -> Result<Option<T>, ReadError>,
    ) -> Result<T, ReadError> {
        let signed = self.signed_root(size);
        let root = |reader: &dyn HashReader<Error = std::io::Error>| {
            signed.map_or_else(|| graven_merkle::root(reader, size).map_err(broken), Ok)
        };
        let derived: &dyn HashReader<Error = std::io::Error> = &self.tree;
        if let Ok(Some(made)) = root(derived).and_then(|root| make(derived, &root)) {
            return Ok(made);
        }
        let tiles = FromTiles(&self.tree);
        make(&tiles, &root(&tiles)?)?.ok_or_else(|| damaged("its tiles do not hash to the published root"))
    }

    fn require_size(&self, size: TreeSize) -> Result<(), ReadError> {
        let published = self.head().size();
        if size > published {
            return Err(ReadError::OutOfRange { asked: size.get(), size: published.get() });
        }
        Ok(())
    }

    fn require_index(&self, index: LeafIndex, size: TreeSize) -> Result<(), ReadError> {
        if !index.is_within(size) {
            return Err(ReadError::OutOfRange { asked: index.get(), size: size.get() });
        }
        Ok(())
    }
}

pub(crate) fn damaged(what: &str) -> ReadError {
    ReadError::Damaged(what.to_owned())
}

fn broken(error: ProveError<std::io::Error>) -> ReadError {
    match error {
        ProveError::Read(source) => ReadError::Storage(source.to_string()),
        other => ReadError::Damaged(other.to_string()),
    }
}
