//! `graven mirror` against real logs: what it keeps is verified, what it serves was kept, and what it cosigns is both.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "cli/bench.rs"]
mod bench;
#[path = "support/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "hostile/http1.rs"]
mod http1;
#[path = "mirror/lying.rs"]
mod lying;
#[path = "mirror/polling.rs"]
mod polling;
#[path = "support/pusher.rs"]
mod pusher;
#[path = "mirror/pushing.rs"]
mod pushing;
#[path = "mirror/reading.rs"]
mod reading;
#[path = "mirror/recovering.rs"]
mod recovering;
#[path = "mirror/refusing.rs"]
mod refusing;
#[allow(dead_code)]
#[path = "support/site.rs"]
mod site;
#[path = "support/trees.rs"]
mod trees;
