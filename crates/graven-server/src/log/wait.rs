//! Waiting until a checkpoint covers what was appended, but not for ever.

use std::sync::Arc;
use std::time::Duration;

use graven_log::{Head, Log, Sequenced};
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::core::Core;
use crate::options::PUBLISH_WAIT_MAX;
use crate::refusal;

/// The least part of its time that a call keeps for its answer, so that the caller still hears of the index.
const ANSWER_SHARE: u32 = 10;

/// Until when a call may wait: a little less than its caller does, and at most [`PUBLISH_WAIT_MAX`].
pub(super) fn deadline(metadata: &MetadataMap) -> Instant {
    let callers = timeout(metadata).map(|timeout| timeout - timeout / ANSWER_SHARE);
    Instant::now() + callers.unwrap_or(PUBLISH_WAIT_MAX).min(PUBLISH_WAIT_MAX)
}

/// The head that covers what was appended.
pub(super) async fn published(
    core: &Core,
    log: &Log,
    appended: &Sequenced,
    deadline: Instant,
) -> Result<Arc<Head>, Status> {
    let size = appended.first + u64::from(appended.count);
    match tokio::time::timeout_at(deadline, core.engine.published(log, size)).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(error)) => Err(refusal::append(&error, core.idempotency_window).into()),
        Err(_) => Err(timed_out(appended.first).into()),
    }
}

fn timed_out(index: u64) -> Refusal {
    let message =
        format!("durable at index {index}, but no checkpoint covered it in time: ask for its proof later");
    Refusal::new(ErrorReason::WaitTimedOut, message).with_fact("index", index)
}

/// The caller's own timeout: up to eight digits and a unit (gRPC over HTTP/2, `grpc-timeout`).
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_timeout_is_read_or_left_alone() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        for bad in ["", "S", "1", "1s", "-1S", "999999999S", "1.5S"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(timeout(&MetadataMap::new()), None);
    }
}
