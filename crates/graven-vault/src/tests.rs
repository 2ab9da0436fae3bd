//! The vault on disks that forget, fail and rot, against a model of what it has promised.

mod damage;
mod disk;
mod faults;
mod figures;
mod model;
#[cfg(feature = "pkcs11")]
mod pkcs11;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_store::Fs;
use graven_store::fault::{Fate, FaultFs, Point};
use graven_store::sim::{Seed, SimFs};

use crate::epoch::Home;
use crate::files::{Kind, Stamp};
use crate::master::{FileMaster, MasterKey};
use crate::rows::{self, Read};
use crate::secret::{Entropy, KEY_BYTES};
use crate::{Lookup, OpenError, Realm, Sight, Subject, SubjectRef, Vault, WriteError};

const DIR: &str = "/data/vault";
const MASTER: &str = "/keys/master";
/// Small enough that a few dozen subjects take several.
const SEGMENT_BYTES: u64 = 1_500;

fn system() -> Entropy {
    Arc::new(|bytes| getrandom::fill(bytes).map_err(std::io::Error::other))
}

/// A disk with a master key on it.
fn machine() -> SimFs {
    let disk = SimFs::new();
    disk.create_dir_all(Path::new("/keys")).unwrap();
    FileMaster::create(&disk, Path::new(MASTER), system()).unwrap();
    disk
}

fn master(disk: &SimFs) -> Arc<dyn MasterKey> {
    Arc::new(FileMaster::open(disk, Path::new(MASTER), system()).unwrap())
}

fn home(fs: Arc<dyn Fs>) -> Home {
    fs.create_dir_all(Path::new(DIR)).unwrap();
    Home { fs, entropy: system(), dir: PathBuf::from(DIR), segment_bytes: SEGMENT_BYTES }
}

fn create(disk: &SimFs) -> Result<Vault, OpenError> {
    Vault::create_in(home(Arc::new(disk.clone())), master(disk))
}

fn open(disk: &SimFs) -> Result<Vault, OpenError> {
    Vault::open_in(home(Arc::new(disk.clone())), master(disk))
}

/// Looks at the vault of a disk that lets nobody change anything.
fn look(disk: &SimFs) -> Result<Sight, OpenError> {
    let script = |point: Point<'_>| match point.op.mutates() {
        true => Fate::Fail(std::io::ErrorKind::PermissionDenied),
        false => Fate::Continue,
    };
    let fs = FaultFs::new(Arc::new(disk.clone()), Arc::new(script));
    Sight::of(&fs, Path::new(DIR), &*master(disk))
}

fn make(vault: &Vault, realm: &Realm, name: &str) -> Subject {
    vault.subjects(realm, &[name.as_bytes()]).unwrap().remove(0)
}

/// What a vault has promised.
#[derive(Clone, Default)]
struct Promises {
    /// By realm and name: reference and key.
    subjects: BTreeMap<(String, String), (SubjectRef, [u8; KEY_BYTES])>,
    erased: BTreeMap<(String, SubjectRef), [u8; KEY_BYTES]>,
    /// The group keys of realms.
    realms: BTreeMap<String, [u8; KEY_BYTES]>,
}

impl Promises {
    fn realm(&mut self, vault: &Vault, name: &str) -> Result<Realm, WriteError> {
        let realm = vault.realm(name.as_bytes())?;
        let key = *realm.keys().group.as_bytes();
        assert_eq!(*self.realms.entry(name.to_owned()).or_insert(key), key);
        Ok(realm)
    }

    fn make(&mut self, vault: &Vault, realm: &str, names: &[String]) -> Result<(), WriteError> {
        let in_realm = self.realm(vault, realm)?;
        let asked: Vec<_> = names.iter().map(String::as_bytes).collect();
        for (name, subject) in names.iter().zip(vault.subjects(&in_realm, &asked)?) {
            assert_eq!(subject.name(), name.as_bytes());
            let told = (subject.reference(), *subject.key().as_bytes());
            let is_old = self.erased.contains_key(&(realm.to_owned(), told.0));
            assert!(!is_old, "a reference that was erased came back");
            let known = self.subjects.entry((realm.to_owned(), name.clone())).or_insert(told);
            assert_eq!(*known, told);
        }
        Ok(())
    }

    /// Those of these names that there are.
    fn refs(&self, realm: &str, names: &[String]) -> Vec<SubjectRef> {
        let known = |name: &String| self.subjects.get(&(realm.to_owned(), name.clone()));
        names.iter().filter_map(known).map(|known| known.0).collect()
    }

    fn erase(&mut self, vault: &Vault, realm: &str, refs: &[SubjectRef]) -> Result<(), WriteError> {
        let in_realm = self.realm(vault, realm)?;
        let before = vault.epoch();
        let erasures: Vec<_> = refs.iter().map(|reference| (&in_realm, *reference)).collect();
        let erased = vault.erase(&erasures)?;
        let destroyed = self.note_erased(realm, refs);
        assert_eq!(erased.destroyed, destroyed);
        assert_eq!(erased.epoch, before + u64::from(destroyed > 0));
        assert_eq!(vault.epoch(), erased.epoch);
        Ok(())
    }

    fn note_erased(&mut self, realm: &str, refs: &[SubjectRef]) -> usize {
        let gone: BTreeSet<_> = refs.iter().collect();
        let before = self.subjects.len();
        let erased = &mut self.erased;
        self.subjects.retain(|(of, _), (reference, key)| {
            let stays = of != realm || !gone.contains(reference);
            if !stays {
                erased.insert((realm.to_owned(), *reference), *key);
            }
            stays
        });
        before - self.subjects.len()
    }

    /// That a vault, and what lies on the disk, hold to all of it.
    fn check(&mut self, vault: &Vault) {
        for name in self.realms.clone().into_keys() {
            self.realm(vault, &name).unwrap();
        }
        for ((realm, name), (reference, key)) in &self.subjects {
            let realm = vault.realm(realm.as_bytes()).unwrap();
            let known = realm.by_name(name.as_bytes()).expect("an acknowledged subject is lost");
            assert!((known.reference(), known.key().as_bytes()) == (*reference, key));
            let Lookup::Known(known) = realm.by_ref(*reference) else { panic!("a reference leads nowhere") };
            assert_eq!(known.name(), name.as_bytes());
        }
        for (realm, reference) in self.erased.keys() {
            let realm = vault.realm(realm.as_bytes()).unwrap();
            assert!(matches!(realm.by_ref(*reference), Lookup::Erased));
        }
    }

    /// That the disk and the master key together lead to no key that was erased.
    fn check_erased_on(&self, disk: &SimFs) {
        let found = keys_on(disk);
        for key in self.erased.values() {
            assert!(!found.contains(key), "an erased key can be read from the disk");
        }
    }
}

/// All keys of subjects that whoever has the disk and the master key can come by.
fn keys_on(disk: &SimFs) -> BTreeSet<[u8; KEY_BYTES]> {
    let files = disk.snapshot();
    let master = master(disk);
    let of = |part: &'static str| files.iter().filter(move |(path, _)| path.to_string_lossy().contains(part));
    let mut found = BTreeSet::new();
    for (_, wrapped) in of(".key") {
        let Some(stamp) = stamp_of(wrapped) else { continue };
        let end = wrapped.len().saturating_sub(32).max(34);
        let Ok(key) = master.unwrap(wrapped.get(34..end).unwrap_or(&[]), &stamp.preamble(Kind::Key)) else {
            continue;
        };
        for (path, _) in of(".subjects") {
            let payloads = graven_store::ChainFile::peek(disk, path).unwrap();
            for segment in 0..8 {
                for (number, payload) in (0_u32..).zip(payloads.clone()) {
                    let place = [&stamp.segment(segment)[..], &number.to_be_bytes()].concat();
                    found.extend(rows::open(payload, &key, &place).into_iter().flatten().filter_map(|row| {
                        match row {
                            Read::Subject(_, subject) => Some(*subject.key().as_bytes()),
                            _ => None,
                        }
                    }));
                }
            }
        }
    }
    found
}

fn stamp_of(bytes: &[u8]) -> Option<Stamp> {
    let epoch = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    Some(Stamp { vault: bytes.get(16..32)?.try_into().ok()?, epoch })
}
