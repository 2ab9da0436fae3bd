//! The server: `graven.v1` over the engine, and every log as C2SP tlog-tiles, on one port.
//!
//! ```no_run
//! use std::sync::Arc;
//! use graven_log::Engine;
//! use graven_server::{Server, ServerOptions};
//!
//! # async fn example(engine: Arc<Engine>) -> Result<(), Box<dyn std::error::Error>> {
//! let running = engine.start()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:4740").await?;
//! let until = async { drop(tokio::signal::ctrl_c().await) };
//! Server::new(engine, ServerOptions::default()).serve(listener, until).await?;
//! running.stop(); // after the server: what it accepted is finished, published and sealed
//! # Ok(())
//! # }
//! ```
//!
//! # What is here
//! A call is identified and allowed ([`Access`]), its request checked against `graven_proto::limits`, the engine asked, and
//! the answer or the [`graven_proto::Refusal`] written down. Nothing is decided here that the engine has to remember:
//! this crate can be replaced without touching a log.
//!
//! ```text
//! TCP ─▶ TLS 1.3 ─▶ HTTP/1.1, HTTP/2 ─┬▶ gRPC, gRPC-Web ─▶ who, deadline, span, meter ─▶ the services
//!                                      ├▶ /<log>/oauth/introspect, /<log>/oauth/revoke
//!                                      └▶ /<log>/checkpoint, tiles, bundles; /healthz, /readyz
//! ```
//!
//! # What is not
//! No file is touched here: certificates ([`Tls`], [`WitnessRoots`]) and credentials ([`Keyring`]) come in as bytes and can be exchanged
//! while calls go on. Metrics are written down by whoever installed a recorder ([`Ops`]).
//!
//! # Bounds
//! There are at most [`ServerOptions::max_connections`] connections, each with limits of its own for handshake, first
//! request, idleness, heads, resets, and [`MAX_STREAMS`] calls under way. An append stream holds at most a window
//! (`graven_proto::limits::STREAM_WINDOW_ENTRIES`) of entries, a range one message; everything else is one request of at
//! most `graven_proto::limits::MAX_MESSAGE_BYTES`, unpacked. What waits for the writer is bounded by the engine.

mod access;
mod admin;
mod alerts;
mod audit;
mod core;
mod deadline;
mod ending;
mod follow;
mod large;
mod log;
mod lookup;
mod message;
mod meter;
mod oauth;
mod ops;
mod options;
mod refusal;
mod rpc;
mod scopes;
mod serve;
mod site;
mod witness;

pub use access::{
    Access, Ask, Caller, Credentials, CredentialsError, Denied, Grant, GrantError, Identifying, IssuerEntry,
    Keyring, KnownBy, Open, Permission, Presented, Token,
};
pub use graven_auth::MAX_TOKEN_BYTES;
pub use graven_net::{ClientAuth, Peer, Tls, TlsError};
pub use lookup::{LeafLookup, LookupError, Sought};
pub use ops::Ops;
pub use options::{MAX_STREAMS, OnCall, PUBLISH_WAIT_MAX, ServerOptions};
pub use serve::{ServeError, Server};
pub use witness::{WitnessAnswer, WitnessCallError, WitnessClient, WitnessRoots, WitnessRootsError};
