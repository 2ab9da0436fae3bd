//! Strangers read the log, write to it and cosign it: programs in Python, Go and Java that share no code with Graven,
//! against the real server. The worked clients among them are those that `proto/README.md` shows.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/foreign.rs"]
mod foreign;
#[path = "interop/logs.rs"]
mod logs;
#[path = "interop/page.rs"]
mod page;
#[path = "interop/proofs.rs"]
mod proofs;
#[path = "interop/readers.rs"]
mod readers;
#[path = "interop/rig.rs"]
mod rig;
#[path = "interop/tools.rs"]
mod tools;
#[path = "interop/witnesses.rs"]
mod witnesses;
