//! Where records begin and end in files: JSON lines, and the containers that systems write around records.
//!
//! ```text
//! {…}            one after the other, on one line each or on several
//! {…}
//! [{…}, {…}]     a list of them
//! {"Records": [{…}, {…}]}                     CloudTrail
//! {"kind": "EventList", …, "items": [{…}]}    Kubernetes
//! {"logs": [{…}], "total": 1, …}              Auth0
//! ```
//!
//! A file is handed in by pieces, and only one record is held at a time, also of a container. What stands around the records of a
//! container must be JSON as well.

use std::collections::VecDeque;

use super::json::Json;
use super::{Format, MAX_RECORD_BYTES, MapError, map};
use crate::model::Event;

/// Longest text of a container around its records.
const MAX_AROUND_BYTES: usize = 64 << 10;

/// A record as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Its bytes.
    pub text: String,
}

/// A file that is not made of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct Broken {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub error: MapError,
}

impl Record {
    /// The event of this record.
    ///
    /// # Errors
    /// As [`map`], with the line.
    pub fn map(&self, format: Format) -> Result<Event, Broken> {
        map(format, &self.text).map_err(|error| Broken { line: self.line, error })
    }
}

/// All records of a text.
///
/// # Errors
/// As [`Splitter`].
pub fn records(format: Format, text: &str) -> Result<Vec<Record>, Broken> {
    let mut splitter = Splitter::new(format);
    splitter.push(text.as_bytes())?;
    splitter.finish()?;
    Ok(splitter.collect())
}

/// Takes a file apart into records.
///
/// ```
/// use graven_event::map::{Format, Splitter};
///
/// let mut splitter = Splitter::new(Format::CloudTrail);
/// for piece in [r#"{"Records": [{"eventName": "#, r#""A"}, {"eventName": "B"}]}"#] {
///     splitter.push(piece.as_bytes())?;
///     for record in splitter.by_ref() {
///         println!("line {}: {}", record.line, record.text);
///     }
/// }
/// splitter.finish()?;
/// # Ok::<(), graven_event::map::Broken>(())
/// ```
#[derive(Debug)]
pub struct Splitter {
    format: Format,
    /// Between records: what is expected. Within one: the same, for when it ends.
    place: Place,
    line: u64,
    /// The record that is being read, and the line that it began on.
    record: Vec<u8>,
    began: u64,
    /// Open brackets of that record.
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// What was read of a container around its records.
    around: Vec<u8>,
    found: VecDeque<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A record or a container may begin.
    Top,
    /// In a list: a record or, at once, the end.
    First,
    /// In a list, after a comma: a record.
    Next,
    /// In a list, after a record: a comma or the end.
    After,
    /// In the rest of an object around a list.
    Rest,
}

impl Splitter {
    /// For a file of this format.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            place: Place::Top,
            line: 1,
            record: Vec::new(),
            began: 1,
            depth: 0,
            in_text: false,
            escaped: false,
            around: Vec::new(),
            found: VecDeque::new(),
        }
    }

    /// Takes in the next piece of the file. The records that end in it can then be taken out.
    ///
    /// # Errors
    /// Something stands there that is no record, or one is longer than [`MAX_RECORD_BYTES`]. Nothing after it can be read.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Broken> {
        for byte in piece {
            let reading = self.depth > 0;
            if reading { self.within(*byte) } else { self.between(*byte) }?;
            self.line += u64::from(*byte == b'\n');
        }
        Ok(())
    }

    /// Says that the file is at its end.
    ///
    /// # Errors
    /// A record or container is not.
    pub fn finish(&mut self) -> Result<(), Broken> {
        if self.depth > 0 {
            return Err(self.broken_at(self.began, "it has no end"));
        }
        match self.place {
            Place::Top => Ok(()),
            _ => Err(self.broken("the container has no end")),
        }
    }

    fn between(&mut self, byte: u8) -> Result<(), Broken> {
        if byte.is_ascii_whitespace() {
            return Ok(());
        }
        match (self.place, byte) {
            (Place::Top | Place::First | Place::Next, b'{') => {
                self.began = self.line;
                self.depth = 1;
                self.record.push(byte);
            }
            (Place::Top, b'[') => self.place = Place::First,
            (Place::After, b',') => self.place = Place::Next,
            (Place::First | Place::After, b']') if self.around.is_empty() => self.place = Place::Top,
            (Place::First | Place::After, b']') => {
                self.around.push(byte);
                self.depth = 1;
                self.place = Place::Rest;
            }
            (Place::After, _) => {
                return Err(self.broken("a comma or the end of the list must follow a record"));
            }
            _ => return Err(self.broken("a record must be a JSON object")),
        }
        Ok(())
    }

    fn within(&mut self, byte: u8) -> Result<(), Broken> {
        let rest = self.place == Place::Rest;
        let (text, most) = match rest {
            true => (&mut self.around, MAX_AROUND_BYTES),
            false => (&mut self.record, MAX_RECORD_BYTES),
        };
        if text.len() == most {
            let what = format!("longer than {most} bytes");
            return Err(self.broken_at(self.began, what));
        }
        text.push(byte);
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                b'\n' => return Err(self.broken("a text goes on over the end of its line")),
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.in_text = true,
            b'[' if self.opens_container() => {
                self.around = std::mem::take(&mut self.record);
                self.depth = 0;
                self.place = Place::First;
                return Ok(());
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        match (self.depth, rest) {
            (0, true) => self.close(),
            (0, false) => self.take(),
            _ => Ok(()),
        }
    }

    /// Whether the bracket that was just read follows the name of a list of records, in the object that a file begins with.
    fn opens_container(&self) -> bool {
        if self.place != Place::Top || self.depth != 1 {
            return false;
        }
        let before = self.record[..self.record.len() - 1].trim_ascii_end();
        let Some(name) = before.strip_suffix(b":").map(<[u8]>::trim_ascii_end) else { return false };
        // A quote behind a backslash begins no name.
        let named = |known: &&str| {
            let head = name.strip_suffix(format!("\"{known}\"").as_bytes());
            head.is_some_and(|head| !head.ends_with(b"\\"))
        };
        self.format.containers().iter().any(named)
    }

    /// A record is complete.
    fn take(&mut self) -> Result<(), Broken> {
        let bytes = std::mem::take(&mut self.record);
        let text = String::from_utf8(bytes).map_err(|_| self.broken_at(self.began, "not UTF-8"))?;
        self.found.push_back(Record { line: self.began, text });
        if self.place != Place::Top {
            self.place = Place::After;
        }
        Ok(())
    }

    /// An object around a list is complete.
    fn close(&mut self) -> Result<(), Broken> {
        let around = std::mem::take(&mut self.around);
        self.place = Place::Top;
        let parsed = std::str::from_utf8(&around).ok().map(Json::parse);
        match parsed {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                Err(Broken { line: self.line, error: MapError { field: "container".to_owned(), ..error } })
            }
            None => Err(self.broken("not UTF-8")),
        }
    }

    fn broken(&self, what: impl Into<String>) -> Broken {
        self.broken_at(self.line, what)
    }

    fn broken_at(&self, line: u64, what: impl Into<String>) -> Broken {
        Broken { line, error: MapError { field: "record".to_owned(), what: what.into() } }
    }
}

impl Iterator for Splitter {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.found.pop_front()
    }
}
