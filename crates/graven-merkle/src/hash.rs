//! SHA-256 with the two prefixes of RFC 6962 §2.1, which keep a leaf from ever passing for a node.
//!
//! ```text
//! leaf hash   = SHA-256( 00 ‖ entry )
//! node hash   = SHA-256( 01 ‖ left, 32 bytes ‖ right, 32 bytes )
//! empty root  = SHA-256( )
//! ```

use sha2::{Digest, Sha256, block_api::compress256};
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

/// A block of SHA-256.
const BLOCK_BYTES: usize = 64;
/// Entries up to this length are hashed at once; with longer ones the copy costs what it saves.
const SHORT_ENTRY_BYTES: usize = 512;
/// What SHA-256 begins with (FIPS 180-4 §5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

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
    if entry.len() <= SHORT_ENTRY_BYTES {
        let mut blocks = [[0; BLOCK_BYTES]; SHORT_ENTRY_BYTES.div_ceil(BLOCK_BYTES) + 1];
        let message = blocks.as_flattened_mut();
        message[0] = LEAF_PREFIX;
        message[1..=entry.len()].copy_from_slice(entry);
        return digest_at_once(&mut blocks, 1 + entry.len());
    }
    let mut hasher = Sha256::new();
    hasher.update([LEAF_PREFIX]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The hash of the inner node over `left` and `right` (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let message = blocks.as_flattened_mut();
    message[0] = NODE_PREFIX;
    message[1..=HASH_BYTES].copy_from_slice(&left.0);
    message[1 + HASH_BYTES..=2 * HASH_BYTES].copy_from_slice(&right.0);
    digest_at_once(&mut blocks, 1 + 2 * HASH_BYTES)
}

/// SHA-256 (FIPS 180-4) of the first `len` bytes of `blocks`, which has zeros behind them and room for the padding.
///
/// Fed piece by piece, a hasher spends a third of the time of a short message on its own buffer: here there is none.
fn digest_at_once(blocks: &mut [[u8; BLOCK_BYTES]], len: usize) -> Hash {
    let padded = (len + 1 + size_of::<u64>()).next_multiple_of(BLOCK_BYTES);
    let message = blocks.as_flattened_mut();
    message[len] = 0x80;
    message[padded - size_of::<u64>()..padded].copy_from_slice(&(8 * len as u64).to_be_bytes());
    let mut state = INITIAL_STATE;
    compress256(&mut state, &blocks[..padded / BLOCK_BYTES]);
    let mut hash = [0; HASH_BYTES];
    for (bytes, word) in hash.chunks_exact_mut(size_of::<u32>()).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Hash(hash)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256_at_every_length() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2 * SHORT_ENTRY_BYTES).collect();
        for length in 0..bytes.len() {
            let entry = &bytes[..length];
            let plain = Sha256::new().chain_update([LEAF_PREFIX]).chain_update(entry).finalize();
            assert_eq!(leaf_hash(entry).as_bytes()[..], plain[..], "{length} bytes");
        }
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let plain =
            Sha256::new().chain_update([NODE_PREFIX]).chain_update(left).chain_update(right).finalize();
        assert_eq!(node_hash(&left, &right).as_bytes()[..], plain[..]);
    }
}
