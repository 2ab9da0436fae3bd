//! Signers: whatever holds a secret key and signs note texts with it.
//!
//! [`Signer`] is the door for hardware and remote keys; [`LocalSigner`] keeps its key in memory. Time is an
//! argument: the clock belongs to the caller.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{CosignedSubtree, MAX_TIMESTAMP_SECONDS, timestamped, v1_message};
use crate::name::{KeyName, SignatureType};
use crate::note::{NoteError, SignatureLine, SignedNote};
use crate::secret_key::{SEED_BYTES, SecretKey};
use crate::signature::SignatureError;
use crate::vkey::{VerifierKey, VkeyError};

/// Something that signs note texts with one key.
pub trait Signer: Send + Sync {
    /// The key that verifies this signer's signatures.
    fn vkey(&self) -> &VerifierKey;

    /// Signs a note text and returns what follows the key id in the signature line.
    ///
    /// `time_seconds` (Unix) goes into the signature types that carry a time.
    fn sign(&self, text: &str, time_seconds: u64) -> Result<Vec<u8>, SignError>;
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// This key's type signs checkpoints only. The caller is at fault.
    #[error("this key signs checkpoints only: {0}")]
    NotACheckpoint(#[from] CheckpointError),
    /// The time, subtree or origin cannot be signed by this type. The caller is at fault.
    #[error("cannot be signed: {0}")]
    Refused(SignatureError),
    /// The key or the device failed; the text says how, without secrets.
    #[error("the signing key failed: {0}")]
    Key(String),
    /// The signature does not verify. The signer is broken, or memory is: release nothing.
    #[error("key {0} made a signature that does not verify: stop using it and check the machine")]
    SelfCheck(KeyName),
    /// The result is not a note: nobody signed, the text has no final newline, or it is too large.
    #[error("not a signed note: {0}")]
    Note(#[from] NoteError),
}

/// Why a signing key was not made or read. Its messages never contain key material.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SigningKeyError {
    /// The name and key make no verifier key.
    #[error(transparent)]
    Vkey(#[from] VkeyError),
    /// Not a PKCS#8 key of this type.
    #[error("not an unencrypted PKCS#8 PEM key for {0} signatures")]
    Pkcs8(SignatureType),
    /// RFC 6962 tree heads are verified, never made.
    #[error("{0} signatures are only verified")]
    VerifyOnly(SignatureType),
}

/// A signer whose secret key is in memory: made from entropy, or read from a PKCS#8 file.
///
/// Signing is deterministic: the same text and time give the same bytes. The key is wiped when dropped and
/// never printed.
pub struct LocalSigner {
    vkey: VerifierKey,
    secret: SecretKey,
}

impl LocalSigner {
    /// The key that `seed` determines: 32 bytes of good entropy, used for this key alone.
    pub fn generate(
        name: KeyName,
        signature_type: SignatureType,
        seed: &[u8; SEED_BYTES],
    ) -> Result<Self, SigningKeyError> {
        Self::new(name, signature_type, SecretKey::generate(signature_type, seed))
    }

    /// Reads an unencrypted PKCS#8 key, `-----BEGIN PRIVATE KEY-----`.
    pub fn from_pkcs8_pem(
        name: KeyName,
        signature_type: SignatureType,
        pem: &str,
    ) -> Result<Self, SigningKeyError> {
        let secret = SecretKey::from_pkcs8_pem(signature_type, pem)
            .map_err(|_| SigningKeyError::Pkcs8(signature_type))?;
        Self::new(name, signature_type, secret)
    }

    fn new(
        name: KeyName,
        signature_type: SignatureType,
        secret: Option<SecretKey>,
    ) -> Result<Self, SigningKeyError> {
        let secret = secret.ok_or(SigningKeyError::VerifyOnly(signature_type))?;
        let public_key = secret.public_key().ok_or(VkeyError::PublicKey(signature_type))?;
        Ok(Self { vkey: VerifierKey::new(name, signature_type, public_key)?, secret })
    }

    /// The key as PKCS#8 PEM; the text wipes itself when dropped.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SigningKeyError> {
        let failed = |_| SigningKeyError::Pkcs8(self.vkey.signature_type());
        self.secret.to_pkcs8_pem().map_err(failed)
    }

    /// Cosigns a subtree with an ML-DSA-44 key; see [`CosignedSubtree`]. The time is 0 unless the subtree
    /// starts at 0 and is the largest tree known.
    pub fn sign_subtree(
        &self,
        subtree: &CosignedSubtree<'_>,
        time_seconds: u64,
    ) -> Result<Vec<u8>, SignError> {
        if self.vkey.signature_type() != SignatureType::MlDsa44 {
            return Err(SignError::Refused(SignatureError::WrongKeyType));
        }
        let message = subtree.message(self.vkey.name().as_str(), time_seconds).map_err(SignError::Refused)?;
        Ok(timestamped(time_seconds, &self.sign_bytes(&message)?))
    }

    /// Signs a statement that is no note text: bytes that begin with what they are (`graven command v1`), so that no text, checkpoint or
    /// subtree is ever taken for one. For keys that sign any text.
    ///
    /// # Errors
    /// The key signs checkpoints only, or failed.
    pub fn sign_statement(&self, statement: &[u8]) -> Result<Vec<u8>, SignError> {
        if !matches!(self.vkey.signature_type(), SignatureType::Ed25519 | SignatureType::EcdsaP256) {
            return Err(SignError::Refused(SignatureError::WrongKeyType));
        }
        let signature = self.sign_bytes(statement)?;
        let verified = self.vkey.verify(statement, &signature);
        verified.map_err(|_| SignError::SelfCheck(self.vkey.name().clone()))?;
        Ok(signature)
    }

    fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.secret
            .sign(message)
            .ok_or_else(|| SignError::Key(format!("{} refused", self.vkey.signature_type())))
    }
}

impl Signer for LocalSigner {
    fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    fn sign(&self, text: &str, time_seconds: u64) -> Result<Vec<u8>, SignError> {
        match self.vkey.signature_type() {
            SignatureType::CosignatureV1 => {
                Checkpoint::parse(text)?;
                if time_seconds > MAX_TIMESTAMP_SECONDS {
                    return Err(SignError::Refused(SignatureError::Timestamp));
                }
                let signature = self.sign_bytes(v1_message(time_seconds, text).as_bytes())?;
                Ok(timestamped(time_seconds, &signature))
            }
            SignatureType::MlDsa44 => {
                self.sign_subtree(&CosignedSubtree::from(&Checkpoint::parse(text)?), time_seconds)
            }
            _ => self.sign_bytes(text.as_bytes()),
        }
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalSigner({})", self.vkey)
    }
}

/// Signs a checkpoint with every one of `signers`, in their order.
///
/// This is the bare act: that the checkpoint may be signed at all was decided before.
pub fn sign_checkpoint(
    checkpoint: &Checkpoint,
    signers: &[&dyn Signer],
    time_seconds: u64,
) -> Result<SignedNote, SignError> {
    sign_note(&checkpoint.to_string(), signers, time_seconds)
}

/// Signs a note text with every one of `signers`, in their order.
///
/// Each signature is verified before it is returned, so a faulty key or a flipped bit releases nothing.
pub fn sign_note(text: &str, signers: &[&dyn Signer], time_seconds: u64) -> Result<SignedNote, SignError> {
    let lines: Vec<_> =
        signers.iter().map(|signer| sign_line(text, *signer, time_seconds)).collect::<Result<_, _>>()?;
    Ok(SignedNote::new(text, &lines)?)
}

/// One signature line over a note text, verified before it is returned: what a cosigner answers.
pub fn sign_line(text: &str, signer: &dyn Signer, time_seconds: u64) -> Result<SignatureLine, SignError> {
    let key = signer.vkey();
    let signature = signer.sign(text, time_seconds)?;
    key.verify(text.as_bytes(), &signature).map_err(|_| SignError::SelfCheck(key.name().clone()))?;
    Ok(SignatureLine::new(key, signature))
}
