//! Retention, holds and erasures of a log: which payloads may go, and who is gone. A fold over the leaves.
//!
//! ```text
//! in a snapshot: rows to the end, each
//!   0  1  kind: that of the facts
//!   1  8  index of the leaf, big-endian; 0 where it does not matter
//!   9  4  length, then the facts of a leaf that says the same
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::Malformed;
use crate::facts::{ErasureFacts, ExpiryFacts, Facts, HoldFacts, Ref, RetentionFacts, Word};
use crate::time::Time;

/// The class of what names none: kept for ever unless the log says otherwise.
pub const DEFAULT_CLASS: u8 = 0;
/// Its name.
pub const DEFAULT_CLASS_NAME: &str = "default";

/// What a log's leaves say about keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// By number.
    pub classes: BTreeMap<u8, Class>,
    /// Holds that stand, by number, with the index of their entry.
    pub holds: BTreeMap<Ref, (u64, HoldFacts)>,
    /// Who was erased, and where it says so.
    pub erased: BTreeMap<Ref, u64>,
    /// Up to where payloads of a class were dropped.
    pub dropped: BTreeMap<u8, u64>,
}

/// A retention class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// For how long its payloads are kept, in seconds; `None`: for ever.
    pub seconds: Option<u64>,
}

impl Rules {
    /// Takes in the leaf at an index.
    pub fn take(&mut self, index: u64, facts: &Facts) {
        match facts {
            Facts::Retention(it) => {
                let class = Class { name: it.name.as_str().to_owned(), seconds: it.seconds };
                self.classes.insert(it.class, class);
            }
            Facts::Hold(it) => drop(self.holds.insert(it.hold, (index, it.clone()))),
            Facts::Release(it) => drop(self.holds.remove(&it.hold)),
            Facts::Erasure(it) => {
                for reference in &it.erased {
                    self.erased.entry(*reference).or_insert(index);
                }
            }
            Facts::Expiry(it) => {
                let dropped = self.dropped.entry(it.class).or_default();
                *dropped = it.before.max(*dropped);
            }
            _ => {}
        }
    }

    /// The number of a class.
    pub fn class(&self, name: &str) -> Option<u8> {
        if name.is_empty() {
            return Some(DEFAULT_CLASS);
        }
        let named = self.classes.iter().find(|(_, class)| class.name == name).map(|(number, _)| *number);
        named.or((name == DEFAULT_CLASS_NAME).then_some(DEFAULT_CLASS))
    }

    /// The name of a class.
    pub fn class_name(&self, class: u8) -> Option<String> {
        let named = self.classes.get(&class).map(|class| class.name.clone());
        named.or((class == DEFAULT_CLASS).then(|| DEFAULT_CLASS_NAME.to_owned()))
    }

    /// The number that a class of a new name gets; `None`: there are as many as fit.
    pub fn next_class(&self) -> Option<u8> {
        (DEFAULT_CLASS + 1..=u8::MAX).find(|number| !self.classes.contains_key(number))
    }

    /// The hold that forbids that a person is erased.
    pub fn hold_on(&self, subject: Ref) -> Option<Ref> {
        let covers = |hold: &HoldFacts| hold.subjects.is_empty() || hold.subjects.contains(&subject);
        self.holds.iter().find(|(_, (_, hold))| covers(hold)).map(|(number, _)| *number)
    }

    /// Whether a hold forbids that payloads of a class are dropped.
    pub fn is_held(&self, class: u8) -> bool {
        self.holds.values().any(|(_, hold)| hold.classes.is_empty() || hold.classes.contains(&class))
    }

    /// Classes whose payloads older than a time may go now, with that time.
    pub fn expiring(&self, now: Time) -> Vec<(u8, Time)> {
        let expiring = self.classes.iter().filter_map(|(number, class)| {
            let age = class.seconds?.saturating_mul(1_000_000_000);
            Some((*number, Time(now.0.checked_sub(age)?)))
        });
        expiring.filter(|(number, _)| !self.is_held(*number)).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut row = |index: u64, facts: &Facts| {
            let body = facts.encode();
            bytes.push(facts.kind());
            bytes.extend_from_slice(&index.to_be_bytes());
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(&body);
        };
        let nobody = Ref::default();
        let Ok(word) = Word::new("snapshot") else { return Vec::new() };
        for (class, Class { name, seconds }) in &self.classes {
            let Ok(name) = Word::new(name.as_str()) else { continue };
            row(0, &Facts::Retention(RetentionFacts { class: *class, name, seconds: *seconds, by: nobody }));
        }
        for (index, hold) in self.holds.values() {
            row(*index, &Facts::Hold(hold.clone()));
        }
        for (reference, index) in &self.erased {
            let erased = vec![*reference];
            row(*index, &Facts::Erasure(ErasureFacts { erased, by: nobody, authority: word.clone() }));
        }
        for (class, before) in &self.dropped {
            row(0, &Facts::Expiry(ExpiryFacts { class: *class, before: *before }));
        }
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let cut = Malformed("a state that is cut short");
        let mut rules = Self::default();
        while let Some((kind, rest)) = bytes.split_first() {
            let (index, rest) = rest.split_first_chunk::<8>().ok_or(cut)?;
            let (len, rest) = rest.split_first_chunk::<4>().ok_or(cut)?;
            let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| cut)?;
            let (body, rest) = rest.split_at_checked(len).ok_or(cut)?;
            rules.take(u64::from_be_bytes(*index), &Facts::decode(*kind, body)?);
            bytes = rest;
        }
        Ok(rules)
    }

    /// Who was erased.
    pub fn erased(&self) -> BTreeSet<Ref> {
        self.erased.keys().copied().collect()
    }
}
