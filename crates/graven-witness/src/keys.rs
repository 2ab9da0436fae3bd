//! A witness's own keys, each in a PEM file that only its owner can read.

use std::path::{Path, PathBuf};

use graven_note::{KeyName, LocalSigner, SignatureType, Signer as _, VerifierKey};
use graven_store::fs::{Fs, Mode};
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

/// Longest PEM file of a key.
const MAX_PEM_BYTES: u64 = 64 << 10;

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
    let mismatch = |path: PathBuf| HomeError::KeyMismatch(path);
    let kind = KEY_TYPES.iter().find(|kind| kind.signature_type == vkey.signature_type());
    let kind = kind.ok_or_else(|| mismatch(dir.to_owned()))?;
    let path = dir.join(kind.file);
    if !fs.is_private(&path)? {
        return Err(HomeError::KeyExposed(path));
    }
    let pem = Zeroizing::new(fs.read(&path, MAX_PEM_BYTES)?);
    let pem = std::str::from_utf8(&pem).map_err(|_| mismatch(path.clone()))?;
    let signer = LocalSigner::from_pkcs8_pem(vkey.name().clone(), kind.signature_type, pem)?;
    if signer.vkey() != vkey {
        return Err(mismatch(path));
    }
    Ok(signer)
}
