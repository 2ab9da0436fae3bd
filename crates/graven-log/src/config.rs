//! Settings of the engine, each with its unit and its reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::meta::LogName;
use crate::sequencer::{BytesOnly, Sequencers};
use crate::window::WindowLimits;
use crate::witnessing::Witnessing;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Length of a journal segment. Small ones cost more rolls, large ones more disk.
    pub segment_bytes: u64,
    /// A commit takes requests up to about this many bytes: larger ones sync no better (15 ms at 4 MiB).
    pub max_commit_bytes: usize,
    /// Requests that wait for the writer, in bytes with what they cost beside their entries.
    pub max_pending_bytes: usize,
    /// Entries and attachments that are durable and not yet sealed; beyond it appends are refused until sealing has caught
    /// up. Only whole bundles are sealed, so what makes less than one is taken whatever its length.
    pub max_unsealed_bytes: usize,
    /// Least time between two checkpoints of a log. An idle log publishes at once.
    pub checkpoint_interval: Duration,
    /// An unchanged head is signed anew this often, so that a stall can be told from silence.
    pub heartbeat: Duration,
    /// Appends are refused while the disk has less room than this.
    pub reserve_bytes: u64,
    /// How long idempotency keys are remembered.
    pub window: WindowLimits,
    /// A log under load exports its `checkpoint` and partial tiles this often; a quiet one at once.
    pub export_interval: Duration,
    /// The witnesses of logs that have some, by the log's name.
    pub witnessing: BTreeMap<LogName, Witnessing>,
    /// What decides the leaves of each log.
    pub sequencers: Arc<dyn Sequencers>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_commit_bytes: 1 << 20,
            max_pending_bytes: 32 << 20,
            max_unsealed_bytes: 128 << 20,
            checkpoint_interval: Duration::from_millis(100),
            heartbeat: Duration::from_secs(60),
            reserve_bytes: 256 << 20,
            window: WindowLimits::default(),
            export_interval: Duration::from_secs(60),
            witnessing: BTreeMap::new(),
            sequencers: Arc::new(BytesOnly),
        }
    }
}

/// Logs of one server.
pub const MAX_LOGS: usize = 1024;
/// Entries of one request.
pub const MAX_REQUEST_ENTRIES: usize = 4096;
/// Bytes of one request's entries and attachments, whatever the segment length.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;
