//! Events made of other systems' audit records.
//!
//! ```
//! use graven_event::map::{Format, map};
//!
//! let record = r#"{"eventName": "GetObject", "eventSource": "s3.amazonaws.com", "errorCode": "AccessDenied",
//!     "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::1:user/alice", "userName": "alice"}}"#;
//! let event = map(Format::CloudTrail, record)?;
//! assert_eq!((event.action.as_str(), event.outcome.as_str()), ("GetObject", "denied"));
//! # Ok::<(), graven_event::map::MapError>(())
//! ```
//!
//! # A mapping never changes
//! The event keeps the record in [`raw`](Event::raw), byte for byte, with the word of the mapping that was used: `cloudtrail/v1`. Whoever is
//! shown `raw` and other fields checks these by mapping the record [again](remap), in years to come as well. So what `v1`
//! gives for a record is fixed with its first release; whatever is to be different is `v2`, beside it. Golden files in
//! `tests/vectors/events` hold each mapping to that.
//!
//! # What all of them have in common
//! * The [action](Event::action) is the system's own word, and [`source.product`](crate::Source::product) says whose.
//! * Who is not named is `anonymous:unknown`, and where a system did it by itself, `system:` and its name. Nobody is left blank.
//! * Accounts of people are of the kind `user`, as actors and as targets, with the same identifier: erasing one finds both.
//! * A time that is missing or cannot be read is left out: the log has its own.
//! * Texts longer than [`MAX_TEXT_BYTES`](crate::MAX_TEXT_BYTES) (reasons, programs and changes:
//!   [`MAX_LONG_TEXT_BYTES`](crate::MAX_LONG_TEXT_BYTES)) are cut and end in `…`; of targets, changes and scopes the first ones are kept, as many
//!   as [fit](crate::MAX_ITEMS), of people among the targets 24, and of changes as many [bytes](crate::MAX_CHANGES_BYTES). All of it is in `raw`.
//! * Where a name has no member, one that differs in upper and lower case counts: some stores lower all names.
//! * A record in which a member is there twice is refused: two readers could read two things.
//! * What may hold a secret is in `raw` at most, and whether it does is for [`carries_secret`] to tell beforehand.

mod auth0;
mod build;
mod cloudtrail;
mod github;
mod json;
mod kubernetes;
mod ocsf;
mod okta;
mod secret;
mod split;
mod teleport;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use secret::carries_secret;
pub use split::{Broken, Record, Splitter, records};

use self::json::Json;
use crate::model::{Event, Raw};

/// Longest record that is read: a request to Kubernetes has up to 3 MiB. To be kept as `raw`, it may have
/// [`MAX_RAW_BYTES`](crate::MAX_RAW_BYTES).
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// A system whose records are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Format {
    CloudTrail,
    Okta,
    Kubernetes,
    Auth0,
    GitHub,
    Ocsf,
    Teleport,
}

/// A record is not one of its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct MapError {
    /// The field, as in the record.
    pub field: String,
    /// What is wrong. It never repeats what stands in a record.
    pub what: String,
}

/// Not the word of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a format: it is one of cloudtrail, okta, k8s, auth0, github, ocsf, teleport")]
pub struct NoFormat;

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [
        Self::CloudTrail,
        Self::Okta,
        Self::Kubernetes,
        Self::Auth0,
        Self::GitHub,
        Self::Ocsf,
        Self::Teleport,
    ];

    /// Its word, on command lines and as [`source.product`](crate::Source::product).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::Okta => "okta",
            Self::Kubernetes => "k8s",
            Self::Auth0 => "auth0",
            Self::GitHub => "github",
            Self::Ocsf => "ocsf",
            Self::Teleport => "teleport",
        }
    }

    /// Its word with the version of its mapping: what [`Raw::format`] says.
    pub fn versioned(self) -> String {
        format!("{}/v1", self.as_str())
    }

    /// The members of an object around a list of records, where there are such objects.
    fn containers(self) -> &'static [&'static str] {
        match self {
            Self::CloudTrail => &["Records"],
            Self::Kubernetes => &["items"],
            Self::Auth0 => &["logs"],
            Self::Okta | Self::GitHub | Self::Ocsf | Self::Teleport => &[],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = NoFormat;

    fn from_str(word: &str) -> Result<Self, NoFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == word).ok_or(NoFormat)
    }
}

/// Makes an event of one record, which is kept in it.
///
/// # Errors
/// It is longer than [`MAX_RECORD_BYTES`], no JSON object, or not a record of this format.
pub fn map(format: Format, raw: &str) -> Result<Event, MapError> {
    if raw.len() > MAX_RECORD_BYTES {
        return Err(wrong("record", format!("{} bytes, and at most {MAX_RECORD_BYTES} are read", raw.len())));
    }
    let record = Json::parse(raw)?;
    if !record.is_object() {
        return Err(wrong("record", "it must be a JSON object with members"));
    }
    let mut event = match format {
        Format::CloudTrail => cloudtrail::v1(&record),
        Format::Okta => okta::v1(&record),
        Format::Kubernetes => kubernetes::v1(&record),
        Format::Auth0 => auth0::v1(&record),
        Format::GitHub => github::v1(&record),
        Format::Ocsf => ocsf::v1(&record),
        Format::Teleport => teleport::v1(&record),
    }?;
    event.raw = Some(Raw { format: format.versioned(), text: raw.to_owned() });
    Ok(event)
}

/// Makes the event again that a kept record gave, by the mapping that it names; `None` where it names none.
///
/// # Errors
/// No event was ever made of it.
pub fn remap(raw: &Raw) -> Option<Result<Event, MapError>> {
    let format = Format::ALL.into_iter().find(|format| format.versioned() == raw.format)?;
    Some(map(format, &raw.text))
}

fn wrong(field: &str, what: impl Into<String>) -> MapError {
    MapError { field: field.to_owned(), what: what.into() }
}

/// The word that says what was done. It stands in the leaf for ever, so it is never cut.
fn action(record: &Json, field: &str) -> Result<String, MapError> {
    let text =
        record.text(field).ok_or_else(|| wrong(field, "missing, blank or no text: it says what was done"))?;
    as_action(field, text.to_owned())
}

fn as_action(field: &str, text: String) -> Result<String, MapError> {
    match crate::facts::Word::new(text.as_str()) {
        Ok(_) => Ok(text),
        Err(error) => Err(wrong(field, error.to_string())),
    }
}
