//! What can go wrong, and whose fault it is.

use std::io;
use std::path::PathBuf;

use graven_client::audit::SiteError;
use graven_merkle::tile::{BundlePath, UnprovenBundle};
use graven_note::witness::Refused;

/// A mirror was not made, extended or opened.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Nothing there.
    #[error(
        "{0} holds no mirror: `graven mirror init` makes one (a lost one must be restored, never made anew)"
    )]
    Missing(PathBuf),
    /// Something is there.
    #[error("{0} is not empty: choose an empty or a new directory")]
    NotEmpty(PathBuf),
    /// Another process has it.
    #[error("{0} is in use by another process: stop that one first")]
    Locked(PathBuf),
    /// What is stored cannot have been written by a mirror.
    #[error("{path} is damaged: {what}; restore the data directory from a copy, or start another mirror")]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// A name, key or address that cannot be used.
    #[error("{0}")]
    Refused(String),
    /// The log is there already, by a key that was not given now.
    #[error(
        "{0} is mirrored already, by keys that are not all given: add to them, as what is here was taken by them"
    )]
    Exists(graven_note::Origin),
    /// A key's file: others can read it, or it is not the mirror's.
    #[error(transparent)]
    KeyFile(#[from] graven_store::key_file::KeyFileError),
    /// A key was not made.
    #[error(transparent)]
    Key(#[from] graven_note::SigningKeyError),
    /// The state of a copy does not open.
    #[error(transparent)]
    State(#[from] graven_store::chain::ChainError),
    /// Storage failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
}

/// A copy did not get further. What was verified before is served on.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The source cannot be read, or lacks something.
    #[error(transparent)]
    Source(#[from] SiteError),
    /// The source has no checkpoint.
    #[error("the source has no checkpoint")]
    NoCheckpoint,
    /// The checkpoint is not the log's, or does not follow the pending one.
    #[error("not a checkpoint to follow: {0}")]
    Refused(#[from] Refused),
    /// The source has an older checkpoint than is known to exist.
    #[error("the source went back: it has {found} entries, and a checkpoint of {pending} is known")]
    WentBack {
        /// What it has.
        found: u64,
        /// The pending checkpoint.
        pending: u64,
    },
    /// Somebody else has brought the copy beyond that checkpoint.
    #[error("the copy is beyond that checkpoint")]
    Overtaken,
    /// A bundle that is not what the log signed.
    #[error("the source was changed: {path}: {why}")]
    Unproven {
        /// Which bundle.
        path: BundlePath,
        /// What does not hold.
        why: UnprovenBundle,
    },
    /// Storage failed, or holds something else than was written: the mirror stops.
    #[error("storage: {0}")]
    Storage(#[from] io::Error),
    /// The mirror's key failed: the mirror stops.
    #[error(transparent)]
    Sign(#[from] graven_note::SignError),
}

impl UpdateError {
    /// Whether nothing may be written or signed any more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Sign(_))
    }
}
