//! A step in what was done about scopes, held against its leaf.

use bytes::Bytes;
use graven_event::{Facts, Frame, Outcome, Ref, Time, Word};
use graven_merkle::LeafIndex;
use graven_proto::{
    convert::{event::time_of, leaf_index, required},
    v1,
};

use super::{reference, same_words};
use crate::ReadError;

/// A command, or a use of a grant.
///
/// What, when, of which grant and scopes, and whether it counts stand in its [leaf](Self::leaf). [Who](Self::by) and
/// [why](Self::justification) are the server's word.
#[derive(Clone, Debug)]
pub struct Step {
    index: LeafIndex,
    leaf: Bytes,
    frame: Frame,
    what: String,
    by: String,
    grant: Option<Ref>,
    scopes: Vec<String>,
    justification: String,
}

/// The word for a command: `request`, `approve`, …
#[must_use]
pub fn command_word(command: u8) -> Option<&'static str> {
    const WORDS: [&str; 14] = [
        "define",
        "request",
        "approve",
        "deny",
        "narrow",
        "renew",
        "revoke",
        "revoke-token",
        "rotate",
        "open-review",
        "attest",
        "close-review",
        "appoint",
        "dismiss",
    ];
    WORDS.get(usize::from(command).checked_sub(1)?).copied()
}

/// The words for a use of a grant.
const USES: [&str; 2] = ["first-use", "last-use"];

impl Step {
    /// Where its leaf stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The bytes of its leaf.
    #[must_use]
    pub fn leaf(&self) -> &Bytes {
        &self.leaf
    }

    /// What the leaf says.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// When the log took it in.
    #[must_use]
    pub fn log_time(&self) -> Time {
        self.frame.log_time
    }

    /// What: [a command's word](command_word), `first-use` or `last-use`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Who: a name, or what stands for somebody whose key is gone.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> Option<Ref> {
        self.grant
    }

    /// The scopes.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Why a command does not count; `None`: it does.
    #[must_use]
    pub fn refused(&self) -> Option<&Word> {
        match &self.frame.facts {
            Facts::Scope(command) => command.refused.as_ref(),
            _ => None,
        }
    }

    /// Why it was done, if that may be read.
    #[must_use]
    pub fn justification(&self) -> &str {
        &self.justification
    }

    /// A step of a message, where it is what its leaf says.
    pub(super) fn of(message: v1::HistoryStep) -> Result<Self, ReadError> {
        let frame = Frame::decode(&message.leaf)?;
        let grant = match message.grant.as_str() {
            "" => None,
            text => Some(reference(text).ok_or(ReadError::WrongAnswer("a grant whose number is none"))?),
        };
        let log_time = time_of("log_time", required("log_time", message.log_time)?)?;
        if frame.log_time != log_time || !is_of(&frame, &message, grant) {
            return Err(ReadError::WrongAnswer("a step that is not what its leaf says"));
        }
        Ok(Self {
            index: leaf_index("index", message.index)?,
            leaf: message.leaf,
            frame,
            what: message.what,
            by: message.by,
            grant,
            scopes: message.scopes,
            justification: message.justification,
        })
    }
}

fn is_of(frame: &Frame, message: &v1::HistoryStep, grant: Option<Ref>) -> bool {
    match &frame.facts {
        Facts::Scope(command) => {
            let refused = command.refused.as_ref().map_or("", Word::as_str);
            command_word(command.command) == Some(message.what.as_str())
                && refused == message.refused
                && command.grant.is_none_or(|told| grant == Some(told))
                && (command.scopes.is_empty()
                    || same_words(&command.scopes, message.scopes.iter().map(String::as_str)))
        }
        Facts::Decision(decision) => {
            let used = |scope: &String| decision.scopes.iter().any(|word| word.as_str() == scope);
            USES.contains(&message.what.as_str())
                && frame.outcome == Some(Outcome::Success)
                && message.refused.is_empty()
                && grant.is_none_or(|grant| decision.grants.contains(&grant))
                && message.scopes.iter().all(used)
        }
        _ => false,
    }
}
