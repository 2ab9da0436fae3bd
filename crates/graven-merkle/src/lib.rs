//! RFC 6962 Merkle trees: hashes, tiles and proofs, with no I/O.
//!
//! A log's writer grows a [`Frontier`] and keeps the nodes it hands out; anyone who can read those nodes through a
//! [`HashReader`] can prove; anyone with a root from a signed checkpoint can verify:
//!
//! ```
//! use graven_merkle::*;
//! use std::{collections::HashMap, convert::Infallible};
//!
//! struct Kept(HashMap<NodeId, Hash>);
//! impl HashReader for Kept {
//!     type Error = Infallible;
//!     fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
//!         Ok(ids.iter().filter_map(|id| self.0.get(id).copied()).collect())
//!     }
//! }
//!
//! let (mut kept, mut frontier) = (Kept(HashMap::new()), Frontier::new());
//! for entry in ["one", "two", "three"] {
//!     frontier.push_with(leaf_hash(entry.as_bytes()), |id, hash| { kept.0.insert(id, hash); });
//! }
//! let (size, root) = (frontier.size(), frontier.root());
//!
//! let proof = prove_inclusion(&kept, LeafIndex::from(1), size)?;
//! verify_inclusion(leaf_hash(b"two"), LeafIndex::from(1), size, &proof, &root)?;
//! assert!(verify_inclusion(leaf_hash(b"tow"), LeafIndex::from(1), size, &proof, &root).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is here
//! * [`struct@Hash`], [`leaf_hash`], [`node_hash`]: SHA-256 as RFC 6962 §2.1 prefixes it.
//! * [`LeafIndex`] and [`TreeSize`], which never pass for one another, and [`NodeId`], the name of an inner node.
//! * [`Frontier`]: the growing edge of a tree, and [`root`], the same root by another path, for those who check twice.
//! * Proofs of inclusion, of consistency and of subtrees, planned by [`plan`], read in one batch, computed, and verified
//!   against known roots; [`multi`]: one compact proof for many entries.
//! * [`tile`]: the tiles and entry bundles of C2SP tlog-tiles, their paths, and tiles with their inner nodes at hand.
//!
//! # What is not
//! No I/O, clock, randomness or async; no signatures, so no root is trusted here, only compared with; nothing about what is in
//! an entry. Nothing that a peer sends can make a function panic, or take more work than its length and the limits say:
//! 2^63 − 1 leaves, 63 or 64 hashes a proof, [`MAX_MULTI_INDICES`] entries, 256 items a tile, 65,535 bytes an entry.

mod frontier;
mod hash;
pub mod multi;
pub mod node;
pub mod plan;
mod position;
mod proof;
mod prove;
mod subtree;
pub mod tile;
mod verify;

pub use frontier::Frontier;
pub use hash::{EMPTY_ROOT, HASH_BYTES, Hash, HashLengthError, leaf_hash, node_hash};
pub use multi::{MAX_MULTI_INDICES, MultiProof, verify_multi};
pub use node::NodeId;
pub use position::{LeafIndex, LeafIndexError, TreeSize, TreeSizeError};
pub use proof::{ConsistencyProof, InclusionProof, ProofTooLong};
pub use prove::{
    HashReader, ProveError, prove_consistency, prove_inclusion, prove_leaf, prove_leaves, prove_multi,
    prove_subtree_consistency, prove_subtree_inclusion, root, subtree_root,
};
pub use subtree::Subtree;
pub use verify::{
    VerifyError, root_from_inclusion, verify_consistency, verify_inclusion, verify_subtree_consistency,
    verify_subtree_inclusion,
};
