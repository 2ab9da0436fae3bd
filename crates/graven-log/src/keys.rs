//! A log's signing keys: three types by default, each in a PEM file that only its owner can read.

use std::path::Path;
use std::sync::Arc;

use graven_note::{KeyName, LocalSigner, SignatureType, Signer, VerifierKey};
use graven_store::fs::{Fs, Mode};
use graven_store::key_file;

use crate::env::Env;
use crate::error::KeyError;
use crate::meta::LogMeta;

/// The types that sign a log's checkpoints, with the file of each: ECDSA P-256, Ed25519 (which the witness network
/// requires) and ML-DSA-44 (which carries the time, and outlives quantum computers).
pub const LOG_KEY_TYPES: [(SignatureType, &str); 3] = [
    (SignatureType::EcdsaP256, "p256.pem"),
    (SignatureType::Ed25519, "ed25519.pem"),
    (SignatureType::MlDsa44, "ml-dsa-44.pem"),
];

/// Makes one key and puts it into a file of mode 0600, replacing what an interrupted creation left.
pub(crate) fn create(
    env: &Env,
    path: &Path,
    name: &str,
    signature_type: SignatureType,
) -> Result<VerifierKey, KeyError> {
    let name = KeyName::new(name).map_err(|e| KeyError::Name(e.to_string()))?;
    let seed = zeroize::Zeroizing::new(env.random::<32>()?);
    let signer = LocalSigner::generate(name, signature_type, &seed)?;
    env.fs.replace_durable(path, signer.to_pkcs8_pem()?.as_bytes(), Mode::Private)?;
    Ok(signer.vkey().clone())
}

/// Makes all keys of a log in `dir`.
pub(crate) fn create_all(env: &Env, dir: &Path, origin: &str) -> Result<Vec<VerifierKey>, KeyError> {
    env.fs.create_dir_all(dir)?;
    LOG_KEY_TYPES.iter().map(|(kind, file)| create(env, &dir.join(file), origin, *kind)).collect()
}

/// Loads the signers of some keys of a log.
pub(crate) fn load_all(
    fs: &dyn Fs,
    dir: &Path,
    keys: &[VerifierKey],
    meta: &LogMeta,
) -> Result<Vec<Arc<dyn Signer>>, KeyError> {
    keys.iter().map(|vkey| load_one(fs, dir, vkey, meta)).collect()
}

/// The file of a key that came by a rotation.
pub(crate) fn rotated_file(vkey: &VerifierKey) -> String {
    format!("{}.pem", vkey.key_id())
}

/// Loads the signer of one key.
pub(crate) fn load_one(
    fs: &dyn Fs,
    dir: &Path,
    vkey: &VerifierKey,
    meta: &LogMeta,
) -> Result<Arc<dyn Signer>, KeyError> {
    if !meta.keys.contains(vkey) {
        return Ok(Arc::new(key_file::load(fs, &dir.join(rotated_file(vkey)), vkey)?));
    }
    let file = LOG_KEY_TYPES.iter().find(|(kind, _)| *kind == vkey.signature_type());
    let (_, file) = file.ok_or_else(|| KeyError::Name(format!("{vkey} is of no type a log signs with")))?;
    Ok(Arc::new(key_file::load(fs, &dir.join(file), vkey)?))
}
