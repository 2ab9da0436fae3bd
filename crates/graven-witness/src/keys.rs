//! A witness's own keys, each in a PEM file that only its owner can read.

use std::path::Path;

use graven_note::{KeyName, LocalSigner, SignatureType, Signer as _, VerifierKey};
use graven_store::fs::{Fs, Mode};
use graven_store::key_file;
use zeroize::Zeroizing;

use crate::home::HomeError;

/// A type of key that a witness cosigns with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyType {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its signatures.
    pub signature_type: SignatureType,
    file: &'static str,
}

/// All of them: Ed25519, which every verifier knows, and ML-DSA-44, which outlives quantum computers.
pub const KEY_TYPES: [KeyType; 2] = [
    KeyType { name: "ed25519", signature_type: SignatureType::CosignatureV1, file: "ed25519.pem" },
    KeyType { name: "ml-dsa-44", signature_type: SignatureType::MlDsa44, file: "ml-dsa-44.pem" },
];

pub(crate) fn create(
    fs: &dyn Fs,
    dir: &Path,
    name: &KeyName,
    kind: KeyType,
) -> Result<VerifierKey, HomeError> {
    let mut seed = Zeroizing::new([0; graven_note::SEED_BYTES]);
    getrandom::fill(&mut *seed).map_err(std::io::Error::other)?;
    let signer = LocalSigner::generate(name.clone(), kind.signature_type, &seed)?;
    fs.create_durable(&dir.join(kind.file), signer.to_pkcs8_pem()?.as_bytes(), Mode::Private)?;
    Ok(signer.vkey().clone())
}

/// Loads the signer of a key, which must be the one that the manifest names.
pub(crate) fn load(fs: &dyn Fs, dir: &Path, vkey: &VerifierKey) -> Result<LocalSigner, HomeError> {
    let kind = KEY_TYPES.iter().find(|kind| kind.signature_type == vkey.signature_type());
    let kind = kind.ok_or_else(|| HomeError::Damaged(dir.to_owned()))?;
    Ok(key_file::load(fs, &dir.join(kind.file), vkey)?)
}
