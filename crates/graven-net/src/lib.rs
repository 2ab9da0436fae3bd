//! Connections: accepting, TLS, HTTP/1.1 and HTTP/2 on one port, and an end to each.
//!
//! What a peer can hold here is bounded, whoever it is ([`Limits`]): the number of connections, the time for a TLS
//! handshake, for the first request and for the head of each request, the bytes of a head, streams and resets of a
//! connection, and how long a connection may do nothing. Where there are as many as there may be, one that has not asked
//! for anything gives way. Bodies of strangers are for [`Bodies`] to read.
//!
//! What is served is an [`axum::Router`]; its requests carry the [`Peer`] as an extension. This crate knows neither logs nor
//! witnesses.

mod answer;
mod bodies;
mod connection;
mod limits;
mod peer;
mod port;
mod silent;
mod tls;

pub use answer::{TEXT, text};
pub use bodies::{Bodies, BodyError, Received};
pub use limits::Limits;
pub use peer::Peer;
pub use port::Port;
pub use tls::{ClientAuth, Tls, TlsError};
