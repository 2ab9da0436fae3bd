//! What must not be possible for whoever can reach the server, each with an attempt.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[path = "hostile/calls.rs"]
mod calls;
#[path = "hostile/canary.rs"]
mod canary;
#[path = "hostile/grants.rs"]
mod grants;
#[allow(dead_code)]
#[path = "hostile/h2.rs"]
mod h2;
#[path = "hostile/house.rs"]
mod house;
#[path = "hostile/http1.rs"]
mod http1;
#[allow(dead_code)] // Shared with the tests of access tokens, which use more of it.
#[path = "support/issuer.rs"]
mod issuer;
#[path = "hostile/proxy.rs"]
mod proxy;
#[path = "hostile/resources.rs"]
mod resources;
#[allow(dead_code)]
#[path = "support/tokens.rs"]
mod tokens;
#[path = "hostile/transport.rs"]
mod transport;

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < http1::PATIENCE, "it did not come true");
        thread::sleep(Duration::from_millis(10));
    }
}
