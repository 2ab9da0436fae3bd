//! Cosignatures, C2SP tlog-cosignature: the exact messages that are signed.
//!
//! ```text
//! signature, both types:   timestamp u64 BE seconds, ≤ 2^63 − 1 │ signature: 64 (0x04) or 2,420 (0x06) bytes
//!
//! 0x04, cosignature/v1:    "cosignature/v1\n" "time <decimal>\n" <checkpoint text>
//!
//! 0x06, subtree/v1:        "subtree/v1\n\0"                12 bytes
//!                          cosigner name                   u8 length 1..=255, bytes
//!                          timestamp                       u64 BE, 0 when start ≠ 0
//!                          log origin                      u8 length 1..=255, bytes
//!                          start, end                      u64 BE each: leaves start..end
//!                          hash                            32 bytes, the subtree's root
//! ```
//!
//! A checkpoint is the subtree from 0 to its size. The 0x06 message leaves extension lines out, so nothing
//! may be concluded about them from it.

use graven_merkle::{Hash, Subtree};

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::signature::SignatureError;
use crate::vkey::VerifierKey;

/// The longest cosigner name and origin that an ML-DSA-44 cosignature can cover, in bytes.
pub const MAX_COSIGNED_NAME_BYTES: usize = 255;

/// The largest timestamp of a cosignature: 2^63 − 1 seconds.
pub const MAX_TIMESTAMP_SECONDS: u64 = (1 << 63) - 1;

/// The message of an Ed25519 cosignature (0x04) over a checkpoint text.
pub fn v1_message(timestamp_seconds: u64, checkpoint_text: &str) -> String {
    format!("cosignature/v1\ntime {timestamp_seconds}\n{checkpoint_text}")
}

/// The fields of an ML-DSA-44 cosignature's message (0x06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CosignedMessage<'a> {
    /// The name of the key that signs.
    pub cosigner_name: &'a str,
    /// Seconds since the Unix epoch, or 0 for no statement about time.
    pub timestamp_seconds: u64,
    /// The log.
    pub log_origin: &'a str,
    /// The subtree's first leaf; 0 for a checkpoint.
    pub start: u64,
    /// One past the subtree's last leaf; the tree size for a checkpoint.
    pub end: u64,
    /// The subtree's root hash.
    pub hash: &'a Hash,
}

impl CosignedMessage<'_> {
    /// The bytes that are signed. Only the lengths are checked: any layout can be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SignatureError> {
        let mut message = b"subtree/v1\n\0".to_vec();
        push_short_text(&mut message, self.cosigner_name)?;
        message.extend(self.timestamp_seconds.to_be_bytes());
        push_short_text(&mut message, self.log_origin)?;
        message.extend(self.start.to_be_bytes());
        message.extend(self.end.to_be_bytes());
        message.extend(self.hash.as_bytes());
        Ok(message)
    }
}

/// A subtree of a log with the hash of its root: what an ML-DSA-44 cosignature states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedSubtree<'a> {
    /// The log.
    pub origin: &'a Origin,
    /// The leaves; a whole tree for a checkpoint.
    pub subtree: Subtree,
    /// The root hash of these leaves.
    pub hash: &'a Hash,
}

impl CosignedSubtree<'_> {
    /// The message for this cosigner and time.
    pub(crate) fn message(&self, cosigner: &str, timestamp_seconds: u64) -> Result<Vec<u8>, SignatureError> {
        let timeless = self.subtree.start() != 0;
        if timestamp_seconds > MAX_TIMESTAMP_SECONDS || (timeless && timestamp_seconds != 0) {
            return Err(SignatureError::Timestamp);
        }
        CosignedMessage {
            cosigner_name: cosigner,
            timestamp_seconds,
            log_origin: self.origin.as_str(),
            start: self.subtree.start(),
            end: self.subtree.end().get(),
            hash: self.hash,
        }
        .to_bytes()
    }

    /// Checks a cosignature over this subtree and returns its timestamp, `None` where that is zero.
    ///
    /// `signature` is what follows the key id in the signature line; `key` is of type 0x06.
    pub fn verify(&self, key: &VerifierKey, signature: &[u8]) -> Result<Option<u64>, SignatureError> {
        if !key.public_key().is_ml_dsa_44() {
            return Err(SignatureError::WrongKeyType);
        }
        let (timestamp, signature) = split_timestamp(signature)?;
        let message = self.message(key.name().as_str(), timestamp)?;
        let valid = key.public_key().verifies(&message, signature);
        valid.then_some((timestamp != 0).then_some(timestamp)).ok_or(SignatureError::Mismatch)
    }
}

impl<'a> From<&'a Checkpoint> for CosignedSubtree<'a> {
    fn from(checkpoint: &'a Checkpoint) -> Self {
        Self { origin: checkpoint.origin(), subtree: checkpoint.size().into(), hash: checkpoint.root() }
    }
}

/// Puts a timestamp before a signature, as both cosignature types do.
pub(crate) fn timestamped(timestamp_seconds: u64, signature: &[u8]) -> Vec<u8> {
    [&timestamp_seconds.to_be_bytes(), signature].concat()
}

pub(crate) fn verify_v1(key: &VerifierKey, text: &[u8], signature: &[u8]) -> Result<u64, SignatureError> {
    let (timestamp, signature) = split_timestamp(signature)?;
    let text = checkpoint_text(text)?;
    Checkpoint::parse(text)?;
    if timestamp > MAX_TIMESTAMP_SECONDS {
        return Err(SignatureError::Timestamp);
    }
    let valid = key.public_key().verifies(v1_message(timestamp, text).as_bytes(), signature);
    valid.then_some(timestamp).ok_or(SignatureError::Mismatch)
}

pub(crate) fn verify_checkpoint(
    key: &VerifierKey,
    text: &[u8],
    signature: &[u8],
) -> Result<Option<u64>, SignatureError> {
    let checkpoint = Checkpoint::parse(checkpoint_text(text)?)?;
    CosignedSubtree::from(&checkpoint).verify(key, signature)
}

pub(crate) fn checkpoint_text(text: &[u8]) -> Result<&str, CheckpointError> {
    std::str::from_utf8(text).map_err(|_| CheckpointError::Lines)
}

fn split_timestamp(signature: &[u8]) -> Result<(u64, &[u8]), SignatureError> {
    let (timestamp, signature) = signature.split_first_chunk().ok_or(SignatureError::Length)?;
    Ok((u64::from_be_bytes(*timestamp), signature))
}

fn push_short_text(message: &mut Vec<u8>, text: &str) -> Result<(), SignatureError> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length > 0);
    let length = length.ok_or(SignatureError::NameLength)?;
    message.push(length);
    message.extend(text.as_bytes());
    Ok(())
}
