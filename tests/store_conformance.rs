//! The contract of storage, run against every driver; and what is built on it by whole files: durable replacement,
//! write-once objects, the chain file.

#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graven_store::chain::{ChainError, ChainFile, MAX_PAYLOAD_BYTES};
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point};
use graven_store::fs::{Mode, Open};
use graven_store::sim::{Seed, SimFs};
use graven_store::{Fs, Objects, RealFs};

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Every driver, bare and behind a decorator that does nothing.
fn each_driver(check: impl Fn(&dyn Fs, &Path)) {
    let quiet = |inner: Arc<dyn Fs>| FaultFs::new(inner, Arc::new(|_: Point<'_>| Fate::Continue));
    for fs in [&RealFs as &dyn Fs, &quiet(Arc::new(RealFs))] {
        let dir = tempfile::tempdir().unwrap();
        check(fs, dir.path());
    }
    for fs in [&SimFs::new() as &dyn Fs, &quiet(Arc::new(SimFs::new()))] {
        let dir = Path::new("/tmp/sim");
        fs.create_dir_all(dir).unwrap();
        check(fs, dir);
    }
}

#[test]
fn a_file_is_opened_as_asked() {
    each_driver(|fs, dir| {
        let path = dir.join("file");
        assert_eq!(kind(fs.open(&path, Open::Read)), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.open(&path, Open::ReadWrite)), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.open(&dir.join("no/file"), Open::New(Mode::Shared))), Some(ErrorKind::NotFound));
        fs.open(&path, Open::New(Mode::Shared)).unwrap().write_all_at(b"one", 0).unwrap();
        assert_eq!(kind(fs.open(&path, Open::New(Mode::Shared))), Some(ErrorKind::AlreadyExists));
        assert_eq!(fs.read(&path, 3).unwrap(), b"one");
        assert_eq!(kind(fs.read(&path, 2)), Some(ErrorKind::FileTooLarge));
        assert!(fs.open(&path, Open::Read).unwrap().write_all_at(b"x", 0).is_err());
        fs.open(&path, Open::ReadWrite).unwrap().write_all_at(b"w", 1).unwrap();
        assert_eq!(fs.read(&path, 3).unwrap(), b"owe");
        for (mode, is_private) in [(Mode::Private, true), (Mode::Shared, false), (Mode::ReadOnly, false)] {
            let path = dir.join(format!("{mode:?}"));
            fs.open(&path, Open::New(mode)).unwrap().write_all_at(b"even the read-only one", 0).unwrap();
            assert_eq!(fs.is_private(&path).unwrap(), is_private);
        }
    });
}

#[test]
fn bytes_are_where_they_were_written() {
    each_driver(|fs, dir| {
        let file = fs.open(&dir.join("file"), Open::New(Mode::Shared)).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"", 100).unwrap();
        assert_eq!(file.len().unwrap(), 0, "writing nothing extends nothing");
        file.write_all_at(b"end", 5000).unwrap();
        assert_eq!(file.len().unwrap(), 5003);
        let mut buf = [9; 8];
        file.read_exact_at(&mut buf, 4995).unwrap();
        assert_eq!(buf, *b"\0\0\0\0\0end");
        assert_eq!(kind(file.read_exact_at(&mut buf, 4996)), Some(ErrorKind::UnexpectedEof));
        assert_eq!(kind(file.read_exact_at(&mut buf, 9000)), Some(ErrorKind::UnexpectedEof));
        file.read_exact_at(&mut [], 9000).unwrap();
        file.set_len(2).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(fs.read(&dir.join("file"), 10).unwrap(), [0; 4]);
        file.sync_data().unwrap();
    });
}

#[test]
fn names_move_and_go() {
    each_driver(|fs, dir| {
        fs.create_dir_all(&dir.join("a/b")).unwrap();
        fs.create_dir_all(&dir.join("a/b")).unwrap();
        for name in ["z", "k", "a/inner"] {
            fs.open(&dir.join(name), Open::New(Mode::Shared))
                .unwrap()
                .write_all_at(name.as_bytes(), 0)
                .unwrap();
        }
        assert_eq!(fs.list(dir).unwrap(), ["a", "k", "z"]);
        assert_eq!(fs.list(&dir.join("a")).unwrap(), ["b", "inner"]);
        let open = fs.open(&dir.join("k"), Open::Read).unwrap();
        fs.rename(&dir.join("z"), &dir.join("k")).unwrap();
        assert_eq!(fs.read(&dir.join("k"), 9).unwrap(), b"z");
        let mut old = [0];
        open.read_exact_at(&mut old, 0).unwrap();
        assert_eq!(old, *b"k", "an open file is the file, not the name");
        assert!(!fs.exists(&dir.join("z")).unwrap());
        fs.sync_dir(dir).unwrap();
        fs.remove_file(&dir.join("k")).unwrap();
        let (gone, elsewhere) = (dir.join("k"), dir.join("no/k"));
        assert_eq!(kind(fs.remove_file(&gone)), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.rename(&gone, &dir.join("x"))), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.rename(&dir.join("a/inner"), &elsewhere)), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.list(&dir.join("no"))), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.sync_dir(&dir.join("no"))), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.open_tree(&dir.join("no"))), Some(ErrorKind::NotFound));
        assert!(fs.exists(&dir.join("a/inner")).unwrap() && fs.exists(&dir.join("a/b")).unwrap());
        fs.open_tree(dir).unwrap().sync().unwrap();
        assert!(fs.free_bytes(dir).unwrap() > 0);
    });
}

#[test]
fn a_lock_is_held_by_one() {
    each_driver(|fs, dir| {
        let path = dir.join("lock");
        let held = fs.lock(&path).unwrap();
        assert!(fs.exists(&path).unwrap());
        assert_eq!(kind(fs.lock(&path)), Some(ErrorKind::WouldBlock));
        fs.lock(&dir.join("other")).unwrap();
        drop(held);
        fs.lock(&path).unwrap();
    });
}

#[test]
fn whole_files_replace_each_other() {
    each_driver(|fs, dir| {
        let path = dir.join("note");
        fs.create_durable(&path, b"one", Mode::Private).unwrap();
        assert_eq!(kind(fs.create_durable(&path, b"two", Mode::Private)), Some(ErrorKind::AlreadyExists));
        fs.replace_durable(&path, b"three", Mode::Private).unwrap();
        assert_eq!(fs.read(&path, 9).unwrap(), b"three");
        assert_eq!(fs.list(dir).unwrap(), ["note"]);
    });
}

/// Runs `act` on a disk whose power goes at step `at`; whether it was cut off.
fn cut_at(disk: &SimFs, at: u64, seed: u64, act: impl FnOnce(Arc<dyn Fs>) -> std::io::Result<()>) -> bool {
    let (steps, is_over, power) = (AtomicU64::new(0), AtomicBool::new(false), disk.clone());
    let script = move |point: Point<'_>| {
        if is_over.load(Ordering::SeqCst) {
            return Fate::Fail(ErrorKind::Other);
        }
        if !point.op.mutates() || steps.fetch_add(1, Ordering::SeqCst) != at {
            return Fate::Continue;
        }
        is_over.store(true, Ordering::SeqCst);
        power.crash(&mut Seed(seed));
        Fate::Fail(ErrorKind::Other)
    };
    let cut = act(Arc::new(FaultFs::new(Arc::new(disk.clone()), Arc::new(script)))).is_err();
    disk.crash(&mut Seed(!seed));
    cut
}

#[test]
fn a_power_cut_leaves_the_old_file_or_the_new() {
    let (path, old, new) = (Path::new("/d/note"), vec![1; 3000], vec![2; 5000]);
    let mut cuts = 0;
    for seed in 0..100 {
        for at in 0..u64::MAX {
            let disk = SimFs::new();
            disk.create_dir_all(Path::new("/d")).unwrap();
            let cut = cut_at(&disk, at, seed, |fs| fs.create_durable(path, &old, Mode::Shared));
            let found = (&disk as &dyn Fs).read(path, 9000).ok();
            assert!(found.as_ref() == Some(&old) || (cut && found.is_none()), "{at}");
            (&disk as &dyn Fs).replace_durable(path, &old, Mode::Shared).unwrap();
            let cut = cut_at(&disk, at, seed, |fs| fs.replace_durable(path, &new, Mode::Shared)) || cut;
            let found = (&disk as &dyn Fs).read(path, 9000).unwrap();
            assert!(found == new || (cut && found == old), "{at}");
            cuts += 1;
            if !cut {
                break;
            }
        }
    }
    assert!(cuts > 500);
}

#[test]
fn an_interrupted_round_of_objects_is_written_again() {
    let names = ["tile/0/000", "tile/0/001", "tile/entries/000"];
    let bytes = |name: &str| name.repeat(700).into_bytes();
    let round = |fs: Arc<dyn Fs>| {
        let objects = Objects::open(fs, Path::new("/site"))?;
        names.into_iter().try_for_each(|name| objects.write(name, &bytes(name)))?;
        objects.sync()
    };
    for seed in 0..50 {
        for at in 0..u64::MAX {
            let disk = SimFs::new();
            let cut = cut_at(&disk, at, seed, round);
            let again = cut && cut_at(&disk, at / 2, seed + 1, round);
            if again {
                cut_at(&disk, u64::MAX, seed, round);
            }
            let objects = Objects::open(Arc::new(disk), Path::new("/site")).unwrap();
            for name in names {
                assert_eq!(objects.read(name, 1 << 20).unwrap(), bytes(name));
            }
            if !cut {
                break;
            }
        }
    }
}

#[test]
fn an_object_stays_below_its_root() {
    let real = tempfile::tempdir().unwrap();
    let drivers: [(Arc<dyn Fs>, _); 2] =
        [(Arc::new(RealFs), real.path()), (Arc::new(SimFs::new()), Path::new("/sim"))];
    for (fs, dir) in drivers {
        let objects = Objects::open(fs, &dir.join("site")).unwrap();
        for name in ["", "/etc/passwd", "..", "a/../../b", "./../x"] {
            assert_eq!(kind(objects.read(name, 9)), Some(ErrorKind::InvalidInput), "{name}");
            assert_eq!(kind(objects.write(name, b"")), Some(ErrorKind::InvalidInput), "{name}");
        }
        objects.write("tile/0/x001/067", b"bytes").unwrap();
        objects.replace("checkpoint", b"one").unwrap();
        objects.replace("checkpoint", b"two").unwrap();
        assert_eq!(objects.read("checkpoint", 9).unwrap(), b"two");
        assert!(objects.exists("tile/0/x001/067").unwrap());
    }
}

const CHAIN: &str = "/d/chain";

fn chain(count: u8) -> SimFs {
    let disk = SimFs::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    let mut chain = ChainFile::create(&disk, Path::new(CHAIN), &[0]).unwrap();
    (1..count).for_each(|n| chain.append(&[n; 700]).unwrap());
    disk
}

fn payloads(disk: &SimFs) -> Result<Vec<Vec<u8>>, ChainError> {
    ChainFile::open(disk, Path::new(CHAIN)).map(|(_, payloads)| payloads)
}

#[test]
fn a_chain_keeps_what_it_acknowledged_wherever_it_fails() {
    let mut failures = 0;
    for op in [Op::Write, Op::SyncData] {
        for fate in [Fate::Fail(ErrorKind::Other), Fate::Short(1), Fate::Short(39), Fate::Short(600)] {
            for phase in [Phase::Before, Phase::After] {
                for seed in 0..20 {
                    let disk = chain(4);
                    let armed = Arc::new(AtomicBool::new(false));
                    let is_armed = armed.clone();
                    let script = move |point: Point<'_>| {
                        let is_hit =
                            is_armed.load(Ordering::SeqCst) && point.op == op && point.phase == phase;
                        if is_hit { fate } else { Fate::Continue }
                    };
                    let fs = FaultFs::new(Arc::new(disk.clone()), Arc::new(script));
                    let mut chain = ChainFile::open(&fs, Path::new(CHAIN)).unwrap().0;
                    armed.store(true, Ordering::SeqCst);
                    let acked = 4 + usize::from(chain.append(&[9; 700]).is_ok());
                    armed.store(false, Ordering::SeqCst);
                    if acked == 4 {
                        failures += 1;
                        assert!(chain.append(b"more").is_err(), "after a failure nothing is known");
                    }
                    // Killed first: the next life sees the cache, and may act on it; then the power goes.
                    disk.kill();
                    let seen = payloads(&disk).unwrap();
                    assert!(seen.len() == acked || (acked == 4 && seen.len() == 5));
                    disk.crash(&mut Seed(seed));
                    assert_eq!(payloads(&disk).unwrap(), seen);
                }
            }
        }
    }
    assert!(failures > 100);
}

#[test]
fn a_chain_refuses_damage_and_bounds_its_search() {
    let one = chain(1);
    one.flip_bit(Path::new(CHAIN), 41 * 8).unwrap();
    assert!(matches!(payloads(&one), Err(ChainError::Damaged { offset: 0, .. })));

    // A torn payload full of would-be headers, each of a record that is long.
    let disk = chain(2);
    let torn: Vec<u8> = [&b"GCHN"[..], &[0, 4, 0, 0]].concat().repeat(MAX_PAYLOAD_BYTES / 8);
    let file = disk.open(Path::new(CHAIN), Open::ReadWrite).unwrap();
    let end = file.len().unwrap();
    file.write_all_at(&torn, end).unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(payloads(&disk), Err(ChainError::Damaged { .. })));
    assert!(started.elapsed().as_secs() < 10);

    // Longer than any one record that may have been in flight.
    file.set_len(end).unwrap();
    file.write_all_at(&vec![0; MAX_PAYLOAD_BYTES + 100], end).unwrap();
    assert!(matches!(payloads(&disk), Err(ChainError::Damaged { .. })));
    file.set_len(end + 100).unwrap();
    assert_eq!(payloads(&disk).unwrap().len(), 2);
    assert_eq!(disk.snapshot()[&PathBuf::from(CHAIN)].len() as u64, end);
}
