//! Logs of events: recording, finding, opening, keeping and erasing.
//!
//! ```text
//! event ─▶ check ─▶ subjects (vault) ─▶ sealed groups ─▶ leaf ─▶ engine: number, place, journal ─▶ ack
//!                                           └── payload, beside the leaf in the same journal record
//! question ─▶ index ─▶ leaves and payloads ─▶ held against the question again ─▶ access log ─▶ answer
//! ```
//!
//! [`Audit`] is all of it for one server; a [`Book`] is one log of events. The engine knows nothing of this: it calls the
//! [hook](Hooks) that gives each leaf its place. What an event is, is `graven-event`'s business; who may do what, the server's.
//!
//! # Order of promises
//! 1. Keys of new people are durable before anything is sealed under them.
//! 2. Leaf and payload become durable by one sync; then the call is acknowledged.
//! 3. An erasure is in the log before a key is destroyed: whoever starts again, from a backup even, sees it and completes it before anything
//!    is served.
//! 4. What a reader is told is in the `access` log, durable, before it is told.

mod access;
pub mod alerts;
mod audit;
mod book;
mod check;
mod clock;
mod error;
mod fresh;
mod gaps;
mod hook;
mod keep;
mod read;
mod record;
pub mod scopes;

pub use access::{Deed, Who};
pub use audit::{ACCESS_LOG, Audit, AuditOptions, Master, OpenError};
pub use book::Book;
pub use check::{Checked, Checking, Doubt};
pub use error::AuditError;
pub use hook::{Hooks, refused};
pub use keep::Erased;
pub use read::{FOUND_BY, Found, Opened, Page};
pub use record::{Call, Numbered, Recorded, Request};
