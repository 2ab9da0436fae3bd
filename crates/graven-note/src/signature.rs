//! Why a signature is refused: one error for all signature types.

use thiserror::Error;

use crate::checkpoint::CheckpointError;

/// Why a signature by a known key does not count. Whoever made or altered the note is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The signature is not this key's over this text, or not well formed.
    #[error("the signature does not verify: the text or the signature was altered")]
    Mismatch,
    /// Too short for its timestamp, or too long.
    #[error("the signature has the wrong length for its type")]
    Length,
    /// Beyond 2^63 − 1, or set where it must be zero.
    #[error("the signature's timestamp is out of range")]
    Timestamp,
    /// This signature type signs checkpoints only.
    #[error("the signature type covers checkpoints only")]
    NotACheckpoint(#[from] CheckpointError),
    /// RFC 6962 tree head signatures know no extension lines and no name but the origin.
    #[error("an RFC 6962 signature needs a checkpoint without extension lines, named as its origin")]
    Rfc6962Form,
    /// The key is of another signature type.
    #[error("a subtree is signed with ML-DSA-44 keys only")]
    WrongKeyType,
    /// A name or an origin does not fit its one-byte length.
    #[error("an ML-DSA-44 signature covers names and origins of 1 to 255 bytes")]
    NameLength,
}
