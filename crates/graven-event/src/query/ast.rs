//! What a question says, and how it is answered by looking.

use std::fmt;

use super::term::{Field, each_value, runs};
use crate::facts::Facts;
use crate::frame::Frame;
use crate::group::{Group, View};
use crate::time::Time;

/// A question: every clause must hold. None: everything is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Its clauses, as they were asked.
    pub clauses: Vec<Clause>,
}

/// A part of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Whether it must not hold.
    pub is_negated: bool,
    /// What it says.
    pub what: What,
}

/// What a clause says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A field has one of these values.
    Is(Field, Vec<Pattern>),
    /// Every word of the text is among the event's words.
    Text(Pattern),
    /// It is of this time or later.
    Since(When, Time),
    /// It is of before this time.
    Until(When, Time),
}

/// Which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// That of the log.
    Logged,
    /// That which the producer gave. An entry without one is neither before nor after any.
    Happened,
}

/// Which values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(String),
    /// Those that begin so; of a text, its last word.
    Prefix(String),
}

impl Query {
    /// Whether a leaf is what is asked for, as far as what is readable of its payload says.
    pub fn matches(&self, frame: &Frame, view: &View) -> bool {
        let mut values = Vec::new();
        each_value(frame, view, &mut |field, _, value| values.push((field, value)));
        self.clauses.iter().all(|clause| clause.what.holds(frame, &values) != clause.is_negated)
    }

    /// Whether it asks for values that may tell of people, so that its text is not for everybody.
    pub fn is_personal(&self) -> bool {
        self.clauses.iter().any(|clause| matches!(&clause.what, What::Is(field, _) if field.is_personal()))
    }

    /// The groups of a payload without which it cannot be said whether it [matches](Self::matches).
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let groups = |clause: &Clause| match &clause.what {
            What::Is(Field::Label, _) => &[Some(Group::Origin)][..],
            What::Is(field, _) => field.groups(),
            What::Text(_) => &[Some(Group::Targets), Some(Group::Decision), Some(Group::Origin)],
            What::Since(..) | What::Until(..) => &[],
        };
        Group::ALL
            .into_iter()
            .filter(move |group| self.clauses.iter().any(|clause| groups(clause).contains(&Some(*group))))
    }
}

impl What {
    fn holds(&self, frame: &Frame, values: &[(Field, String)]) -> bool {
        let any = |field: Field, fits: &dyn Fn(&str) -> bool| {
            values.iter().any(|(found, value)| *found == field && fits(value))
        };
        match self {
            Self::Is(field, patterns) => patterns.iter().any(|pattern| match pattern {
                Pattern::Exact(value) => any(*field, &|found| found == field.normal(value)),
                Pattern::Prefix(value) => any(*field, &|found| found.starts_with(&field.normal(value))),
            }),
            Self::Text(pattern) => pattern.words().into_iter().all(|(word, begins)| {
                any(Field::Text, &|found| if begins { found.starts_with(&word) } else { found == word })
            }),
            Self::Since(when, time) => when.of(frame).is_some_and(|found| found >= *time),
            Self::Until(when, time) => when.of(frame).is_some_and(|found| found < *time),
        }
    }
}

impl When {
    /// That time of a leaf.
    pub fn of(self, frame: &Frame) -> Option<Time> {
        match (self, &frame.facts) {
            (Self::Logged, _) => Some(frame.log_time),
            (Self::Happened, Facts::Event(event)) => event.event_time.map(Time),
            (Self::Happened, _) => None,
        }
    }
}

impl Pattern {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
        }
    }

    /// The words of a text as they are compared, each with whether it is the beginning of one.
    pub(crate) fn words(&self) -> Vec<(String, bool)> {
        let mut words: Vec<_> = runs(self.as_str()).map(|word| (Field::Text.normal(word), false)).collect();
        if let (Self::Prefix(_), Some(last)) = (self, words.last_mut()) {
            last.1 = true;
        }
        words
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, clause) in self.clauses.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { " " })?;
            write!(f, "{clause}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_negated { "-" } else { "" })?;
        match &self.what {
            What::Is(field, patterns) => {
                write!(f, "{}:", field.as_str())?;
                for (n, pattern) in patterns.iter().enumerate() {
                    write!(f, "{}{pattern}", if n == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            What::Text(pattern) => write!(f, "{pattern}"),
            What::Since(when, time) => write!(f, "{}since:{time}", when.prefix()),
            What::Until(when, time) => write!(f, "{}until:{time}", when.prefix()),
        }
    }
}

impl When {
    fn prefix(self) -> &'static str {
        match self {
            Self::Logged => "",
            Self::Happened => "happened-",
        }
    }
}

impl fmt::Display for Pattern {
    /// In quotes, unless it is plain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.as_str();
        let is_plain = |c: char| c.is_alphanumeric() || "._/@=".contains(c);
        if text.chars().all(is_plain) {
            f.write_str(text)?;
        } else {
            write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        f.write_str(if matches!(self, Self::Prefix(_)) { "*" } else { "" })
    }
}
