//! Verifier keys, C2SP signed-note "Verifier keys".
//!
//! ```text
//! <name>+<key id: 8 lower-case hex digits>+base64(<type: 1 byte> <public key>)
//!
//! type  public key                                key id: first four bytes of SHA-256 of
//! 0x01  Ed25519, 32 bytes                         name 0x0A 0x01 key
//! 0x02  P-256, DER SubjectPublicKeyInfo           SubjectPublicKeyInfo (no name, no type)
//! 0x04  Ed25519, 32 bytes                         name 0x0A 0x04 key
//! 0x05  P-256, DER SubjectPublicKeyInfo           name 0x0A 0x05 SHA-256(SubjectPublicKeyInfo)
//! 0x06  ML-DSA-44, 1,312 bytes                    name 0x0A 0x06 key
//! ```
//!
//! The id is always recomputed: a vkey whose id does not follow from its name and key is refused, although
//! some parsers take it (contested). 0x02 and 0x05 keys on other curves, and RSA, are refused.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::cosignature::{self, MAX_COSIGNED_NAME_BYTES};
use crate::name::{InvalidKeyName, KeyId, KeyName, SignatureType};
use crate::public_key::PublicKey;
use crate::signature::SignatureError;
use crate::{base64, sth};

/// A public key together with the name, id and signature type it signs under.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    key_id: KeyId,
    signature_type: SignatureType,
    public_key: PublicKey,
}

/// The specification's short name for [`VerifierKey`].
pub type VKey = VerifierKey;

/// Why a text is not a verifier key that this crate can use. The text's author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VkeyError {
    /// Not three parts joined by `+`.
    #[error("a verifier key is <name>+<8 hex digits>+<base64>: copy the whole of it")]
    Format,
    /// The name part is not a key name.
    #[error(transparent)]
    Name(#[from] InvalidKeyName),
    /// The id part is not eight lower-case hexadecimal digits.
    #[error("the key id is not eight lower-case hexadecimal digits")]
    KeyIdFormat,
    /// The key part is not padded standard base64.
    #[error("the key is not canonical, padded base64")]
    Base64,
    /// No type byte, or one this crate does not know.
    #[error("the signature type is not one of 0x01, 0x02, 0x04, 0x05 and 0x06")]
    UnknownType,
    /// The bytes after the type are not a key of that type.
    #[error("not a usable public key for signature type {0}")]
    PublicKey(SignatureType),
    /// The id does not follow from the name and the key.
    #[error("the key id {found} does not belong to this name and key, which have {expected}")]
    KeyIdMismatch {
        /// The id in the text.
        found: KeyId,
        /// The id of the name and key in the text.
        expected: KeyId,
    },
    /// ML-DSA-44 signs the key's name, with a one-byte length.
    #[error("the name of an ML-DSA-44 key has at most {MAX_COSIGNED_NAME_BYTES} bytes")]
    NameTooLong,
}

impl VerifierKey {
    /// A verifier key of this type; its id is computed.
    pub fn new(
        name: KeyName,
        signature_type: SignatureType,
        public_key: PublicKey,
    ) -> Result<Self, VkeyError> {
        let fits = match signature_type {
            SignatureType::Ed25519 | SignatureType::CosignatureV1 => public_key.is_ed25519(),
            SignatureType::EcdsaP256 | SignatureType::Rfc6962TreeHead => public_key.is_p256(),
            SignatureType::MlDsa44 => public_key.is_ml_dsa_44(),
        };
        if !fits {
            return Err(VkeyError::PublicKey(signature_type));
        }
        if signature_type == SignatureType::MlDsa44 && name.as_str().len() > MAX_COSIGNED_NAME_BYTES {
            return Err(VkeyError::NameTooLong);
        }
        let key_id = key_id(&name, signature_type, &public_key);
        Ok(Self { name, key_id, signature_type, public_key })
    }

    /// Parses the one canonical text of a verifier key.
    pub fn parse(text: &str) -> Result<Self, VkeyError> {
        // Names have no '+', base64 may: so split at the first two.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VkeyError::Format);
        };
        let name = KeyName::new(name)?;
        let found = KeyId::parse(id).ok_or(VkeyError::KeyIdFormat)?;
        let material = base64::decode(key).ok_or(VkeyError::Base64)?;
        let (type_byte, public_key) = material.split_first().ok_or(VkeyError::UnknownType)?;
        let signature_type = SignatureType::from_byte(*type_byte).ok_or(VkeyError::UnknownType)?;
        let public_key =
            decode_key(signature_type, public_key).ok_or(VkeyError::PublicKey(signature_type))?;
        let vkey = Self::new(name, signature_type, public_key)?;
        if vkey.key_id != found {
            return Err(VkeyError::KeyIdMismatch { found, expected: vkey.key_id });
        }
        Ok(vkey)
    }

    /// The key's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The type of the signatures that the key makes.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The key itself.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Checks one signature over a note text.
    ///
    /// `text` is everything before the note's separating blank line, with its final newline; `signature` is
    /// what follows the key id in the signature line. Types 0x04, 0x05 and 0x06 sign checkpoints only.
    pub fn verify(&self, text: &[u8], signature: &[u8]) -> Result<VerifiedSignature, SignatureError> {
        let timestamp = match self.signature_type {
            SignatureType::Ed25519 | SignatureType::EcdsaP256 => {
                let valid = self.public_key.verifies(text, signature);
                valid.then_some(None).ok_or(SignatureError::Mismatch)?
            }
            SignatureType::CosignatureV1 => cosignature::verify_v1(self, text, signature).map(Some)?,
            SignatureType::Rfc6962TreeHead => sth::verify_note_signature(self, text, signature).map(Some)?,
            SignatureType::MlDsa44 => cosignature::verify_checkpoint(self, text, signature)?,
        };
        Ok(VerifiedSignature { key: self.clone(), timestamp })
    }
}

/// A signature that was checked, and by which key. Only [`VerifierKey::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    key: VerifierKey,
    timestamp: Option<u64>,
}

impl VerifiedSignature {
    /// The key that signed.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// When it signed, in seconds since the Unix epoch, where the type carries a time. RFC 6962's
    /// milliseconds are rounded down; an ML-DSA-44 timestamp of zero makes no statement and is `None`.
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }
}

fn decode_key(signature_type: SignatureType, bytes: &[u8]) -> Option<PublicKey> {
    match signature_type {
        SignatureType::Ed25519 | SignatureType::CosignatureV1 => PublicKey::ed25519(bytes),
        SignatureType::EcdsaP256 | SignatureType::Rfc6962TreeHead => PublicKey::p256_spki(bytes),
        SignatureType::MlDsa44 => PublicKey::ml_dsa_44(bytes),
    }
}

fn key_id(name: &KeyName, signature_type: SignatureType, key: &PublicKey) -> KeyId {
    if signature_type == SignatureType::EcdsaP256 {
        return KeyId::of_digest(&Sha256::digest(key.encoding()).into());
    }
    let hash = Sha256::new().chain_update(name.as_str()).chain_update([b'\n', signature_type.byte()]);
    let hash = match signature_type {
        SignatureType::Rfc6962TreeHead => hash.chain_update(Sha256::digest(key.encoding())),
        _ => hash.chain_update(key.encoding()),
    };
    KeyId::of_digest(&hash.finalize().into())
}

impl FromStr for VerifierKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.signature_type.byte()], self.public_key.encoding()].concat();
        write!(f, "{}+{}+{}", self.name, self.key_id, base64::encode(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}
