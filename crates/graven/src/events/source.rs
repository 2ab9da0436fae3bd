//! Events from a file or standard input: as JSON lines, or mapped from the records of another system.
//!
//! Reading, unpacking and parsing take place on a thread of their own, some records ahead of those that are being sent.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    time::SystemTime,
};

use flate2::bufread::MultiGzDecoder;
use graven_event::{
    Event, Time,
    map::{Format, Record, Splitter, carries_secret},
};
use tokio::sync::mpsc;

use crate::{
    exit::{Failure, Outcome},
    output::shown,
};

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest line: of a larger event no message can be made.
const MAX_LINE_BYTES: usize = 4 << 20;
/// How many events are read ahead.
const AHEAD: usize = 256;
/// What a gzip file begins with (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What the input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Events, one JSON object a line.
    Events,
    /// Records of another system; without keeping them in the events where `keep_raw` is false.
    Records {
        /// Which system's.
        format: Format,
        /// Whether each event holds its record.
        keep_raw: bool,
    },
}

/// One event of the input, or why it is none.
#[derive(Debug)]
pub(super) struct Item {
    /// Its number in the input, from 1.
    pub(super) number: u64,
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    /// Field and fault where it is no event.
    pub(super) event: Result<Box<Event>, String>,
    /// What secret its record held, which for that was not kept.
    pub(super) secret: Option<&'static str>,
}

/// The events of an input, in order.
#[derive(Debug)]
pub(super) struct Source(mpsc::Receiver<Outcome<Item>>);

impl Source {
    /// Opens a file, or standard input for `-`; gzip is recognised by its first bytes.
    pub(super) fn open(path: &Path, form: Form) -> Outcome<Self> {
        let name = path.display().to_string();
        let input: Box<dyn Read + Send> = match name.as_str() {
            "-" => Box::new(io::stdin()),
            _ => Box::new(File::open(path).map_err(|error| Failure::file(path, &error))?),
        };
        Ok(Self::read(input, name, form))
    }

    fn read(input: Box<dyn Read + Send>, name: String, form: Form) -> Self {
        let (items, receiver) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let failed = |error: &dyn fmt::Display| Failure::trouble(format_args!("{name}: {error}"));
            let mut out = Out { items: &items, number: 0 };
            let read = unpacked(input).map_err(|error| failed(&error)).and_then(|input| match form {
                Form::Events => lines(input, &mut out, &failed),
                Form::Records { format, keep_raw } => records(input, format, keep_raw, &mut out, &failed),
            });
            if let Err(failure) = read {
                // Nobody waits for it any more where this fails.
                drop(items.blocking_send(Err(failure)));
            }
        });
        Self(receiver)
    }

    /// The next one; `None` after the last.
    pub(super) async fn next(&mut self) -> Outcome<Option<Item>> {
        self.0.recv().await.transpose()
    }
}

/// Says of which input something is.
type Failed<'a> = &'a dyn Fn(&dyn fmt::Display) -> Failure;

/// Where items go.
struct Out<'a> {
    items: &'a mpsc::Sender<Outcome<Item>>,
    number: u64,
}

impl Out<'_> {
    /// Hands on the next item. `false`: nobody wants more.
    fn put(&mut self, line: u64, event: Result<Event, String>, secret: Option<&'static str>) -> bool {
        self.number += 1;
        let event = event.map(Box::new);
        self.items.blocking_send(Ok(Item { number: self.number, line, event, secret })).is_ok()
    }
}

fn unpacked(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead>> {
    let mut begins = Vec::new();
    input.by_ref().take(2).read_to_end(&mut begins)?;
    let packed = begins == GZIP;
    let input = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(begins).chain(input));
    if !packed {
        return Ok(Box::new(input));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(input))))
}

/// One event a line. Blank lines are none, and have no number.
fn lines(mut input: Box<dyn BufRead>, out: &mut Out<'_>, failed: Failed<'_>) -> Outcome {
    let mut number = 0;
    while let Some(line) = next_line(&mut input).map_err(|error| failed(&error))? {
        number += 1;
        let event = match line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => parse(&line),
            Err(TooLong) => Err(format!("longer than {MAX_LINE_BYTES} bytes")),
        };
        if !out.put(number, event, None) {
            break;
        }
    }
    Ok(())
}

struct TooLong;

fn next_line(input: &mut dyn BufRead) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let (mut line, limit) = (Vec::new(), u64::try_from(MAX_LINE_BYTES + 1).unwrap_or(u64::MAX));
    if (&mut *input).take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() <= MAX_LINE_BYTES || line.ends_with(b"\n") {
        return Ok(Some(Ok(line)));
    }
    input.skip_until(b'\n')?;
    Ok(Some(Err(TooLong)))
}

fn parse(line: &[u8]) -> Result<Event, String> {
    let event: Event = serde_json::from_slice(line.trim_ascii_end()).map_err(|error| {
        let said = error.to_string();
        let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
        format!("column {}: {}", error.column(), shown(what))
    })?;
    checked(event)
}

fn checked(event: Event) -> Result<Event, String> {
    event.check(now()).map_err(|invalid| invalid.to_string())?;
    Ok(event)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_seconds(since.as_secs())
}

/// The records of another system, each mapped.
fn records(
    mut input: Box<dyn BufRead>,
    format: Format,
    keep_raw: bool,
    out: &mut Out<'_>,
    failed: Failed<'_>,
) -> Outcome {
    let mut splitter = Splitter::new(format);
    loop {
        let piece = input.fill_buf().map_err(|error| failed(&error))?;
        let taken = piece.len();
        let pushed = if taken == 0 { splitter.finish() } else { splitter.push(piece) };
        for record in splitter.by_ref() {
            let (event, secret) = mapped(&record, format, keep_raw);
            if !out.put(record.line, event, secret) {
                return Ok(());
            }
        }
        // Nothing after it can be read, so this is no bad record but the end.
        pushed.map_err(|broken| failed(&broken))?;
        if taken == 0 {
            return Ok(());
        }
        input.consume(taken);
    }
}

fn mapped(record: &Record, format: Format, keep_raw: bool) -> (Result<Event, String>, Option<&'static str>) {
    let mut event = match record.map(format) {
        Ok(event) => event,
        Err(broken) => return (Err(broken.error.to_string()), None),
    };
    let secret = keep_raw.then(|| carries_secret(&record.text)).flatten();
    if !keep_raw || secret.is_some() {
        event.raw = None;
    }
    (checked(event), secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    async fn all(input: &[u8], form: Form) -> Vec<(u64, u64, Result<String, String>)> {
        let mut source = Source::read(Box::new(Cursor::new(input.to_vec())), "input".to_owned(), form);
        let mut found = Vec::new();
        while let Some(item) = source.next().await.unwrap() {
            found.push((item.number, item.line, item.event.map(|event| event.action)));
        }
        found
    }

    const LOGIN: &str = r#"{"action":"auth.login","actor":"alice","outcome":"success"}"#;

    #[tokio::test]
    async fn each_line_is_an_event_or_says_why_not() {
        let input = [
            LOGIN,
            "",
            "{",
            r#"{"action":"auth.login","outcome":"success"}"#,
            r#"{"action":"auth.login","actor":"alice","outcome":"success","colour":"red"}"#,
            r#"{"action":"made.up","actor":"alice","outcome":"success"}"#,
            r#"{"action":"x.own","actor":"alice","outcome":"denied"}"#,
        ]
        .join("\n");
        let found = all(input.as_bytes(), Form::Events).await;
        let places: Vec<_> = found.iter().map(|(number, line, _)| (*number, *line)).collect();
        assert_eq!(places, [(1, 1), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]);
        assert_eq!((found[0].2.as_deref(), found[5].2.as_deref()), (Ok("auth.login"), Ok("x.own")));
        for (at, says) in [(1, "column 1"), (2, "`actor`"), (3, "`colour`"), (4, "action: ")] {
            let said = found[at].2.as_ref().unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_one_bad_line() {
        let long = vec![b'x'; MAX_LINE_BYTES + 3];
        let input = [&long[..], b"\n", LOGIN.as_bytes(), b"\n"].concat();
        let found = all(&input, Form::Events).await;
        assert!(found[0].2.as_ref().unwrap_err().contains("longer than"));
        assert_eq!((found.len(), found[1].2.as_deref()), (2, Ok("auth.login")));
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(LOGIN.as_bytes()).unwrap();
        let first = packed.finish().unwrap();
        // Rotated files are put together as they are.
        let found = all(&[&first[..], &first].concat(), Form::Events).await;
        assert_eq!(found.len(), 1, "without a newline between them they are one line");
        assert_eq!(all(&first, Form::Events).await[0].2.as_deref(), Ok("auth.login"));
        assert!(all(b"", Form::Events).await.is_empty());
    }

    #[tokio::test]
    async fn records_are_mapped() {
        let records = r#"{"Records": [{"eventName": "A", "userIdentity": {"type": "Root"}}, {"no": 1}]}"#;
        let form = Form::Records { format: Format::CloudTrail, keep_raw: true };
        let found = all(records.as_bytes(), form).await;
        assert_eq!((found.len(), found[0].2.as_deref()), (2, Ok("A")));
        assert!(found[1].2.as_ref().unwrap_err().contains("eventName"));
    }

    #[tokio::test]
    async fn an_input_that_breaks_off_is_no_end() {
        let form = Form::Records { format: Format::CloudTrail, keep_raw: false };
        let input = Box::new(Cursor::new(br#"{"eventName": "A"} {"eventName""#.to_vec()));
        let mut source = Source::read(input, "input".to_owned(), form);
        assert!(source.next().await.unwrap().is_some());
        assert!(source.next().await.is_err());
    }
}
