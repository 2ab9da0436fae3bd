//! Times as they are typed: `2026-03-01T09:30:00Z`, or how long from now or before: `90days`.

use std::time::{SystemTime, UNIX_EPOCH};

use graven_event::Time;

/// Now, by this machine's clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A time, or one that lies so far ahead.
pub(crate) fn ahead(text: &str) -> Result<Time, String> {
    read(text, |now, span| now.checked_add(span))
}

/// A time, or one that lies so far back.
pub(crate) fn ago(text: &str) -> Result<Time, String> {
    read(text, |now, span| now.checked_sub(span))
}

fn read(text: &str, from_now: impl Fn(u64, u64) -> Option<u64>) -> Result<Time, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let no_time = || {
        format!("{text:?} is no time: write it as 2026-03-01T09:30:00Z, or as a span of time such as 90days")
    };
    let span = humantime::parse_duration(text).map_err(|_| no_time())?;
    let span = u64::try_from(span.as_nanos()).map_err(|_| no_time())?;
    from_now(now().nanoseconds(), span).map(Time).ok_or_else(no_time)
}

/// A time to the second, as tables show it; empty where there is none.
pub(crate) fn brief(time: Option<Time>) -> String {
    time.map_or_else(String::new, |time| Time::from_seconds(time.seconds()).to_string())
}

/// A time for programs.
pub(crate) fn precise(time: Option<Time>) -> Option<String> {
    time.map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_spans() {
        let point = "2026-03-01T09:30:00Z";
        assert_eq!(ahead(point).unwrap().to_string(), point);
        assert_eq!(ago(point), ahead(point));
        assert!(ago("1h").unwrap() < now() && now() < ahead("1h").unwrap());
        assert!(ago("soon").unwrap_err().contains("no time"));
        assert!(ago("900years").unwrap_err().contains("no time"), "before 1970");
    }
}
