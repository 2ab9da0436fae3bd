//! Public keys and bare signature verification: a key, a message, a signature, and nothing of notes.
//!
//! | key | encoding in a vkey | signature | accepted |
//! |---|---|---|---|
//! | Ed25519 | 32 bytes, RFC 8032 §5.1.2 | 64 bytes | canonical, full-order keys; s < L; R not of small order |
//! | P-256 | DER `SubjectPublicKeyInfo`, uncompressed point | strict DER `ECDSA-Sig-Value` | any s in [1, n) |
//! | ML-DSA-44 | 1,312 bytes, FIPS 204 | 2,420 bytes | empty context |
//!
//! Ed25519 is checked the way Go checks it (no cofactor, R compared as bytes), and keys of small order,
//! which sign everything, are refused on top of it: no honest signer makes what that turns away.
//! P-256 takes high-S too, since half of what other signers emit is that (r, n−s); so the bytes of a
//! signature are never an identity.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek as ed25519;
use ml_dsa::MlDsa44;
use p256::ecdsa as p256_ecdsa;
use p256::ecdsa::signature::Verifier;
use pkcs8::{DecodePublicKey, EncodePublicKey};

/// A public key of one of the three algorithms. Equality is equality of key material.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    encoding: Arc<[u8]>,
}

#[derive(Clone)]
enum Algorithm {
    Ed25519(Box<ed25519::VerifyingKey>),
    P256(Box<p256_ecdsa::VerifyingKey>),
    MlDsa44(Arc<ml_dsa::VerifyingKey<MlDsa44>>),
}

impl PublicKey {
    /// An Ed25519 key from its 32 bytes; `None` if they are not canonical or the key is of small order.
    pub fn ed25519(bytes: &[u8]) -> Option<Self> {
        let key = ed25519::VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
        let canonical = key.to_edwards().compress().to_bytes() == bytes;
        (canonical && !key.is_weak()).then(|| Self::new(Algorithm::Ed25519(Box::new(key)), bytes))
    }

    /// A P-256 key from its DER `SubjectPublicKeyInfo`; `None` unless it is the one canonical encoding.
    pub fn p256_spki(der: &[u8]) -> Option<Self> {
        let key = p256_ecdsa::VerifyingKey::from_public_key_der(der).ok()?;
        let canonical = key.to_public_key_der().ok()?.as_bytes() == der;
        canonical.then(|| Self::new(Algorithm::P256(Box::new(key)), der))
    }

    /// An ML-DSA-44 key from its 1,312 bytes.
    pub fn ml_dsa_44(bytes: &[u8]) -> Option<Self> {
        let encoding = ml_dsa::EncodedVerifyingKey::<MlDsa44>::try_from(bytes).ok()?;
        let key = ml_dsa::VerifyingKey::decode(&encoding);
        Some(Self::new(Algorithm::MlDsa44(Arc::new(key)), bytes))
    }

    fn new(algorithm: Algorithm, encoding: &[u8]) -> Self {
        Self { algorithm, encoding: encoding.into() }
    }

    /// The bytes that follow the type byte in a vkey.
    pub fn encoding(&self) -> &[u8] {
        &self.encoding
    }

    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Ed25519(_) => "Ed25519",
            Algorithm::P256(_) => "P-256",
            Algorithm::MlDsa44(_) => "ML-DSA-44",
        }
    }

    /// Whether `signature` over exactly `message` is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.algorithm {
            Algorithm::Ed25519(key) => ed25519::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Algorithm::P256(key) => p256_ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Algorithm::MlDsa44(key) => ml_dsa::Signature::<MlDsa44>::try_from(signature)
                .is_ok_and(|signature| key.verify_with_context(message, &[], &signature)),
        }
    }

    pub(crate) fn is_ed25519(&self) -> bool {
        matches!(self.algorithm, Algorithm::Ed25519(_))
    }

    pub(crate) fn is_p256(&self) -> bool {
        matches!(self.algorithm, Algorithm::P256(_))
    }

    pub(crate) fn is_ml_dsa_44(&self) -> bool {
        matches!(self.algorithm, Algorithm::MlDsa44(_))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        // The encodings of the three algorithms differ in length, so they alone tell keys apart.
        self.encoding == other.encoding
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm(), crate::base64::encode(&self.encoding))
    }
}
