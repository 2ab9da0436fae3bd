//! Every step of storage fails, before and after it happened, and then the process or the power goes.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

use graven_store::fault::Phase;

use super::*;

/// Fails the `n`-th operation that changes anything, on the given side; from then on everything fails, as it does for
/// a process that has stopped.
fn failing(disk: &SimFs, n: usize, phase: Phase) -> (Arc<dyn Fs>, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let script = move |point: Point<'_>| {
        if !point.op.mutates() || point.phase != phase {
            return Fate::Continue;
        }
        if count.fetch_add(1, Ordering::Relaxed) >= n { Fate::Fail(ErrorKind::Other) } else { Fate::Continue }
    };
    (Arc::new(FaultFs::new(Arc::new(disk.clone()), Arc::new(script))), seen)
}

fn names(of: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{of}:{n}@example.com")).collect()
}

/// What may also hold, where the last call was not acknowledged.
enum Open {
    Nothing,
    Erasure(Vec<SubjectRef>),
}

/// A vault's life, up to the first failure.
fn live(vault: &Vault, promises: &mut Promises) -> Result<(), Open> {
    let nothing = |_| Open::Nothing;
    promises.make(vault, "a", &names("user", 12)).map_err(nothing)?;
    promises.make(vault, "b", &names("user", 2)).map_err(nothing)?;
    for round in 0..2 {
        let refs = promises.refs("a", &names("user", 12)[round * 3..round * 3 + 3]);
        promises.erase(vault, "a", &refs).map_err(|_| Open::Erasure(refs))?;
        promises.make(vault, "a", &names("late", 3 + round)).map_err(nothing)?;
    }
    promises.make(vault, "b", &names("more", 9)).map_err(nothing)
}

/// Settles what was left open, and checks the rest.
fn check_after(disk: &SimFs, promises: &mut Promises, open_end: &Open) {
    let looked = look(disk).unwrap();
    let vault = open(disk).unwrap();
    for ((realm, name), (reference, _)) in &promises.subjects {
        let found = |realm: &Realm| realm.by_name(name.as_bytes()).map(|found| found.reference());
        let opened = vault.realm(realm.as_bytes()).unwrap();
        assert_eq!(looked.realm(realm.as_bytes()).and_then(found), found(&opened), "{reference:?}");
    }
    if let Open::Erasure(refs) = open_end {
        let realm = promises.realm(&vault, "a").unwrap();
        let erased = refs.iter().filter(|r| matches!(realm.by_ref(**r), Lookup::Erased)).count();
        assert!(erased == 0 || erased == refs.len(), "an erasure happened by half");
        if erased > 0 {
            promises.note_erased("a", refs);
        }
    }
    promises.check(&vault);
    promises.check_erased_on(disk);
    let epoch = format!("epoch-{}", vault.epoch());
    let stray: Vec<_> = disk.list(Path::new(DIR)).unwrap();
    assert!(stray.iter().all(|name| name == "head" || name.starts_with(&epoch)), "{stray:?}");
    // And it goes on from here.
    promises.make(&vault, "a", &names("after", 4)).unwrap();
    let refs = promises.refs("a", &names("after", 2));
    promises.erase(&vault, "a", &refs).unwrap();
    promises.check(&open(disk).unwrap());
    promises.check_erased_on(disk);
}

/// Ends the process, or with it the power.
fn stop(disk: &SimFs, seed: u64) {
    if seed == 0 { disk.kill() } else { disk.crash(&mut Seed(seed)) }
}

#[test]
fn whatever_step_fails_nothing_acknowledged_is_lost_and_nothing_erased_comes_back() {
    for phase in [Phase::Before, Phase::After] {
        for seed in 0..4 {
            for n in 0.. {
                let disk = machine();
                let vault = create(&disk).unwrap();
                let mut promises = Promises::default();
                drop(vault);
                let (fs, _) = failing(&disk, n, phase);
                let vault = Vault::open_in(home_on(fs), master(&disk));
                let ended = vault.map_err(|_| Open::Nothing).and_then(|vault| {
                    live(&vault, &mut promises).inspect_err(|_| assert_poisoned(&vault, &promises))
                });
                stop(&disk, seed);
                promises.check_erased_on(&disk);
                let is_over = ended.is_ok();
                check_after(&disk, &mut promises, &ended.err().unwrap_or(Open::Nothing));
                if is_over {
                    assert!(n > 60, "the script reached only {n} steps");
                    break;
                }
            }
        }
    }
}

#[test]
fn an_erasure_that_was_interrupted_survives_a_start_that_is_interrupted() {
    for phase in [Phase::Before, Phase::After] {
        for n in 0.. {
            let mut is_over = false;
            for again in 0.. {
                let (disk, mut promises) = (machine(), Promises::default());
                let vault = create(&disk).unwrap();
                promises.make(&vault, "a", &names("user", 12)).unwrap();
                let refs = promises.refs("a", &names("user", 5));
                drop(vault);
                let (fs, _) = failing(&disk, n, phase);
                let first = Vault::open_in(home_on(fs), master(&disk))
                    .is_ok_and(|vault| promises.erase(&vault, "a", &refs).is_ok());
                is_over = first;
                stop(&disk, (n % 3) as u64);
                let (fs, _) = failing(&disk, again, phase);
                let second = Vault::open_in(home_on(fs), master(&disk)).is_ok();
                stop(&disk, (again % 3) as u64);
                check_after(&disk, &mut promises, &Open::Erasure(refs));
                if second {
                    break;
                }
            }
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_vault_is_made_whole_or_can_be_made_again() {
    for phase in [Phase::Before, Phase::After] {
        for seed in 0..4 {
            for n in 0.. {
                let disk = machine();
                disk.create_dir_all(Path::new(DIR)).unwrap();
                let (fs, _) = failing(&disk, n, phase);
                let made = Vault::create_in(home_on(fs), master(&disk)).is_ok();
                stop(&disk, seed);
                let vault = match open(&disk) {
                    Err(OpenError::Missing(_)) if !made => create(&disk).unwrap(),
                    opened => opened.unwrap(),
                };
                assert_eq!(vault.epoch(), 1);
                assert!(matches!(create(&disk), Err(OpenError::Exists(_))));
                if made {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_erasure_that_has_no_room_or_no_master_key_changes_nothing_and_can_be_repeated() {
    struct Away(Arc<dyn MasterKey>, AtomicUsize);
    impl MasterKey for Away {
        fn wrap(&self, key: &crate::SecretKey, context: &[u8]) -> Result<Vec<u8>, crate::MasterError> {
            if self.1.fetch_add(1, Ordering::Relaxed) == 1 {
                return Err(crate::MasterError::Unavailable("unplugged".to_owned()));
            }
            self.0.wrap(key, context)
        }
        fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<crate::SecretKey, crate::MasterError> {
            self.0.unwrap(wrapped, context)
        }
    }
    let disk = machine();
    let away = Arc::new(Away(master(&disk), AtomicUsize::new(0)));
    let vault = Vault::create_in(home(Arc::new(disk.clone())), away).unwrap();
    let mut promises = Promises::default();
    promises.make(&vault, "a", &names("user", 4)).unwrap();
    let refs = promises.refs("a", &names("user", 2));
    disk.set_capacity(Some(1 << 20));
    assert!(matches!(promises.erase(&vault, "a", &refs), Err(WriteError::NoRoom { .. })));
    disk.set_capacity(None);
    assert!(matches!(promises.erase(&vault, "a", &refs), Err(WriteError::Master(_))));
    promises.check(&vault);
    promises.make(&vault, "a", &names("user", 6)).unwrap();
    promises.erase(&vault, "a", &refs).unwrap();
    promises.check(&open(&disk).unwrap());
}

/// A home whose folder is there: making it is not what fails.
fn home_on(fs: Arc<dyn Fs>) -> Home {
    Home { fs, entropy: system(), dir: PathBuf::from(DIR), segment_bytes: SEGMENT_BYTES }
}

/// A vault whose write failed makes and erases nobody, and still knows whom it knew.
fn assert_poisoned(vault: &Vault, promises: &Promises) {
    let Ok(realm) = vault.realm(b"a") else { return };
    assert!(matches!(vault.subjects(&realm, &[b"somebody new"]), Err(WriteError::Poisoned)));
    for ((_, name), (reference, _)) in promises.subjects.iter().filter(|((realm, _), _)| realm == "a") {
        assert!(matches!(vault.erase(&[(&realm, *reference)]), Err(WriteError::Poisoned)));
        // One that is being erased may be gone already.
        if let Some(known) = realm.by_name(name.as_bytes()) {
            assert_eq!(known.reference(), *reference);
        }
    }
}
