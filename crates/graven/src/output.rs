//! What the command prints: data on stdout, as text or as one JSON object a line; everything else on stderr.

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64ct::{Base64, Encoding};
use graven_client::{VerifiedHead, audit::Progress};
use graven_merkle::Hash;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::exit::{Failure, Outcome};

const PROGRESS: &str = "{msg} {bar:30} {pos}/{len} entries, {per_sec}, {eta} left";

const COUNTING: &str = "{msg} {human_pos} events, {per_sec}";

/// Prints a line of data, at once.
pub(crate) fn line(text: impl fmt::Display) -> Outcome {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| stdout_failed(&error))
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| stdout_failed(&error))
}

/// Prints one of two: an object for programs, or text for people.
pub(crate) fn either(
    as_json: bool,
    object: impl FnOnce() -> Value,
    text: impl FnOnce() -> String,
) -> Outcome {
    if as_json { line(object()) } else { line(text()) }
}

/// Prints an object that holds texts of strangers, for programs: also on a terminal it is nothing but text.
pub(crate) fn object(object: Map<String, Value>) -> Outcome {
    let text = Value::Object(object).to_string();
    // They stand within the strings of JSON only, where this is how they are written.
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.push_str(&format!("\\u{:04x}", u32::from(c))) } else { safe.push(c) }
    }
    line(safe)
}

/// A text of strangers as people may see it: what would move the cursor, colour the screen or turn letters around is
/// written out.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let written = |c: char| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(written).collect())
}

/// Control characters (C0, C1), and those that change in which direction text runs, or cannot be seen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Says something beside the data. Nobody reading it is no failure.
pub(crate) fn note(text: impl fmt::Display) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Says why the command fails.
pub(crate) fn complain(failure: &Failure) {
    note(format_args!("graven: {failure}"));
}

fn stdout_failed(error: &io::Error) -> Failure {
    Failure::trouble(format_args!("standard output: {error}"))
}

/// Writes a file as a whole, durably.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Outcome {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| Failure::file(path, &error))
}

/// Base64 as C2SP writes it: standard alphabet, padded.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64::encode_string(bytes.as_ref())
}

/// A time as people and programs read it (RFC 3339, UTC, to the second).
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A time to the nanosecond.
pub(crate) fn precise_time(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

/// A time in seconds since the Unix epoch, as a signature states it.
pub(crate) fn time_of(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).filter(|_| seconds < MAX_PRINTED_SECONDS)
}

/// The year 10000, which RFC 3339 cannot write.
const MAX_PRINTED_SECONDS: u64 = 253_402_300_800;

/// When a head was signed, in words.
pub(crate) fn signed_at(head: &VerifiedHead) -> String {
    head.time_seconds().and_then(time_of).map_or_else(|| "at no stated time".to_owned(), time)
}

/// A verified head for programs.
pub(crate) fn head_json(head: &VerifiedHead) -> Value {
    json!({
        "origin": head.origin().as_str(),
        "size": head.size().get(),
        "root": head.root().to_string(),
        "time": head.time_seconds().and_then(time_of).map(time),
        "checkpoint": head.note(),
    })
}

/// The beginning of a hash, for people: enough to compare by eye. Programs get all of it.
pub(crate) fn brief(hash: &Hash) -> String {
    format!("{:.16}…", hash.to_string())
}

/// "1 entry", "2 entries": counts as people write them.
pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// A progress bar on a terminal, nothing elsewhere.
pub(crate) fn progress(doing: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(PROGRESS).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(doing)
}

/// A count on a terminal of what has no known end, nothing elsewhere.
pub(crate) fn counting(doing: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(COUNTING).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style).with_message(doing)
}

/// Moves the bar to where an audit has got.
pub(crate) fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.of_entries);
    bar.set_position(progress.entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_strangers_moves_the_cursor() {
        assert_eq!(shown("Zoë, 東京 😀"), "Zoë, 東京 😀");
        assert_eq!(shown("a\u{1b}[2J\u{9b}1m\u{202e}b\n"), "a\\u{1b}[2J\\u{9b}1m\\u{202e}b\\n");
    }
}
