//! The leaf-hash index against the log: found after restarts, crashes, damage and deletion, and never wrong.
//!
//! Part of the crate's own tests: short runs let small logs go through every step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use graven_log::{Config, Engine, Env, Kind, Log, LogName, Visibility, init};
use graven_merkle::{Hash, leaf_hash};
use graven_store::RealFs;

use crate::run::{Key, LENGTHS, Lengths, Run};
use crate::{FindError, LeafIndexFollower};

const SHORT: Lengths = Lengths { small: 512, large: 2048 };

struct House {
    _dir: tempfile::TempDir,
    root: PathBuf,
    engine: Arc<Engine>,
    log: Arc<Log>,
}

impl House {
    fn new(entries: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let data = root.join("data");
        let config = Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..Config::default() };
        init(&Env::system(), &data, "example.com/audit", Kind::Bytes, Visibility::Private, &config).unwrap();
        let engine = Engine::open(Env::system(), &data, config).unwrap();
        let log = engine.log("audit").unwrap();
        let house = Self { _dir: dir, root, engine, log };
        house.append(0..entries);
        house
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        append(&self.engine, &self.log, &numbers.map(entry).collect::<Vec<_>>());
    }

    fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    fn follow(&self, dir: &Path) -> Arc<LeafIndexFollower> {
        LeafIndexFollower::open_with(self.engine.clone(), Arc::new(RealFs), dir, SHORT).unwrap()
    }

    /// Every entry is found, and nothing else; as far as the follower has come it says so.
    fn check(&self, follower: &LeafIndexFollower, every: usize) {
        let size = self.log.head().size().get();
        let position = follower.position(&self.log);
        for n in (0..size).step_by(every) {
            let found = follower.find(&self.log, &hash(n)).map(|found| found.map(|index| index.get()));
            match n < position {
                true => assert_eq!(found, Ok(Some(n))),
                false => assert_eq!(found, Err(FindError::Lagging { position, size })),
            }
        }
        let absent = follower.find(&self.log, &hash(u64::MAX));
        match position < size {
            true => assert_eq!(absent, Err(FindError::Lagging { position, size })),
            false => assert_eq!(absent, Ok(None)),
        }
    }
}

fn append(engine: &Engine, log: &Arc<Log>, entries: &[Bytes]) {
    for batch in entries.chunks(1000) {
        let mut answer = engine.append_later(log, batch.to_vec(), None).unwrap();
        engine.commit_step(Duration::ZERO);
        answer.try_recv().unwrap().unwrap();
        engine.publish_step(log);
    }
    while engine.seal_step(log) {}
}

fn entry(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}"))
}

fn hash(n: u64) -> Hash {
    leaf_hash(&entry(n))
}

fn read_all(follower: &LeafIndexFollower, log: &Log) {
    while follower.step() {}
    assert_eq!(follower.position(log), log.head().size().get());
}

fn runs_in(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir.join("00000001")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        match file.file_type().unwrap().is_dir() {
            true => copy(&file.path(), &target),
            false => drop(fs::copy(file.path(), target).unwrap()),
        }
    }
}

#[test]
fn every_entry_is_found_as_the_log_grows_and_across_restarts() {
    let house = House::new(0);
    let mut size = 0;
    for more in [1, 510, 1, 1, 1535, 700, 3000, 2048, 9] {
        let follower = house.follow(&house.index());
        house.check(&follower, 1);
        house.append(size..size + more);
        size += more;
        house.check(&follower, 1);
        read_all(&follower, &house.log);
        house.check(&follower, 1);
    }
    // 7,805 = 3 × 2,048 + 3 × 512 + 125
    assert_eq!(runs_in(&house.index()).len(), 6);
    let follower = house.follow(&house.index());
    assert_eq!(follower.position(&house.log), 7680);
}

#[test]
fn a_kill_after_any_step_costs_no_entry() {
    let house = House::new(0);
    let follower = house.follow(&house.index());
    for n in 0..30 {
        house.append(n * 300..(n + 1) * 300);
        let mut has_more = true;
        while has_more {
            has_more = follower.step();
            let copied = house.root.join("killed");
            copy(&house.index(), &copied);
            let after = house.follow(&copied);
            house.check(&after, 37);
            read_all(&after, &house.log);
            house.check(&after, 37);
            drop(after);
            fs::remove_dir_all(&copied).unwrap();
        }
    }
}

#[test]
fn runs_without_their_row_and_rows_without_their_runs_are_made_good() {
    let house = House::new(8000);
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    drop(follower);
    let all = runs_in(&house.index());

    // Runs that no row tells of, as a crash before the row leaves them, and something that never was a run.
    fs::remove_dir_all(house.index().join("rows")).unwrap();
    fs::write(house.index().join("00000001/notes.txt"), "?").unwrap();
    let follower = house.follow(&house.index());
    assert_eq!((follower.position(&house.log), runs_in(&house.index()).len()), (0, 0));
    read_all(&follower, &house.log);
    house.check(&follower, 1);
    drop(follower);
    assert_eq!(runs_in(&house.index()), all);

    // A row whose runs are gone, or cut short: what comes before them is kept.
    for (at, kept) in [(4, 3 * 2048 + 512), (1, 2048)] {
        match at {
            4 => fs::remove_file(&all[at]).unwrap(),
            _ => fs::write(&all[at], fs::read(&all[at]).unwrap().split_last().unwrap().1).unwrap(),
        }
        let follower = house.follow(&house.index());
        assert_eq!(follower.position(&house.log), kept);
        read_all(&follower, &house.log);
        house.check(&follower, 1);
    }
}

#[test]
fn a_deleted_or_broken_index_is_made_again_and_answers_the_same() {
    let house = House::new(5000);
    let breakages: [fn(&Path); 4] = [
        |dir| fs::remove_dir_all(dir).unwrap(),
        |dir| fs::remove_dir_all(dir.join("00000001")).unwrap(),
        |dir| fs::write(dir.join("rows/conf"), "this is no configuration").unwrap(),
        |dir| fs::write(dir.join("rows/db"), [0xa5; 300]).unwrap(),
    ];
    for breakage in breakages {
        let follower = house.follow(&house.index());
        read_all(&follower, &house.log);
        drop(follower);
        breakage(&house.index());
        let follower = house.follow(&house.index());
        assert_eq!(follower.position(&house.log), 0);
        read_all(&follower, &house.log);
        house.check(&follower, 1);
    }
}

#[test]
fn the_index_of_another_log_or_of_a_longer_one_is_not_believed() {
    let (house, other) = (House::new(3000), House::new(0));
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    drop(follower);

    copy(&house.index(), &other.root.join("longer"));
    other.append(0..2999);
    let follower = other.follow(&other.root.join("longer"));
    assert_eq!(follower.position(&other.log), 0);
    drop(follower);

    append(&other.engine, &other.log, &[const { Bytes::from_static(b"another history") }; 2]);
    copy(&house.index(), &other.root.join("another"));
    let follower = other.follow(&other.root.join("another"));
    assert_eq!(follower.position(&other.log), 0);
    read_all(&follower, &other.log);
    assert_eq!(follower.find(&other.log, &hash(2998)).unwrap().unwrap().get(), 2998);
    assert_eq!(follower.find(&other.log, &hash(2999)), Ok(None));
    drop(follower);

    // The same history, gone on: believed.
    house.append(3000..3100);
    assert_eq!(house.follow(&house.index()).position(&house.log), 2560);
}

#[test]
fn the_first_of_equal_entries_is_found() {
    let house = House::new(300);
    let same: Vec<_> = (0..3000).map(|n| if n % 3 == 0 { entry(n) } else { entry(7) }).collect();
    append(&house.engine, &house.log, &same);
    append(&house.engine, &house.log, &vec![Bytes::from_static(b"late"); 2500]);
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    let find = |hash: &Hash| follower.find(&house.log, hash).unwrap().unwrap().get();
    assert_eq!(find(&hash(7)), 7);
    assert_eq!(find(&hash(3)), 3);
    assert_eq!(find(&hash(2997)), 300 + 2997);
    assert_eq!(find(&leaf_hash(b"late")), 3300);
}

#[test]
fn several_logs_are_kept_apart() {
    let house = House::new(1500);
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    let name = LogName::new("second").unwrap();
    let second = house.engine.create_log(&name, Kind::Bytes, Visibility::Private).unwrap();
    append(&house.engine, &second, &(1000..3000).map(entry).collect::<Vec<_>>());
    assert!(matches!(
        follower.find(&second, &hash(1000)),
        Err(FindError::Lagging { position: 0, size: 2000 })
    ));
    for reopened in [false, true] {
        let follower = if reopened { house.follow(&house.root.join("anew")) } else { follower.clone() };
        read_all(&follower, &house.log);
        house.check(&follower, 1);
        for n in 0..3000 {
            let found = follower.find(&second, &hash(n)).unwrap().map(|index| index.get());
            assert_eq!(found, n.checked_sub(1000));
        }
    }
}

#[test]
fn whatever_byte_of_a_run_changes_no_answer_is_wrong_and_it_mends() {
    let house = House::new(3000);
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    let whole: Vec<_> = runs_in(&house.index()).iter().map(|run| fs::read(run).unwrap()).collect();
    for n in 0..200_usize {
        let files = runs_in(&house.index());
        let (file, bytes) = (&files[n % files.len()], &whole[n % files.len()]);
        let mut changed = bytes.clone();
        match n % 5 {
            0 => changed.truncate(n * 59 % bytes.len()),
            1 => changed.fill(0),
            // Blocks of the same run, but in each other's place.
            2 => changed.rotate_left(4096),
            _ => changed[n * 9973 % bytes.len()] ^= 1 << (n % 8),
        }
        fs::write(file, changed).unwrap();
        let size = 3000;
        for entry in (n as u64 % 7..size + 500).step_by(7) {
            match follower.find(&house.log, &hash(entry)) {
                Ok(Some(found)) => assert_eq!(found.get(), entry),
                Ok(None) => assert!(entry >= size, "{entry} was said to be absent"),
                Err(error) => assert!(matches!(error, FindError::Lagging { size: 3000, .. }), "{error}"),
            }
        }
        read_all(&follower, &house.log);
        // What nobody met stays as it is; put it right for the next turn.
        for (file, bytes) in runs_in(&house.index()).iter().zip(&whole) {
            fs::write(file, bytes).unwrap();
        }
        house.check(&follower, 53);
    }
}

#[test]
fn a_run_that_lies_with_good_checksums_misleads_nobody() {
    let house = House::new(3000);
    let follower = house.follow(&house.index());
    read_all(&follower, &house.log);
    let log = house.log.meta().id;
    for run in SHORT.runs(log, 2560) {
        // Each entry stands where its neighbour should.
        let keys = (run.start..run.end()).map(|n| Key::of(&hash(n ^ 1)));
        fs::write(house.index().join("00000001").join(run.file_name()), run.encode(keys)).unwrap();
    }
    for n in 0..2560 {
        assert_eq!(follower.find(&house.log, &hash(n)), Ok(None));
    }
    // Indices beyond the log are not believed either.
    let beyond = Run { log, start: 0, entries: 2048 };
    let mut bytes = beyond.encode((0..2048).map(|n| Key::of(&hash(n))));
    bytes.iter_mut().skip(8).step_by(12).take(341).for_each(|byte| *byte = 0xff);
    fs::write(house.index().join("00000001").join(beyond.file_name()), bytes).unwrap();
    assert!(matches!(follower.find(&house.log, &hash(5)), Ok(None) | Err(FindError::Lagging { .. })));
}

#[test]
fn the_thread_follows_while_entries_arrive_and_stops_when_told() {
    let house = House::new(0);
    let follower = house.follow(&house.index());
    let following = follower.start().unwrap();
    for n in 0..20 {
        house.append(n * 500..(n + 1) * 500);
        for entry in 0..n * 500 {
            match follower.find(&house.log, &hash(entry)) {
                Ok(found) => assert_eq!(found.map(|index| index.get()), Some(entry)),
                Err(FindError::Lagging { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let begun = Instant::now();
    while follower.position(&house.log) < 10_000 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it stands at {}", follower.position(&house.log));
        std::thread::sleep(Duration::from_millis(5));
    }
    house.check(&follower, 1);
    following.stop();
    house.append(10_000..10_010);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(follower.position(&house.log), 10_000);
}

#[test]
fn runs_follow_from_how_far_the_log_was_read() {
    let log = graven_store::journal::LogId(1);
    for lengths in [SHORT, LENGTHS] {
        let small = u64::from(lengths.small);
        let mut end = 0;
        for unread in [1, 3, 1, 2, 9, 4, 5, 1, 40].map(|runs| runs * small + small / 2) {
            let size = end + unread;
            while let Some(run) = lengths.next(log, end, size) {
                let kept = lengths.runs(log, end).filter(|kept| kept.start < run.start).chain([run]);
                assert!(run.end() > end && run.end() <= size);
                assert_eq!(lengths.runs(log, run.end()).collect::<Vec<_>>(), kept.collect::<Vec<_>>());
                end = run.end();
            }
            assert!(size - end < small);
        }
    }
}
