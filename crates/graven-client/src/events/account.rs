//! Whether what is gone of a log of events went by an entry of the log.

use std::fmt;

use graven_event::rules::Rules;
use graven_event::{Facts, Frame, Group};
use graven_merkle::{Frontier, leaf_hash};

use super::{Hit, TailOptions};
use crate::audit::Audited;
use crate::{LogClient, ReadError};

/// Most absences that are named; what comes after is only counted.
pub const MAX_ABSENCES: usize = 100;

/// What a server can still show of the events of a log, held against what the log says was to go.
///
/// The leaves are the ones that were signed. That a key or payload is gone is the server's word; that it was to go is the log's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Leaves with a payload.
    pub payloads: u64,
    /// Payloads that are gone and that an entry says were dropped.
    pub dropped: u64,
    /// Events parts of which nobody can read any more, about somebody who was erased by an entry.
    pub erased: u64,
    /// Events parts of which the caller may not read, and so cannot tell.
    pub hidden: u64,
    /// What is gone without an entry that says so, the lowest index first.
    pub absences: Vec<Absence>,
    /// Absences beyond those.
    pub more_absences: u64,
}

/// Something that is gone, and that no entry says was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The payload of an entry.
    Payload(u64),
    /// The key of somebody whom an entry is about.
    Key(u64),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(index) => {
                write!(f, "the payload of entry {index} is missing, and no entry says that it was dropped")
            }
            Self::Key(index) => write!(
                f,
                "parts of entry {index} cannot be read any more, and no entry says that anybody whom it is about was erased"
            ),
        }
    }
}

/// A hit of which something is gone, until all entries are known that may say why.
struct Gone {
    index: u64,
    class: u8,
    people: Option<Vec<graven_event::Ref>>,
}

impl LogClient {
    /// Looks at every entry below an audited head, and accounts for what is gone of its events. Whoever may not reveal can tell of
    /// payloads only.
    ///
    /// # Errors
    /// The entries cannot be read, or are not those that were audited.
    pub async fn account(
        &self,
        audited: &Audited,
        mut progress: impl FnMut(u64),
    ) -> Result<Account, ReadError> {
        let (size, root) = (audited.head().size().get(), *audited.head().root());
        let options = TailOptions { from: Some(0), query: String::new(), until_now: true, without_raw: true };
        let mut tail = self.events().tail(options);
        let (mut frontier, mut rules, mut account, mut gone) =
            (Frontier::new(), Rules::default(), Account::default(), Vec::new());
        while frontier.size().get() < size {
            let hit = tail.next().await?.ok_or(ReadError::WrongAnswer("fewer entries than were audited"))?;
            let index = hit.index().get();
            if index != frontier.size().get() || frontier.push(leaf_hash(hit.leaf())).is_none() {
                return Err(ReadError::WrongAnswer("entries that are left out"));
            }
            let Some(frame) = hit.frame() else { continue };
            rules.take(index, &frame.facts);
            gone.extend(account.look(&hit, frame));
            if index % 1024 == 0 {
                progress(index);
            }
        }
        if frontier.root() != root {
            return Err(ReadError::WrongAnswer("other entries than were audited"));
        }
        gone.iter().for_each(|gone| account.judge(gone, &rules));
        Ok(account)
    }
}

impl Account {
    /// Whether everything that is gone was to go.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.absences.is_empty()
    }

    fn look(&mut self, hit: &Hit, frame: &Frame) -> Option<Gone> {
        frame.payload?;
        self.payloads += 1;
        // Records were not asked for.
        self.hidden += u64::from(hit.hidden().iter().any(|group| group != Group::Raw.as_str()));
        let (index, class) = (hit.index().get(), frame.retention);
        // Each event has an actor: where that is neither shown nor hidden nor erased, there is no payload.
        let actor = Group::Actor.as_str();
        let is_told = hit.hidden().iter().chain(hit.erased()).any(|group| group == actor);
        let is_shown =
            hit.view().is_some_and(|view| view.actor.as_ref().is_some_and(|actor| !actor.id.is_empty()));
        if !is_told && !is_shown {
            return Some(Gone { index, class, people: None });
        }
        let Facts::Event(facts) = &frame.facts else { return None };
        (!hit.erased().is_empty()).then(|| Gone { index, class, people: Some(facts.people().collect()) })
    }

    fn judge(&mut self, gone: &Gone, rules: &Rules) {
        let absence = match &gone.people {
            None if rules.dropped.get(&gone.class).is_some_and(|before| gone.index < *before) => {
                self.dropped += 1;
                return;
            }
            None => Absence::Payload(gone.index),
            Some(people) if people.iter().any(|person| rules.erased.contains_key(person)) => {
                self.erased += 1;
                return;
            }
            Some(_) => Absence::Key(gone.index),
        };
        if self.absences.len() < MAX_ABSENCES {
            self.absences.push(absence);
        } else {
            self.more_absences += 1;
        }
    }
}
