//! `graven mirror` against real logs: what it keeps is verified, what it serves was kept, and what it cosigns is both.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "cli/bench.rs"]
mod bench;
#[path = "mirror/lying.rs"]
mod lying;
#[path = "mirror/polling.rs"]
mod polling;
#[allow(dead_code)]
#[path = "support/site.rs"]
mod site;
