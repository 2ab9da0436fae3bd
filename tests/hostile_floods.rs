//! Peers that send what no client sends, as fast as they can: an honest client is served meanwhile, and the server
//! stays as large as it was.
//!
//! Each flood lasts two seconds; with `GRAVEN_LONG=1` twenty, and the honest client's p99 is then held to three times
//! what it is without a flood. One runs at a time, against one server each, over the loopback interface only.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[path = "hostile/bombs.rs"]
mod bombs;
#[path = "hostile/floods.rs"]
mod floods;
#[allow(dead_code)]
#[path = "hostile/h2.rs"]
mod h2;
#[path = "hostile/honest.rs"]
mod honest;
#[allow(dead_code)]
#[path = "hostile/house.rs"]
mod house;
#[allow(dead_code)]
#[path = "hostile/http1.rs"]
mod http1;
#[path = "hostile/slow.rs"]
mod slow;
