//! A witness whose disk forgets or fails, and what it does in a second.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "witness_faults/crashes.rs"]
mod crashes;
#[path = "witness_faults/log.rs"]
mod log;
#[path = "witness_faults/rate.rs"]
mod rate;
#[path = "support/trees.rs"]
mod trees;
