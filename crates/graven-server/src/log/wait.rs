//! Waiting until a checkpoint, witnessed or not, covers what was appended, but not for ever.

use std::sync::Arc;

use graven_log::{Head, Log, Sequenced};
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::claim::Level;
use crate::core::Core;
use crate::deadline;
use crate::options::PUBLISH_WAIT_MAX;
use crate::refusal;

/// The least part of its time that a call keeps for its answer, so that the caller still hears of the index.
const ANSWER_SHARE: u32 = 10;

/// Until when a call may wait: a little less than its caller does, and at most [`PUBLISH_WAIT_MAX`].
pub(crate) fn deadline(metadata: &MetadataMap) -> Instant {
    let callers = deadline::of(metadata.as_ref()).map(|timeout| timeout - timeout / ANSWER_SHARE);
    Instant::now() + callers.unwrap_or(PUBLISH_WAIT_MAX).min(PUBLISH_WAIT_MAX)
}

/// The head that covers what was appended; `None` where nobody waits for one.
pub(crate) async fn covering(
    core: &Core,
    log: &Log,
    level: Level,
    appended: &Sequenced,
    deadline: Instant,
) -> Result<Option<Arc<Head>>, Status> {
    let size = appended.first + u64::from(appended.count);
    let head = async {
        match level {
            Level::Durable => Ok(None),
            Level::Published => core.engine.published(log, size).await.map(Some),
            Level::Witnessed => core.engine.witnessed(log, size).await.map(Some),
        }
    };
    match tokio::time::timeout_at(deadline, head).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(error)) => Err(refusal::append(&error, core.idempotency_window).into()),
        Err(_) => Err(timed_out(appended.first).into()),
    }
}

fn timed_out(index: u64) -> Refusal {
    let message = format!(
        "durable at index {index}, but no checkpoint of the kind that was waited for covered it in time: ask for its proof later"
    );
    Refusal::new(ErrorReason::WaitTimedOut, message).with_fact("index", index)
}
