//! `AuditService` over the wire, in this process: recording, gaps, finding, who may, what the access log says, restarts, erasure, keeping.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "audit/alerts.rs"]
mod alerts;
#[path = "audit/erasing.rs"]
mod erasing;
#[path = "audit/finding.rs"]
mod finding;
#[path = "audit/gaps.rs"]
mod gaps;
#[path = "audit/keeping.rs"]
mod keeping;
#[path = "audit/permissions.rs"]
mod permissions;
#[path = "audit/recording.rs"]
mod recording;
#[path = "audit/restarting.rs"]
mod restarting;
#[path = "audit/rig.rs"]
mod rig;
#[allow(dead_code)] // Shared with the tests of the other services, which use more of it.
#[path = "server_grpc/service.rs"]
mod service;
#[path = "audit/streaming.rs"]
mod streaming;
#[path = "audit/traces.rs"]
mod traces;
