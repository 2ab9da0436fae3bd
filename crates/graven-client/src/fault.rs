//! What an error says about the log: three kinds, so that a program can act without knowing each error.

use graven_merkle::multi::MultiVerifyError;
use graven_note::{PolicyCheckError, VerifiedEvidence, VerifyCheckpointError};

use crate::{
    AppendError, HeadError, ProofRefused, ReadError, StreamError, UntrustedHead,
    append::Unproven,
    audit::{Finding, RemoteAuditError, SiteError},
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
    /// The log signed two trees that cannot both be: the error holds evidence of it.
    SplitView,
    /// Nothing wrong was seen, but nothing that is as fresh as demanded either.
    Stalled,
}

impl HeadError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            // What was believed before was signed by a key that had ended: by whoever stole it.
            Self::Kept(error) if error.is_ended() => Fault::CheckFailed,
            Self::Call(_) | Self::Kept(_) | Self::Store(_) => Fault::Trouble,
            Self::Untrusted(error) => error.fault(),
            Self::Answer(_) | Self::NotConsistent { .. } | Self::Rotation(_) | Self::Unannounced(_) => {
                Fault::CheckFailed
            }
            Self::Rollback { .. } => Fault::Rollback,
            Self::SplitView(_) => Fault::SplitView,
        }
    }

    /// The evidence, where the log signed two trees that cannot both be.
    #[must_use]
    pub fn evidence(&self) -> Option<&VerifiedEvidence> {
        match self {
            Self::SplitView(evidence) => Some(evidence),
            _ => None,
        }
    }
}

impl UntrustedHead {
    fn is_ended(&self) -> bool {
        matches!(self, Self::Checkpoint(PolicyCheckError::Checkpoint(VerifyCheckpointError::Ended { .. })))
    }

    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Stale(_) => Fault::Stalled,
            Self::Checkpoint(_) | Self::Missing(_) => Fault::CheckFailed,
        }
    }
}

impl ProofRefused {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Stale(_) => Fault::Stalled,
            Self::Proof(_) | Self::Missing(_) => Fault::CheckFailed,
        }
    }
}

impl ReadError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Head(error) => error.fault(),
            Self::Call(_)
            | Self::Query(_)
            | Self::BeyondTree { .. }
            | Self::EmptyRange
            | Self::RangeTooLong(_) => Fault::Trouble,
            Self::Multi(MultiVerifyError::Indices(_)) => Fault::Trouble,
            Self::Answer(_)
            | Self::WrongAnswer(_)
            | Self::Event(_)
            | Self::Leaf(_)
            | Self::Proof(_)
            | Self::Multi(_) => Fault::CheckFailed,
        }
    }
}

impl AppendError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::EntryLength(_)
            | Self::BatchLength(_)
            | Self::Key(_)
            | Self::Numbered(_)
            | Self::Call { .. } => Fault::Trouble,
            Self::Unproven { problem: Unproven::Head(error), .. } => error.fault(),
            Self::Unproven { problem: Unproven::Read(error), .. } => error.fault(),
            Self::Unproven { problem: Unproven::Refused(error), .. } => error.fault(),
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

impl Finding {
    /// What the finding says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Checkpoint(error) => error.fault(),
            _ => Fault::CheckFailed,
        }
    }
}

impl SiteError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Found(finding) => finding.fault(),
            Self::Io { .. } => Fault::Trouble,
        }
    }
}

impl RemoteAuditError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Found(finding) => finding.fault(),
            Self::Read(error) => error.fault(),
        }
    }
}

macro_rules! evidence_within {
    ($($error:ty: $($inner:pat => $found:expr),+;)+) => { $(
        impl $error {
            /// The evidence, where the log signed two trees that cannot both be.
            #[must_use]
            pub fn evidence(&self) -> Option<&VerifiedEvidence> {
                match self {
                    $($inner => $found,)+
                    _ => None,
                }
            }
        }
    )+ };
}

evidence_within! {
    ReadError: Self::Head(error) => error.evidence();
    AppendError:
        Self::Unproven { problem: Unproven::Head(error), .. } => error.evidence(),
        Self::Unproven { problem: Unproven::Read(error), .. } => error.evidence();
    RemoteAuditError: Self::Read(error) => error.evidence();
}

impl StreamError {
    /// The evidence, where the log signed two trees that cannot both be.
    #[must_use]
    pub fn evidence(&self) -> Option<&VerifiedEvidence> {
        self.problem.evidence()
    }
}
