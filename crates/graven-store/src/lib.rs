//! Storage contracts and drivers: everything that must survive goes through here, and nothing here knows what a
//! checkpoint or an event is; of signatures it knows the files of their keys, and of evidence.
//!
//! | contract | what it promises | module |
//! |---|---|---|
//! | [`Fs`], [`File`] | the one seam to storage; a real driver, a lossy one in memory, a fault decorator | [`fs`] |
//! | [`journal::Journal`] | commits of entries, durable when `append` returns | [`journal`] |
//! | [`ChainFile`] | a small append-only file of records, durable when `append` returns | [`chain`] |
//! | [`Objects`] | files that are written once, many a sync | [`objects`] |
//! | [`evidence`] | evidence against logs, written once | [`evidence`] |
//! | [`key_file`] | signing keys that their owner alone can read | [`key_file`] |
//! | [`DurableSled`] | small rows that can be rebuilt | [`sled_rows`] |
//!
//! After any error of a write or a sync the caller stops: no retry can tell what storage kept.

pub mod chain;
pub mod evidence;
pub mod fs;
pub mod journal;
pub mod key_file;
pub mod objects;
mod planted;
mod real;
pub mod sled_rows;

#[cfg(any(test, feature = "testing"))]
pub mod fault;
#[cfg(any(test, feature = "testing"))]
pub mod sim;

pub use chain::ChainFile;
pub use fs::{File, Fs};
pub use objects::Objects;
pub use planted::planted;
pub use real::RealFs;
pub use sled_rows::DurableSled;
