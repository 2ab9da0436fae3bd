//! The wire interface `graven.v1`: messages, services, limits and reasons for refusal.
//!
//! The definitions in `proto/graven/v1` are the reference; this crate is what Rust makes of them:
//!
//! - [`v1`]: the generated messages; with the features `client` and `server` also the generated
//!   client and the service traits.
//! - [`Refusal`]: how a service says no, in a form that a program can act on. The server builds it,
//!   the client reads it back.
//! - [`limits`]: the bounds that both sides keep.
//! - [`FILE_DESCRIPTOR_SET`]: the same definitions for gRPC reflection.
//!
//! Nothing here opens a socket, and nothing here verifies: what a message says is a claim until
//! `graven-merkle` and `graven-note` have checked it.

pub mod limits;
mod reason;
mod refusal;

pub use refusal::{ERROR_DOMAIN, Refusal};

/// The generated code, documented by the comments of the `.proto` files.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/graven.v1.rs"));
}

/// The compiled definitions with everything they import: a serialized `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/graven.v1.bin"));
