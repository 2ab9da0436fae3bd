//! Subjects, and the realms within which they are named.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::secret::{Name, SecretKey};

/// Bytes of a reference.
pub const REF_BYTES: usize = 16;

/// 128 random bits that stand for a subject, in leaves and for ever. They come from nothing: without the vault a
/// reference leads to nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectRef(pub [u8; REF_BYTES]);

/// A person, client or producer that events are about. Clones share one key, which is wiped when the last of them goes.
#[derive(Clone)]
pub struct Subject(Arc<Known>);

pub(crate) struct Known {
    pub(crate) reference: SubjectRef,
    pub(crate) key: SecretKey,
    pub(crate) name: Name,
}

impl Subject {
    pub(crate) fn new(known: Known) -> Self {
        Self(Arc::new(known))
    }

    /// What stands for it in leaves.
    pub fn reference(&self) -> SubjectRef {
        self.0.reference
    }

    /// The key under which what is about it is encrypted. Whoever holds on to it holds on to what it opens.
    pub fn key(&self) -> &SecretKey {
        &self.0.key
    }

    /// What it is called: personal.
    pub fn name(&self) -> &[u8] {
        self.0.name.as_bytes()
    }
}

/// What the vault knows of a reference.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It stands for this subject.
    Known(Subject),
    /// It stood for a subject that was erased.
    Erased,
    /// It was never given out here, or in a copy of the vault that was not restored.
    Unknown,
}

/// Keys of a realm for what is about nobody in particular. They stay for as long as the vault does.
pub struct RealmKeys {
    /// For content that is about no subject.
    pub group: SecretKey,
    /// For pseudonyms: HMACs of token identifiers.
    pub pseudonym: SecretKey,
    /// For HMACs of personal values in an index.
    pub index: SecretKey,
}

/// A space of names, such as one log: the same name in two realms has references and keys that nothing links.
#[derive(Clone)]
pub struct Realm(Arc<Inner>);

struct Inner {
    number: u32,
    name: Name,
    keys: RealmKeys,
    members: RwLock<Members>,
}

/// Who is in a realm. A subject takes about 170 bytes of memory and its name; a tombstone at most 40.
#[derive(Default)]
pub(crate) struct Members {
    by_name: HashSet<ByName>,
    by_ref: HashSet<ByRef>,
    pub(crate) erased: HashSet<SubjectRef>,
}

impl Realm {
    pub(crate) fn new(number: u32, name: Name, keys: RealmKeys) -> Self {
        Self(Arc::new(Inner { number, name, keys, members: RwLock::default() }))
    }

    /// Its keys.
    pub fn keys(&self) -> &RealmKeys {
        &self.0.keys
    }

    /// The subjects of these names, if the vault has all of them: no I/O, no waiting for any.
    pub fn known(&self, names: &[&[u8]]) -> Option<Vec<Subject>> {
        let members = self.0.members.read();
        names.iter().map(|name| members.by_name.get(*name).map(|known| known.0.clone())).collect()
    }

    /// What a reference stands for.
    pub fn by_ref(&self, reference: SubjectRef) -> Lookup {
        let members = self.0.members.read();
        match members.by_ref.get(&reference) {
            Some(known) => Lookup::Known(known.0.clone()),
            None if members.erased.contains(&reference) => Lookup::Erased,
            None => Lookup::Unknown,
        }
    }

    /// The subject of a name, if there is one. Unlike [`Vault::subjects`](crate::Vault::subjects) it makes none.
    pub fn by_name(&self, name: &[u8]) -> Option<Subject> {
        self.0.members.read().by_name.get(name).map(|known| known.0.clone())
    }

    /// How many subjects are in it, the erased ones not counted.
    pub fn len(&self) -> usize {
        self.0.members.read().by_ref.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number
    }

    pub(crate) fn name(&self) -> &Name {
        &self.0.name
    }

    /// Those of `names` that it does not have.
    pub(crate) fn missing<'a>(&self, names: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let members = self.0.members.read();
        names.iter().copied().filter(|name| !members.by_name.contains(*name)).collect()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Members) -> T) -> T {
        read(&self.0.members.read())
    }

    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Members) -> T) -> T {
        write(&mut self.0.members.write())
    }
}

impl Members {
    /// Adds a subject; false if its name or reference has one, or was erased.
    pub(crate) fn insert(&mut self, subject: Subject) -> bool {
        !self.erased.contains(&subject.reference())
            && self.by_ref.insert(ByRef(subject.clone()))
            && self.by_name.insert(ByName(subject))
    }

    /// Forgets whom a reference stands for, and remembers that it was erased. False if that was known.
    pub(crate) fn erase(&mut self, reference: SubjectRef) -> bool {
        if let Some(ByRef(subject)) = self.by_ref.take(&reference) {
            self.by_name.remove(subject.name());
        }
        self.erased.insert(reference)
    }

    pub(crate) fn has(&self, reference: SubjectRef) -> bool {
        self.by_ref.contains(&reference)
    }

    pub(crate) fn has_name(&self, name: &Name) -> bool {
        self.by_name.contains(name.as_bytes())
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.by_ref.iter().map(|known| &known.0)
    }
}

/// A subject where it is found by its name.
struct ByName(Subject);

/// A subject where it is found by its reference.
struct ByRef(Subject);

impl Borrow<[u8]> for ByName {
    fn borrow(&self) -> &[u8] {
        self.0.name()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}

impl Borrow<SubjectRef> for ByRef {
    fn borrow(&self) -> &SubjectRef {
        &self.0.0.reference
    }
}

impl Hash for ByRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.reference().hash(state);
    }
}

impl PartialEq for ByRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.reference() == other.0.reference()
    }
}

impl Eq for ByRef {}

impl fmt::Debug for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectRef(…)")
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Realm({}, …)", self.0.number)
    }
}
