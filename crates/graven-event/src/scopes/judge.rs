//! Whether a command counts.

use crate::facts::{ScopeCommand, Word};
use crate::scopes::ScopeState;
use crate::time::Time;

/// Why a command does not count: the word that stands in its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Refused {
    AdministratorsOnly,
    ApproversOnly,
    SelfGrant,
    SelfApproval,
    BeneficiaryApproves,
    ApprovedBefore,
    StaleRevision,
    ScopeUnknown,
    ScopeTwice,
    GrantUnknown,
    GrantNotPending,
    GrantNotActive,
    TooLong,
    NotNarrower,
    NotLonger,
    NeedsNewRequest,
    ReviewUnknown,
    NotInReview,
    LastAdministrator,
    SignatureInvalid,
    Full,
    Invalid,
}

impl Refused {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        unimplemented!()
    }

    /// The same, as it stands in a leaf.
    pub fn word(self) -> Word {
        unimplemented!()
    }
}

impl ScopeState {
    /// Judges a command that would be the next leaf, at this log time. `by_recovery`: its signature by the log's recovery key over
    /// [`statement`](ScopeCommand::statement) was verified; a command with a signature that was not is `signature-invalid`.
    ///
    /// # Errors
    /// It does not count.
    pub fn judge(&self, log_time: Time, command: &ScopeCommand, by_recovery: bool) -> Result<(), Refused> {
        let _ = (log_time, command, by_recovery);
        unimplemented!()
    }
}
