//! Grants: `append:audit`, `read:*`.

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
}

/// A permission on one log, or on all of them, those to come included: `append:audit`, `read:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    permission: Permission,
    /// `None`: all of them.
    log: Option<LogName>,
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not two words.
    #[error("`{0}` is no grant: write append, read, admin or witness, a colon and the name of a log or `*`")]
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
    const ALL: [Self; 4] = [Self::Append, Self::Read, Self::Admin, Self::Witness];

    fn word(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Witness => "witness",
        }
    }
}

impl Grant {
    /// Every permission on every log.
    pub fn all() -> Vec<Self> {
        Permission::ALL.map(|permission| Self { permission, log: None }).to_vec()
    }

    /// Whether it is enough for this.
    pub fn covers(&self, ask: &Ask<'_>) -> bool {
        self.permission == ask.permission && (self.log.is_none() || self.log.as_ref() == ask.log)
    }

    /// The least that is enough for this.
    pub(super) fn for_ask(ask: &Ask<'_>) -> Self {
        Self { permission: ask.permission, log: ask.log.cloned() }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.as_ref().map_or("*", LogName::as_str);
        write!(f, "{}:{log}", self.permission.word())
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let form = || GrantError::Form(text.to_owned());
        let (word, log) = text.split_once(':').ok_or_else(form)?;
        let permission = Permission::ALL.into_iter().find(|it| it.word() == word).ok_or_else(form)?;
        let log = match log {
            "*" => None,
            name => {
                Some(LogName::new(name).map_err(|error| GrantError::Log { grant: text.to_owned(), error })?)
            }
        };
        Ok(Self { permission, log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_it_says_and_nothing_else() {
        let logs = [LogName::new("audit").unwrap(), LogName::new("other").unwrap()];
        for text in ["append:audit", "read:*", "admin:other", "witness:audit"] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
            for permission in Permission::ALL {
                for log in [None, Some(&logs[0]), Some(&logs[1])] {
                    let expected = match (text, permission, log) {
                        ("append:audit", Permission::Append, Some(log)) => log.as_str() == "audit",
                        ("read:*", Permission::Read, _) => true,
                        ("witness:audit", Permission::Witness, Some(log)) => log.as_str() == "audit",
                        ("admin:other", Permission::Admin, Some(log)) => log.as_str() == "other",
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
        for text in
            ["", "append", "write:audit", "Append:audit", "append:", "append:Audit", "append:*x", ":audit"]
        {
            assert!(text.parse::<Grant>().unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
