//! What the logs of events refuse, as reasons.

use std::time::Duration;

use graven_audit::{AuditError, refused};
use graven_log::AppendError;
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason as Reason;

use crate::core::Core;
use crate::refusal;

/// When to ask an index again that is behind.
const AGAIN: Duration = Duration::from_millis(500);

/// The refusal of what did not succeed.
pub(crate) fn refuse(error: &AuditError, core: &Core) -> Refusal {
    let of = |reason| Refusal::new(reason, error.to_string());
    match error {
        AuditError::Invalid { invalid, .. } => {
            of(Reason::EventInvalid).with_field(format!("event.{}", invalid.field))
        }
        AuditError::Append(AppendError::Refused(refusal)) => match refusal.code {
            refused::NUMBER_USED => of(Reason::SequenceUsed).with_field("producer"),
            refused::PRODUCER => of(Reason::Overloaded).with_field("producer"),
            refused::HELD => of(Reason::HoldForbids),
            refused::STALE => of(Reason::Overloaded).with_retry_after(AGAIN),
            _ => of(Reason::LogKindMismatch),
        },
        AuditError::Append(append) => refusal::append(append, core.idempotency_window),
        AuditError::Read(read) => refusal::read(read),
        AuditError::Behind { position } => {
            of(Reason::IndexBehind).with_fact("position", position).with_retry_after(AGAIN)
        }
        AuditError::Index(graven_index::events::IndexError::Damaged { position }) => {
            of(Reason::IndexBehind).with_fact("position", position).with_retry_after(AGAIN)
        }
        AuditError::Query(query) => {
            of(Reason::QueryInvalid).with_field("query").with_fact("position", query.at)
        }
        AuditError::PageToken => of(Reason::PageTokenInvalid).with_field("page_token"),
        AuditError::NoSubject => of(Reason::SubjectUnknown).with_field("subject"),
        AuditError::NoClass => of(Reason::RetentionUnknown).with_field("retention"),
        AuditError::BadClass(_) => of(Reason::RetentionInvalid).with_field("name"),
        AuditError::Word { field, .. } => of(Reason::FieldInvalid).with_field(*field),
        AuditError::NoHold => of(Reason::HoldUnknown).with_field("hold"),
        AuditError::Held(_) => of(Reason::HoldForbids),
        AuditError::StateBehind { size } => {
            of(Reason::StateBehind).with_fact("size", size).with_retry_after(AGAIN)
        }
        AuditError::StateChanged { size } => of(Reason::StateChanged).with_fact("size", size),
        AuditError::NotADecision(_) => of(Reason::NotADecision).with_field("index"),
        AuditError::BadRule(_) => of(Reason::RuleInvalid).with_field("rule"),
        AuditError::NoRule => of(Reason::RuleUnknown).with_field("name"),
        AuditError::Unrecorded(_) => of(Reason::AccessUnrecorded).with_retry_after(AGAIN),
        AuditError::Stopping => refusal::shutting_down(),
        AuditError::Damaged(_) => {
            tracing::error!(%error, "stored data is not served");
            refusal::damaged()
        }
        AuditError::Vault(_) | AuditError::Index(_) | AuditError::Io(_) => {
            tracing::error!(%error, "logs of events");
            Refusal::new(Reason::StoragePoisoned, "storage failed: the operator must look after it")
        }
    }
}
