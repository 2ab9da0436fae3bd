//! A witness from outside: every sequence of the shared vectors, and what must not be possible, against `graven witness`.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "support/fake_log.rs"]
mod fake_log;
#[path = "witness/floods.rs"]
mod floods;
#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "hostile/h2.rs"]
mod h2;
#[allow(dead_code)]
#[path = "hostile/http1.rs"]
mod http1;
#[path = "witness/must_not.rs"]
mod must_not;
#[path = "witness/polling.rs"]
mod polling;
#[path = "witness/quorum.rs"]
mod quorum;
#[path = "witness/rig.rs"]
mod rig;
#[path = "witness/rotating.rs"]
mod rotating;
#[path = "witness/sequences.rs"]
mod sequences;
#[path = "witness/subtrees.rs"]
mod subtrees;
#[path = "support/trees.rs"]
mod trees;
#[path = "support/vectors.rs"]
mod vectors;
#[path = "witness/web.rs"]
mod web;
