//! `ScopeService` and `AlertService` over the wire, in this process, with the log's own fold behind them; and introspection and revocation over
//! HTTP.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "scopes/alerting.rs"]
mod alerting;
#[allow(dead_code)] // Shared with the tests of the whole server, which use more of it.
#[path = "hostile/calls.rs"]
mod calls;
#[path = "scopes/checking.rs"]
mod checking;
#[path = "scopes/desk.rs"]
mod desk;
#[path = "scopes/facade.rs"]
mod facade;
#[path = "scopes/forms.rs"]
mod forms;
#[path = "scopes/governing.rs"]
mod governing;
#[allow(dead_code)]
#[path = "support/issuer.rs"]
mod issuer;
#[path = "scopes/life.rs"]
mod life;
#[path = "scopes/permissions.rs"]
mod permissions;
#[path = "scopes/races.rs"]
mod races;
#[path = "scopes/reading.rs"]
mod reading;
#[path = "scopes/refusing.rs"]
mod refusing;
#[allow(dead_code)]
#[path = "audit/rig.rs"]
mod rig;
#[allow(dead_code)]
#[path = "server_grpc/service.rs"]
mod service;
#[allow(dead_code)]
#[path = "support/tokens.rs"]
mod tokens;
#[path = "scopes/watching.rs"]
mod watching;
