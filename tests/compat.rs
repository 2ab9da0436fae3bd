//! What may never change: directories and proofs of an earlier version are read, and what programs rely on stays.
//!
//! An interface is kept as a list of facts, one a line, under `tests/compat/v1`. A fact that is no longer true breaks
//! somebody's program, and no setting lets that pass. A new fact is a new promise; this makes it:
//!
//! ```text
//! GRAVEN_PROMISE=1 cargo test -p graven --test compat
//! ```
//!
//! `tests/compat/v1/README.md` says how the directories were made.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[path = "compat/command.rs"]
mod command;
#[path = "compat/directories.rs"]
mod directories;
#[path = "compat/facts.rs"]
mod facts;
#[path = "compat/golden.rs"]
mod golden;
#[allow(dead_code)] // Shared with the hostile tests.
#[path = "hostile/house.rs"]
mod house;
#[allow(dead_code)]
#[path = "hostile/http1.rs"]
mod http1;
#[path = "compat/interface.rs"]
mod interface;
#[path = "compat/make.rs"]
mod make;
#[path = "compat/operators.rs"]
mod operators;
#[path = "compat/scopes.rs"]
mod scopes;
