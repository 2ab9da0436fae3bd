//! Entries that must follow others at once.
//!
//! One writer adds the entries of a request, then what follows from them, all at one log time. So what is due may wait while
//! entries of the same time come that may be of the same request; a command or a decision is a request of its own.

use std::collections::VecDeque;

use crate::facts::{Facts, Ref};
use crate::frame::Frame;
use crate::time::Time;

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Each with the index of the entry that it follows from.
    due: VecDeque<(u64, Facts)>,
    at: Time,
    /// The request is over: only what is due may come.
    is_over: bool,
}

impl Following {
    /// Meets the next entry. Whether it was due, and what should have come before it.
    pub(super) fn meet(&mut self, frame: &Frame) -> (bool, Vec<(u64, Facts)>) {
        let is_by_log = frame.producer == Ref::default() && frame.payload.is_none();
        let may_be = is_by_log && frame.log_time == self.at;
        let place = self.due.iter().position(|(_, facts)| may_be && *facts == frame.facts);
        if let Some(place) = place {
            let missing = self.due.drain(..=place).take(place).collect();
            self.is_over = true;
            return (true, missing);
        }
        let may_wait = frame.log_time == self.at && !self.is_over && !comes_alone(&frame.facts);
        (false, if may_wait { Vec::new() } else { self.rest() })
    }

    /// What is due because of an entry that was met.
    pub(super) fn expect(&mut self, index: u64, frame: &Frame, facts: Vec<Facts>) {
        if facts.is_empty() {
            return;
        }
        if self.due.is_empty() {
            (self.at, self.is_over) = (frame.log_time, comes_alone(&frame.facts));
        }
        self.due.extend(facts.into_iter().map(|facts| (index, facts)));
    }

    /// All that is due and did not come.
    pub(super) fn rest(&mut self) -> Vec<(u64, Facts)> {
        self.due.drain(..).collect()
    }
}

fn comes_alone(facts: &Facts) -> bool {
    matches!(facts, Facts::Genesis(_) | Facts::Scope(_) | Facts::Decision(_))
}
