//! What was done about an application and a scope, from the leaves.

use std::ops::Range;
use std::sync::Arc;

use graven_event::facts::ScopeCommand;
use graven_event::Frame;

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::read::Opened;

/// Most steps of a history.
pub const MAX_STEPS: usize = 1024;

/// What was done, in the order of the log.
#[derive(Clone, Debug)]
pub struct History {
    /// The steps.
    pub steps: Vec<Step>,
    /// There were more than [`MAX_STEPS`]: these are the newest.
    pub is_truncated: bool,
}

/// One leaf of a history.
#[derive(Clone, Debug)]
pub struct Step {
    /// The leaf, with what can be read of it.
    pub opened: Opened,
    /// `request`, `approve`, `deny`, `narrow`, `renew`, `revoke`, `revoke-token`, `rotate`, `define`, `review`, `attest`, `close-review`,
    /// `appoint`, `dismiss`, `first-use`, `last-use`.
    pub what: &'static str,
}

impl Step {
    /// The command, where it is one and no use.
    pub fn command(&self) -> Option<&ScopeCommand> {
        match &self.opened.frame {
            Some(Frame { facts: graven_event::Facts::Scope(command), .. }) => Some(command),
            _ => None,
        }
    }
}

impl Audit {
    /// Everything about an application and a scope (`None`: all scopes), below a size.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn history(
        self: &Arc<Self>,
        book: &Arc<Book>,
        client: &str,
        scope: Option<&str>,
        below: u64,
        may_reveal: bool,
    ) -> Result<History, AuditError> {
        let _ = (book, client, scope, below, may_reveal);
        unimplemented!()
    }

    /// The commands among the leaves of a range, in order, with the index after the last leaf that was looked at.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn commands(
        self: &Arc<Self>,
        book: &Arc<Book>,
        range: Range<u64>,
        may_reveal: bool,
    ) -> Result<(Vec<Step>, u64), AuditError> {
        let _ = (book, range, may_reveal);
        unimplemented!()
    }
}
