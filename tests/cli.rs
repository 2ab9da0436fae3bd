//! The `graven` command from outside: what each verb prints, and how each refusal ends.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "cli/appends.rs"]
mod appends;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "cli/bench.rs"]
mod bench;
#[path = "support/certificates.rs"]
mod certificates;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/credentials.rs"]
mod credentials;
#[path = "cli/directories.rs"]
mod directories;
#[path = "cli/encrypted.rs"]
mod encrypted;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/events_missing.rs"]
mod events_missing;
#[path = "cli/reads.rs"]
mod reads;
#[path = "cli/recovering.rs"]
mod recovering;
#[path = "cli/rotating.rs"]
mod rotating;
#[path = "cli/scopes.rs"]
mod scopes;
#[path = "cli/serving.rs"]
mod serving;
#[path = "cli/tampering.rs"]
mod tampering;
#[path = "cli/witnesses.rs"]
mod witnesses;
