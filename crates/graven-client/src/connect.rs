//! Connections to a server.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use graven_proto::{
    limits::MAX_MESSAGE_BYTES,
    v1::{
        admin_service_client::AdminServiceClient, alert_service_client::AlertServiceClient,
        audit_service_client::AuditServiceClient, log_service_client::LogServiceClient,
        scope_service_client::ScopeServiceClient, witness_service_client::WitnessServiceClient,
    },
};
use http::{HeaderValue, header::AUTHORIZATION};
use thiserror::Error;
use tonic::{
    Request,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{BoxError, Service};

use crate::{
    AdminClient, Appender, BearerToken, CertificatesError, ClientIdentity, DialError, LogClient, RetryPolicy,
    Roots, Trust,
    address::Address,
    dial::{self, Dialer, LastWords},
    tls,
};

/// The most connections of one client. A server has none to give away.
const MAX_CONNECTIONS: usize = 64;

/// HTTP/2 flow control: what may be under way on one stream and on one connection. The protocol's 64 KiB would
/// hold streams back on any link with a delay.
const STREAM_FLOW_BYTES: u32 = 2 << 20;
const CONNECTION_FLOW_BYTES: u32 = 8 << 20;

/// How the client names itself to servers.
pub(crate) const USER_AGENT: &str = concat!("graven-client/", env!("CARGO_PKG_VERSION"));

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
    /// Whom to believe that a server is the one it is addressed as. Counts for `https://`.
    pub roots: Roots,
    /// What to show a server that asks for a certificate.
    pub identity: Option<ClientIdentity>,
    /// What to show with every call. Never sent by `http://` beyond the loopback interface.
    pub token: Option<BearerToken>,
    /// Allows `http://` beyond the loopback interface, without a token: everybody on the way reads what is sent.
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
            roots: Roots::default(),
            identity: None,
            token: None,
            plaintext_anywhere: false,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("{0:?} is no server address: write it as https://log.example.com:4740, or http://127.0.0.1:4740")]
    Address(String),
    /// The scheme is neither `https` nor `http`.
    #[error("this client does not speak {0}: use https://, or http:// on this machine")]
    Scheme(String),
    /// Plaintext would leave the machine.
    #[error(
        "{0} is not on this machine, and http:// is not encrypted: use https://, or allow plaintext explicitly"
    )]
    Plaintext(String),
    /// A token would leave the machine in plaintext.
    #[error("the token would go to {0} for everybody on the way to read and use: use https://")]
    TokenInPlaintext(String),
    /// The certificates or the key that were given cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// Nobody answered, or not as a server should.
    #[error("{address}: {}", why_not(source))]
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

impl ConnectError {
    /// What went wrong on the way to the server.
    #[must_use]
    pub fn dial_error(&self) -> Option<&DialError> {
        DialError::within(self)
    }
}

fn why_not(error: &tonic::transport::Error) -> String {
    DialError::within(error).map_or_else(|| dial::deepest(error), ToString::to_string)
}

/// Connections to one server. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool,
}

impl Client {
    /// Connects to the server at `address`, such as `https://log.example.com:4740`, or `http://127.0.0.1:4740`
    /// without TLS. What is given for TLS is not looked at then.
    ///
    /// # Errors
    /// The address is none that this client may use, or nobody answers there.
    pub async fn connect(address: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        let (server, endpoint, dialer) = prepare(address, &options)?;
        let (target, last_words) = (server.uri().clone(), dialer.last_words.clone());
        // The endpoint's own address is without TLS, which is the dialer's business and not tonic's.
        let dial = tower::service_fn(move |_| dialer.clone().call(target.clone()));
        let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
        let first = endpoint.connect_with_connector(dial.clone()).await.map_err(unreachable)?;
        let others = (1..options.connections).map(|_| endpoint.connect_with_connector_lazy(dial.clone()));
        let channels = std::iter::once(first).chain(others).collect();
        Ok(Self {
            pool: Pool(Arc::new(Connections {
                channels,
                next: AtomicUsize::new(0),
                last_words,
                address: address.to_owned(),
                options,
            })),
        })
    }

    /// Refuses what [`connect`](Self::connect) would refuse before it tries.
    ///
    /// # Errors
    /// See there.
    pub fn check(address: &str, options: &ConnectOptions) -> Result<(), ConnectError> {
        prepare(address, options).map(drop)
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
    last_words: LastWords,
    address: String,
    options: ConnectOptions,
}

impl Pool {
    pub(crate) fn log_service(&self) -> LogServiceClient<Connection> {
        LogServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn admin_service(&self) -> AdminServiceClient<Connection> {
        AdminServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn audit_service(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn scope_service(&self) -> ScopeServiceClient<Connection> {
        ScopeServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn alert_service(&self) -> AlertServiceClient<Connection> {
        AlertServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn witness_service(&self) -> WitnessServiceClient<Connection> {
        WitnessServiceClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A request with a deadline that the server sees too.
    pub(crate) fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request.set_timeout(self.0.options.call_timeout);
        request
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn retries(&self) -> &RetryPolicy {
        &self.0.options.retries
    }

    fn connection(&self) -> Connection {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        let channel = self.0.channels[turn % self.0.channels.len()].clone();
        let authorization = self.0.options.token.as_ref().map(BearerToken::header);
        Connection { channel, authorization, last_words: self.0.last_words.clone() }
    }
}

/// A connection that shows the token with every call: none is made without it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    channel: Channel,
    authorization: Option<HeaderValue>,
    last_words: LastWords,
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let (answer, last_words) = (self.channel.call(request), self.last_words.clone());
        Box::pin(async move {
            // What the server said before it hung up is why, and what became of the connection is not.
            answer.await.map_err(|error| match last_words.get() {
                Some(problem) => DialError::Tls(problem).into(),
                None => error.into(),
            })
        })
    }
}

fn prepare(address: &str, options: &ConnectOptions) -> Result<(Address, Endpoint, Dialer), ConnectError> {
    if options.connections == 0 || options.connections > MAX_CONNECTIONS {
        return Err(ConnectError::Connections(options.connections));
    }
    let server = Address::parse(address)?;
    server.check(options.token.is_some(), options.plaintext_anywhere)?;
    let (endpoint, dialer) = (endpoint(&server, options)?, dialer(&server, options)?);
    Ok((server, endpoint, dialer))
}

fn endpoint(server: &Address, options: &ConnectOptions) -> Result<Endpoint, ConnectError> {
    Ok(Endpoint::from(server.without_tls())
        .origin(server.uri().clone())
        .user_agent(USER_AGENT)
        .map_err(|_| ConnectError::Address(server.uri().to_string()))?
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .initial_stream_window_size(STREAM_FLOW_BYTES)
        .initial_connection_window_size(CONNECTION_FLOW_BYTES))
}

fn dialer(server: &Address, options: &ConnectOptions) -> Result<Dialer, ConnectError> {
    let tls = || tls::config(options.roots.store()?, options.identity.as_ref(), &[dial::HTTP2]);
    Ok(Dialer {
        tls: server.is_encrypted().then(tls).transpose()?,
        timeout: options.connect_timeout,
        plaintext_stays: !options.plaintext_anywhere,
        last_words: LastWords::default(),
    })
}
