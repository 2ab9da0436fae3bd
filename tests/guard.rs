//! The guard before services of all kinds: whatever the log does, no handler runs that it did not allow.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "guard/answers.rs"]
mod answers;
#[path = "guard/bearers.rs"]
mod bearers;
#[path = "guard/bounds.rs"]
mod bounds;
#[path = "guard/callers.rs"]
mod callers;
#[path = "guard/grpc.rs"]
mod grpc;
#[allow(dead_code)] // Shared with the tests of tokens, which use more of them.
#[path = "support/issuer.rs"]
mod issuer;
#[path = "guard/rig.rs"]
mod rig;
#[allow(dead_code)]
#[path = "support/tokens.rs"]
mod tokens;
