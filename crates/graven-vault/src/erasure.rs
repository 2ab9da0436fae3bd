//! Who is to be erased, and all that goes on without them.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::rows::Row;
use crate::secret::Name;
use crate::subject::{Realm, Subject, SubjectRef};

/// What is to be erased and is not yet, by realm.
pub(crate) struct Doomed(BTreeMap<u32, (Realm, HashSet<SubjectRef>)>);

impl Doomed {
    pub(crate) fn of(erasures: &[(&Realm, SubjectRef)]) -> Self {
        let mut doomed = BTreeMap::new();
        for (realm, reference) in erasures {
            if !realm.read(|members| members.erased.contains(reference)) {
                let (_, refs) =
                    doomed.entry(realm.number()).or_insert_with(|| (Realm::clone(realm), HashSet::new()));
                refs.insert(*reference);
            }
        }
        Self(doomed)
    }

    fn has(&self, realm: &Realm, reference: SubjectRef) -> bool {
        self.0.get(&realm.number()).is_some_and(|(_, refs)| refs.contains(&reference))
    }

    pub(crate) fn count_known(&self) -> usize {
        let known = |(realm, refs): &(Realm, HashSet<SubjectRef>)| {
            realm.read(|members| refs.iter().filter(|reference| members.has(**reference)).count())
        };
        self.0.values().map(known).sum()
    }

    pub(crate) fn tombstones(&self) -> impl Iterator<Item = Row<'_>> {
        self.0.values().flat_map(|(realm, refs)| {
            let number = realm.number();
            refs.iter().map(move |reference| Row::Tombstone(number, *reference))
        })
    }

    /// Erases them in memory.
    pub(crate) fn forget(&self) {
        for (realm, refs) in self.0.values() {
            realm.write(|members| {
                for reference in refs {
                    members.erase(*reference);
                }
            });
        }
    }
}

/// All that goes on in the next epoch: gathered first, so that no lock is held while it is written.
pub(crate) struct Survivors(Vec<(Realm, Vec<Subject>, Vec<SubjectRef>)>);

impl Survivors {
    pub(crate) fn of(realms: &HashMap<Name, Realm>, doomed: &Doomed) -> Self {
        let mut realms: Vec<_> = realms.values().cloned().collect();
        realms.sort_unstable_by_key(Realm::number);
        let of_realm = |realm: Realm| {
            let (subjects, erased) = realm.read(|members| {
                let survives = |subject: &&Subject| !doomed.has(&realm, subject.reference());
                (
                    members.subjects().filter(survives).cloned().collect(),
                    members.erased.iter().copied().collect(),
                )
            });
            (realm, subjects, erased)
        };
        Self(realms.into_iter().map(of_realm).collect())
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.0.iter().flat_map(|(realm, subjects, erased)| {
            let number = realm.number();
            std::iter::once(Row::Realm(realm))
                .chain(subjects.iter().map(move |subject| Row::Subject(number, subject)))
                .chain(erased.iter().map(move |reference| Row::Tombstone(number, *reference)))
        })
    }
}
