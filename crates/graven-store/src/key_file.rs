//! Signing keys in files: PKCS#8 PEM that its owner alone can read, and the very key that a manifest names.

use std::io;
use std::path::{Path, PathBuf};

use graven_note::{KeyName, LocalSigner, SignatureType, Signer as _, SigningKeyError, VerifierKey};
use zeroize::Zeroizing;

use crate::fs::Fs;

/// Longest PEM file of a key.
const MAX_PEM_BYTES: u64 = 64 << 10;

/// Why a key is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Storage failed, or there is none.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What storage said.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{0} can be read by others: take it as exposed, or `chmod 600` it if you know better")]
    Exposed(PathBuf),
    /// Another key than the manifest names, or none.
    #[error("{0} is not the key that was made here: put the right file back")]
    Mismatch(PathBuf),
    /// The key itself.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

/// Loads the signer whose signatures `vkey` verifies.
pub fn load(fs: &dyn Fs, path: &Path, vkey: &VerifierKey) -> Result<LocalSigner, KeyFileError> {
    let signer = read(fs, path, vkey.name().clone(), vkey.signature_type())?;
    if signer.vkey() == vkey { Ok(signer) } else { Err(KeyFileError::Mismatch(path.to_owned())) }
}

/// Reads a key that nothing says more of than its name and type.
pub fn read(
    fs: &dyn Fs,
    path: &Path,
    name: KeyName,
    kind: SignatureType,
) -> Result<LocalSigner, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    if !fs.is_private(path).map_err(io)? {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let pem = Zeroizing::new(fs.read(path, MAX_PEM_BYTES).map_err(io)?);
    let pem = std::str::from_utf8(&pem).map_err(|_| KeyFileError::Mismatch(path.to_owned()))?;
    Ok(LocalSigner::from_pkcs8_pem(name, kind, pem)?)
}

#[cfg(test)]
mod tests {
    use graven_note::SignatureType;

    use super::*;
    use crate::RealFs;
    use crate::fs::Mode;

    #[test]
    fn only_the_key_that_is_named_and_only_where_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = |seed| {
            let name = "example.com/log".parse().unwrap();
            LocalSigner::generate(name, SignatureType::Ed25519, &[seed; 32]).unwrap()
        };
        let (one, other) = (key(1), key(2));
        let write = |name: &str, mode| {
            let path = folder.path().join(name);
            let fs: &dyn Fs = &RealFs;
            fs.create_durable(&path, one.to_pkcs8_pem().unwrap().as_bytes(), mode).unwrap();
            path
        };
        let (private, shared) = (write("private", Mode::Private), write("shared", Mode::Shared));
        assert_eq!(load(&RealFs, &private, one.vkey()).unwrap().vkey(), one.vkey());
        assert!(matches!(load(&RealFs, &private, other.vkey()), Err(KeyFileError::Mismatch(_))));
        assert!(matches!(load(&RealFs, &shared, one.vkey()), Err(KeyFileError::Exposed(_))));
        let missing = load(&RealFs, &folder.path().join("none"), one.vkey()).unwrap_err();
        assert!(
            matches!(missing, KeyFileError::Io { .. }) && missing.to_string().contains("/none: "),
            "{missing}"
        );
    }
}
