//! RFC 6962 Merkle trees: hashes, tiles and proofs, with no I/O.

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
    HashReader, ProveError, prove_consistency, prove_inclusion, prove_multi, prove_subtree_consistency,
    prove_subtree_inclusion, root, subtree_root,
};
pub use subtree::Subtree;
pub use verify::{
    VerifyError, root_from_inclusion, verify_consistency, verify_inclusion, verify_subtree_consistency,
    verify_subtree_inclusion,
};
