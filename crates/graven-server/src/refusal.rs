//! The engine's errors as refusals: each with its reason, the field at fault and the facts that help the caller.

use std::time::Duration;

use graven_log::{AppendError, CreateError, OpenError, ReadError, RotateError};
use graven_proto::Refusal;
use graven_proto::limits::MAX_ENTRY_BYTES;
use graven_proto::v1::ErrorReason as Reason;

use crate::core::Core;

/// When to try again at a server that is stopping or has to be restarted.
const RESTART: Duration = Duration::from_secs(1);

/// An entry without bytes, in `field`.
pub(crate) fn entry_empty(field: String) -> Refusal {
    Refusal::new(Reason::EntryEmpty, "an entry has at least one byte").with_field(field)
}

/// An entry of `bytes`, over the limit.
pub(crate) fn entry_too_large(field: String, bytes: usize) -> Refusal {
    let message = format!("the entry has {bytes} bytes; the limit is {MAX_ENTRY_BYTES}");
    Refusal::new(Reason::EntryTooLarge, message).with_field(field).with_fact("limit", MAX_ENTRY_BYTES)
}

/// The server is draining.
pub(crate) fn shutting_down() -> Refusal {
    Refusal::new(Reason::ShuttingDown, "the server is shutting down: try again elsewhere or later")
        .with_retry_after(RESTART)
}

/// A log without witnesses.
pub(crate) fn no_policy() -> Refusal {
    Refusal::new(Reason::WitnessPolicyMissing, AppendError::Unwitnessed.to_string())
}

/// As many ranges are being sent as there is memory for.
pub(crate) fn too_many_ranges() -> Refusal {
    Refusal::new(Reason::Overloaded, "too many ranges are being read: try again in a moment")
        .with_retry_after(RESTART)
}

/// An append that the engine refused. `window` is what it remembers of idempotency keys.
pub(crate) fn append(error: &AppendError, window: Duration) -> Refusal {
    let text = error.to_string();
    let of = |reason| Refusal::new(reason, text.clone());
    match error {
        AppendError::Nothing => of(Reason::BatchEmpty).with_field("entries"),
        AppendError::Empty(position) => entry_empty(format!("entries[{position}]")),
        AppendError::TooLong { position, bytes } => entry_too_large(format!("entries[{position}]"), *bytes),
        AppendError::TooMuch { max_bytes, .. } => {
            of(Reason::BatchTooLarge).with_field("entries").with_fact("limit", max_bytes)
        }
        AppendError::Attachment { position, .. } => of(Reason::EntryTooLarge)
            .with_field(format!("entries[{position}]"))
            .with_fact("limit", graven_log::MAX_ATTACHMENT_BYTES),
        AppendError::Frozen(_) | AppendError::Full(_) => of(Reason::LogFrozen),
        AppendError::WrongKind { .. } | AppendError::Refused(_) => of(Reason::LogKindMismatch),
        AppendError::KeyReused { .. } => of(Reason::IdempotencyKeyReused).with_field("idempotency_key"),
        AppendError::KeyMalformed => of(Reason::IdempotencyKeyInvalid).with_field("idempotency_key"),
        AppendError::KeyTooOld => of(Reason::IdempotencyKeyExpired)
            .with_field("idempotency_issued_at")
            .with_fact("window_seconds", window.as_secs()),
        AppendError::KeyFromFuture => of(Reason::IdempotencyTimeInvalid).with_field("idempotency_issued_at"),
        AppendError::Overloaded { retry_after } => of(Reason::Overloaded).with_retry_after(*retry_after),
        AppendError::DiskFull => of(Reason::DiskFull),
        AppendError::Clock(_) => of(Reason::ClockSuspect),
        AppendError::Poisoned => of(Reason::StoragePoisoned).with_retry_after(RESTART),
        AppendError::AwaitingWitnesses => of(Reason::WitnessesAwaited).with_retry_after(RESTART),
        AppendError::Unwitnessed => no_policy().with_field("wait"),
        AppendError::Stopping => shutting_down(),
    }
}

/// A read that failed after its request was found in order: what is stored is at fault.
pub(crate) fn read(error: &ReadError) -> Refusal {
    match error {
        // Heads only grow, so nothing that was checked against one can be beyond a later one.
        ReadError::OutOfRange { size, .. } => {
            Refusal::new(Reason::IndexBeyondTree, error.to_string()).with_fact("size", size)
        }
        ReadError::Reversed { .. } => Refusal::new(Reason::SizesReversed, error.to_string()),
        ReadError::Indices(_) => Refusal::new(Reason::IndicesUnsorted, error.to_string()),
        ReadError::Damaged(_) | ReadError::Storage(_) => {
            tracing::error!(%error, "stored data is not served");
            damaged()
        }
    }
}

/// Stored bytes that do not verify. What exactly is wrong is the operator's business.
pub(crate) fn damaged() -> Refusal {
    let message =
        "stored data of this log cannot be read or does not verify: the operator must run `graven fsck`";
    Refusal::new(Reason::StoredDataDamaged, message)
}

/// A log that was not made.
pub(crate) fn create(error: &CreateError) -> Refusal {
    let of = |reason| Refusal::new(reason, error.to_string());
    match error {
        CreateError::Exists(_) => of(Reason::LogExists).with_field("name"),
        CreateError::Kind(_) => of(Reason::LogKindUnsupported).with_field("kind"),
        CreateError::TooMany(limit) => of(Reason::TooManyLogs).with_fact("limit", limit),
        CreateError::Poisoned => of(Reason::StoragePoisoned).with_retry_after(RESTART),
        CreateError::Open(OpenError::Behind { .. } | OpenError::Changed { .. }) => {
            of(Reason::RollbackDetected)
        }
        CreateError::Key(_) | CreateError::Open(_) if is_disk_full(error) => {
            Refusal::new(Reason::DiskFull, "the server's disk is full: the operator must make room")
        }
        CreateError::Key(_) | CreateError::Open(_) => {
            tracing::error!(%error, "a log was not made");
            damaged()
        }
    }
}

/// A rotation of keys that did not begin.
pub(crate) fn rotate(error: &RotateError, core: &Core) -> Refusal {
    let of = |reason| Refusal::new(reason, error.to_string());
    match error {
        RotateError::Statement(_) | RotateError::Types => of(Reason::RotationInvalid).with_field("statement"),
        RotateError::Outrun { signed, .. } => of(Reason::RotationOvertaken).with_fact("size", signed),
        RotateError::OldKeys | RotateError::TooMany => of(Reason::RotationOvertaken),
        RotateError::Key(_) | RotateError::Sign(_) => {
            // Which file it is, is the operator's business.
            tracing::error!(%error, "keys were not rotated");
            Refusal::new(
                Reason::RotationOvertaken,
                "a new key cannot be used: it must lie in the data directory of this server, as the request left it",
            )
        }
        RotateError::Frozen => of(Reason::LogFrozen),
        RotateError::Poisoned => append(&AppendError::Poisoned, core.idempotency_window),
    }
}

/// Whether an I/O error for want of room is at the bottom of it.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
        {
            return true;
        }
        next = error.source();
    }
    false
}
