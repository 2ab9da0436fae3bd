//! What is missing of logs of events, and by what right: payloads that were dropped and people who were erased, held against the entries
//! that say so.
//!
//! Leaves prove themselves. A payload does not have to be there: it goes when its time is over, and a person's parts of it when they
//! are erased. Both are entries first. So whoever deletes either without one is found out:
//!
//! | payload | the log says that its class is dropped up to there | |
//! |---|---|---|
//! | there, and the one that the leaf commits to | | well |
//! | absent | yes | dropped with authority |
//! | absent | no | missing |
//! | another than the leaf commits to | | changed |
//!
//! | key of a person that payloads name | the log says that they are erased | |
//! |---|---|---|
//! | there | no | well |
//! | gone | yes | erased with authority |
//! | gone | no | lost: nobody decided that |
//! | there | yes | the erasure was not completed: starting the server does that |

use std::collections::BTreeMap;
use std::fmt;

use graven_event::Frame;
use graven_event::facts::Ref;
use graven_event::payload::Payload;
use graven_event::rules::Rules;
use graven_log::{Attached, Kind, LogMeta, LogName, Look, MAX_PROBLEMS};
use graven_vault::{Lookup, Sight, SubjectRef};

use crate::hook::is_statement;

/// Looks at the leaves of all logs of events, in index order.
#[derive(Default)]
pub struct Checking {
    logs: BTreeMap<LogName, OneLog>,
}

#[derive(Default)]
struct OneLog {
    origin: String,
    rules: Rules,
    /// Leaves without the payload that they claim, by class.
    absent: BTreeMap<u8, Vec<u64>>,
    /// Everybody whom a payload names, with the first leaf of which.
    people: BTreeMap<Ref, u64>,
    checked: Checked,
}

/// What was found in one log of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Leaves with a payload.
    pub payloads: u64,
    /// Payloads that are there and the ones that their leaves commit to.
    pub present: u64,
    /// Payloads that are gone and that an entry says were dropped.
    pub dropped: u64,
    /// Whether the key store was compared too.
    pub with_keys: bool,
    /// People whom payloads that are there name.
    pub people: u64,
    /// People of these whose keys are gone and of whom an entry says that they were erased.
    pub erased: u64,
    /// What nobody decided, the lowest index first.
    pub doubts: Vec<Doubt>,
    /// Doubts beyond those.
    pub more_doubts: u64,
}

/// Something that is not as the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The payload of a leaf is gone, and no entry says that it was dropped.
    Missing(u64),
    /// What lies beside a leaf is not the payload that it commits to.
    Changed(u64),
    /// A leaf is none of a log of events.
    Foreign(u64),
    /// The key of somebody is gone, and no entry says that they were erased.
    Lost {
        /// What stands for them.
        person: Ref,
        /// The first leaf whose payload names them.
        first: u64,
    },
    /// An entry says that somebody was erased, and their key is still there.
    Kept {
        /// What stands for them.
        person: Ref,
        /// The entry.
        entry: u64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(index) => {
                write!(f, "the payload of entry {index} is missing, and no entry says that it was dropped")
            }
            Self::Changed(index) => {
                write!(
                    f,
                    "the payload of entry {index} was changed: it is not the one that the entry commits to"
                )
            }
            Self::Foreign(index) => write!(f, "entry {index} is not of a log of events"),
            Self::Lost { person, first } => write!(
                f,
                "the key of {person}, whom entry {first} is about, is gone, and no entry says that they were erased"
            ),
            Self::Kept { person, entry } => write!(
                f,
                "entry {entry} says that {person} was erased, and their key is still there: start the server, which completes it"
            ),
        }
    }
}

impl Look for Checking {
    fn entry(&mut self, log: &LogMeta, index: u64, entry: &[u8], attached: Attached) {
        if log.kind == Kind::Bytes {
            return;
        }
        let one = self.logs.entry(log.name.clone()).or_default();
        if one.origin.is_empty() {
            one.origin = log.origin.as_str().to_owned();
        }
        one.entry(index, entry, attached);
    }
}

impl Checking {
    /// What was found, by log. With the key store people are compared as well.
    pub fn finish(self, vault: Option<&Sight>) -> BTreeMap<LogName, Checked> {
        self.logs.into_iter().map(|(name, log)| (name, log.finish(vault))).collect()
    }
}

impl OneLog {
    fn entry(&mut self, index: u64, entry: &[u8], attached: Attached) {
        let Ok(frame) = Frame::decode(entry) else {
            if !is_statement(entry) {
                self.checked.doubt(Doubt::Foreign(index));
            }
            return;
        };
        self.rules.take(index, &frame.facts);
        let Some(claimed) = &frame.payload else {
            if attached != Attached::Nothing && attached != Attached::Unreadable {
                self.checked.doubt(Doubt::Changed(index));
            }
            return;
        };
        self.checked.payloads += 1;
        let bytes = match attached {
            Attached::Bytes(bytes) => bytes,
            Attached::Nothing => return self.absent.entry(frame.retention).or_default().push(index),
            // A problem of its own, and told of as that.
            Attached::Unreadable => return self.checked.doubt(Doubt::Changed(index)),
        };
        let payload = match bytes.split_first() {
            Some((class, body)) if *class == frame.retention => Payload::of(body, &frame.id, claimed).ok(),
            _ => None,
        };
        let Some(payload) = payload else { return self.checked.doubt(Doubt::Changed(index)) };
        self.checked.present += 1;
        for person in payload.subjects() {
            self.people.entry(person).or_insert(index);
        }
    }

    fn finish(mut self, vault: Option<&Sight>) -> Checked {
        for (class, absent) in std::mem::take(&mut self.absent) {
            let dropped = self.rules.dropped.get(&class).copied().unwrap_or(0);
            let (decided, missing) = absent.split_at(absent.partition_point(|index| *index < dropped));
            self.checked.dropped += decided.len() as u64;
            missing.iter().for_each(|index| self.checked.doubt(Doubt::Missing(*index)));
        }
        self.checked.doubts.sort_unstable_by_key(Doubt::index);
        self.checked.people = self.people.len() as u64;
        if let Some(vault) = vault {
            self.compare(vault);
        }
        self.checked
    }

    fn compare(&mut self, vault: &Sight) {
        self.checked.with_keys = true;
        let realm = vault.realm(self.origin.as_bytes());
        let is_there = |person: Ref| match &realm {
            Some(realm) => matches!(realm.by_ref(SubjectRef(person.0)), Lookup::Known(_)),
            None => false,
        };
        for (person, first) in &self.people {
            match (is_there(*person), self.rules.erased.contains_key(person)) {
                (false, true) => self.checked.erased += 1,
                (false, false) => self.checked.doubt(Doubt::Lost { person: *person, first: *first }),
                (true, _) => {}
            }
        }
        for (person, entry) in self.rules.erased.iter().filter(|(person, _)| is_there(**person)) {
            self.checked.doubt(Doubt::Kept { person: *person, entry: *entry });
        }
    }
}

impl Checked {
    /// Whether everything that is gone was decided to go.
    pub fn is_clean(&self) -> bool {
        self.doubts.is_empty()
    }

    fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() < MAX_PROBLEMS {
            self.doubts.push(doubt);
        } else {
            self.more_doubts += 1;
        }
    }
}

impl Doubt {
    fn index(&self) -> u64 {
        match self {
            Self::Missing(index) | Self::Changed(index) | Self::Foreign(index) => *index,
            Self::Lost { first, .. } => *first,
            Self::Kept { entry, .. } => *entry,
        }
    }
}
