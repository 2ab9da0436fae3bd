//! How the command ends: one table of exit codes, one line on stderr.

use std::{fmt, io, path::Path};

use graven_client::{
    AppendError, CallError, Code, ConnectError, DialError, ErrorReason, Fault, HeadError, ReadError,
    StreamError, TlsProblem, TrustError,
    audit::{RemoteAuditError, SiteError},
    events::RevealError,
    scopes::CommandError,
};
use graven_log::{InitError, OpenError, RestoreError};
use graven_note::VerifiedEvidence;
use graven_store::{chain::ChainError, journal::OpenError as JournalError};

/// The exit codes, as the manual shows them.
pub(crate) const TABLE: &str = "\
Exit codes:
   0  ok
   1  a check failed: something was tampered with, or the wrong keys are trusted
   2  usage or trouble: a bad argument, no server there, a refusal, a file that cannot be read
   3  stalled: what was waited for did not come in time
   4  rollback refused: a log or a data directory is older than what was signed before
   5  split view: a log signed two trees that cannot both be, and the evidence was kept
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
    /// A log signed two trees that cannot both be.
    SplitView = 5,
    /// Storage failed under the server.
    Poisoned = 74,
}

/// Why the command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// What to do about it, in terms of the command line.
    advice: Option<&'static str>,
    /// What proves it, where the log signed two trees that cannot both be.
    evidence: Option<Box<VerifiedEvidence>>,
}

/// How every command ends.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), advice: None, evidence: None }
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

    /// A call to a server failed.
    fn of_call(call: &CallError, message: impl fmt::Display) -> Self {
        Self { advice: advice_on_call(call), ..Self::new(exit_of_call(call), message) }
    }

    /// The same failure, with what proves it.
    fn proven_by(self, evidence: Option<&VerifiedEvidence>) -> Self {
        Self { evidence: evidence.cloned().map(Box::new), ..self }
    }

    /// What proves it, where the log signed two trees that cannot both be.
    pub(crate) fn evidence(&self) -> Option<&VerifiedEvidence> {
        self.evidence.as_deref()
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
        f.write_str(&lines.join("; "))?;
        self.advice.map_or(Ok(()), |advice| write!(f, " ({advice})"))
    }
}

pub(crate) fn exit_of(fault: Fault) -> Exit {
    match fault {
        Fault::Trouble => Exit::Trouble,
        Fault::CheckFailed => Exit::CheckFailed,
        Fault::Rollback => Exit::Rollback,
        Fault::SplitView => Exit::SplitView,
        Fault::Stalled => Exit::Stalled,
    }
}

/// Which options help, where the library cannot know them by name.
fn advice_on_call(error: &CallError) -> Option<&'static str> {
    if let Some(error) = error.dial_error() {
        return advice_on_dial(error);
    }
    match (error.code(), error.reason()) {
        (Code::Unauthenticated, Some(ErrorReason::CredentialsInvalid)) => Some(
            "what was shown is unknown to the server, has expired or was withdrawn: get another from its operator",
        ),
        (Code::Unauthenticated, _) => Some(
            "give one by --token-file FILE, or by --client-cert FILE --client-key FILE; its operator makes them, \
             with `graven token new`",
        ),
        (Code::PermissionDenied, _) => Some("the server's operator can add the grant to the credential"),
        _ => None,
    }
}

fn advice_on_dial(error: &DialError) -> Option<&'static str> {
    match error {
        DialError::Tls(TlsProblem::Untrusted) => Some("--ca FILE"),
        DialError::Tls(TlsProblem::CertificateDemanded) => Some("--client-cert FILE --client-key FILE"),
        _ => None,
    }
}

/// What to do about a command that does not count.
fn advice_on_refusal(error: &CommandError) -> Option<&'static str> {
    let CommandError::Refused { why, .. } = error else { return None };
    match why.as_str() {
        "stale-revision" => {
            Some("it changed since: look at it again with `graven scopes grants`, then repeat")
        }
        "signature-invalid" => Some(
            "it is by another key, or somebody was appointed or dismissed since: prepare and sign it anew",
        ),
        "self-grant" => Some("somebody else has to ask"),
        "self-approval" | "beneficiary-approves" | "approved-before" => Some("somebody else has to"),
        "administrators-only" => Some("`graven scopes list` names the administrators"),
        "approvers-only" => Some("`graven scopes list` names who may"),
        "scope-unknown" => Some("define it first, with `graven scopes define`"),
        "needs-new-request" => {
            Some("it takes more than one approval: ask anew, with `graven scopes request`")
        }
        _ => None,
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
        Self::of_call(&error, &error)
    }
}

impl From<HeadError> for Failure {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Call(call) => call.into(),
            other => Self::new(exit_of(other.fault()), &other).proven_by(other.evidence()),
        }
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

impl From<RevealError> for Failure {
    fn from(error: RevealError) -> Self {
        match error {
            RevealError::Call(error) => error.into(),
            RevealError::Head(error) => error.into(),
            other => Self::new(exit_of(other.fault()), other),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error.call() {
            Some(call) => Self::of_call(call, &error),
            None => Self::new(exit_of(error.fault()), &error).proven_by(error.evidence()),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Send(error) => error.into(),
            refused => Self { advice: advice_on_refusal(&refused), ..Self::trouble(&refused) },
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error.problem.call() {
            Some(call) => Self::of_call(call, &error),
            None => Self::new(exit_of(error.fault()), &error).proven_by(error.evidence()),
        }
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
        Self { advice: error.dial_error().and_then(advice_on_dial), ..Self::trouble(error) }
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

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Open(error) => error.into(),
            RestoreError::Older { .. } => Self::new(Exit::Rollback, error),
            RestoreError::Unsigned(_) | RestoreError::Differs { .. } | RestoreError::Unproven { .. } => {
                Self::check_failed(error)
            }
            RestoreError::NoLog(_) | RestoreError::Copy(_) | RestoreError::Io(_) => Self::trouble(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table() {
        for exit in
            [Exit::CheckFailed, Exit::Trouble, Exit::Stalled, Exit::Rollback, Exit::SplitView, Exit::Poisoned]
        {
            let code = Failure::new(exit, "").code();
            assert!(TABLE.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))), "{code}");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::trouble("a\n  b\n\n").to_string(), "a; b");
    }
}
