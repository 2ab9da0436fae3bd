//! How the command ends: one table of exit codes, one line on stderr.

use std::{fmt, io, path::Path};

use graven_client::{
    AppendError, CallError, ConnectError, ErrorReason, Fault, HeadError, ReadError, StreamError, TrustError,
    audit::{RemoteAuditError, SiteError},
};
use graven_log::{InitError, OpenError};
use graven_store::{chain::ChainError, journal::OpenError as JournalError};

/// The exit codes, as the manual shows them.
pub(crate) const TABLE: &str = "\
Exit codes:
   0  ok
   1  a check failed: something was tampered with, or the wrong keys are trusted
   2  usage or trouble: a bad argument, no server there, a refusal, a file that cannot be read
   3  stalled: what was waited for did not come in time
   4  rollback refused: a log or a data directory is older than what was signed before
  74  storage poisoned: a write or sync failed; the server recovers when started again";

/// What an exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A check failed.
    CheckFailed = 1,
    /// The caller erred, or something cannot be done.
    Trouble = 2,
    /// What was waited for did not come.
    Stalled = 3,
    /// Something went back behind what was signed.
    Rollback = 4,
    /// Storage failed under the server.
    Poisoned = 74,
}

/// Why the command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

/// How every command ends.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The caller erred, or something cannot be done.
    pub(crate) fn trouble(message: impl fmt::Display) -> Self {
        Self::new(Exit::Trouble, message)
    }

    /// A check failed.
    pub(crate) fn check_failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::CheckFailed, message)
    }

    /// A file or folder could not be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::trouble(format_args!("{}: {error}", path.display()))
    }

    /// The same failure in other words.
    pub(crate) fn saying(self, message: String) -> Self {
        Self { message, ..self }
    }

    pub(crate) fn code(&self) -> u8 {
        // The codes are the enum's own values, all of them small.
        self.exit as u8
    }
}

/// One line, whatever the message holds.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        f.write_str(&lines.join("; "))
    }
}

fn exit_of(fault: Fault) -> Exit {
    match fault {
        Fault::Trouble => Exit::Trouble,
        Fault::CheckFailed => Exit::CheckFailed,
        Fault::Rollback => Exit::Rollback,
    }
}

/// A refusal says what its server knows of itself.
fn exit_of_call(error: &CallError) -> Exit {
    match error.reason() {
        Some(ErrorReason::StoredDataDamaged) => Exit::CheckFailed,
        Some(ErrorReason::WaitTimedOut) => Exit::Stalled,
        Some(ErrorReason::RollbackDetected) => Exit::Rollback,
        Some(ErrorReason::StoragePoisoned) => Exit::Poisoned,
        _ => Exit::Trouble,
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(exit_of_call(&error), error)
    }
}

impl From<HeadError> for Failure {
    fn from(error: HeadError) -> Self {
        let exit =
            if let HeadError::Call(call) = &error { exit_of_call(call) } else { exit_of(error.fault()) };
        Self::new(exit, error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Call(error) => error.into(),
            ReadError::Head(error) => error.into(),
            other => Self::new(exit_of(other.fault()), other),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let exit = error.call().map_or_else(|| exit_of(error.fault()), exit_of_call);
        Self::new(exit, error)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let exit = error.problem.call().map_or_else(|| exit_of(error.fault()), exit_of_call);
        Self::new(exit, error)
    }
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        Self::new(exit_of(error.fault()), error)
    }
}

impl From<RemoteAuditError> for Failure {
    fn from(error: RemoteAuditError) -> Self {
        match error {
            RemoteAuditError::Read(error) => error.into(),
            other => Self::new(exit_of(other.fault()), other),
        }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::trouble(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::trouble(error)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        Self::trouble(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::Behind { .. } => Exit::Rollback,
            OpenError::Damaged { .. } | OpenError::Changed { .. } => Exit::CheckFailed,
            OpenError::Journal(JournalError::Damaged { .. }) => Exit::CheckFailed,
            OpenError::Signer(ChainError::Damaged { .. }) => Exit::CheckFailed,
            _ => Exit::Trouble,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table() {
        for exit in [Exit::CheckFailed, Exit::Trouble, Exit::Stalled, Exit::Rollback, Exit::Poisoned] {
            let code = Failure::new(exit, "").code();
            assert!(TABLE.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{code}");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::trouble("a\n  b\n\n").to_string(), "a; b");
    }
}
