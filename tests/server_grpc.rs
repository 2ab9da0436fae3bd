//! The gRPC server, in this process, on a port of its own, over an engine in a folder of its own.

#[path = "server_grpc/appends.rs"]
mod appends;
#[path = "server_grpc/service.rs"]
mod service;
