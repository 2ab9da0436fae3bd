//! Secret keys: made from a caller's entropy, kept in PKCS#8, wiped when dropped.
//!
//! | key | from 32 bytes of entropy | PKCS#8 | signatures |
//! |---|---|---|---|
//! | Ed25519 | the RFC 8032 secret key | RFC 8410, version 1 | RFC 8032 |
//! | P-256 | the scalar; while it is 0 or ≥ n (2^-32), SHA-256 of it | RFC 5915 in RFC 5958 | RFC 6979, low-S, DER |
//! | ML-DSA-44 | the FIPS 204 seed ξ | RFC 9881, seed form only | FIPS 204 deterministic, empty context |
//!
//! All signatures are deterministic: one key and one message give one signature, and no RNG can leak a key.

use ed25519::pkcs8::KeypairBytes;
use ed25519_dalek as dalek;
use ml_dsa::MlDsa44;
use p256::ecdsa as p256_ecdsa;
use p256::ecdsa::signature::{Keypair, Signer as _};
use pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::name::SignatureType;
use crate::public_key::PublicKey;

/// How many bytes of entropy make a key.
pub const SEED_BYTES: usize = 32;

// Each variant's key wipes itself when dropped; boxes keep moves from leaving copies behind.
pub(crate) enum SecretKey {
    Ed25519(Box<dalek::SigningKey>),
    P256(Box<p256_ecdsa::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl SecretKey {
    /// The key that `seed` determines. `None` for types that are only verified.
    pub(crate) fn generate(signature_type: SignatureType, seed: &[u8; SEED_BYTES]) -> Option<Self> {
        match signature_type {
            SignatureType::Ed25519 | SignatureType::CosignatureV1 => {
                Some(Self::Ed25519(Box::new(dalek::SigningKey::from_bytes(seed))))
            }
            SignatureType::EcdsaP256 => Some(Self::P256(Box::new(p256_from_seed(seed)))),
            SignatureType::MlDsa44 => {
                let seed = Zeroizing::new(ml_dsa::Seed::from(*seed));
                Some(Self::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&seed))))
            }
            SignatureType::Rfc6962TreeHead => None,
        }
    }

    /// The key in a PKCS#8 PEM text. `None` for types that are only verified.
    pub(crate) fn from_pkcs8_pem(signature_type: SignatureType, pem: &str) -> pkcs8::Result<Option<Self>> {
        Ok(match signature_type {
            SignatureType::Ed25519 | SignatureType::CosignatureV1 => {
                Some(Self::Ed25519(Box::new(DecodePrivateKey::from_pkcs8_pem(pem)?)))
            }
            SignatureType::EcdsaP256 => Some(Self::P256(Box::new(DecodePrivateKey::from_pkcs8_pem(pem)?))),
            SignatureType::MlDsa44 => Some(Self::MlDsa44(Box::new(DecodePrivateKey::from_pkcs8_pem(pem)?))),
            SignatureType::Rfc6962TreeHead => None,
        })
    }

    pub(crate) fn to_pkcs8_pem(&self) -> pkcs8::Result<Zeroizing<String>> {
        match self {
            Self::Ed25519(key) => {
                // Without the public key, as OpenSSL and others expect it.
                let pair = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
                pair.to_pkcs8_pem(LineEnding::LF)
            }
            Self::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::MlDsa44(key) => key.to_pkcs8_pem(LineEnding::LF),
        }
    }

    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        match self {
            Self::Ed25519(key) => PublicKey::ed25519(key.verifying_key().as_bytes()),
            Self::P256(key) => PublicKey::p256_spki(key.verifying_key().to_public_key_der().ok()?.as_bytes()),
            Self::MlDsa44(key) => PublicKey::ml_dsa_44(&key.verifying_key().encode()),
        }
    }

    /// The signature over `message`; `None` when the algorithm itself fails, which does not happen in practice.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(key) => Some(key.try_sign(message).ok()?.to_bytes().to_vec()),
            Self::P256(key) => {
                let signature: p256_ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.normalize_s().to_der().as_bytes().to_vec())
            }
            Self::MlDsa44(key) => Some(key.try_sign(message).ok()?.encode().to_vec()),
        }
    }
}

fn p256_from_seed(seed: &[u8; SEED_BYTES]) -> p256_ecdsa::SigningKey {
    let mut candidate = Zeroizing::new(*seed);
    loop {
        if let Ok(key) = p256_ecdsa::SigningKey::from_slice(candidate.as_slice()) {
            return key;
        }
        *candidate = Sha256::digest(candidate.as_slice()).into();
    }
}
