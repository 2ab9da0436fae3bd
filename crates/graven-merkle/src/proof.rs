//! The two kinds of proof, as types that cannot be mistaken for one another.

use crate::Hash;

/// A list of hashes that is too long to be a proof in any tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} hashes are too many: this kind of proof has at most {limit}")]
pub struct ProofTooLong {
    /// How many hashes were given.
    pub found: usize,
    /// How many the kind of proof may have.
    pub limit: usize,
}

macro_rules! proof_type {
    ($(#[$doc:meta])* $name:ident, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Vec<Hash>);

        impl $name {
            /// No proof of this kind has more hashes, in trees of up to 2^63 − 1 leaves.
            pub const MAX_HASHES: usize = $limit;

            /// A proof of these hashes, in the order of the RFC (from the leaves up).
            ///
            /// This checks the [`MAX_HASHES`](Self::MAX_HASHES) limit only: a proof means nothing before it is verified.
            pub fn from_hashes(hashes: Vec<Hash>) -> Result<Self, ProofTooLong> {
                if hashes.len() > Self::MAX_HASHES {
                    return Err(ProofTooLong { found: hashes.len(), limit: Self::MAX_HASHES });
                }
                Ok(Self(hashes))
            }

            /// A proof as planned: plans stay below the limit.
            pub(crate) fn planned(hashes: Vec<Hash>) -> Self {
                debug_assert!(hashes.len() <= Self::MAX_HASHES);
                Self(hashes)
            }

            /// The hashes, from the leaves up.
            pub fn hashes(&self) -> &[Hash] {
                &self.0
            }

            /// The hashes, from the leaves up.
            pub fn into_hashes(self) -> Vec<Hash> {
                self.0
            }
        }

        impl AsRef<[Hash]> for $name {
            fn as_ref(&self) -> &[Hash] {
                &self.0
            }
        }

        impl TryFrom<Vec<Hash>> for $name {
            type Error = ProofTooLong;

            fn try_from(hashes: Vec<Hash>) -> Result<Self, ProofTooLong> {
                Self::from_hashes(hashes)
            }
        }
    };
}

proof_type! {
    /// Shows that a leaf is in a tree (RFC 6962 §2.1.1): the sibling of every node on the way up.
    InclusionProof, 63
}

proof_type! {
    /// Shows that one tree is the beginning of another (RFC 6962 §2.1.2).
    ConsistencyProof, 64
}
