//! Points in time: nanoseconds since 1970, written as RFC 3339.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const NANOS: u64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// A point in time from 1970 to 2554: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub u64);

/// Not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time: write it as 2026-03-01T09:30:00Z, with an offset, from 1970 on")]
pub struct NoTime;

impl Time {
    /// So many seconds since 1970.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(NANOS))
    }

    /// So many milliseconds since 1970; `None` after 2554.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        match millis.checked_mul(1_000_000) {
            Some(nanoseconds) => Some(Self(nanoseconds)),
            None => None,
        }
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0 / NANOS
    }

    /// Nanoseconds since 1970.
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / NANOS, self.0 % NANOS);
        let (year, month, day) = civil(i64::try_from(seconds).map_err(|_| fmt::Error)? / DAY_SECONDS);
        let second = seconds % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Time {
    type Err = NoTime;

    /// RFC 3339, and as many systems write it: a space for the `T`.
    fn from_str(text: &str) -> Result<Self, NoTime> {
        parse(text.as_bytes()).ok_or(NoTime)
    }
}

impl TryFrom<String> for Time {
    type Error = NoTime;

    fn try_from(text: String) -> Result<Self, NoTime> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

fn parse(text: &[u8]) -> Option<Time> {
    let number = |at: std::ops::Range<usize>| {
        let digits = text.get(at)?;
        let digit = |n: i64, byte: &u8| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0'));
        digits.iter().try_fold(0_i64, digit)
    };
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    let separated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // A leap second is told as the second before it.
    let second = if second == 60 { 59 } else { second };
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !separated || !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = fraction(text.get(19..)?)?;
    let seconds = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset(rest)?;
    u64::try_from(seconds).ok()?.checked_mul(NANOS)?.checked_add(nanos).map(Time)
}

/// The nanoseconds after a point, and what follows them.
fn fraction(rest: &[u8]) -> Option<(u64, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else { return Some((0, rest)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let value = digits.iter().fold(0, |n, byte| n * 10 + u64::from(byte - b'0'));
    Some((value * 10_u64.pow(9 - u32::try_from(count).ok()?), rest))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|d| d.is_ascii_digit()) =>
        {
            let number = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (number(h1, h2), number(m1, m2));
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: its years begin in March, so that a leap day is a last day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The date that is so many days after 1970-01-01.
fn civil(days_since: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days_since / 366;
    while days(year + 1, 1, 1) <= days_since {
        year += 1;
    }
    let mut month = 12;
    while days(year, month, 1) > days_since {
        month -= 1;
    }
    (year, month, days_since - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_read_and_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-27T05:51:18Z", 1_795_758_678),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(text.parse(), Ok(Time::from_seconds(seconds)), "{text}");
            assert_eq!(Time::from_seconds(seconds).to_string(), text);
        }
        let late = Time(u64::MAX);
        assert_eq!(late.to_string(), "2554-07-21T23:34:33.709551615Z");
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(
            "2023-01-01 01:00:00.5+01:00".parse::<Time>().unwrap().to_string(),
            "2023-01-01T00:00:00.5Z"
        );
    }

    #[test]
    fn every_day_for_five_hundred_years_is_written_as_it_is_read() {
        for day in 0..213_000 {
            let time = Time::from_seconds(day * 86_400 + day % 86_400);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00Zx",
            "2555-01-01T00:00:00Z",
            "2026-01-01T00:00:00+24:00",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Time>(), Err(NoTime), "{text}");
        }
    }
}
