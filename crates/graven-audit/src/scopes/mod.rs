//! Scopes: commands and checks, from names to durable leaves and back.
//!
//! A command or a check is made of references by the names it says, goes through the log's one writer, which judges it, and counts from its
//! leaf on. Nothing here changes any state but by a leaf.

mod check;
mod command;
mod genesis;
mod history;
mod point;
mod sums;

pub use check::{Asked, Checked, Freshness, ShownToken};
pub use command::{Command, Commanded, Commanding, Signed};
pub use genesis::{GenesisError, first_leaf};
pub use history::{History, MAX_STEPS, Step};
pub use point::Point;
pub(crate) use sums::Sums;

use graven_event::Party;

/// The party that an OAuth client id names.
pub(crate) fn application(client: &str) -> Party {
    Party::new("application", client)
}
