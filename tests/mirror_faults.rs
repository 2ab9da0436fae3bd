//! A mirror whose disk forgets or fails: what it cosigned it has, wholly and durably, and it never goes back.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "mirror_faults/crashes.rs"]
mod crashes;
#[path = "mirror_faults/disk.rs"]
mod disk;
#[path = "support/pusher.rs"]
mod pusher;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "support/site.rs"]
mod site;
#[path = "support/trees.rs"]
mod trees;
