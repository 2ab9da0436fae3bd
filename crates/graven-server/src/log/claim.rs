//! What an append brings, checked: its entry and its idempotency key.

use std::time::{SystemTime, UNIX_EPOCH};

use graven_log::{IdempotencyKey, Log, MAX_KEY_BYTES};
use graven_proto::Refusal;
use graven_proto::limits::MAX_ENTRY_BYTES;
use graven_proto::v1::{ErrorReason, Wait};
use prost_types::Timestamp;

use crate::message::nanoseconds;
use crate::refusal::{self, entry_empty, entry_too_large};

/// An idempotency key with the time at which its caller first used it.
pub(crate) struct Claim {
    key: String,
    issued_ns: u64,
}

/// How far an append must have come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Durable,
    Published,
    Witnessed,
}

impl Claim {
    /// The key of a request. `None`: it has none.
    pub(crate) fn new(key: String, issued_at: Option<&Timestamp>) -> Result<Option<Self>, Refusal> {
        if key.is_empty() {
            return match issued_at {
                None => Ok(None),
                Some(_) => Err(time_invalid("`idempotency_issued_at` is given without a key")),
            };
        }
        if key.len() > MAX_KEY_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("an idempotency key has 1 to {MAX_KEY_BYTES} visible ASCII characters");
            return Err(
                Refusal::new(ErrorReason::IdempotencyKeyInvalid, message).with_field("idempotency_key")
            );
        }
        let issued_ns = match issued_at {
            None => now_ns(),
            Some(time) => {
                nanoseconds(time).ok_or_else(|| time_invalid("this is no time of the years 1 to 9999"))?
            }
        };
        Ok(Some(Self { key, issued_ns }))
    }

    /// As the engine takes it.
    pub(crate) fn key(&self) -> IdempotencyKey<'_> {
        IdempotencyKey { key: &self.key, issued_ns: self.issued_ns }
    }
}

impl Level {
    /// What a request to this log asks to wait for.
    pub(crate) fn new(wait: i32, log: &Log) -> Result<Self, Refusal> {
        match Wait::try_from(wait) {
            Ok(Wait::Unspecified | Wait::Durable) => Ok(Self::Durable),
            Ok(Wait::Published) => Ok(Self::Published),
            Ok(Wait::Witnessed) if log.witness_policy().is_none() => {
                Err(refusal::no_policy().with_field("wait"))
            }
            Ok(Wait::Witnessed) => Ok(Self::Witnessed),
            Err(_) => {
                let message = "this server does not know this level of waiting";
                Err(Refusal::new(ErrorReason::EnumValueUnknown, message).with_field("wait"))
            }
        }
    }
}

/// Checks an entry's length. `field` names it in the request.
pub(crate) fn check_entry(entry: &[u8], field: impl Fn() -> String) -> Result<(), Refusal> {
    match entry.len() {
        0 => Err(entry_empty(field())),
        bytes if bytes > MAX_ENTRY_BYTES => Err(entry_too_large(field(), bytes)),
        _ => Ok(()),
    }
}

fn time_invalid(message: &str) -> Refusal {
    Refusal::new(ErrorReason::IdempotencyTimeInvalid, message).with_field("idempotency_issued_at")
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
