//! Commands: each becomes a leaf, also where it is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_event::scopes::Refused;
use graven_event::{Context, Party, Ref, Time};
use graven_log::{IdempotencyKey, Sequenced};

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;

/// What somebody wants to change, by names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Define { scope: String, tier: u8, is_summed: bool, approvers: Vec<Party>, approvals: u8, longest: Option<Duration> },
    Request {
        client: String,
        subject: Option<String>,
        scopes: Vec<String>,
        resource: Option<String>,
        not_before: Option<Time>,
        expires: Option<Time>,
    },
    Approve { grant: Ref, revision: u64 },
    Deny { grant: Ref, revision: u64 },
    Narrow { grant: Ref, revision: u64, scopes: Vec<String>, expires: Option<Time> },
    Renew { grant: Ref, revision: u64, expires: Time },
    /// With no revision: whatever it is.
    Revoke { grant: Ref, revision: Option<u64> },
    RevokeToken { issuer: String, id: String, expires: Option<Time> },
    Rotate { scope: String, issued_before: Option<Time> },
    OpenReview { scopes: Vec<String>, client: Option<String>, due: Option<Time> },
    Attest { review: Ref, grant: Ref, keep: bool },
    CloseReview { review: Ref },
    Appoint { administrator: Party, signed: Option<Signed> },
    Dismiss { administrator: Party },
}

/// What the recovery key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The statement, as [`Audit::prepare_appointment`] gave it.
    pub statement: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// A command, with who makes it.
#[derive(Debug)]
pub struct Commanding<'a> {
    /// What its credentials are called: the producer of the leaf.
    pub caller: &'a str,
    /// Who commands: what the fold compares with requesters, approvers and beneficiaries.
    pub by: Party,
    /// What.
    pub command: Command,
    /// Why, in their words.
    pub justification: Option<String>,
    /// From where.
    pub context: Context,
    /// Names the call, so that a repeat is recognised.
    pub key: Option<IdempotencyKey<'a>>,
}

/// A command that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// Where.
    pub sequenced: Sequenced,
    /// Its leaf.
    pub leaf: Bytes,
    /// The grant or review that it is about.
    pub id: Option<Ref>,
    /// The grant's revision since then.
    pub revision: u64,
    /// Why it does not count.
    pub refused: Option<Refused>,
}

impl Audit {
    /// Puts a command into the log, and returns once that is durable and the fold has judged it.
    ///
    /// # Errors
    /// It is not in the log. A command that does not count is no error: see [`Commanded::refused`].
    pub async fn command(
        self: &Arc<Self>,
        book: &Arc<Book>,
        commanding: Commanding<'_>,
    ) -> Result<Commanded, AuditError> {
        let _ = (book, commanding);
        unimplemented!()
    }

    /// What the recovery key has to sign to make somebody an administrator.
    ///
    /// # Errors
    /// The key store cannot be written.
    pub async fn prepare_appointment(
        &self,
        book: &Arc<Book>,
        by: &Party,
        administrator: &Party,
    ) -> Result<Vec<u8>, AuditError> {
        let _ = (book, by, administrator);
        unimplemented!()
    }
}
