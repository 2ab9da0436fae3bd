//! The vault itself.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_store::Fs;
use parking_lot::RwLock;

use crate::epoch::{Draft, Epoch, Home, SEGMENT_BYTES};
use crate::erasure::{Doomed, Survivors};
use crate::error::{OpenError, WriteError};
use crate::files::{Stamp, io_at};
use crate::master::MasterKey;
use crate::rows::Row;
use crate::secret::{Entropy, Name, SecretKey};
use crate::sight::{by_name, head};
use crate::start::{refuse_remains, remember};
use crate::subject::{Known, REF_BYTES, Realm, RealmKeys, Subject, SubjectRef};
use crate::turns::Turns;

/// Most realms. Each is a log; a server with more has other troubles first.
pub const MAX_REALMS: usize = 65_536;
/// New names that may wait to be written, over all callers: 16 MiB of the longest, and a sync writes a thousand and more.
const MAX_WAITING: usize = 16_384;
/// New names that one call has waiting at a time.
const MAX_SUBMITTED: usize = 4_096;
/// What an erasure leaves free beyond its need, for everybody else's writes.
const RESERVE_BYTES: u64 = 16 << 20;

/// References and keys of subjects, in memory and on disk. See the crate for what it promises.
///
/// The lock of the data directory keeps a second process out; the vault has none of its own.
pub struct Vault {
    home: Home,
    master: Arc<dyn MasterKey>,
    realms: RwLock<HashMap<Name, Realm>>,
    turns: Turns<Epoch, (Realm, Name)>,
    epoch: AtomicU64,
}

/// What an erasure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The epoch that counts now. It never goes back: a vault whose epoch is below one that was reported is an old copy.
    pub epoch: u64,
    /// How many subjects were destroyed; those that had been before are not counted.
    pub destroyed: usize,
}

impl Vault {
    /// Makes an empty vault in a folder that holds none, and opens it. What a crash left of an earlier attempt is removed.
    pub fn create(
        fs: Arc<dyn Fs>,
        entropy: Entropy,
        dir: &Path,
        master: Arc<dyn MasterKey>,
    ) -> Result<Self, OpenError> {
        fs.create_dir_all(dir).map_err(io_at(dir))?;
        let home = Home { fs, entropy, dir: dir.to_owned(), segment_bytes: SEGMENT_BYTES };
        Self::create_in(home, master)
    }

    /// Opens the vault of a folder; one that is not there is never made. An erasure that a crash interrupted is completed
    /// first, or did not happen.
    pub fn open(
        fs: Arc<dyn Fs>,
        entropy: Entropy,
        dir: &Path,
        master: Arc<dyn MasterKey>,
    ) -> Result<Self, OpenError> {
        Self::open_in(Home { fs, entropy, dir: dir.to_owned(), segment_bytes: SEGMENT_BYTES }, master)
    }

    pub(crate) fn create_in(home: Home, master: Arc<dyn MasterKey>) -> Result<Self, OpenError> {
        refuse_remains(&home)?;
        let mut vault = [0; 16];
        (home.entropy)(&mut vault).map_err(OpenError::Entropy)?;
        let stamp = Stamp { vault, epoch: 1 };
        let draft = Draft::new(&home.entropy, stamp, &*master)
            .map_err(|source| OpenError::Master { path: stamp.key_path(&home.dir), source })?;
        let epoch = draft.write(&home, std::iter::empty())?;
        epoch.enthrone()?;
        Ok(Self::new(home, master, HashMap::new(), epoch))
    }

    pub(crate) fn open_in(home: Home, master: Arc<dyn MasterKey>) -> Result<Self, OpenError> {
        let stamp = head(&*home.fs, &home.dir)?;
        let mut realms = Vec::new();
        let epoch = Epoch::load(&home, stamp, &*master, |row| remember(&mut realms, row))?;
        // Only now that the epoch is known to be whole, and before anything is served.
        epoch.destroy_others()?;
        let by_name = by_name(realms, &home.dir)?;
        Ok(Self::new(home, master, by_name, epoch))
    }

    fn new(home: Home, master: Arc<dyn MasterKey>, realms: HashMap<Name, Realm>, epoch: Epoch) -> Self {
        Self {
            home,
            master,
            realms: RwLock::new(realms),
            epoch: AtomicU64::new(epoch.stamp.epoch),
            turns: Turns::new(epoch, MAX_WAITING),
        }
    }

    /// The epoch that counts: 1 at first, and one more by every erasure.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The realm of a name (1 to [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES) bytes), made durably where there is none.
    pub fn realm(&self, name: &[u8]) -> Result<Realm, WriteError> {
        if let Some(realm) = self.realms.read().get(name) {
            return Ok(realm.clone());
        }
        let name = Name::new(name).map_err(WriteError::NameLength)?;
        let mut turn = self.turns.turn()?;
        // Somebody else may have made it while this one waited.
        let (known, count) = {
            let realms = self.realms.read();
            (realms.get(name.as_bytes()).cloned(), realms.len())
        };
        if known.is_some() || count >= MAX_REALMS {
            turn.finish();
            return known.ok_or(WriteError::TooManyRealms);
        }
        let key = || SecretKey::random(&self.home.entropy).map_err(entropy);
        let keys = RealmKeys { group: key()?, pseudonym: key()?, index: key()? };
        let number = u32::try_from(count).map_err(|_| WriteError::TooManyRealms)?;
        let realm = Realm::new(number, name.clone(), keys);
        turn.writer().append(std::iter::once(Row::Realm(&realm))).map_err(WriteError::Failed)?;
        self.realms.write().insert(name, realm.clone());
        turn.finish();
        Ok(realm)
    }

    /// The subjects of these names (1 to [`MAX_NAME_BYTES`](crate::MAX_NAME_BYTES) bytes each), in their order. Those that are new get a reference
    /// and a key, which are durable before this returns; the calling thread then waits for a sync, shared with all who wait
    /// at that time. [`Realm::known`] answers without waiting where none is new.
    pub fn subjects(&self, realm: &Realm, names: &[&[u8]]) -> Result<Vec<Subject>, WriteError> {
        loop {
            if let Some(subjects) = realm.known(names) {
                return Ok(subjects);
            }
            self.assert_ours(realm);
            let missing = realm.missing(names);
            let missing: Vec<_> = missing
                .into_iter()
                .map(|name| Name::new(name).map(|name| (realm.clone(), name)).map_err(WriteError::NameLength))
                .collect::<Result<_, _>>()?;
            for some in missing.chunks(MAX_SUBMITTED) {
                self.turns.submit(some.iter().cloned(), |epoch, wanted| self.make(epoch, wanted))?;
            }
            // Looked up again, since an erasure may have come between.
        }
    }

    /// Makes what is wanted and still missing, durably, and only then known.
    fn make(&self, epoch: &mut Epoch, wanted: Vec<(Realm, Name)>) -> Result<(), WriteError> {
        let mut made = Vec::new();
        let mut seen = HashSet::new();
        for (realm, name) in wanted {
            let is_new = !realm.read(|members| members.has_name(&name));
            if is_new && seen.insert((realm.number(), name.clone())) {
                let mut reference = SubjectRef([0; REF_BYTES]);
                (self.home.entropy)(&mut reference.0).map_err(entropy)?;
                let key = SecretKey::random(&self.home.entropy).map_err(entropy)?;
                made.push((realm, Subject::new(Known { reference, key, name })));
            }
        }
        let rows = made.iter().map(|(realm, subject)| Row::Subject(realm.number(), subject));
        epoch.append(rows).map_err(WriteError::Failed)?;
        for (realm, subject) in made {
            realm.write(|members| members.insert(subject));
        }
        Ok(())
    }

    /// Destroys the keys and names of these references, all in one change of epoch: when this returns, nothing on this disk
    /// opens what lay under them, not even with the master key. References that are unknown or erased already cost no
    /// change of epoch, so replaying every erasure that a log knows of, as after a restore, is this same call.
    ///
    /// It writes all that survives anew, so callers gather references rather than erase them one by one.
    /// [`WriteError::NoRoom`] and [`WriteError::Master`] changed nothing; after any other error the vault must be opened
    /// again, and then the erasure happened as a whole or not at all.
    pub fn erase(&self, erasures: &[(&Realm, SubjectRef)]) -> Result<Erased, WriteError> {
        erasures.iter().for_each(|(realm, _)| self.assert_ours(realm));
        let mut turn = self.turns.turn()?;
        let doomed = Doomed::of(erasures);
        let destroyed = doomed.count_known();
        if destroyed == 0 {
            turn.writer().append(doomed.tombstones()).map_err(WriteError::Failed)?;
            doomed.forget();
        } else {
            let stamp = Stamp { epoch: self.epoch() + 1, ..turn.writer().stamp };
            let prepared = self.prepare(stamp, &doomed);
            let (draft, survivors) = match prepared {
                Ok(prepared) => prepared,
                Err(refused) => {
                    turn.finish();
                    return Err(refused);
                }
            };
            // A crash up to the new head leaves the old epoch, which counts: nothing was erased, and the new one is destroyed at
            // the next start. A crash behind it leaves the new one, and the old is destroyed then.
            let next = draft.write(&self.home, survivors.rows().chain(doomed.tombstones()));
            let next = next.map_err(WriteError::Failed)?;
            next.enthrone().map_err(WriteError::Failed)?;
            *turn.writer() = next;
            doomed.forget();
            self.epoch.store(stamp.epoch, Ordering::Release);
            turn.writer().destroy_others().map_err(WriteError::Failed)?;
        }
        turn.finish();
        Ok(Erased { epoch: self.epoch(), destroyed })
    }

    /// All that can be refused before anything is written: room, and a key that is wrapped.
    fn prepare(&self, stamp: Stamp, doomed: &Doomed) -> Result<(Draft, Survivors), WriteError> {
        let survivors = Survivors::of(&self.realms.read(), doomed);
        let rows = survivors.rows().chain(doomed.tombstones());
        let needed = rows.map(|row| row.len() as u64).sum::<u64>() + RESERVE_BYTES;
        let free = self.home.fs.free_bytes(&self.home.dir);
        let free = free.map_err(io_at(&self.home.dir)).map_err(WriteError::Failed)?;
        if free < needed {
            return Err(WriteError::NoRoom { needed, free });
        }
        Ok((Draft::new(&self.home.entropy, stamp, &*self.master)?, survivors))
    }

    /// A realm of another vault has other numbers: a bug of the caller, before it does harm.
    fn assert_ours(&self, realm: &Realm) {
        let is_ours = self.realms.read().get(realm.name().as_bytes()).is_some_and(|ours| ours.is_same(realm));
        assert!(is_ours, "the realm is of another vault");
    }
}

fn entropy(error: std::io::Error) -> WriteError {
    WriteError::Failed(OpenError::Entropy(error))
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("dir", &self.home.dir)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
