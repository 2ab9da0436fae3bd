//! Settings of the server, each with its reason.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use graven_log::WindowLimits;

use crate::access::{Access, Open};
use crate::lookup::LeafLookup;

/// Calls that one connection may have under way. Each costs a task and its buffers.
pub const MAX_STREAMS: u32 = 1024;
/// The longest wait for a checkpoint: two heartbeats of a healthy log are shorter by far than what this allows for.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(30);

/// The headers of one call. Ours need some hundred bytes, a bearer token a few thousand.
pub(crate) const MAX_HEADER_BYTES: u32 = 16 << 10;
/// What may be on its way to us on one stream, and on one connection: enough for a full append window.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;
/// Frames as large as a group of entries: fewer of them, fewer wake-ups.
pub(crate) const FRAME_BYTES: u32 = 256 << 10;

/// Settings of a [`Server`](crate::Server).
#[derive(Clone)]
pub struct ServerOptions {
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// Finds entries by leaf hash. Without it such calls are answered as if the index had not begun.
    pub lookup: Option<Arc<dyn LeafLookup>>,
    /// For how long the engine remembers idempotency keys: told to callers whose key is older.
    pub idempotency_window: Duration,
    /// How long a call may take until its answer begins.
    pub request_timeout: Duration,
    /// A silent connection is asked this often whether it still lives.
    pub keepalive_interval: Duration,
    /// A connection that does not answer for this long is closed.
    pub keepalive_timeout: Duration,
    /// After this a connection takes no new calls, so that clients spread anew over servers.
    pub max_connection_age: Duration,
    /// How long calls may go on once the server is told to stop.
    pub drain_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            access: Arc::new(Open),
            lookup: None,
            idempotency_window: WindowLimits::default().max_age,
            request_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            max_connection_age: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions").finish_non_exhaustive()
    }
}
