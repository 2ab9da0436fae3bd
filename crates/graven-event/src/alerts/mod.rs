//! Built-in rules: what follows from the leaves of a log alone, and is said in it at once.
//!
//! A rule is applied from the leaf on that [says so](crate::facts::RuleFacts). Its alerts follow the leaf that fires it in the same
//! commit, so the log is not one that this software writes if one is missing: whoever [takes in](Watcher::take) the leaves sees which.

mod builtin;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::facts::AlertFacts;
use crate::frame::Frame;
use crate::scopes::ScopeState;

pub use builtin::Builtin;

/// Most alerts that follow one leaf: the worst ones.
pub const MAX_PER_LEAF: usize = 2;

/// What the built-in rules remember, and which rules are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watcher {}

impl Watcher {
    /// Takes in the leaf at an index, with the state of scopes before it. Returns the alerts that must follow it, in this order.
    pub fn take(&mut self, index: u64, frame: &Frame, before: &ScopeState) -> Vec<AlertFacts> {
        let _ = (index, frame, before);
        Vec::new()
    }
}
