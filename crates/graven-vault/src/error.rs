//! What can go wrong. Nothing here holds a name, a reference or a key: errors reach logs.

use std::io;
use std::path::PathBuf;

use graven_store::chain::ChainError;

use crate::master::MasterError;

/// Why a vault does not open, or is not made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Storage failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What storage said.
        source: io::Error,
    },
    /// There is none, and it is not made by opening.
    #[error("{0} holds no vault: create it if this is its first use, or put back the one that was here")]
    Missing(PathBuf),
    /// There is one, or what is left of one.
    #[error("{0} holds a vault, or parts of one, already: nothing is made over it")]
    Exists(PathBuf),
    /// The bytes are not those that were written.
    #[error("{path} is damaged ({what}): restore the vault from a copy, then replay the erasures since")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: &'static str,
    },
    /// A later version wrote it.
    #[error("{path} is of version {version}, which this program does not know: use a newer one")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// A file of records does not hold together.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The master key does not open the epoch key, or cannot be asked.
    #[error("{path}: {source}")]
    Master {
        /// The file of the epoch key.
        path: PathBuf,
        /// What the master key said.
        source: MasterError,
    },
    /// No random bytes.
    #[error("the source of randomness failed: {0}")]
    Entropy(io::Error),
}

/// Why a subject is not made or erased.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A name is empty or too long.
    #[error("a name has {0} bytes: 1 to {max} are possible", max = crate::MAX_NAME_BYTES)]
    NameLength(usize),
    /// No more realms.
    #[error("the vault has {max} realms, and no room for more", max = crate::MAX_REALMS)]
    TooManyRealms,
    /// More new names wait than are accepted; the caller tries again later.
    #[error("too many new subjects are waiting to be written: try again later")]
    Overloaded,
    /// An erasure writes all that survives anew, and there is no room for it. Nothing was changed.
    #[error("an erasure needs {needed} free bytes, and the disk has {free}: make room, then erase again")]
    NoRoom {
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The master key wrapped no new epoch key. Nothing was changed.
    #[error("the master key: {0}")]
    Master(#[from] MasterError),
    /// The write failed, and the vault writes no more.
    #[error(transparent)]
    Failed(OpenError),
    /// An earlier write failed.
    #[error("an earlier write to the vault failed: start again, from what is on disk")]
    Poisoned,
}
