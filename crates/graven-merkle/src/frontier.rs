//! The growing edge of a tree: the hashes from which the root follows and the next leaf is added.

use crate::{EMPTY_ROOT, Hash, LeafIndex, NodeId, TreeSize, node, node_hash};

/// The compact range `[0, size)`: one hash for each bit set in `size`, at most 63, largest subtree first.
///
/// Adding a leaf costs one node hash on average and never allocates once the tree has grown to its depth.
///
/// ```
/// use graven_merkle::{EMPTY_ROOT, Frontier, leaf_hash, node_hash};
///
/// let mut frontier = Frontier::new();
/// assert_eq!(frontier.root(), EMPTY_ROOT);
/// frontier.push(leaf_hash(b"one"));
/// frontier.push(leaf_hash(b"two"));
/// assert_eq!(frontier.root(), node_hash(&leaf_hash(b"one"), &leaf_hash(b"two")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: TreeSize,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub const EMPTY: Self = Self { size: TreeSize::ZERO, peaks: Vec::new() };

    /// The frontier of the empty tree.
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// The frontier of a tree of `size` leaves whose [`peak_ids`](Self::peak_ids) hash to `peaks`.
    ///
    /// `None` where their number is not that of the bits set in `size`. Nothing else can be checked here: compare the
    /// [`root`](Self::root) with one that is known.
    pub fn from_peaks(size: TreeSize, peaks: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.get().count_ones()).ok()?;
        (peaks.len() == expected).then_some(Self { size, peaks })
    }

    /// The nodes whose hashes make up the frontier of a tree of `size` leaves, largest first.
    pub fn peak_ids(size: TreeSize) -> impl Iterator<Item = NodeId> + Clone {
        node::cover(0..size.get())
    }

    /// The number of leaves so far.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The hashes of the [`peak_ids`](Self::peak_ids), largest subtree first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf and answers its index; a full tree (2^63 − 1 leaves) stays as it is and answers `None`.
    pub fn push(&mut self, leaf: Hash) -> Option<LeafIndex> {
        self.push_with(leaf, |_, _| ())
    }

    /// Like [`push`](Self::push), and hands the leaf and each inner node that it completes to `sink`, from the leaf up.
    pub fn push_with(&mut self, leaf: Hash, mut sink: impl FnMut(NodeId, Hash)) -> Option<LeafIndex> {
        let index = self.size.next_index()?;
        let (mut id, mut hash) = (NodeId::leaf(index), leaf);
        sink(id, hash);
        // Each bit set at the low end of the old size is a subtree whose sibling just became complete.
        for _ in 0..index.get().trailing_ones() {
            let left = self.peaks.pop()?;
            (id, hash) = (id.parent(), node_hash(&left, &hash));
            sink(id, hash);
        }
        self.peaks.push(hash);
        self.size = index.size_through();
        Some(index)
    }

    /// Adds leaves in order, as far as the tree has room for them.
    pub fn append(&mut self, leaves: impl IntoIterator<Item = Hash>) {
        for leaf in leaves {
            self.push(leaf);
        }
    }

    /// The root hash of the tree (RFC 6962 §2.1), at the cost of one node hash a peak.
    pub fn root(&self) -> Hash {
        fold_peaks(&self.peaks).unwrap_or(EMPTY_ROOT)
    }
}

/// The hash over subtrees that get smaller from left to right, or `None` where there are none.
pub(crate) fn fold_peaks(peaks: &[Hash]) -> Option<Hash> {
    peaks.iter().copied().rev().reduce(|right, left| node_hash(&left, &right))
}
