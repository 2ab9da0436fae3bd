//! The guard before services of all kinds: whatever the log does, no handler runs that it did not allow.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "guard/answers.rs"]
mod answers;
#[path = "guard/bounds.rs"]
mod bounds;
#[path = "guard/callers.rs"]
mod callers;
#[path = "guard/grpc.rs"]
mod grpc;
#[path = "guard/rig.rs"]
mod rig;
