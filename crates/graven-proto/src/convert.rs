//! From messages to the types of `graven-merkle`, and in [`event`] to those of `graven-event`, and back.
//!
//! A message that converts has fields of the right shape, and nothing more: the hashes of a proof prove
//! nothing before a verifier has seen them, with a tree size and root taken from a verified checkpoint.
//!
//! The messages repeat what a proof is about (indices and sizes), for display and for other languages.
//! The types here leave that out: a verifier gets it from the caller, who knows what was asked.

pub mod event;

use bytes::Bytes;
use graven_merkle::{
    ConsistencyProof, HASH_BYTES, Hash, InclusionProof, LeafIndex, MultiProof, ProofTooLong, TreeSize,
};

use crate::v1;

/// A field of a message that is not what it must be. The peer that sent it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` of the peer's message: {problem}")]
pub struct FieldError {
    /// The field's name in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It is absent.
    #[error("it is absent")]
    Absent,
    /// It is no hash.
    #[error("a hash has 32 bytes, this has {0}")]
    HashLength(usize),
    /// It is more than any index or size can be.
    #[error("{0} is more than any index or size")]
    TooLarge(u64),
    /// It is too long to be a proof.
    #[error(transparent)]
    Proof(#[from] ProofTooLong),
}

impl FieldProblem {
    fn of(self, field: &'static str) -> FieldError {
        FieldError { field, problem: self }
    }
}

/// A field that must be there.
///
/// # Errors
/// It is absent.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, FieldError> {
    value.ok_or_else(|| FieldProblem::Absent.of(field))
}

/// A field that holds one hash.
///
/// # Errors
/// It does not have 32 bytes.
pub fn hash(field: &'static str, bytes: &[u8]) -> Result<Hash, FieldError> {
    Hash::try_from(bytes).map_err(|error| FieldProblem::HashLength(error.0).of(field))
}

/// A field that holds hashes. The transport bounds their number: see [`crate::limits::MAX_MESSAGE_BYTES`].
///
/// # Errors
/// One of them does not have 32 bytes.
pub fn hashes(field: &'static str, list: &[Bytes]) -> Result<Vec<Hash>, FieldError> {
    list.iter().map(|bytes| hash(field, bytes)).collect()
}

/// A field that holds an index.
///
/// # Errors
/// It is not below 2^63 - 1.
pub fn leaf_index(field: &'static str, value: u64) -> Result<LeafIndex, FieldError> {
    LeafIndex::new(value).ok_or_else(|| FieldProblem::TooLarge(value).of(field))
}

/// A field that holds a tree size.
///
/// # Errors
/// It is more than 2^63 - 1.
pub fn tree_size(field: &'static str, value: u64) -> Result<TreeSize, FieldError> {
    TreeSize::new(value).ok_or_else(|| FieldProblem::TooLarge(value).of(field))
}

/// A hash as a field.
#[must_use]
pub fn hash_bytes(hash: &Hash) -> Bytes {
    Bytes::copy_from_slice(hash.as_bytes())
}

/// Hashes as a repeated field. They share one allocation.
#[must_use]
pub fn hashes_bytes(hashes: &[Hash]) -> Vec<Bytes> {
    let mut joined = Vec::with_capacity(hashes.len() * HASH_BYTES);
    hashes.iter().for_each(|hash| joined.extend_from_slice(hash.as_bytes()));
    let mut joined = Bytes::from(joined);
    hashes.iter().map(|_| joined.split_to(HASH_BYTES)).collect()
}

impl v1::InclusionProof {
    /// The proof that the entry at `index` is in the tree of `tree_size` entries, as a message.
    #[must_use]
    pub fn from_merkle(index: LeafIndex, tree_size: TreeSize, proof: &InclusionProof) -> Self {
        Self { index: index.get(), tree_size: tree_size.get(), hashes: hashes_bytes(proof.hashes()) }
    }

    /// The proof's hashes, unverified.
    ///
    /// # Errors
    /// A hash has the wrong length, or there are more than any inclusion proof has.
    pub fn to_merkle(&self) -> Result<InclusionProof, FieldError> {
        const FIELD: &str = "InclusionProof.hashes";
        InclusionProof::from_hashes(hashes(FIELD, &self.hashes)?)
            .map_err(|error| FieldProblem::from(error).of(FIELD))
    }
}

impl v1::MultiInclusionProof {
    /// The proof that the entries at `indices` are in the tree of `tree_size` entries, as a message.
    #[must_use]
    pub fn from_merkle(indices: &[LeafIndex], tree_size: TreeSize, proof: &MultiProof) -> Self {
        Self {
            indices: indices.iter().map(|index| index.get()).collect(),
            tree_size: tree_size.get(),
            hashes: hashes_bytes(proof.hashes()),
        }
    }

    /// The proof's hashes, unverified.
    ///
    /// # Errors
    /// A hash has the wrong length, or there are more than any proof of this kind has.
    pub fn to_merkle(&self) -> Result<MultiProof, FieldError> {
        const FIELD: &str = "MultiInclusionProof.hashes";
        MultiProof::from_hashes(hashes(FIELD, &self.hashes)?)
            .map_err(|error| FieldProblem::from(error).of(FIELD))
    }
}

impl v1::ConsistencyProof {
    /// The proof that the tree of `first_size` entries begins the one of `second_size`, as a message.
    #[must_use]
    pub fn from_merkle(first_size: TreeSize, second_size: TreeSize, proof: &ConsistencyProof) -> Self {
        Self {
            first_size: first_size.get(),
            second_size: second_size.get(),
            hashes: hashes_bytes(proof.hashes()),
        }
    }

    /// The proof's hashes, unverified.
    ///
    /// # Errors
    /// A hash has the wrong length, or there are more than any consistency proof has.
    pub fn to_merkle(&self) -> Result<ConsistencyProof, FieldError> {
        const FIELD: &str = "ConsistencyProof.hashes";
        ConsistencyProof::from_hashes(hashes(FIELD, &self.hashes)?)
            .map_err(|error| FieldProblem::from(error).of(FIELD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_merkle::leaf_hash;

    fn some_hashes(count: u8) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&[n])).collect()
    }

    #[test]
    fn proofs_come_back_as_they_went() {
        let (index, size) = (LeafIndex::new(5).unwrap(), TreeSize::new(9).unwrap());

        let inclusion = InclusionProof::from_hashes(some_hashes(4)).unwrap();
        let message = v1::InclusionProof::from_merkle(index, size, &inclusion);
        assert_eq!((message.index, message.tree_size, message.hashes.len()), (5, 9, 4));
        assert_eq!(message.to_merkle(), Ok(inclusion));

        let multi = MultiProof::from_hashes(some_hashes(3)).unwrap();
        let message = v1::MultiInclusionProof::from_merkle(&[LeafIndex::ZERO, index], size, &multi);
        assert_eq!((message.indices.as_slice(), message.tree_size), ([0, 5].as_slice(), 9));
        assert_eq!(message.to_merkle(), Ok(multi));

        let consistency = ConsistencyProof::from_hashes(some_hashes(2)).unwrap();
        let message = v1::ConsistencyProof::from_merkle(TreeSize::ZERO, size, &consistency);
        assert_eq!((message.first_size, message.second_size), (0, 9));
        assert_eq!(message.to_merkle(), Ok(consistency));
    }

    #[test]
    fn a_hash_of_another_length_is_named() {
        for length in [0, 31, 33] {
            let proof = v1::InclusionProof { hashes: vec![vec![7; length].into()], ..Default::default() };
            let error = proof.to_merkle().unwrap_err();
            assert_eq!(
                (error.field, error.problem),
                ("InclusionProof.hashes", FieldProblem::HashLength(length))
            );
        }
    }

    #[test]
    fn no_proof_is_longer_than_the_deepest_tree() {
        let hashes = vec![Bytes::from_static(&[7; 32]); 65];
        let inclusion = v1::InclusionProof { hashes: hashes[..64].to_vec(), ..Default::default() };
        assert!(matches!(inclusion.to_merkle().unwrap_err().problem, FieldProblem::Proof(_)));
        let consistency = v1::ConsistencyProof { hashes, ..Default::default() };
        assert!(matches!(consistency.to_merkle().unwrap_err().problem, FieldProblem::Proof(_)));
    }

    #[test]
    fn indices_and_sizes_end_below_2_to_the_63() {
        let end = 1 << 63;
        assert_eq!(tree_size("size", end - 1).map(TreeSize::get), Ok(end - 1));
        assert_eq!(tree_size("size", end).unwrap_err().problem, FieldProblem::TooLarge(end));
        assert_eq!(leaf_index("index", u64::MAX).unwrap_err().problem, FieldProblem::TooLarge(u64::MAX));
        assert_eq!(
            required::<u8>("head", None).unwrap_err().to_string(),
            "field `head` of the peer's message: it is absent"
        );
    }
}
