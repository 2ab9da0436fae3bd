//! What can go wrong, one enum an operation, each saying whose fault it is and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use graven_note::SigningKeyError;
use graven_store::key_file::KeyFileError;

use crate::clock::ClockError;

/// A signing key was not made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Storage failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its file: others can read it, or it is not the key that the log's manifest names.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A name that no key can have.
    #[error("{0}")]
    Name(String),
    /// The key itself.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

/// A data directory was not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("{0} holds a server already: choose another directory (nothing was changed)")]
    Exists(PathBuf),
    /// The directory holds other things.
    #[error("{0} is not empty: choose an empty or a new directory")]
    NotEmpty(PathBuf),
    /// The origin gives no log name.
    #[error("origin `{0}` must be `prefix/name`, like example.com/audit, with a legal log name at its end")]
    Origin(String),
    /// The last part of the origin cannot name a log.
    #[error("{0}")]
    Name(#[from] crate::meta::InvalidName),
    /// A kind that this build does not serve.
    #[error("logs of kind `{0}` cannot be created yet: use `bytes`")]
    Kind(crate::meta::Kind),
    /// A key was not made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Storage failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
}

/// A log was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// One of that name exists.
    #[error("log `{0}` exists already")]
    Exists(crate::meta::LogName),
    /// A kind that this build does not serve.
    #[error("logs of kind `{0}` cannot be created yet: use `bytes`")]
    Kind(crate::meta::Kind),
    /// As many as a server takes.
    #[error("this server has {0} logs, as many as it takes: start another one")]
    TooMany(usize),
    /// Storage failed.
    #[error("storage failed: the server must be restarted")]
    Poisoned,
    /// A key was not made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log was made but did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A data directory does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing there.
    #[error("{0} holds no server: `graven init` makes one (a lost one must be restored, never made anew)")]
    Missing(PathBuf),
    /// Something else, or another format version.
    #[error("{0} is not of a format that this version knows: use the version that wrote it")]
    Foreign(PathBuf),
    /// Another process has it.
    #[error("{0} is in use by another process: stop that one first")]
    Locked(PathBuf),
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] graven_store::journal::OpenError),
    /// The signer journal does not open.
    #[error(transparent)]
    Signer(#[from] graven_store::chain::ChainError),
    /// A key does not load.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is stored cannot have been written by us.
    #[error("log `{log}` is damaged: {what}; run `graven fsck`, then restore the data directory from a copy")]
    Damaged {
        /// Which log.
        log: String,
        /// What does not hold.
        what: String,
    },
    /// Storage is older than what was signed.
    #[error(
        "log `{log}`: its {part} reaches size {have}, and size {signed} was signed: this data directory went back in time. \
         Nothing will be signed or appended. Restore the newer one, fetch the missing entries from a copy with `graven recover`, \
         or start a new log under a new origin"
    )]
    Behind {
        /// Which log.
        log: String,
        /// What is older than the rest.
        part: &'static str,
        /// How far that reaches.
        have: u64,
        /// The newest size that is known to have been signed.
        signed: u64,
    },
    /// The stored entries are not those that were signed.
    #[error(
        "log `{log}`: the stored entries do not hash to the root signed at size {size}: they were changed. Nothing \
         will be signed or appended. Run `graven fsck`, then restore the data directory from a copy"
    )]
    Changed {
        /// Which log.
        log: String,
        /// Size of the newest signed checkpoint.
        size: u64,
    },
    /// An entry that this version cannot read.
    #[error(
        "log `{log}`: entry {index} cannot be read by this version ({what}): use the version that wrote it"
    )]
    Unreadable {
        /// Which log.
        log: String,
        /// Which entry.
        index: u64,
        /// What its hook says.
        what: String,
    },
    /// No log of that name.
    #[error("there is no log `{0}` in this data directory")]
    NoLog(crate::meta::LogName),
    /// Storage failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
}

/// A log was not restored from a copy.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data directory does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No log of that name has its manifest and keys here.
    #[error("there is no log `{0}` in this data directory: its manifest and keys must be there")]
    NoLog(crate::meta::LogName),
    /// The copy's checkpoint is not one that this log signed with all its keys.
    #[error("the copy's checkpoint was not signed by every key of the log: {0}")]
    Unsigned(String),
    /// The copy ends before what is known here.
    #[error("the copy has {copy} entries, and {what} reaches {size}: take a copy that has them all")]
    Older {
        /// What knows of more.
        what: &'static str,
        /// How far that reaches.
        size: u64,
        /// How far the copy reaches.
        copy: u64,
    },
    /// The copy is of another history.
    #[error(
        "the tree of {size} entries that is here is not the beginning of the copy's ({why}): one of them was changed, or the          log signed two histories. Keep both, and find out which"
    )]
    Differs {
        /// The size of the tree here.
        size: u64,
        /// What does not hold.
        why: graven_merkle::VerifyError,
    },
    /// A bundle of the copy is not what the log signed.
    #[error("the copy was changed: {path}: {why}")]
    Unproven {
        /// Which bundle.
        path: graven_merkle::tile::BundlePath,
        /// What does not hold.
        why: graven_merkle::tile::UnprovenBundle,
    },
    /// The copy cannot be read.
    #[error("the copy cannot be read: {0}")]
    Copy(io::Error),
    /// Storage failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
}

impl From<graven_store::journal::OpenError> for RestoreError {
    fn from(error: graven_store::journal::OpenError) -> Self {
        Self::Open(error.into())
    }
}

/// Entries were not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No entry in the request.
    #[error("there is no entry to append")]
    Nothing,
    /// An entry without bytes.
    #[error("entry {0} is empty: an entry has at least one byte")]
    Empty(usize),
    /// An entry over the limit.
    #[error("entry {position} has {bytes} bytes; an entry has at most 65,535")]
    TooLong {
        /// Which entry of the request.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// More than fits one commit.
    #[error(
        "the batch has {bytes} bytes in {entries} entries; at most {max_bytes} bytes go into one: split it"
    )]
    TooMuch {
        /// Entries of the request.
        entries: usize,
        /// Their length together.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The log takes no more entries.
    #[error("log `{0}` is frozen: it takes no more entries")]
    Frozen(String),
    /// Raw entries for a log of another kind, or drafts for a log of bytes.
    #[error("log `{log}` holds {kind}: raw entries go to logs of bytes, and to no others")]
    WrongKind {
        /// Which log.
        log: String,
        /// Its kind.
        kind: crate::meta::Kind,
    },
    /// An attachment over the limit, or without its class.
    #[error("the attachment of entry {position} has {bytes} bytes; one has 1 to 1,048,576")]
    Attachment {
        /// Of which entry of the request.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// The log holds as many entries as an index can name.
    #[error("log `{0}` is full: start a new one")]
    Full(String),
    /// The sequencer hook said no.
    #[error("{0}")]
    Refused(crate::sequencer::Refusal),
    /// The idempotency key has been used for something else.
    #[error("this idempotency key was used for other content at index {index}: use a new key")]
    KeyReused {
        /// Where the other content is.
        index: u64,
    },
    /// The idempotency key is not 1 to 128 visible ASCII characters.
    #[error("an idempotency key has 1 to 128 visible ASCII characters")]
    KeyMalformed,
    /// The idempotency key may have been forgotten.
    #[error(
        "this idempotency key was issued too long ago to be remembered for sure: look whether the entry is in the \
         log, and use a new key if it is not"
    )]
    KeyTooOld,
    /// The idempotency key claims a time that has not come.
    #[error("this idempotency key was issued in the future: set the caller's clock right")]
    KeyFromFuture,
    /// More is waiting than is good.
    #[error("the server has as much to do as it takes: try again in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk is nearly full.
    #[error("the server's disk is nearly full: reads go on, appends wait until the operator makes room")]
    DiskFull,
    /// The machine's clock cannot be believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Storage failed: nothing more is acknowledged until a restart.
    #[error("the server's storage failed: whether this entry is in the log is not known until it restarts")]
    Poisoned,
    /// It is not known yet whether the log is behind.
    #[error(
        "the server started and has not heard from enough of the log's witnesses to know that its storage is not behind: \
         try again once they answer"
    )]
    AwaitingWitnesses,
    /// There is nobody to wait for.
    #[error("this log has no witness policy: wait for `published` instead")]
    Unwitnessed,
    /// The server is going down.
    #[error("the server is shutting down: try again elsewhere or later")]
    Stopping,
}

/// Something was not read or proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Beyond what is published.
    #[error("{asked} is beyond the tree: its published size is {size}")]
    OutOfRange {
        /// The index or size asked for.
        asked: u64,
        /// The published size.
        size: u64,
    },
    /// First and second the wrong way round.
    #[error("the first size, {from}, is greater than the second, {to}")]
    Reversed {
        /// The smaller size should be.
        from: u64,
        /// The greater one should be.
        to: u64,
    },
    /// The indices of a multi-entry proof.
    #[error("{0}")]
    Indices(String),
    /// Storage failed or what it holds does not verify.
    #[error("stored data of this log does not verify ({0}): the operator must run `graven fsck`")]
    Damaged(String),
    /// Storage failed.
    #[error("storage: {0}")]
    Storage(String),
}

impl ReadError {
    /// With the name of what is damaged.
    pub(crate) fn named(self, name: &str) -> Self {
        match self {
            Self::Damaged(what) => Self::Damaged(format!("{name}: {what}")),
            other => other,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
