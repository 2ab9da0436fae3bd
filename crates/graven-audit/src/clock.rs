//! Telling operators of clocks that are wrong: an event that has not happened yet shows one, its producer's or ours.
//!
//! That one is late shows nothing: events wait until there is a network, and whole archives are imported. Order is that of the leaves in any
//! case.

use std::time::{Duration, Instant};

use graven_event::{Event, Ref, Time};

use crate::book::Book;

/// A producer's clock may be so far ahead before it is told of.
const AHEAD: Duration = Duration::from_secs(10);
/// How often a log tells of such clocks, whoever has them.
const TELLS_EVERY: Duration = Duration::from_secs(60);

impl Book {
    /// Counts the events of a producer that are of after now, and names it now and then.
    pub(crate) fn tell_clock(&self, events: &[Event], producer: Ref, now: Time) {
        let ahead = Time(now.0.saturating_add(u64::try_from(AHEAD.as_nanos()).unwrap_or(u64::MAX)));
        let count = events.iter().filter(|event| event.time.is_some_and(|time| time > ahead)).count();
        if count == 0 {
            return;
        }
        let log = &self.log.meta().name;
        metrics::counter!("graven_producer_clock_ahead_total", "log" => log.to_string())
            .increment(count as u64);
        let mut told = self.clock_told.lock();
        if told.is_none_or(|told| told.elapsed() >= TELLS_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(%log, %producer, "an event of the future: a clock is wrong");
        }
    }
}
