//! What the engine measures of its own steps, for whichever recorder the process has installed.

use std::time::Duration;

use metrics::{Histogram, Unit, describe_histogram, histogram};

/// Handles, looked up once: a commit is too short to look anything up.
#[derive(Clone)]
pub(crate) struct Metrics {
    commit_requests: Histogram,
    commit_entries: Histogram,
    commit_bytes: Histogram,
    commit_sync_seconds: Histogram,
    pub(crate) publish_seconds: Histogram,
    pub(crate) seal_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn register() -> Self {
        describe_histogram!("graven_commit_requests", Unit::Count, "Requests of one group commit.");
        describe_histogram!("graven_commit_entries", Unit::Count, "Entries of one group commit.");
        describe_histogram!("graven_commit_bytes", Unit::Bytes, "Bytes of one group commit.");
        describe_histogram!(
            "graven_commit_sync_seconds",
            Unit::Seconds,
            "Writing and syncing one group commit."
        );
        describe_histogram!(
            "graven_publish_seconds",
            Unit::Seconds,
            "Verifying, signing and releasing one tree head."
        );
        describe_histogram!(
            "graven_seal_seconds",
            Unit::Seconds,
            "Writing and syncing one round of tiles and bundles."
        );
        Self {
            commit_requests: histogram!("graven_commit_requests"),
            commit_entries: histogram!("graven_commit_entries"),
            commit_bytes: histogram!("graven_commit_bytes"),
            commit_sync_seconds: histogram!("graven_commit_sync_seconds"),
            publish_seconds: histogram!("graven_publish_seconds"),
            seal_seconds: histogram!("graven_seal_seconds"),
        }
    }

    /// One group commit, once it is durable.
    pub(crate) fn committed(&self, requests: usize, entries: usize, bytes: usize, sync: Duration) {
        #[allow(clippy::cast_precision_loss)] // nobody commits 2^53 of anything
        let count = |number: usize| number as f64;
        self.commit_requests.record(count(requests));
        self.commit_entries.record(count(entries));
        self.commit_bytes.record(count(bytes));
        self.commit_sync_seconds.record(sync);
    }
}
