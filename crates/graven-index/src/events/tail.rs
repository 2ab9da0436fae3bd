//! The newest leaves, in memory: at most one chunk of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use graven_event::Ref;
use graven_event::query::Term;
use graven_merkle::Hash;

use super::Entry;
use super::bits::{Bits, encode_places};
use super::lists::{List, Posting};
use super::run::Times;

/// Leaves from `start` on.
#[derive(Clone)]
pub(crate) struct Tail {
    pub(crate) start: u64,
    pub(crate) times: Times,
    /// The leaf hash of the last one.
    pub(crate) last: Hash,
    /// Terms in clear: few, seen again and again, and asked for by how they begin.
    clear: BTreeMap<Vec<u8>, Vec<u16>>,
    /// Keyed hashes and references: many new ones with each leaf, and asked for as they are.
    blind: HashMap<Vec<u8>, Vec<u16>>,
}

impl Tail {
    pub(crate) fn begin(start: u64) -> Self {
        Self {
            start,
            times: Times::default(),
            last: Hash::from([0; 32]),
            clear: BTreeMap::new(),
            blind: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.times.logged.len()).expect("a tail has one chunk at most")
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.len())
    }

    /// Takes in the next leaf, without what the erased would be found by.
    pub(crate) fn push(&mut self, entry: Entry, erased: &BTreeSet<Ref>) {
        let place = u16::try_from(self.len()).expect("a tail has one chunk at most");
        self.times.push(entry.logged, entry.happened);
        self.last = entry.leaf;
        let dead = dead_groups(entry.terms.iter().map(Term::as_bytes), erased);
        for term in entry.terms {
            if !dead.contains(&Term::group_number(term.as_bytes())) {
                let term = term.into_bytes();
                match Term::is_clear(&term) {
                    true => self.clear.entry(term).or_default().push(place),
                    false => self.blind.entry(term).or_default().push(place),
                }
            }
        }
    }

    pub(crate) fn term(&self, term: &[u8]) -> Option<Bits> {
        let places = if Term::is_clear(term) { self.clear.get(term) } else { self.blind.get(term) };
        places.map(|places| Bits::of(places))
    }

    /// Where terms in clear are that begin so.
    pub(crate) fn beginning_with(&self, term: &[u8]) -> Option<Bits> {
        let mut found: Option<Bits> = None;
        for (_, places) in self.clear.range(term.to_vec()..).take_while(|(key, _)| key.starts_with(term)) {
            let bits = found.get_or_insert_default();
            places.iter().for_each(|place| bits.insert(*place));
        }
        found
    }

    /// Its terms in order, each with its list.
    pub(crate) fn postings(&self) -> impl Iterator<Item = Posting> + '_ {
        let mut all: Vec<(&Vec<u8>, &Vec<u16>)> = self.terms().collect();
        all.sort_unstable_by_key(|(term, _)| *term);
        all.into_iter().map(|(term, places)| {
            let count = u32::try_from(places.len()).expect("a chunk's places");
            let list = List { chunk: 0, count, data: encode_places(places) };
            Posting { term: term.clone(), lists: vec![list] }
        })
    }

    /// Takes out what the erased would be found by. `false`: there is nothing of them.
    pub(crate) fn erase(&mut self, erased: &BTreeSet<Ref>) -> bool {
        let mut dead: BTreeMap<u8, Bits> = BTreeMap::new();
        for (term, places) in self.terms() {
            if let Some((group, _)) = Term::as_owner(term).filter(|(_, owner)| erased.contains(owner)) {
                dead.entry(group).or_default().or(&Bits::of(places));
            }
        }
        let has_places = |term: &Vec<u8>, places: &mut Vec<u16>| {
            if let Some(dead) = dead.get(&Term::group_number(term)) {
                places.retain(|place| !dead.contains(*place));
            }
            !places.is_empty()
        };
        self.clear.retain(has_places);
        self.blind.retain(has_places);
        !dead.is_empty()
    }

    fn terms(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u16>)> {
        self.clear.iter().chain(&self.blind)
    }
}

/// The groups of one leaf that an erased person owns.
fn dead_groups<'a>(terms: impl Iterator<Item = &'a [u8]>, erased: &BTreeSet<Ref>) -> Vec<u8> {
    if erased.is_empty() {
        return Vec::new();
    }
    let owners = terms.filter_map(Term::as_owner);
    owners.filter(|(_, owner)| erased.contains(owner)).map(|(group, _)| group).collect()
}
