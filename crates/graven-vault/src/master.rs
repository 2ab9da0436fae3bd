//! The master key: what wraps epoch keys, and nothing else.
//!
//! It is asked when a vault opens and once an erasure. It does not change by an erasure: an old epoch key that somebody
//! kept a copy of still opens under it, which is why backups of the vault are kept apart and not for long.

mod file;
#[cfg(feature = "pkcs11")]
mod pkcs11;

pub use file::FileMaster;
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Config, Pkcs11Master};

use std::path::PathBuf;

use crate::secret::SecretKey;

/// Wraps and unwraps keys under one that it keeps.
pub trait MasterKey: Send + Sync {
    /// Encrypts a key, bound to a context, in at most 256 bytes.
    fn wrap(&self, key: &SecretKey, context: &[u8]) -> Result<Vec<u8>, MasterError>;

    /// Decrypts what [`wrap`](Self::wrap) returned for the same context.
    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretKey, MasterError>;
}

/// Why a master key does not serve.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// What is to be unwrapped was not wrapped by this key, or not for this.
    #[error("this master key did not wrap it: use the one that the vault was made with")]
    Wrong,
    /// Others can read the file of the key.
    #[error("{0} can be read by others: take it as exposed, or `chmod 600` it if you know better")]
    Exposed(PathBuf),
    /// The file holds no master key.
    #[error("{0} holds no master key, or a damaged one: put the right file back")]
    Damaged(PathBuf),
    /// The token has no such key, or one that it would hand out.
    #[error("the token has {0}")]
    Token(&'static str),
    /// It cannot be asked.
    #[error("it cannot be asked: {0}")]
    Unavailable(String),
}
