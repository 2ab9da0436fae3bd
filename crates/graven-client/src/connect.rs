//! Connections to a server.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use graven_proto::{
    limits::MAX_MESSAGE_BYTES,
    v1::{admin_service_client::AdminServiceClient, log_service_client::LogServiceClient},
};
use thiserror::Error;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};

use crate::{AdminClient, Appender, LogClient, RetryPolicy, Trust};

/// The most connections of one client. A server has none to give away.
const MAX_CONNECTIONS: usize = 64;

/// HTTP/2 flow control: what may be under way on one stream and on one connection. The protocol's 64 KiB would
/// hold streams back on any link with a delay.
const STREAM_FLOW_BYTES: u32 = 2 << 20;
const CONNECTION_FLOW_BYTES: u32 = 8 << 20;

const USER_AGENT: &str = concat!("graven-client/", env!("CARGO_PKG_VERSION"));

/// How to reach a server. The defaults suit most.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How many connections to spread calls over; one is saturated before a server is. The first is opened at
    /// once, each other one when it is first used. 1 to 64.
    pub connections: usize,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long a call with a single answer may take, waiting for publication included.
    pub call_timeout: Duration,
    /// How often a connection in use is probed, and how long the answer may take.
    pub keepalive_interval: Duration,
    /// See `keepalive_interval`.
    pub keepalive_timeout: Duration,
    /// Which calls are sent again.
    pub retries: RetryPolicy,
    /// Allows `http://` beyond the loopback interface: everybody on the way reads what is sent.
    pub plaintext_anywhere: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connections: 4,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            retries: RetryPolicy::default(),
            plaintext_anywhere: false,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("{0:?} is no server address: write it as http://127.0.0.1:4740")]
    Address(String),
    /// The scheme is not `http`.
    #[error("this client does not speak {0}: use http:// on the loopback interface, or a local tunnel")]
    Scheme(String),
    /// Plaintext would leave the machine.
    #[error(
        "{0} is not on this machine, and http:// is not encrypted: allow plaintext explicitly, or use a tunnel"
    )]
    Plaintext(String),
    /// Nobody answered.
    #[error("no server answers at {address}: is it running there?")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The number of connections is none, or too many.
    #[error("a client has 1 to {MAX_CONNECTIONS} connections, not {0}")]
    Connections(usize),
}

/// Connections to one server. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool,
}

impl Client {
    /// Connects to the server at `address`, such as `http://127.0.0.1:4740`.
    ///
    /// # Errors
    /// The address is none that this client may use, or nobody answers there.
    pub async fn connect(address: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        if options.connections == 0 || options.connections > MAX_CONNECTIONS {
            return Err(ConnectError::Connections(options.connections));
        }
        let endpoint = endpoint(address, &options)?;
        let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
        let first = endpoint.connect().await.map_err(unreachable)?;
        let others = (1..options.connections).map(|_| endpoint.connect_lazy());
        let channels = std::iter::once(first).chain(others).collect();
        Ok(Self { pool: Pool(Arc::new(Connections { channels, next: AtomicUsize::new(0), options })) })
    }

    /// The log with this name, believed as far as `trust` goes. An empty name means the server's only log.
    ///
    /// The last head is kept in memory: see [`LogClient::with_head_store`].
    #[must_use]
    pub fn log(&self, name: impl Into<String>, trust: Trust) -> LogClient {
        LogClient::new(self.appender(name), trust)
    }

    /// The log with this name for appending alone: nothing is verified, so no keys are needed.
    #[must_use]
    pub fn appender(&self, name: impl Into<String>) -> Appender {
        Appender::new(self.pool.clone(), name.into())
    }

    /// The server's logs.
    #[must_use]
    pub fn admin(&self) -> AdminClient {
        AdminClient::new(self.pool.clone())
    }
}

/// The connections, taken in turn.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    channels: Vec<Channel>,
    next: AtomicUsize,
    options: ConnectOptions,
}

impl Pool {
    pub(crate) fn log_service(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn admin_service(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A request with a deadline that the server sees too.
    pub(crate) fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(self.0.options.call_timeout);
        request
    }

    pub(crate) fn retries(&self) -> &RetryPolicy {
        &self.0.options.retries
    }

    fn channel(&self) -> Channel {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.channels[turn % self.0.channels.len()].clone()
    }
}

fn endpoint(address: &str, options: &ConnectOptions) -> Result<Endpoint, ConnectError> {
    let bad_address = || ConnectError::Address(address.to_owned());
    let uri: Uri = address.parse().map_err(|_| bad_address())?;
    let (scheme, host) = (uri.scheme_str().ok_or_else(bad_address)?, uri.host().ok_or_else(bad_address)?);
    if scheme != "http" {
        return Err(ConnectError::Scheme(scheme.to_owned()));
    }
    if !options.plaintext_anywhere && !is_loopback(host) {
        return Err(ConnectError::Plaintext(host.to_owned()));
    }
    Ok(Endpoint::from(uri)
        .user_agent(USER_AGENT)
        .map_err(|_| bad_address())?
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .initial_stream_window_size(STREAM_FLOW_BYTES)
        .initial_connection_window_size(CONNECTION_FLOW_BYTES))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_stays_on_this_machine_unless_told() {
        let options = ConnectOptions::default();
        for local in ["http://127.0.0.1:4740", "http://[::1]:4740", "http://localhost:4740"] {
            assert!(endpoint(local, &options).is_ok(), "{local}");
        }
        for far in ["http://192.0.2.1:4740", "http://127.0.0.1.example.com", "http://localhost.example.com"] {
            assert!(matches!(endpoint(far, &options), Err(ConnectError::Plaintext(_))), "{far}");
            let allowed = ConnectOptions { plaintext_anywhere: true, ..options.clone() };
            assert!(endpoint(far, &allowed).is_ok(), "{far}");
        }
        assert!(matches!(endpoint("https://localhost", &options), Err(ConnectError::Scheme(_))));
        assert!(matches!(endpoint("127.0.0.1:4740", &options), Err(ConnectError::Address(_))));
    }
}
