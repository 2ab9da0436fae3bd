//! A master key in a file that its owner alone can read.
//!
//! ```text
//! 72 bytes
//!   0   4  "GVMK"
//!   4   1  version, 1
//!   5   3  zero
//!   8  32  the key
//!  40  32  SHA-256 of everything before
//!
//! wrapped key, 72 bytes: 24 nonce | 32 ciphertext | 16 tag; XChaCha20-Poly1305, associated data: the context
//! ```

use std::io;
use std::path::Path;

use graven_store::Fs;
use graven_store::fs::Mode;
use zeroize::Zeroizing;

use super::{MasterError, MasterKey};
use crate::files::with_digest;
use crate::rows::{open_key, seal_bytes};
use crate::secret::{Entropy, KEY_BYTES, SecretKey};

const PREFIX: [u8; 8] = *b"GVMK\x01\0\0\0";
const FILE_BYTES: usize = PREFIX.len() + KEY_BYTES + 32;

/// See the module.
pub struct FileMaster {
    key: SecretKey,
    entropy: Entropy,
}

impl FileMaster {
    /// Makes a new key in a new file (mode 0600); an existing file is an error.
    pub fn create(fs: &dyn Fs, path: &Path, entropy: Entropy) -> io::Result<Self> {
        let key = SecretKey::random(&entropy)?;
        fs.create_durable(path, &to_bytes(&key), Mode::Private)?;
        Ok(Self { key, entropy })
    }

    /// Reads a key, from a file of mode 0600 or stricter.
    pub fn open(fs: &dyn Fs, path: &Path, entropy: Entropy) -> Result<Self, MasterError> {
        let io = |error: io::Error| MasterError::Unavailable(format!("{}: {error}", path.display()));
        let damaged = || MasterError::Damaged(path.to_owned());
        if !fs.is_private(path).map_err(io)? {
            return Err(MasterError::Exposed(path.to_owned()));
        }
        let bytes = Zeroizing::new(fs.read(path, FILE_BYTES as u64).map_err(io)?);
        let key = bytes.strip_prefix(&PREFIX).and_then(|rest| rest.first_chunk()).ok_or_else(damaged)?;
        let key = SecretKey::new(key);
        // A key has one file: whatever else the bytes say is refused.
        if *to_bytes(&key) == *bytes { Ok(Self { key, entropy }) } else { Err(damaged()) }
    }
}

impl MasterKey for FileMaster {
    fn wrap(&self, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>, MasterError> {
        seal_bytes(key.as_bytes(), &self.key, context, &self.entropy)
            .map_err(|error| MasterError::Unavailable(format!("no randomness: {error}")))
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretKey, MasterError> {
        open_key(wrapped, &self.key, context).ok_or(MasterError::Wrong)
    }
}

fn to_bytes(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&PREFIX);
    bytes.extend_from_slice(key.as_bytes());
    Zeroizing::new(with_digest(bytes))
}
