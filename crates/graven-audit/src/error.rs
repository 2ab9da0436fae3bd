//! What can go wrong.

use graven_event::query::ParseError;
use graven_event::{Invalid, Ref};
use graven_log::{AppendError, ReadError};

/// Why something was not recorded, found, opened or erased. No text here holds anything of an event.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// What was handed in is no event.
    #[error("{invalid}")]
    Invalid {
        /// Which of the request, from 0.
        position: usize,
        /// Why.
        invalid: Invalid,
    },
    /// The engine, or the log's hook, refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The key store failed.
    #[error("the key store refused: {0}")]
    Vault(#[from] graven_vault::WriteError),
    /// The index failed, or has not read far enough.
    #[error("the index of events has read {position} leaves: ask again in a moment")]
    Behind {
        /// What it covers.
        position: u64,
    },
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] graven_index::events::IndexError),
    /// A question that cannot be read.
    #[error(transparent)]
    Query(#[from] ParseError),
    /// A page token that is none.
    #[error("not a page token of this method")]
    PageToken,
    /// No such person.
    #[error("this log knows nobody of that name, or nobody any more")]
    NoSubject,
    /// No such retention class.
    #[error("this log has no retention class of that name: `graven retention list` shows them")]
    NoClass,
    /// A retention class that cannot be.
    #[error("{0}")]
    BadClass(&'static str),
    /// A word that is none.
    #[error("{field}: {error}")]
    Word {
        /// Of which field.
        field: &'static str,
        /// Why.
        error: graven_event::facts::NoWord,
    },
    /// No such hold.
    #[error("no such hold stands: `graven hold list` shows them")]
    NoHold,
    /// A hold forbids it.
    #[error("hold {0} covers the person: release it first")]
    Held(Ref),
    /// The state that a decision needs is not here.
    #[error(
        "the log has {size} leaves, fewer than the decision is to take into account: ask again in a moment"
    )]
    StateBehind {
        /// How many there are.
        size: u64,
    },
    /// What a decision depends on changed meanwhile.
    #[error("what the decision depends on changed since: ask for the newest state")]
    StateChanged {
        /// The newest size.
        size: u64,
    },
    /// The entry is no decision.
    #[error("entry {0} is no decision")]
    NotADecision(u64),
    /// A rule that cannot be applied.
    #[error("{0}")]
    BadRule(String),
    /// No such rule.
    #[error("no rule of that name is applied: `graven rules list` shows them")]
    NoRule,
    /// The access log does not take what would be told.
    #[error("the access log cannot record this, so it is not told: {0}")]
    Unrecorded(Box<AuditError>),
    /// The disk, or its file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The work was cut off.
    #[error("the server is stopping")]
    Stopping,
    /// A leaf or payload is not what it was.
    #[error("stored data of this log does not hold together at index {0}: run `graven fsck`")]
    Damaged(u64),
}
