//! Followers of the log: tables that are read off it, may lag behind it, and can be deleted at any time.
//!
//! [`LeafIndex`](LeafIndexFollower) finds an entry's index by its leaf hash, so that a proof can be asked for by hash.
//! [`EventIndex`](events::EventIndex) finds the entries of a log of events by what they say.
//!
//! ```text
//! log ── published leaf hashes ──▶ tail (memory, the newest) ──▶ runs (sorted, write-once files)
//!                                                                  └─ how far: one row a log, in sled
//! ```
//!
//! * **The log is the truth.** What an index says is compared with the log before it is believed; what it does not
//!   have, or what is damaged, is read off the log again. Nothing here needs a backup.
//! * **It never holds up an append.** One thread of low priority reads what is published already. Who asks for
//!   something newer than it has read is told how far it is ([`FindError::Lagging`]).
//! * In scope: logs up to any size, several in one directory.

pub mod events;
mod find;
mod follower;
mod progress;
mod run;
#[cfg(test)]
#[path = "../../../tests/index.rs"]
mod tests;

pub use find::FindError;
pub use follower::{Following, LeafIndexFollower};
