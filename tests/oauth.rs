//! Access tokens at the real server: issuers that are there, that change and that are gone, and a real OpenID provider.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[allow(dead_code)]
#[path = "hostile/calls.rs"]
mod calls;
#[path = "oauth/desk.rs"]
mod desk;
#[allow(dead_code)]
#[path = "hostile/house.rs"]
mod house;
#[allow(dead_code)]
#[path = "hostile/http1.rs"]
mod http1;
#[allow(dead_code)]
#[path = "support/issuer.rs"]
mod issuer;
#[path = "oauth/journey.rs"]
mod journey;
#[path = "oauth/leaks.rs"]
mod leaks;
#[path = "oauth/operating.rs"]
mod operating;
#[path = "oauth/provider.rs"]
mod provider;
#[path = "oauth/telling.rs"]
mod telling;
#[allow(dead_code)]
#[path = "support/tokens.rs"]
mod tokens;

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
        thread::sleep(Duration::from_millis(20));
    }
}
