//! Scopes: commands and checks, from names to durable leaves and back.
//!
//! A command or a check is made of references by the names it says, goes through the log's one writer, which judges it, and counts from its
//! leaf on. Nothing here changes any state but by a leaf.

mod check;
mod command;
mod history;
mod point;
mod sums;

pub use check::{Asked, Checked, Freshness, ShownToken};
pub use command::{Command, Commanded, Commanding, Signed};
pub use history::{History, Step};
pub use point::Point;
