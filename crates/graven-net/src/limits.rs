//! What connections may cost.

use std::time::Duration;

/// What connections may cost. The defaults suit a server of many clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time, those that are shaking hands included.
    pub max_connections: usize,
    /// Calls that one connection may have under way.
    pub max_streams: u32,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// From the handshake to the head of the first request.
    pub first_request_timeout: Duration,
    /// A connection without a call under way for this long is ended.
    pub idle_timeout: Duration,
    /// As is one with a large answer of which nothing is taken for this long.
    pub stall_timeout: Duration,
    /// After this a connection takes no new calls.
    pub max_age: Duration,
    /// A silent connection is asked this often whether it still lives.
    pub keepalive_interval: Duration,
    /// A connection that does not answer for this long is closed.
    pub keepalive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_streams: 256,
            handshake_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}
