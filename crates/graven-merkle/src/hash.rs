//! SHA-256 with the two prefixes of RFC 6962 §2.1, which keep a leaf from ever passing for a node.
//!
//! ```text
//! leaf hash   = SHA-256( 00 ‖ entry )
//! node hash   = SHA-256( 01 ‖ left, 32 bytes ‖ right, 32 bytes )
//! empty root  = SHA-256( )
//! ```

use sha2::{Digest, Sha256};
use std::fmt;

/// The length of a hash in bytes.
pub const HASH_BYTES: usize = 32;

/// The root of the tree without leaves, SHA-256 of nothing (RFC 6962 §2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// A SHA-256 hash: of a leaf, of an inner node or of a whole tree.
///
/// It prints as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

/// Bytes that should have been one hash, but are not 32 long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash has {HASH_BYTES} bytes, these are {0}")]
pub struct HashLengthError(pub usize);

impl Hash {
    /// The hash's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

/// The hash of a leaf that holds `entry` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The hash of the inner node over `left` and `right` (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // One contiguous buffer: feeding prefix and children apart costs a fifth of the rate.
    let mut node = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    node[1..=HASH_BYTES].copy_from_slice(&left.0);
    node[1 + HASH_BYTES..].copy_from_slice(&right.0);
    Hash(Sha256::digest(node).into())
}

impl From<[u8; HASH_BYTES]> for Hash {
    fn from(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }
}

impl From<Hash> for [u8; HASH_BYTES] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashLengthError;

    fn try_from(bytes: &[u8]) -> Result<Self, HashLengthError> {
        bytes.try_into().map(Self).map_err(|_| HashLengthError(bytes.len()))
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
