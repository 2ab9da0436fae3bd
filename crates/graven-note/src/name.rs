//! What a signature line says about its key: a name, a 32-bit id and, through the key, a type.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The signature algorithms of C2SP signed-note that this crate knows, by their identifier byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SignatureType {
    /// Ed25519 over the note text (C2SP signed-note).
    Ed25519 = 0x01,
    /// ECDSA P-256 with SHA-256 over the note text, DER (C2SP signed-note).
    EcdsaP256 = 0x02,
    /// Timestamped Ed25519 checkpoint cosignature, `cosignature/v1` (C2SP tlog-cosignature).
    CosignatureV1 = 0x04,
    /// RFC 6962 `TreeHeadSignature` (C2SP static-ct-api); verified, never made, by this crate.
    Rfc6962TreeHead = 0x05,
    /// Timestamped ML-DSA-44 (sub)tree cosignature, `subtree/v1` (C2SP tlog-cosignature).
    MlDsa44 = 0x06,
}

impl SignatureType {
    /// The type with this identifier byte, if this crate knows it.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::EcdsaP256, Self::CosignatureV1, Self::Rfc6962TreeHead, Self::MlDsa44]
            .into_iter()
            .find(|known| known.byte() == byte)
    }

    /// The identifier byte.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::CosignatureV1 => "Ed25519 cosignature",
            Self::Rfc6962TreeHead => "RFC 6962 tree head",
            Self::MlDsa44 => "ML-DSA-44",
        })
    }
}

/// A key name: not empty, without Unicode spaces, `+` or ASCII control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

/// The text cannot name a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key name is not empty and has no space, no '+' and no control character")]
pub struct InvalidKeyName;

impl KeyName {
    /// Checks `name`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidKeyName> {
        let name = name.into();
        let allowed = |c: char| !c.is_whitespace() && c != '+' && c >= ' ';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(InvalidKeyName);
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(name: &str) -> Result<Self, InvalidKeyName> {
        Self::new(name)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key id: 32 bits that, with the name, point at a key. Short on purpose: an identifier, not a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The first four bytes of a digest, big endian.
    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }

    /// Parses exactly eight lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let well_formed = text.len() == 8 && text.bytes().all(lower_hex);
        well_formed.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}
