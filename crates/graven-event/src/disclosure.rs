//! Selective disclosure: a leaf, some of the groups behind it, and the proof that the leaf is in a log, in one text that anybody can check
//! offline.
//!
//! ```text
//! graven-disclosure/v1
//! leaf <base64 of the leaf>
//! group 1 <base64 of the salt> <base64 of the group's text>
//! hash 2 <base64 of the group's commitment>
//! …                                                 (eight lines by number, each a group or a hash; none where no group is shown)
//!
//! <a C2SP tlog-proof bundle: index, inclusion proof, checkpoint>
//! ```
//!
//! What is shown verifies against the commitment in the leaf, and the leaf by the bundle under the log's key. A hash says nothing of its
//! group, not even whether there is one. The text has one form: whatever parses is written the same again.
//!
//! Where the producer's own record is shown beside other groups, those must be what it maps to ([`Disclosure::open`]): otherwise a
//! disclosure could show a record and, of the same event, something that the record does not say.

use std::fmt;

use base64ct::{Base64, Encoding as _};
use graven_merkle::{Hash, leaf_hash};

use crate::check::MAX_RAW_BYTES;
use crate::facts::Facts;
use crate::frame::Frame;
use crate::group::{self, Group, View};
use crate::model::{Event, Outcome, Raw};
use crate::payload::{Opened, group_hash, root};

/// Longest disclosure: a leaf, a raw record and everything else, in base64.
pub const MAX_DISCLOSURE_BYTES: usize = 4 * MAX_RAW_BYTES;
const HEADER: &str = "graven-disclosure/v1";

/// A disclosure as it came: nothing of it is checked before it is [opened](Self::open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The leaf.
    pub leaf: Vec<u8>,
    /// For each group by number, what is shown of it; `None`: no group is.
    pub groups: Option<[Shown; 8]>,
    /// The bundle that proves the leaf.
    pub proof: String,
}

/// What is shown of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Group(Opened),
    /// Its commitment.
    Hash([u8; 32]),
}

/// What a disclosure shows, checked against its leaf. That the leaf is in a log is for its proof to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosed {
    /// The leaf.
    pub frame: Frame,
    /// Its leaf hash, for the proof.
    pub leaf_hash: Hash,
    /// The groups that are shown.
    pub shown: Vec<Group>,
    /// What they say.
    pub view: View,
    /// Whether the producer's record was shown and says the same.
    pub record: Record,
}

/// What is known of a producer's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It is not shown.
    Hidden,
    /// It maps to what is shown beside it.
    Agrees,
    /// It is in a form that nothing maps: whether it says the same is for its reader to judge.
    Unmapped,
}

/// Not a disclosure, or one that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisclosureError {
    /// Not one in form.
    #[error(
        "line {0} is not of a disclosure: expected `{HEADER}`, a leaf, then groups and hashes by number, then a proof"
    )]
    Form(usize),
    /// Too long.
    #[error("longer than {MAX_DISCLOSURE_BYTES} bytes")]
    TooLong,
    /// The leaf is none.
    #[error("its leaf is not of a log of events: {0}")]
    Leaf(crate::Malformed),
    /// What is shown is not what the leaf committed to.
    #[error("what it shows is not what the leaf committed to: somebody changed it")]
    Commitment,
    /// The record says something else.
    #[error("the producer's record does not say what is shown beside it, in `{}`", .0.as_str())]
    Disagrees(Group),
    /// The record is of another event.
    #[error("the producer's record does not say what the leaf says")]
    DisagreesWithLeaf,
}

impl Disclosure {
    /// Reads a disclosure.
    ///
    /// # Errors
    /// It is not one in form.
    pub fn parse(text: &str) -> Result<Self, DisclosureError> {
        if text.len() > MAX_DISCLOSURE_BYTES {
            return Err(DisclosureError::TooLong);
        }
        let (head, proof) = text.split_once("\n\n").ok_or(DisclosureError::Form(1))?;
        let mut lines = head.split('\n').enumerate().map(|(number, line)| (number + 1, line));
        let form = DisclosureError::Form;
        lines.next().filter(|(_, line)| *line == HEADER).ok_or(form(1))?;
        let leaf = lines.next().and_then(|(_, line)| decode(line.strip_prefix("leaf ")?)).ok_or(form(2))?;
        let mut shown = Vec::new();
        for (number, line) in lines {
            let expected = shown.len() + 1;
            shown.push(parse_shown(line, expected).ok_or(form(number))?);
        }
        let groups = match <[Shown; 8]>::try_from(shown) {
            Ok(groups) => Some(groups),
            Err(shown) if shown.is_empty() => None,
            Err(shown) => return Err(form(shown.len() + 3)),
        };
        let disclosure = Self { leaf, groups, proof: proof.to_owned() };
        (disclosure.to_string() == text).then_some(disclosure).ok_or(form(1))
    }

    /// Checks what is shown against the leaf, and the producer's record, where it is shown and `map` knows its form, against what is shown
    /// beside it.
    ///
    /// # Errors
    /// Something does not hold.
    pub fn open(&self, map: impl Fn(&Raw) -> Option<Event>) -> Result<Disclosed, DisclosureError> {
        let frame = Frame::decode(&self.leaf).map_err(DisclosureError::Leaf)?;
        let (mut view, mut shown) = (View::default(), Vec::new());
        if let Some(groups) = &self.groups {
            let hashes = groups.each_ref().map(Shown::hash);
            if frame.payload.is_none_or(|payload| payload.commitment != root(&hashes)) {
                return Err(DisclosureError::Commitment);
            }
            for opened in self.opened() {
                view.add(opened.group, &opened.text).map_err(|_| DisclosureError::Commitment)?;
                shown.push(opened.group);
            }
        }
        let record = match view.raw.as_ref().map(map) {
            None => Record::Hidden,
            Some(None) => Record::Unmapped,
            Some(Some(event)) => self.agrees(&frame, &event)?,
        };
        Ok(Disclosed { leaf_hash: leaf_hash(&self.leaf), frame, shown, view, record })
    }

    fn opened(&self) -> impl Iterator<Item = &Opened> {
        self.groups.iter().flatten().filter_map(|shown| match shown {
            Shown::Group(opened) => Some(opened),
            Shown::Hash(_) => None,
        })
    }

    fn agrees(&self, frame: &Frame, mapped: &Event) -> Result<Record, DisclosureError> {
        let texts = group::split(mapped);
        for opened in self.opened().filter(|opened| opened.group != Group::Raw) {
            if !texts.iter().any(|(group, text)| *group == opened.group && *text == opened.text) {
                return Err(DisclosureError::Disagrees(opened.group));
            }
        }
        let says = |event: &Event, outcome: Option<Outcome>| match &frame.facts {
            Facts::Event(facts) => {
                facts.action.as_str() == event.action
                    && facts.event_time == event.time.map(|time| time.0)
                    && outcome == Some(event.outcome)
            }
            _ => false,
        };
        says(mapped, frame.outcome).then_some(Record::Agrees).ok_or(DisclosureError::DisagreesWithLeaf)
    }
}

impl Shown {
    fn hash(&self) -> [u8; 32] {
        match self {
            Self::Group(opened) => group_hash(opened.group, &opened.salt, &opened.text),
            Self::Hash(hash) => *hash,
        }
    }
}

fn parse_shown(line: &str, expected: usize) -> Option<Shown> {
    let mut words = line.split(' ');
    let (word, number) = (words.next()?, words.next()?);
    let group = Group::of(u8::try_from(expected).ok()?).filter(|_| *number == *expected.to_string())?;
    let first = decode(words.next()?)?;
    let shown = match (word, words.next()) {
        ("hash", None) => Shown::Hash(first.try_into().ok()?),
        ("group", Some(text)) => {
            Shown::Group(Opened { group, salt: first.try_into().ok()?, text: decode(text)? })
        }
        _ => return None,
    };
    words.next().is_none().then_some(shown)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = Base64::encode_string;
        write!(f, "{HEADER}\nleaf {}\n", base64(&self.leaf))?;
        for (shown, number) in self.groups.iter().flatten().zip(1..) {
            match shown {
                Shown::Group(opened) => {
                    writeln!(f, "group {number} {} {}", base64(&opened.salt), base64(&opened.text))?;
                }
                Shown::Hash(hash) => writeln!(f, "hash {number} {}", base64(hash))?,
            }
        }
        write!(f, "\n{}", self.proof)
    }
}
