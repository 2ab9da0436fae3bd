//! Reading a question: strictly, with errors that say where and what would be right.

use super::ast::{Clause, Pattern, Query, What, When};
use super::term::{Field, runs};
use crate::facts::Facts;
use crate::model::Outcome;
use crate::time::Time;

/// Longest question.
pub const MAX_QUERY_BYTES: usize = 4 << 10;
/// Most values in one, over all clauses: each costs a look-up in every part of an index.
pub const MAX_VALUES_OF_QUERY: usize = 64;

const NANOS: u64 = 1_000_000_000;
const SPANS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

/// A text is no question. It says nothing of what stands in the text, which may name people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub struct ParseError {
    /// Where, in bytes from 0.
    pub at: usize,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl Query {
    /// Reads a question; spans such as `24h` count back from `now`.
    ///
    /// # Errors
    /// It is none, or exceeds a limit.
    pub fn parse(text: &str, now: Time) -> Result<Self, ParseError> {
        if text.len() > MAX_QUERY_BYTES {
            let what = format!("the query is longer than {MAX_QUERY_BYTES} bytes: ask for less at once");
            return Err(ParseError { at: MAX_QUERY_BYTES, what });
        }
        let mut parser = Parser { text, at: 0, now, values: 0 };
        let mut clauses = Vec::new();
        while parser.skip_space() {
            clauses.push(parser.clause()?);
        }
        Ok(Self { clauses })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    now: Time,
    values: usize,
}

/// A value and where it stands.
struct Value {
    pattern: Pattern,
    at: usize,
}

impl Parser<'_> {
    fn clause(&mut self) -> Result<Clause, ParseError> {
        let begun = self.at;
        let is_negated = self.take('-');
        let what = match self.field_name()? {
            None => self.text_clause()?,
            Some(name) => self.field_clause(&name, begun)?,
        };
        if is_negated && matches!(what, What::Since(..) | What::Until(..)) {
            return error(begun, "a time is not negated: write `until:` for `-since:`, and the reverse");
        }
        match self.peek() {
            None => {}
            Some(c) if c.is_whitespace() => {}
            Some(_) => {
                return error(self.at, "a space belongs here: put a value with quotes in it in quotes");
            }
        }
        Ok(Clause { is_negated, what })
    }

    /// What stands before a colon; `None`: the clause is a text.
    fn field_name(&mut self) -> Result<Option<String>, ParseError> {
        let name: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
        if !self.rest()[name.len()..].starts_with(':') {
            return Ok(None);
        }
        if name.is_empty() {
            return error(
                self.at,
                "a field's name belongs before the colon, or quotes around a text with one",
            );
        }
        self.at += name.len() + 1;
        Ok(Some(name))
    }

    fn text_clause(&mut self) -> Result<What, ParseError> {
        let value = self.value(":,")?;
        if runs(value.pattern.as_str()).next().is_none() {
            return error(value.at, "a text to search for needs a letter or a digit");
        }
        Ok(What::Text(value.pattern))
    }

    fn field_clause(&mut self, name: &str, at: usize) -> Result<What, ParseError> {
        let (when, edge) = match name.strip_prefix("happened-") {
            Some(edge) => (When::Happened, edge),
            None => (When::Logged, name),
        };
        match edge {
            "since" => return Ok(What::Since(when, self.time()?)),
            "until" => return Ok(What::Until(when, self.time()?)),
            _ => {}
        }
        let named = Field::ALL.iter().find(|(_, word)| !word.is_empty() && *word == name);
        let Some((field, _)) = named else {
            let names: Vec<&str> =
                Field::ALL.iter().map(|(_, name)| *name).filter(|name| !name.is_empty()).collect();
            let what = format!(
                "no such field: there are {}, since, until, happened-since and happened-until; a text with a colon goes in quotes",
                names.join(", ")
            );
            return Err(ParseError { at, what });
        };
        let mut patterns = Vec::new();
        loop {
            let value = self.value(",")?;
            check(*field, &value)?;
            patterns.push(value.pattern);
            if !self.take(',') {
                return Ok(What::Is(*field, patterns));
            }
        }
    }

    fn time(&mut self) -> Result<Time, ParseError> {
        let value = self.value("")?;
        let Pattern::Exact(text) = &value.pattern else {
            return error(value.at, "a time has no `*`");
        };
        if let Ok(time) = text.parse() {
            return Ok(time);
        }
        span(text).map(|span| Time(self.now.0.saturating_sub(span))).ok_or(ParseError {
            at: value.at,
            what: "not a time: write 2026-03-01T09:30:00Z, or a span back from now as 30m, 24h, 7d, 2w"
                .to_owned(),
        })
    }

    /// A value, up to a space or one of `ends`.
    fn value(&mut self, ends: &str) -> Result<Value, ParseError> {
        let at = self.at;
        self.values += 1;
        if self.values > MAX_VALUES_OF_QUERY {
            let what = format!("more than {MAX_VALUES_OF_QUERY} values: ask in parts");
            return Err(ParseError { at, what });
        }
        let text = if self.take('"') { self.quoted(at)? } else { self.bare(ends)? };
        if text.is_empty() {
            return error(at, "a value is missing");
        }
        if text.chars().any(char::is_control) {
            return error(at, "a value has no control characters");
        }
        let pattern = if self.take('*') { Pattern::Prefix(text) } else { Pattern::Exact(text) };
        match self.peek() {
            Some('*') => error(self.at, "`*` stands once, at the end; one that is meant goes in quotes"),
            _ => Ok(Value { pattern, at }),
        }
    }

    /// What follows an opening quote, up to the closing one.
    fn quoted(&mut self, begun: usize) -> Result<String, ParseError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return error(begun, "the quote is not closed"),
                Some('"') => return Ok(text),
                Some('\\') => match self.next() {
                    Some(c @ ('"' | '\\')) => text.push(c),
                    _ => return error(self.at, "after a backslash in quotes stands a quote or a backslash"),
                },
                Some(c) => text.push(c),
            }
        }
    }

    fn bare(&mut self, ends: &str) -> Result<String, ParseError> {
        let is_inside = |c: &char| !c.is_whitespace() && !"\"*".contains(*c) && !ends.contains(*c);
        let text: String = self.rest().chars().take_while(is_inside).collect();
        self.at += text.len();
        match self.peek() {
            Some('*') if self.rest()[1..].starts_with(|c: char| !c.is_whitespace() && c != ',') => {
                error(self.at, "`*` stands once, at the end; one that is meant goes in quotes")
            }
            Some(':') if ends.contains(':') => error(self.at, "a text with a colon goes in quotes"),
            Some(',') if ends == ":," => {
                error(self.at, "a comma stands between the values of a field only: quotes, or a space")
            }
            _ => Ok(text),
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += if is_there { wanted.len_utf8() } else { 0 };
        is_there
    }

    /// `false`: nothing follows.
    fn skip_space(&mut self) -> bool {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self.peek().is_some()
    }
}

/// What a field's values must be beyond texts.
fn check(field: Field, value: &Value) -> Result<(), ParseError> {
    let Value { pattern, at } = value;
    let Pattern::Exact(text) = pattern else {
        if field.is_personal() {
            return error(*at, "this field is kept as keyed hashes, which have no beginnings: leave out `*`");
        }
        if field == Field::Label && !pattern.as_str().contains('=') {
            return error(*at, "write label:KEY=VALUE; a `*` may end the value");
        }
        return Ok(());
    };
    match field {
        Field::Outcome if Outcome::ALL.iter().all(|known| !known.as_str().eq_ignore_ascii_case(text)) => {
            error(*at, "an outcome is success, failure, denied or unknown")
        }
        Field::Kind if Facts::KINDS.iter().all(|known| !known.eq_ignore_ascii_case(text)) => {
            Err(ParseError { at: *at, what: format!("a kind is one of {}", Facts::KINDS.join(", ")) })
        }
        Field::Class if text.parse::<u8>().is_err() || text.len() > 1 && text.starts_with(['0', '+']) => {
            error(*at, "a retention class is a number from 0 to 255")
        }
        Field::Producer if text.len() != 32 || text.bytes().any(|b| !b.is_ascii_hexdigit()) => {
            error(*at, "a producer is a reference of 32 hexadecimal digits")
        }
        Field::Label if text.find('=').is_none_or(|at| at == 0) => error(*at, "write label:KEY=VALUE"),
        _ => Ok(()),
    }
}

/// `24h` in nanoseconds.
fn span(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let (_, seconds) = SPANS.iter().find(|(known, _)| *known == unit)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let count: u64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    count.checked_mul(*seconds)?.checked_mul(NANOS)
}

fn error<T>(at: usize, what: &str) -> Result<T, ParseError> {
    Err(ParseError { at, what: what.to_owned() })
}
