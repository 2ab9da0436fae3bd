//! What an error says about the log: three kinds, so that a program can act without knowing each error.

use graven_merkle::multi::MultiVerifyError;

use crate::{
    AppendError, HeadError, ReadError, StreamError,
    append::Unproven,
    audit::{RemoteAuditError, SiteError},
};

/// What an error says about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the caller erred, the server refused, or something could not be read.
    Trouble,
    /// A check failed: somebody altered something, or pinned the wrong keys.
    CheckFailed,
    /// The log went back behind what it had signed.
    Rollback,
}

impl HeadError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Call(_) | Self::Kept(_) | Self::Store(_) => Fault::Trouble,
            Self::Answer(_) | Self::Untrusted(_) | Self::SplitView(_) | Self::NotConsistent { .. } => {
                Fault::CheckFailed
            }
            Self::Rollback { .. } => Fault::Rollback,
        }
    }
}

impl ReadError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Head(error) => error.fault(),
            Self::Call(_) | Self::BeyondTree { .. } | Self::EmptyRange | Self::RangeTooLong(_) => {
                Fault::Trouble
            }
            Self::Multi(MultiVerifyError::Indices(_)) => Fault::Trouble,
            Self::Answer(_) | Self::WrongAnswer(_) | Self::Proof(_) | Self::Multi(_) => Fault::CheckFailed,
        }
    }
}

impl AppendError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::EntryLength(_) | Self::Key(_) | Self::Call { .. } => Fault::Trouble,
            Self::Unproven { problem: Unproven::Head(error), .. } => error.fault(),
            Self::Unproven { problem: Unproven::Read(error), .. } => error.fault(),
            Self::Answer(_) | Self::WrongAnswer(_) | Self::Unproven { .. } => Fault::CheckFailed,
        }
    }
}

impl StreamError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.problem.fault()
    }
}

impl SiteError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Found(_) => Fault::CheckFailed,
            Self::Io { .. } => Fault::Trouble,
        }
    }
}

impl RemoteAuditError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Found(_) => Fault::CheckFailed,
            Self::Read(error) => error.fault(),
        }
    }
}
