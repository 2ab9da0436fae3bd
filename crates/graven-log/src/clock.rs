//! Log time: the machine's clock, made to go forward only, and distrusted when it leaps.
//!
//! log time = max(wall clock, last + 1 ns). A wall clock that leaps ahead of the monotonic one, or lies far behind the
//! time of the last entry, stops sequencing: one bad clock must not date entries into the future for ever. It goes on
//! by itself once the clock is right again; a restart accepts the clock as it is, as the operator's word.

use std::time::Duration;

/// A leap of the wall clock that is accepted without a question: what time daemons step.
pub const MAX_LEAP_NS: u64 = 300_000_000_000;
/// How far the wall clock may lie behind the last entry.
pub const MAX_LAG_NS: u64 = 300_000_000_000;

/// Microseconds, as spans and events report them.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The clock cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Ahead of the monotonic clock.
    #[error("the machine's clock leapt {0} s ahead: set it right, or restart the server to accept it")]
    Leapt(u64),
    /// Behind the last entry.
    #[error("the machine's clock is {0} s behind the newest entry: set it right")]
    Lags(u64),
}

/// Gives out log times.
#[derive(Clone, Debug)]
pub struct LogClock {
    last_ns: u64,
    seen: Option<(u64, u64)>,
}

impl LogClock {
    /// Goes on after `last_ns`, the time of the last entry.
    pub fn after(last_ns: u64) -> Self {
        Self { last_ns, seen: None }
    }

    /// The time of the last entry.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// The next log time.
    pub fn tick(&mut self, wall_ns: u64, monotonic_ns: u64) -> Result<u64, ClockError> {
        self.check(wall_ns, monotonic_ns)?;
        self.seen = Some((wall_ns, monotonic_ns));
        self.last_ns = wall_ns.max(self.last_ns.saturating_add(1));
        Ok(self.last_ns)
    }

    /// The next log time, or where the clock cannot be believed, the one right after the last.
    pub(crate) fn tick_or_follow(&mut self, wall_ns: u64, monotonic_ns: u64) -> u64 {
        self.tick(wall_ns, monotonic_ns).unwrap_or_else(|_| {
            self.last_ns = self.last_ns.saturating_add(1);
            self.last_ns
        })
    }

    /// Whether [`tick`](Self::tick) would give out a time.
    pub fn check(&self, wall_ns: u64, monotonic_ns: u64) -> Result<(), ClockError> {
        if let Some((wall, monotonic)) = self.seen {
            let expected = wall.saturating_add(monotonic_ns.saturating_sub(monotonic));
            let leap = wall_ns.saturating_sub(expected);
            if leap > MAX_LEAP_NS {
                return Err(ClockError::Leapt(leap / 1_000_000_000));
            }
        }
        let lag = self.last_ns.saturating_sub(wall_ns);
        if lag > MAX_LAG_NS {
            return Err(ClockError::Lags(lag / 1_000_000_000));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn time_never_goes_back() {
        let mut clock = LogClock::after(100 * SECOND);
        assert_eq!(clock.tick(99 * SECOND, 0), Ok(100 * SECOND + 1));
        assert_eq!(clock.tick(99 * SECOND, 1), Ok(100 * SECOND + 2));
        assert_eq!(clock.tick(101 * SECOND, 2 * SECOND), Ok(101 * SECOND));
    }

    #[test]
    fn a_leap_stops_it_until_the_clock_is_right() {
        let mut clock = LogClock::after(0);
        assert!(clock.tick(1_000 * SECOND, 0).is_ok());
        assert_eq!(clock.tick(4_601 * SECOND, SECOND), Err(ClockError::Leapt(3_600)));
        assert_eq!(clock.tick(1_002 * SECOND, 2 * SECOND), Ok(1_002 * SECOND));
        assert_eq!(clock.tick(600 * SECOND, 3 * SECOND), Err(ClockError::Lags(402)));
        // Two hours asleep are two hours on both clocks.
        assert!(clock.tick(8_202 * SECOND, 7_202 * SECOND).is_ok());
    }
}
