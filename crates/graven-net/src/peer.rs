//! Who is at the other end.

use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The DNS names and URIs in the client certificate that TLS verified; none without one.
    pub names: Vec<String>,
    /// SHA-256 of that certificate, which tokens can be bound to (RFC 8705 §3.1).
    pub certificate: Option<[u8; 32]>,
}
