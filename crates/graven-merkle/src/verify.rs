//! Checking proofs against roots that are known from elsewhere: a signed checkpoint, never the proof's sender.
//!
//! Every check consumes the proof exactly: one hash too many or too few is an error, whatever the hashes are.

use crate::{ConsistencyProof, EMPTY_ROOT, Hash, InclusionProof, LeafIndex, Subtree, TreeSize, node_hash};

/// Why a proof was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The claim is about a leaf that the tree, or the subtree, does not have.
    #[error("leaf {index} is not in the tree {tree}")]
    IndexBeyondTree {
        /// The leaf of the claim.
        index: LeafIndex,
        /// The tree or subtree of the claim.
        tree: Subtree,
    },
    /// The claim is about an earlier tree, or a subtree, that ends beyond the tree.
    #[error("{earlier} ends beyond the tree of {size} leaves")]
    BeyondTree {
        /// The earlier tree, or the subtree.
        earlier: Subtree,
        /// The size of the tree it should be part of.
        size: TreeSize,
    },
    /// The proof has not the number of hashes that a proof of this claim has.
    #[error("the proof has {found} hashes where this claim takes {expected}")]
    WrongLength {
        /// How many hashes the claim takes.
        expected: usize,
        /// How many hashes the proof has.
        found: usize,
    },
    /// The proof leads to another root than the one that is known: the leaf, the proof or the root is not genuine.
    #[error("the proof leads to the root {computed}, not to {expected}")]
    RootMismatch {
        /// The root that is known.
        expected: Hash,
        /// The root that the proof leads to.
        computed: Hash,
    },
    /// The proof leads to another root of the earlier tree, or subtree, than the one that is known: a fork.
    #[error("the proof leads to the earlier root {computed}, not to {expected}")]
    EarlierRootMismatch {
        /// The earlier root that is known.
        expected: Hash,
        /// The earlier root that the proof leads to.
        computed: Hash,
    },
}

/// Checks that the leaf that hashes to `leaf` is number `index` of the tree with this size and root (RFC 6962 §2.1.1).
///
/// ```
/// use graven_merkle::{InclusionProof, LeafIndex, TreeSize, leaf_hash, node_hash, verify_inclusion};
///
/// let (one, two) = (leaf_hash(b"one"), leaf_hash(b"two"));
/// let (size, root) = (TreeSize::from(2), node_hash(&one, &two)); // from a signed checkpoint
/// let proof = InclusionProof::from_hashes(vec![one])?;
///
/// verify_inclusion(two, LeafIndex::from(1), size, &proof, &root)?;
/// assert!(verify_inclusion(two, LeafIndex::from(0), size, &proof, &root).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_inclusion(
    leaf: Hash,
    index: LeafIndex,
    size: TreeSize,
    proof: &InclusionProof,
    root: &Hash,
) -> Result<(), VerifyError> {
    verify_subtree_inclusion(leaf, index, size.into(), proof, root)
}

/// The root to which `proof` leads from the leaf: the caller compares it with one that is known.
pub fn root_from_inclusion(
    leaf: Hash,
    index: LeafIndex,
    size: TreeSize,
    proof: &InclusionProof,
) -> Result<Hash, VerifyError> {
    climb(leaf, index, size.into(), proof.hashes())
}

/// Checks that leaf `index` of the whole tree is in the subtree with this root (draft-ietf-plants-merkle-tree-certs).
pub fn verify_subtree_inclusion(
    leaf: Hash,
    index: LeafIndex,
    subtree: Subtree,
    proof: &InclusionProof,
    subtree_root: &Hash,
) -> Result<(), VerifyError> {
    same_root(subtree_root, climb(leaf, index, subtree, proof.hashes())?)
}

/// Checks that the tree of `from` leaves with `from_root` is the beginning of that of `to` with `to_root` (RFC 6962 §2.1.2).
///
/// From the empty tree the proof is empty and `from_root` is [`EMPTY_ROOT`]. Then there is nothing to say about `to_root`,
/// as every tree begins with nothing; C2SP tlog-witness demands this, while the RFC does not define it.
pub fn verify_consistency(
    from: TreeSize,
    from_root: &Hash,
    to: TreeSize,
    to_root: &Hash,
    proof: &ConsistencyProof,
) -> Result<(), VerifyError> {
    verify_subtree_consistency(from.into(), from_root, to, to_root, proof)
}

/// Checks that the subtree with `subtree_root` is part of the tree of `size` leaves with `root`
/// (draft-ietf-plants-merkle-tree-certs, "Verifying Subtree Consistency Proofs").
///
/// An empty subtree takes an empty proof and the root [`EMPTY_ROOT`]; verifiers of early drafts refuse it outright.
pub fn verify_subtree_consistency(
    subtree: Subtree,
    subtree_root: &Hash,
    size: TreeSize,
    root: &Hash,
    proof: &ConsistencyProof,
) -> Result<(), VerifyError> {
    if subtree.end() > size {
        return Err(VerifyError::BeyondTree { earlier: subtree, size });
    }
    if subtree.is_empty() {
        return verify_empty_subtree(subtree_root, size, root, proof);
    }
    let ascent = Ascent::new(subtree, size);
    let from_subtree = ascent.starts_at_subtree();
    right_length(ascent.clone().count() + usize::from(!from_subtree), proof.hashes())?;
    let (mut earlier, siblings) = match proof.hashes().split_first() {
        Some((first, rest)) if !from_subtree => (*first, rest),
        _ => (*subtree_root, proof.hashes()),
    };
    let mut later = earlier;
    for (side, sibling) in ascent.zip(siblings) {
        match side {
            Side::LeftOfBoth => {
                earlier = node_hash(sibling, &earlier);
                later = node_hash(sibling, &later);
            }
            Side::LeftOfTree => later = node_hash(sibling, &later),
            Side::Right => later = node_hash(&later, sibling),
        }
    }
    same_earlier_root(subtree_root, earlier)?;
    same_root(root, later)
}

fn verify_empty_subtree(
    subtree_root: &Hash,
    size: TreeSize,
    root: &Hash,
    proof: &ConsistencyProof,
) -> Result<(), VerifyError> {
    right_length(0, proof.hashes())?;
    same_earlier_root(subtree_root, EMPTY_ROOT)?;
    if size.is_empty() { same_root(root, EMPTY_ROOT) } else { Ok(()) }
}

/// Climbs from the leaf to the root of `subtree`, by one hash of the proof wherever the node on the way has a sibling.
fn climb(leaf: Hash, index: LeafIndex, subtree: Subtree, proof: &[Hash]) -> Result<Hash, VerifyError> {
    let position =
        subtree.position(index).ok_or(VerifyError::IndexBeyondTree { index, tree: subtree })?.get();
    // There is a leaf, so there is a last one.
    let last = subtree.width().get().saturating_sub(1);
    let depth = u64::BITS - last.leading_zeros();
    // The last node of a level has no sibling where their number is odd: it goes up as it is.
    let siblings = (0..depth).filter(|level| (position >> level) ^ 1 <= last >> level);
    right_length(siblings.clone().count(), proof)?;
    Ok(siblings.zip(proof).fold(leaf, |hash, (level, sibling)| match (position >> level) & 1 {
        0 => node_hash(&hash, sibling),
        _ => node_hash(sibling, &hash),
    }))
}

/// On which side of the way up the next hash of a consistency proof stands.
enum Side {
    /// Left, within the subtree as well as the tree: it goes into both roots.
    LeftOfBoth,
    /// Left, outside the subtree.
    LeftOfTree,
    /// Right, beyond the end of the subtree.
    Right,
}

/// The way from the subtree's last complete part to the root of the tree, as positions at one level that rises.
#[derive(Clone)]
struct Ascent {
    first: u64,
    last: u64,
    tree_last: u64,
}

impl Ascent {
    /// Starts as high as the subtree, which is not empty and lies within the tree, allows.
    fn new(subtree: Subtree, size: TreeSize) -> Self {
        let leaves = subtree.leaves();
        let mut ascent = Self { first: leaves.start, last: leaves.end - 1, tree_last: size.get() - 1 };
        // Where the subtree ends with the tree, its right edge is that of the tree and needs no part of its own.
        let ends_with_tree = ascent.last == ascent.tree_last;
        while ascent.first != ascent.last && (ends_with_tree || ascent.last & 1 == 1) {
            ascent.rise();
        }
        ascent
    }

    /// Whether it starts from the hash of the whole subtree, which is known, instead of one that the proof names first.
    fn starts_at_subtree(&self) -> bool {
        self.first == self.last
    }

    fn rise(&mut self) {
        self.first >>= 1;
        self.last >>= 1;
        self.tree_last >>= 1;
    }
}

impl Iterator for Ascent {
    type Item = Side;

    fn next(&mut self) -> Option<Side> {
        if self.tree_last == 0 {
            return None;
        }
        let side = if self.last & 1 == 0 && self.last != self.tree_last {
            Side::Right
        } else if self.first < self.last {
            Side::LeftOfBoth
        } else {
            Side::LeftOfTree
        };
        if !matches!(side, Side::Right) {
            // An even last node of the tree has no sibling before it has become an odd one.
            while self.last & 1 == 0 {
                self.rise();
            }
        }
        self.rise();
        Some(side)
    }
}

pub(crate) fn right_length(expected: usize, proof: &[Hash]) -> Result<(), VerifyError> {
    let found = proof.len();
    if found == expected { Ok(()) } else { Err(VerifyError::WrongLength { expected, found }) }
}

fn same_root(expected: &Hash, computed: Hash) -> Result<(), VerifyError> {
    if computed == *expected {
        return Ok(());
    }
    Err(VerifyError::RootMismatch { expected: *expected, computed })
}

fn same_earlier_root(expected: &Hash, computed: Hash) -> Result<(), VerifyError> {
    if computed == *expected {
        return Ok(());
    }
    Err(VerifyError::EarlierRootMismatch { expected: *expected, computed })
}
