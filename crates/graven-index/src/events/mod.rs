//! Finding events by what they say.
//!
//! ```text
//! Source: leaves with what is readable of their payloads, as terms
//!    │  add
//!    ▼
//! tail (memory, the newest chunk) ──▶ full chunks (memory) ──▶ runs of 65,536 leaves ──▶ runs of 1,048,576
//!    └──────────── searched at once ────────────┘                └── merged behind ──┘
//! ```
//!
//! * **Everything goes by chunks of 65,536 leaves.** In a chunk a set of leaves is 8 KiB of bits, so and, or, not, counting and turning
//!   pages from either end are the same few instructions a word, and a chunk that lacks a term that must be there is not looked into.
//! * **What is added is found at once**, and durable later: what a crash takes away is read off the log again. So nothing waits for
//!   a disk, and position and content cannot disagree: the runs that there are say how far they reach.
//! * **It is never trusted.** Answers are indices, and whoever asks looks at those leaves again. Pages of a file carry checksums; a run that
//!   does not pass is dropped with all that follows it, and what they covered is read again.
//! * **Erasing** takes the terms of each group that a person owns from the memory and from every run, which is written anew;
//!   what was there before is gone before the call returns. Nothing else stands still meanwhile.
//! * One index is of one log: a question cannot reach another log's leaves.
//!
//! # Why not a database or a search engine
//! Both were measured (`benches/README.md`). Tantivy makes what was added visible by committing a segment, which takes longer than the
//! time allowed when it is done ten times a second; SQLite's FTS5 comes close, but counts a common term's millions in
//! seconds. Neither takes one person's terms out of an event without writing the whole index anew.

mod asked;
mod bits;
mod follow;
mod index;
mod lists;
mod pages;
mod run;
mod search;
mod tail;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // small numbers of our own
#[path = "../../../../tests/event_index.rs"]
mod tests;
mod tidy;

pub use follow::{EventFollower, EventFollowing, Source, SourceError};
pub use index::{Entry, EventIndex, IndexError, IndexId};
pub use search::{Count, Cursor, Hits, MAX_PAGE, Page};
