//! The server's port as browsers, monitors and attackers meet it: HTTP, TLS, credentials, connections.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "server_http/connections.rs"]
mod connections;
#[path = "server_http/credentials.rs"]
mod credentials;
#[path = "server_http/raw.rs"]
mod raw;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "server_grpc/service.rs"]
mod service;
#[path = "server_http/site.rs"]
mod site;
#[path = "server_http/tls.rs"]
mod tls;
#[path = "server_http/web.rs"]
mod web;
