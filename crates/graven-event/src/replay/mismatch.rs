//! What does not follow, in words.

use std::fmt;

use crate::codec::Malformed;
use crate::facts::{Facts, Word};
use crate::model::Outcome;
use crate::producers::NumberError;

/// An entry that says something else than the entries before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its index.
    pub index: u64,
    /// What is wrong with it.
    pub what: What,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is not the next one: that would be this.
    NotNext(u64),
    /// It is neither a frame nor a statement about the log's keys.
    Unreadable(Malformed),
    /// Its log time is before that of the entry before it.
    TimeWentBack,
    /// It begins a log, and is not the first entry; or the first one does not, or for another log.
    NotTheBeginning,
    /// The log's recovery key did not sign who decides about scopes first.
    Unauthorised,
    /// Its producer could not use its number.
    Number(NumberError),
    /// It names another entry of its producer as the one before than there is.
    NotTheOneBefore,
    /// A gap that is none, or was told of.
    NoGap,
    /// A command counts, or is refused, otherwise than it says: what it says, and what follows. `None`: it counts.
    Command(Option<Word>, Option<Word>),
    /// It ended otherwise than it says: what it says, and what follows.
    Outcome(Option<Outcome>, Outcome),
    /// A decision comes out otherwise: what it says, and what follows.
    Decision(Word, Word),
    /// A decision rests on other grants.
    Grants,
    /// A decision takes leaves into account that came later, or does not take some that matter.
    StateSize,
    /// A decision was made after its entry, or too long before.
    DecidedAt,
    /// A sum of decisions that have entries of their own.
    NoSum,
    /// This had to follow it at once, and does not.
    Missing(Box<Facts>),
    /// Nothing says that it had to come, or might.
    Unfounded,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.index, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNext(next) => write!(f, "not the next entry, which is {next}"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::TimeWentBack => f.write_str("its time is before that of the entry before it"),
            Self::NotTheBeginning => {
                f.write_str("a log begins with one entry that says which log it is, and this is not it")
            }
            Self::Unauthorised => {
                f.write_str("its administrators are not signed by the recovery key that it names")
            }
            Self::Number(why) => write!(f, "its producer's number: {why}"),
            Self::NotTheOneBefore => {
                f.write_str("the entry of its producer before it is another one than it names")
            }
            Self::NoGap => f.write_str("a gap that is none, or was told of before"),
            Self::Command(said, again) => {
                write!(
                    f,
                    "a command that {}, as it says, and {}",
                    counts(said.as_ref()),
                    counts(again.as_ref())
                )
            }
            Self::Outcome(said, again) => {
                let said = said.map_or("nothing", Outcome::as_str);
                write!(f, "it ended with {said}, as it says, and with {}", again.as_str())
            }
            Self::Decision(said, again) => write!(f, "decided as {said}, and decided again it is {again}"),
            Self::Grants => f.write_str("decided by other grants than there are"),
            Self::StateSize => f.write_str("decided from a state that was not that of the entries before it"),
            Self::DecidedAt => f.write_str("decided after it was written, or too long before"),
            Self::NoSum => f.write_str("a sum of decisions that have entries of their own"),
            Self::Missing(facts) => write!(f, "{} had to follow it, and does not", Named(facts)),
            Self::Unfounded => f.write_str("nothing before it leads to it"),
        }
    }
}

fn counts(refused: Option<&Word>) -> String {
    refused.map_or_else(|| "counts".to_owned(), |word| format!("is refused as {word}"))
}

struct Named<'a>(&'a Facts);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Facts::Alert(alert) => write!(f, "an alert of the rule {}", alert.name),
            Facts::Filled(gap) => write!(f, "an entry that number {} came after all", gap.first),
            other => write!(f, "an entry of the kind {}", other.kind_word()),
        }
    }
}
