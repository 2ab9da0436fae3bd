//! RFC 6962 tree heads as note signatures, C2SP static-ct-api "Checkpoints". Verified only: Graven's own
//! logs never sign so.
//!
//! ```text
//! note signature:       timestamp u64 BE milliseconds │ TreeHeadSignature
//! TreeHeadSignature:    0x04 (SHA-256) │ 0x03 (ECDSA) │ length u16 BE │ DER signature   (RFC 5246 §4.7)
//! signed message:       0x00 (v1) │ 0x01 (tree_hash) │ timestamp u64 BE │ tree size u64 BE │ root, 32 bytes
//! ```
//!
//! The message does not name the log. Hence the rules that the key's name is the origin and that there are
//! no extension lines.

use graven_merkle::{Hash, TreeSize};

use crate::checkpoint::Checkpoint;
use crate::cosignature::checkpoint_text;
use crate::public_key::PublicKey;
use crate::signature::SignatureError;
use crate::vkey::VerifierKey;

const SHA256_WITH_ECDSA: [u8; 2] = [0x04, 0x03];
const V1_TREE_HASH: [u8; 2] = [0x00, 0x01];

/// The fields of an RFC 6962 signed tree head (§3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedTreeHead<'a> {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The number of entries.
    pub size: TreeSize,
    /// The root hash.
    pub root: &'a Hash,
    /// The `TreeHeadSignature`, as `get-sth` gives it in base64.
    pub signature: &'a [u8],
}

impl SignedTreeHead<'_> {
    /// Checks the tree head's signature by `key`, a P-256 key.
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let der = digitally_signed(self.signature).ok_or(SignatureError::Length)?;
        let message = [
            &V1_TREE_HASH[..],
            &self.timestamp_ms.to_be_bytes(),
            &self.size.get().to_be_bytes(),
            self.root.as_bytes(),
        ]
        .concat();
        key.verifies(&message, der).then_some(()).ok_or(SignatureError::Mismatch)
    }
}

/// Checks a type 0x05 note signature and returns its time in seconds.
pub(crate) fn verify_note_signature(
    key: &VerifierKey,
    text: &[u8],
    signature: &[u8],
) -> Result<u64, SignatureError> {
    let checkpoint = Checkpoint::parse(checkpoint_text(text)?)?;
    if checkpoint.origin().as_str() != key.name().as_str() || !checkpoint.extensions().is_empty() {
        return Err(SignatureError::Rfc6962Form);
    }
    let (timestamp, signature) = signature.split_first_chunk().ok_or(SignatureError::Length)?;
    let timestamp_ms = u64::from_be_bytes(*timestamp);
    let head = SignedTreeHead { timestamp_ms, size: checkpoint.size(), root: checkpoint.root(), signature };
    head.verify(key.public_key())?;
    Ok(timestamp_ms / 1_000)
}

fn digitally_signed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, der) = bytes.strip_prefix(&SHA256_WITH_ECDSA)?.split_first_chunk()?;
    (usize::from(u16::from_be_bytes(*length)) == der.len()).then_some(der)
}
