//! Settings of the server, each with its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use graven_audit::Audit;
use graven_log::{LogName, WindowLimits};
use graven_net::{Limits, Tls};
use http::{HeaderMap, HeaderValue};

use crate::access::{Access, Open};
use crate::lookup::LeafLookup;
use crate::witness::WitnessRoots;

/// Calls that one connection may have under way. Each costs a task and its buffers, a message of 4 MiB among them.
pub const MAX_STREAMS: u32 = 256;
/// The longest wait for a checkpoint: two heartbeats of a healthy log are shorter by far than what this allows for.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(30);

/// See [`ServerOptions::on_call`]. The span has the empty field `otel.kind` for it.
pub type OnCall = Arc<dyn Fn(&tracing::Span, &HeaderMap) + Send + Sync>;

/// Settings of a [`Server`](crate::Server).
#[derive(Clone)]
pub struct ServerOptions {
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// The logs of events. Without them there are none, and none are made.
    pub audit: Option<Arc<Audit>>,
    /// Finds entries by leaf hash. Without it such calls are answered as if the index had not begun.
    pub lookup: Option<Arc<dyn LeafLookup>>,
    /// Told of the span and the headers of each call, where calls are traced across processes.
    pub on_call: Option<OnCall>,
    /// Encrypts what goes over the wire. Without it, serve on the loopback interface only.
    pub tls: Option<Tls>,
    /// Whom to believe that a log's witnesses on `https://` are the ones they are addressed as. Without it those are not pushed
    /// to.
    pub witness_roots: BTreeMap<LogName, WitnessRoots>,
    /// Origins whose pages may call over gRPC-Web, such as `https://explorer.example.com`. Pages of this server's own
    /// origin always may.
    pub web_origins: Vec<HeaderValue>,
    /// For how long the engine remembers idempotency keys: told to callers whose key is older.
    pub idempotency_window: Duration,
    /// Connections at a time, those that are shaking hands included; further ones are closed at once.
    pub max_connections: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a new connection may take until the head of its first request is there.
    pub first_request_timeout: Duration,
    /// A connection without a call under way for this long is ended.
    pub idle_timeout: Duration,
    /// How long a call may take until its answer begins.
    pub request_timeout: Duration,
    /// A connection whose peer takes less than a message of an answer (1 MiB at most) in this time is ended.
    pub stall_timeout: Duration,
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
        let limits = Limits::default();
        Self {
            access: Arc::new(Open),
            audit: None,
            lookup: None,
            on_call: None,
            tls: None,
            witness_roots: BTreeMap::new(),
            web_origins: Vec::new(),
            idempotency_window: WindowLimits::default().max_age,
            max_connections: limits.max_connections,
            handshake_timeout: limits.handshake_timeout,
            first_request_timeout: limits.first_request_timeout,
            idle_timeout: limits.idle_timeout,
            request_timeout: Duration::from_secs(60),
            stall_timeout: limits.stall_timeout,
            keepalive_interval: limits.keepalive_interval,
            keepalive_timeout: limits.keepalive_timeout,
            max_connection_age: limits.max_age,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("tls", &self.tls.is_some())
            .field("web_origins", &self.web_origins)
            .field("idempotency_window", &self.idempotency_window)
            .field("max_connections", &self.max_connections)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("first_request_timeout", &self.first_request_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("keepalive_interval", &self.keepalive_interval)
            .field("keepalive_timeout", &self.keepalive_timeout)
            .field("max_connection_age", &self.max_connection_age)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

impl ServerOptions {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_streams: MAX_STREAMS,
            handshake_timeout: self.handshake_timeout,
            first_request_timeout: self.first_request_timeout,
            idle_timeout: self.idle_timeout,
            stall_timeout: self.stall_timeout,
            max_age: self.max_connection_age,
            keepalive_interval: self.keepalive_interval,
            keepalive_timeout: self.keepalive_timeout,
        }
    }
}
