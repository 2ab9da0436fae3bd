//! Checks: decided and recorded in one step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_event::scopes::Reason;
use graven_event::{Context, Ref, Time};
use graven_log::Sequenced;

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What the credentials of who asks are called: the producer of the leaf.
    pub caller: &'a str,
    /// The application's OAuth client id.
    pub client: String,
    /// The person in whose name (`sub`).
    pub subject: Option<String>,
    /// What is to be done: a word of the catalogue, or `x.` and more.
    pub action: String,
    /// The scopes that it takes.
    pub scopes: Vec<String>,
    /// Where.
    pub resource: Option<String>,
    /// The token that was shown.
    pub token: Option<ShownToken>,
    /// From where.
    pub context: Context,
    /// How fresh the state has to be.
    pub freshness: Freshness,
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ShownToken {
    pub issuer: String,
    pub id: String,
    pub issued: Option<Time>,
    pub expires: Option<Time>,
    pub scopes: Vec<String>,
}

/// How fresh the state of a decision has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// All that was acknowledged before.
    #[default]
    Latest,
    /// At least so many leaves.
    AtLeast(u64),
    /// Exactly so many: nothing that matters came since.
    Exactly(u64),
    /// A state that was the newest at most so long ago.
    AtMostOld(Duration),
}

/// A decision that is in the log, or in a sum that will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Why.
    pub reason: Reason,
    /// The grants that allow it.
    pub grants: Vec<Ref>,
    /// The scopes that are lacking.
    pub missing: Vec<String>,
    /// The leaves that were taken into account.
    pub state_size: u64,
    /// When it was decided.
    pub decided_at: Time,
    /// Where, and its leaf; `None`: it will be part of a sum, as its scopes say.
    pub recorded: Option<(Sequenced, Bytes)>,
}

impl Audit {
    /// Decides whether something is allowed and records that. Returns once the leaf is durable.
    ///
    /// # Errors
    /// It is not recorded, so it is not allowed: [`AuditError::StateBehind`], [`AuditError::StateChanged`], or as for any entry.
    pub async fn check(self: &Arc<Self>, book: &Arc<Book>, asked: Asked<'_>) -> Result<Checked, AuditError> {
        let _ = (book, asked);
        unimplemented!()
    }

    /// Decides without recording, for what is answered about a token as a whole: whether it is revoked or over, and which of the scopes it
    /// has its client has a grant for. Sizes and times as in [`Checked`].
    pub fn active_scopes(&self, book: &Book, client: &str, subject: Option<&str>, token: &ShownToken) -> (Reason, Vec<String>, u64) {
        let _ = (book, client, subject, token);
        unimplemented!()
    }
}
