//! Grants: `append:audit`, `read:acme-*`, `read:*`.

use std::fmt;
use std::str::FromStr;

use graven_log::{InvalidName, LogName};

use super::Ask;

/// What a call does to a log. None of them includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Adds entries.
    Append,
    /// Reads heads, proofs and entries.
    Read,
    /// Makes, lists and ends logs.
    Admin,
    /// Sees pending heads and hands in cosignatures over them.
    Witness,
    /// Searches a log of events, for what is not personal.
    Query,
    /// Sees what is personal in events.
    Reveal,
    /// Erases somebody.
    Erase,
    /// Reads who did what to this server: its log of accesses.
    Audit,
    /// Commands about scopes in a log of events. Which of them count, is for the log to say.
    Scope,
    /// Asks a log of events whether something is allowed, which is recorded.
    Check,
}

/// A permission on one log; on those whose names begin alike; or on all of them. Those to come are included:
/// `append:audit`, `read:acme-*`, `read:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    permission: Permission,
    logs: Logs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Logs {
    All,
    /// Ends in `-`, so that `acme-*` has nothing of `acmeevil`.
    Beginning(String),
    One(LogName),
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not two words.
    #[error(
        "`{0}` is no grant: write {words}, a colon and the name of a log, `NAME-*` or `*`",
        words = Permission::words()
    )]
    Form(String),
    /// Not a log's name.
    #[error("`{grant}` is no grant: {error}")]
    Log {
        /// The text.
        grant: String,
        /// What is wrong with the name.
        error: InvalidName,
    },
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Append,
        Self::Read,
        Self::Admin,
        Self::Witness,
        Self::Query,
        Self::Reveal,
        Self::Erase,
        Self::Audit,
        Self::Scope,
        Self::Check,
    ];

    /// As a grant says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Witness => "witness",
            Self::Query => "query",
            Self::Reveal => "reveal",
            Self::Erase => "erase",
            Self::Audit => "audit",
            Self::Scope => "scope",
            Self::Check => "check",
        }
    }

    /// For people: `append, read, … or check`.
    fn words() -> String {
        let [first @ .., last] = Self::ALL.map(Self::word);
        format!("{} or {last}", first.join(", "))
    }
}

impl Grant {
    /// Every permission on every log.
    pub fn all() -> Vec<Self> {
        Permission::ALL.map(|permission| Self { permission, logs: Logs::All }).to_vec()
    }

    /// Whether it is enough for this.
    pub fn covers(&self, ask: &Ask<'_>) -> bool {
        let covers_log = match &self.logs {
            Logs::All => true,
            Logs::Beginning(prefix) => ask.log.is_some_and(|log| log.as_str().starts_with(prefix.as_str())),
            Logs::One(log) => ask.log == Some(log),
        };
        self.permission == ask.permission && covers_log
    }

    /// The least that is enough for this.
    pub(super) fn for_ask(ask: &Ask<'_>) -> Self {
        Self { permission: ask.permission, logs: ask.log.cloned().map_or(Logs::All, Logs::One) }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.permission.word();
        match &self.logs {
            Logs::All => write!(f, "{word}:*"),
            Logs::Beginning(prefix) => write!(f, "{word}:{prefix}*"),
            Logs::One(log) => write!(f, "{word}:{log}"),
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let form = || GrantError::Form(text.to_owned());
        let (word, logs) = text.split_once(':').ok_or_else(form)?;
        let permission = Permission::ALL.into_iter().find(|it| it.word() == word).ok_or_else(form)?;
        let name =
            |name| LogName::new(name).map_err(|error| GrantError::Log { grant: text.to_owned(), error });
        let logs = match logs.strip_suffix('*') {
            Some("") => Logs::All,
            Some(prefix) if prefix.ends_with('-') => Logs::Beginning(name(prefix)?.to_string()),
            Some(_) => return Err(form()),
            None => Logs::One(name(logs)?),
        };
        Ok(Self { permission, logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_it_says_and_nothing_else() {
        let logs = ["audit", "other", "aud-it", "aud-", "aud"].map(|name| LogName::new(name).unwrap());
        for text in [
            "append:audit",
            "read:*",
            "admin:other",
            "witness:audit",
            "reveal:aud-*",
            "query:other",
            "audit:*",
            "scope:other",
            "check:aud-*",
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
            for permission in Permission::ALL {
                for log in logs.iter().map(Some).chain([None]) {
                    let expected = match (text, permission, log) {
                        ("append:audit", Permission::Append, Some(log)) => log.as_str() == "audit",
                        ("read:*", Permission::Read, _) => true,
                        ("witness:audit", Permission::Witness, Some(log)) => log.as_str() == "audit",
                        ("admin:other", Permission::Admin, Some(log)) => log.as_str() == "other",
                        ("query:other", Permission::Query, Some(log)) => log.as_str() == "other",
                        ("reveal:aud-*", Permission::Reveal, Some(log)) => {
                            ["aud-it", "aud-"].contains(&log.as_str())
                        }
                        ("audit:*", Permission::Audit, _) => true,
                        ("scope:other", Permission::Scope, Some(log)) => log.as_str() == "other",
                        ("check:aud-*", Permission::Check, Some(log)) => {
                            ["aud-it", "aud-"].contains(&log.as_str())
                        }
                        _ => false,
                    };
                    assert_eq!(
                        grant.covers(&Ask { log, permission }),
                        expected,
                        "{text} {permission:?} {log:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_grant_is_refused_by_name() {
        for text in [
            "",
            "append",
            "write:audit",
            "Append:audit",
            "append:",
            "append:Audit",
            "append:*x",
            "append:aud*",
            "append:-*",
            "append:A-*",
            "append:**",
            ":audit",
        ] {
            assert!(text.parse::<Grant>().unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
