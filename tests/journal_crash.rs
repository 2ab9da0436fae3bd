//! The journal under power cuts and kills at every step of storage, under rot, and under full disks: what was
//! acknowledged is there, in order; the record in flight is there whole or not at all; and damage is told from both.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graven_merkle::leaf_hash;
use graven_store::Fs;
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point};
use graven_store::journal::{
    Journal, LogId, MIN_SEGMENT_BYTES, OpenError, Record, RecordBuilder, Section, attachments,
};
use graven_store::sim::{Seed, SimFs};
use parking_lot::Mutex;

const DIR: &str = "/data/journal";
const SEGMENT_BYTES: u64 = MIN_SEGMENT_BYTES;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    PowerCut,
    /// The machine lives: what was written is seen by the next life, synced or not.
    Kill,
    /// A write is cut short, and then the power goes.
    Short,
}

/// Ends the process at the `at`-th step that changes storage, on the side that `at`'s lowest bit names.
struct Ending {
    disk: SimFs,
    seed: u64,
    at: u64,
    end: End,
    steps: AtomicU64,
    is_over: AtomicBool,
    trace: Mutex<Vec<(Op, Phase, PathBuf)>>,
}

impl Ending {
    fn new(disk: &SimFs, seed: u64, at: u64, end: End) -> Arc<Self> {
        let (steps, is_over, trace) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        Arc::new(Self { disk: disk.clone(), seed, at, end, steps, is_over, trace })
    }

    fn fs(self: &Arc<Self>) -> Arc<dyn Fs> {
        let script = self.clone();
        Arc::new(FaultFs::new(
            Arc::new(self.disk.clone()),
            Arc::new(move |point: Point<'_>| script.fate(point)),
        ))
    }

    fn fate(&self, point: Point<'_>) -> Fate {
        if self.is_over.load(Ordering::SeqCst) {
            return Fate::Fail(std::io::ErrorKind::Other);
        }
        if !point.op.mutates() {
            return Fate::Continue;
        }
        self.trace.lock().push((point.op, point.phase, point.path.to_owned()));
        if self.steps.fetch_add(1, Ordering::SeqCst) != self.at {
            return Fate::Continue;
        }
        self.is_over.store(true, Ordering::SeqCst);
        match self.end {
            End::Short if point.op == Op::Write && point.phase == Phase::Before => {
                return Fate::Short(usize::try_from(Seed(self.seed).below(5000)).unwrap());
            }
            End::PowerCut | End::Short => self.disk.crash(&mut Seed(self.seed ^ self.at)),
            End::Kill => self.disk.kill(),
        }
        Fate::Fail(std::io::ErrorKind::Other)
    }
}

/// What the caller of a journal knows: entry `n` of the log is made from `n` alone.
#[derive(Default)]
struct Model {
    acked: u64,
    /// The entry whose append did not return.
    in_flight: bool,
}

fn entry(n: u64) -> Vec<u8> {
    let mut seed = Seed(n);
    let len = seed.below(9000);
    (0..len).map(|_| seed.next().to_le_bytes()[0]).collect()
}

fn record(n: u64) -> RecordBuilder {
    let mut record = RecordBuilder::default();
    if n % 11 == 10 {
        // Longer than any segment has room for when it is small.
        record.begin_entries(LogId(2), 0, true);
        record.entry(b"short", &leaf_hash(b"short"));
        record.attachment(0, &vec![3; 70_000]);
    }
    record.begin_entries(LogId(1), n, false);
    record.entry(&entry(n), &leaf_hash(&entry(n)));
    record.attachment(0, &[7; 50]);
    record
}

fn nonce(seed: &mut Seed) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&seed.next().to_le_bytes());
    nonce
}

/// Indices of the entries of a record, which must be what they were.
fn indices(record: &Record) -> impl Iterator<Item = u64> {
    record.sections.iter().filter_map(|section| match section {
        Section::Entries(section) if section.log == LogId(1) => {
            let expected = leaf_hash(&entry(section.first_index));
            assert_eq!(section.leaf_hashes, [expected]);
            let attached: Vec<_> = attachments(&section.attachments).collect();
            assert!(attached == [(0, vec![7; 50].into())], "entry {}", section.first_index);
            Some(section.first_index)
        }
        _ => None,
    })
}

fn open(fs: &Arc<dyn Fs>) -> Result<(Journal, Vec<u64>), OpenError> {
    let mut found = Vec::new();
    let journal =
        Journal::open(fs, Path::new(DIR), SEGMENT_BYTES, |record, _| found.extend(indices(&record)))?;
    Ok((journal, found))
}

/// One life of a caller that appends, rolls, prepares and releases, keeping the last few segments.
fn live(fs: &Arc<dyn Fs>, seed: &mut Seed, model: &mut Model, appends: u64) -> Option<()> {
    if !fs.exists(Path::new("/data/made")).ok()? {
        Journal::create(fs.clone(), Path::new(DIR), SEGMENT_BYTES, nonce(seed)).ok()?;
        fs.create_durable(Path::new("/data/made"), b"", graven_store::fs::Mode::Shared).ok()?;
    }
    let (mut journal, found) = match open(fs) {
        Ok(opened) => opened,
        Err(OpenError::Io { .. }) => return None,
        Err(refused) => panic!("a crash is not damage: {refused}"),
    };
    check(&found, model);
    if !journal.is_empty() {
        journal.roll(nonce(seed)).ok()?;
    }
    for _ in 0..appends {
        let next = record(model.acked);
        if seed.one_in(3) {
            journal.segments().prepare(nonce(seed)).ok()?;
        }
        if next.body_len() > journal.room() || seed.one_in(8) {
            journal.roll(nonce(seed)).ok()?;
            if seed.one_in(2) {
                journal.segments().prepare(nonce(seed)).ok()?;
            }
        }
        model.in_flight = true;
        journal.append(next, model.acked).ok()?;
        (model.in_flight, model.acked) = (false, model.acked + 1);
        if seed.one_in(4) {
            journal.release_before(journal.active_segment().saturating_sub(seed.below(4)));
        }
    }
    Some(())
}

/// What is found ends in everything that was acknowledged, and in order; the one in flight may follow.
fn check(found: &[u64], model: &mut Model) {
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{found:?}");
    let count = found.last().map_or(0, |last| last + 1);
    assert!(
        count == model.acked || (model.in_flight && count == model.acked + 1),
        "{count} of {}",
        model.acked
    );
    (model.acked, model.in_flight) = (count, false);
}

/// Lives that end at step `at`, then at ever other ones, on one disk; `true` while the first ended early.
fn campaign(seed: u64, at: u64, end: End) -> (bool, u64, Vec<(Op, Phase, PathBuf)>) {
    let disk = SimFs::new();
    let (mut choices, mut model, mut trace) = (Seed(seed), Model::default(), Vec::new());
    let mut ended = false;
    for (life, at) in [at, choices.below(60), choices.below(60)].into_iter().enumerate() {
        let end = if life == 1 { End::Kill } else { end };
        let ending = Ending::new(&disk, seed + life as u64, at, end);
        let finished = live(&ending.fs(), &mut choices, &mut model, 14).is_some();
        ended |= life == 0 && !finished;
        match end {
            // What a kill leaves in the cache is lost by the power cut that follows, unless the next life synced it.
            End::Kill => disk.kill(),
            End::PowerCut | End::Short => disk.crash(&mut Seed(seed)),
        }
        trace.append(&mut ending.trace.lock());
    }
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    if fs.exists(Path::new("/data/made")).unwrap() {
        check(&open(&fs).expect("a crash is not damage").1, &mut model);
        // Opening made it all durable: a power cut now takes nothing.
        let before = model.acked;
        disk.crash(&mut Seed(!seed));
        check(&open(&fs).expect("a crash is not damage").1, &mut model);
        assert_eq!(model.acked, before);
    }
    (ended, model.acked, trace)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_process_ends() {
    let (mut lives, mut acked) = (0, 0);
    for end in [End::PowerCut, End::Kill, End::Short] {
        for at in 0..u64::MAX {
            let results: Vec<_> = (0..6).map(|seed| campaign(seed * 1000 + at, at, end)).collect();
            lives += 3 * results.len();
            acked += results.iter().map(|(_, acked, _)| acked).sum::<u64>();
            if !results.iter().any(|(ended, ..)| *ended) {
                break;
            }
        }
    }
    assert!(lives > 3000 && acked > 5000, "{lives} lives with {acked} records are too few to show anything");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let [one, two] = [(); 2].map(|()| campaign(seed, 40, End::PowerCut));
        assert_eq!(one, two);
        assert!(one.2.len() > 40);
    }
}

/// A journal of `count` records in segments of the smallest size.
fn filled(count: u64) -> (SimFs, Model) {
    let (disk, mut model) = (SimFs::new(), Model::default());
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    Journal::create(fs.clone(), Path::new(DIR), SEGMENT_BYTES, [1; 16]).unwrap();
    let mut journal = open(&fs).unwrap().0;
    for n in 0..count {
        if record(n).body_len() > journal.room() {
            journal.roll([u8::try_from(n).unwrap(); 16]).unwrap();
        }
        journal.append(record(n), n).unwrap();
        model.acked += 1;
    }
    (disk, model)
}

/// Slots by the number in their header, with their bytes.
fn slots(disk: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let mut slots: Vec<_> = disk.snapshot().into_iter().collect();
    slots.sort_by_key(|(_, bytes)| bytes[8..16].to_vec());
    slots
}

#[test]
fn sequence_and_chain_go_on_over_many_rolls() {
    let (disk, mut model) = filled(200);
    let fs: Arc<dyn Fs> = Arc::new(disk);
    let (journal, found) = open(&fs).unwrap();
    assert!(journal.active_segment() > 15);
    assert_eq!(found.len(), 200);
    check(&found, &mut model);
}

#[test]
fn a_flipped_bit_in_any_record_but_the_last_is_refused() {
    let (disk, _) = filled(40);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let mut places = Vec::new();
    Journal::open(&fs, Path::new(DIR), SEGMENT_BYTES, |_, stored| {
        places.push((stored.segment, stored.offset, stored.bytes.len() as u64));
    })
    .unwrap();
    places.pop();
    let slots = slots(&disk);
    let mut seed = Seed(5);
    for (segment, offset, len) in places {
        let path = &slots[usize::try_from(segment).unwrap() - 1].0;
        // Each bit of the header, some of the body, the digest and the padding.
        for bit in (0..80 * 8).step_by(7).chain((0..60).map(|_| seed.below(len * 8))) {
            disk.flip_bit(path, offset * 8 + bit).unwrap();
            assert!(matches!(open(&fs), Err(OpenError::Damaged { .. })), "segment {segment}, bit {bit}");
            disk.flip_bit(path, offset * 8 + bit).unwrap();
        }
    }
    assert_eq!(open(&fs).unwrap().1.len(), 40);
}

#[test]
fn a_header_survives_a_flip_and_its_loss_is_refused() {
    let (disk, mut model) = filled(40);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    for (path, _) in slots(&disk) {
        for bit in 0..44 * 8 {
            disk.flip_bit(&path, bit).unwrap();
            check(&open(&fs).unwrap().1, &mut model);
            disk.flip_bit(&path, 2048 * 8 + bit).unwrap();
            assert!(matches!(open(&fs), Err(OpenError::Unreadable { .. })), "{}: {bit}", path.display());
            assert!(fs.exists(&path).unwrap(), "evidence is kept");
            disk.flip_bit(&path, bit).unwrap();
            disk.flip_bit(&path, 2048 * 8 + bit).unwrap();
        }
    }
    assert_eq!(model.acked, 40);
}

#[test]
fn a_lost_or_cut_file_is_refused() {
    let (disk, _) = filled(40);
    let files = disk.snapshot();
    let slots = slots(&disk);
    for (path, bytes) in &slots[1..slots.len() - 1] {
        let mut left = files.clone();
        left.remove(path);
        assert!(matches!(reopened(&left), Err(OpenError::Damaged { .. })), "{}", path.display());
        left.insert(path.clone(), bytes[..bytes.len() - 1].to_vec());
        let refused = reopened(&left).unwrap_err();
        let is_cut = matches!(refused, OpenError::Unreadable { .. });
        // One that grew for a long record is missed by that record.
        let is_broken = bytes.len() as u64 > SEGMENT_BYTES && matches!(refused, OpenError::Damaged { .. });
        assert!(is_cut || is_broken, "{}: {refused}", path.display());
    }
    let only_last = slots.last().cloned().into_iter().collect();
    assert!(reopened(&only_last).is_ok(), "older segments may have been released");
    let none = [(PathBuf::from("/data/made"), Vec::new())].into();
    assert!(matches!(reopened(&none), Err(OpenError::Missing(_))));
}

fn reopened(files: &std::collections::BTreeMap<PathBuf, Vec<u8>>) -> Result<Vec<u64>, OpenError> {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs.restore(files);
    let fs: Arc<dyn Fs> = Arc::new(fs);
    open(&fs).map(|(_, found)| found)
}

#[test]
fn a_full_disk_changes_nothing_and_passes() {
    let (disk, mut model) = filled(5);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let mut journal = open(&fs).unwrap().0;
    let before = disk.snapshot();
    for room in [0, 1, 5000, SEGMENT_BYTES - 1] {
        disk.set_capacity(Some(before.values().map(|bytes| bytes.len() as u64).sum::<u64>() + room));
        let full = journal.segments().prepare([9; 16]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(journal.roll([9; 16]).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(disk.snapshot(), before);
    }
    disk.set_capacity(None);
    journal.segments().prepare([9; 16]).unwrap();
    journal.roll([8; 16]).unwrap();
    journal.append(record(5), 5).unwrap();
    model.acked += 1;
    drop(journal);
    check(&open(&fs).unwrap().1, &mut model);
}

#[test]
fn after_a_failure_of_any_kind_prepare_gives_the_same_number_again() {
    for step in 0..12 {
        for used in [false, true] {
            let (disk, mut model) = filled(30);
            let armed = Arc::new(AtomicBool::new(false));
            let steps = AtomicU64::new(0);
            let is_armed = armed.clone();
            let script = move |point: Point<'_>| {
                let is_hit = is_armed.load(Ordering::SeqCst)
                    && point.op.mutates()
                    && steps.fetch_add(1, Ordering::SeqCst) == step;
                if is_hit { Fate::Fail(std::io::ErrorKind::StorageFull) } else { Fate::Continue }
            };
            let fs: Arc<dyn Fs> = Arc::new(FaultFs::new(Arc::new(disk.clone()), Arc::new(script)));
            let mut journal = open(&fs).unwrap().0;
            if used {
                journal.release_before(journal.active_segment());
            }
            armed.store(true, Ordering::SeqCst);
            let _ = journal.segments().prepare([9; 16]);
            armed.store(false, Ordering::SeqCst);
            let number = journal.active_segment();
            journal.roll([8; 16]).unwrap();
            assert_eq!(journal.active_segment(), number + 1);
            journal.append(record(30), 30).unwrap();
            model.acked += 1;
            disk.crash(&mut Seed(step));
            check(&open(&fs).unwrap().1, &mut model);
        }
    }
}

#[test]
fn a_journal_that_failed_takes_no_more() {
    for phase in [Phase::Before, Phase::After] {
        for op in [Op::Write, Op::SyncData] {
            let (disk, mut model) = filled(3);
            let once = AtomicBool::new(false);
            let is_armed = Arc::new(AtomicBool::new(false));
            let armed = is_armed.clone();
            let script = move |point: Point<'_>| {
                let is_hit = armed.load(Ordering::SeqCst) && point.op == op && point.phase == phase;
                if is_hit && !once.swap(true, Ordering::SeqCst) {
                    return Fate::Fail(std::io::ErrorKind::Other);
                }
                Fate::Continue
            };
            let fs: Arc<dyn Fs> = Arc::new(FaultFs::new(Arc::new(disk.clone()), Arc::new(script)));
            let mut journal = open(&fs).unwrap().0;
            is_armed.store(true, Ordering::SeqCst);
            model.in_flight = true;
            assert!(journal.append(record(3), 3).is_err());
            assert!(journal.append(record(3), 3).is_err(), "{op:?} {phase:?}");
            assert!(journal.roll([5; 16]).is_err());
            check(&open(&fs).unwrap().1, &mut model);
        }
    }
}

#[test]
fn a_record_longer_than_is_ever_read_back_is_not_counted_short() {
    let mut record = RecordBuilder::default();
    record.begin_entries(LogId(1), 0, false);
    record.entry(b"x", &leaf_hash(b"x"));
    let before = record.body_len();
    record.attachment(0, &[0; 1000]);
    assert_eq!(record.body_len(), before + 1008);
}

#[test]
fn segments_of_another_size_are_not_used_again() {
    let (disk, mut model) = filled(30);
    let fs: Arc<dyn Fs> = Arc::new(disk);
    let mut journal = Journal::open(&fs, Path::new(DIR), 2 * SEGMENT_BYTES + 5, |_, _| ()).unwrap();
    journal.roll([1; 16]).unwrap();
    journal.release_before(journal.active_segment());
    journal.append(record(30), 0).unwrap();
    journal.roll([2; 16]).unwrap();
    assert_eq!(journal.room(), journal.max_body_bytes(), "an empty segment has the room that was promised");
    journal.append(record(31), 0).unwrap();
    model.acked += 2;
    check(&open(&fs).unwrap().1, &mut model);
}
