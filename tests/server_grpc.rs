//! The gRPC server, in this process, on a port of its own, over an engine in a folder of its own.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "server_grpc/access.rs"]
mod access;
#[path = "server_grpc/appends.rs"]
mod appends;
#[path = "server_grpc/logs.rs"]
mod logs;
#[path = "server_grpc/reads.rs"]
mod reads;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "server_grpc/service.rs"]
mod service;
#[path = "server_grpc/streams.rs"]
mod streams;
#[path = "server_grpc/trouble.rs"]
mod trouble;
#[path = "support/witness.rs"]
mod witness;
#[path = "server_grpc/witnesses.rs"]
mod witnesses;
