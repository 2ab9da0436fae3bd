//! A witness: it remembers the last tree head of each log that it knows, and cosigns a newer one only when that is
//! consistent with it. Who sees enough cosignatures knows that everybody sees the same log.
//!
//! ```text
//! POST /add-checkpoint ─▶ parse ─▶ known log? ─▶ signed by it? ─▶ consistent with what is remembered?
//!                                                                       │ compare-and-swap, one sync for all who wait
//!                        cosignatures ◀─ signed ◀─ remembered, durable ◀┘
//! ```
//!
//! Logs come by themselves, or are polled: [`follow_logs`].
//!
//! The protocol is C2SP tlog-witness, cosignatures are those of C2SP tlog-cosignature: Ed25519 and ML-DSA-44.
//!
//! # What a witness must never do
//! - **Cosign what it has not remembered.** The state moves forward by compare-and-swap and is on stable storage before a key
//!   is touched. The first write or sync that fails ends the process.
//! - **Forget.** A witness whose state is gone is another witness: it refuses to start, and nothing makes the state anew but
//!   `init`, with new keys.
//! - **Remember what it has not verified.** Of a checkpoint only the text and the lines by the log's own keys are kept, so a
//!   forged line, under whatever name, cannot do harm later.
//!
//! # Where implementations differ
//! An unknown log is 404 here, as the specification has it; litewitness up to v0.7 answered 403. A request of more bytes
//! than any note can have is 413; litewitness takes 10 KiB and then answers 500, omniwitness 16 KiB and then 400, so a log had
//! better offer no signatures but its own. omniwitness knows a log by one key, answers 500 where that key did not sign, and
//! takes the first checkpoint of a log whatever size and proof come before it. Tessera asks each URL for one signature: a
//! policy of its has one line for a witness with two keys. Base64 with unused bits that are not zero is malformed (400), where
//! Go's decoder takes it.

mod home;
mod http;
mod keys;
mod memory;
mod poll;
mod witness;

pub use graven_note::witness::Refused;
pub use home::{
    HomeError, Initialized, KnownLog, MAX_KEYS_PER_LOG, Poll, add_log, follow_log, init, known_logs, poll_log,
};
pub use http::router;
pub use keys::{KEY_TYPES, KeyType};
pub use memory::{MemoryError, Remembered};
pub use poll::{Reach, Source, follow_logs};
pub use witness::Witness;
