//! A log whose hook begins it, refuses, adds follow-ups and attaches: what holds wherever storage fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_log::{
    AppendError, Draft, Engine, IdempotencyKey, Kind, Leaf, Log, LogMeta, LogName, MAX_ATTACHMENT_BYTES,
    Problem, ReadError, Refusal, Sequenced, Sequencer, Sequencers, Visibility, fsck,
};
use graven_merkle::LeafIndex;

use crate::ledger::{BREAKS, FOLLOW_UP_CLASS, GENESIS, Ledger, REFUSED, attachment_of, draft, is_own};
use crate::sim_rig::{DATA, Rig, entry, is_poisoned, publish};

/// What a disk holds.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A data directory whose log `audit` is a ledger.
pub(crate) fn ledger() -> (Rig, Arc<Engine>, Arc<Log>) {
    let rig = Rig::new();
    rig.init_kind(Kind::Events).unwrap();
    let (engine, log) = rig.open();
    (rig, engine, log)
}

pub(crate) fn sequence(
    engine: &Engine,
    log: &Arc<Log>,
    drafts: Vec<Draft>,
) -> Result<Sequenced, AppendError> {
    sequence_as(engine, log, drafts, None)
}

fn sequence_as(
    engine: &Engine,
    log: &Arc<Log>,
    drafts: Vec<Draft>,
    claim: Option<(&str, &[&[u8]])>,
) -> Result<Sequenced, AppendError> {
    let key = |key| IdempotencyKey { key, issued_ns: 1_790_000_000_000_000_000 };
    let mut answer = engine.sequence_later(log, drafts, claim.map(|(name, parts)| (key(name), parts)))?;
    engine.commit_step(Duration::ZERO);
    answer.try_recv().unwrap_or(Err(AppendError::Poisoned))
}

/// Records entries until the log has `size` leaves or more, a few at a time.
pub(crate) fn record(engine: &Engine, log: &Arc<Log>, size: u64) -> Result<(), AppendError> {
    while log.durable_size() < size {
        let first = log.durable_size();
        let drafts: Vec<_> = (first..first + 7).map(|n| draft(entry(n))).collect();
        let sequenced = sequence(engine, log, drafts)?;
        assert_eq!(
            (sequenced.first, sequenced.count),
            (first, 7),
            "follow-ups come after, and are not counted"
        );
        // Whoever is told of an index finds what was stored with it.
        let kept = log.attachments(first..first + 7, usize::MAX).unwrap();
        assert!(kept.into_iter().eq((first..first + 7).map(|n| attachment_of(&entry(n)))));
    }
    Ok(())
}

/// Every leaf and attachment is as it was made; of class 1, those before `dropped` are gone.
pub(crate) fn check(log: &Log, dropped: u64) {
    let size = log.head().size().get();
    let mut ledger = Ledger::default();
    let mut follow_ups = 0;
    for (entry, n) in log.entries(0..size, usize::MAX).unwrap().iter().zip(0..) {
        ledger.check(entry);
        follow_ups += u64::from(is_own(entry));
        let kept = log.attachment(LeafIndex::new(n).unwrap()).unwrap();
        let made = attachment_of(entry).filter(|made| made[0] != 1 || n >= dropped);
        assert_eq!(kept, made, "entry {n}");
    }
    assert!(follow_ups > size / 20, "{follow_ups} follow-ups");
    let all = log.attachments(0..size, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, size);
    let paged = (0..size).step_by(50).flat_map(|at| log.attachments(at..size.min(at + 50), 1 << 20).unwrap());
    assert!(paged.eq(all), "in pages");
}

#[test]
fn what_a_hook_makes_of_drafts_is_kept_through_carrying_sealing_dropping_and_restarts() {
    let (rig, engine, log) = ledger();
    assert_eq!(log.durable_size(), 1);
    // Nothing is published, so nothing sealed, and the tail is carried from segment to segment.
    record(&engine, &log, 1500).unwrap();
    let slots = rig.disk.snapshot().keys().filter(|path| path.starts_with(rig.path("journal"))).count();
    assert!(slots < 40, "{slots} slots");
    let unsealed = log.unsealed_bytes();
    assert!(unsealed > 100_000, "{unsealed} bytes with what is attached");
    let (engine, log) = rig.reopen();
    assert_eq!(log.unsealed_bytes(), unsealed);
    publish(&engine, &log);
    assert!(log.sealed_size() >= 1280 && log.unsealed_bytes() < unsealed / 2);
    check(&log, 0);

    let before = LeafIndex::new(600).unwrap();
    assert_eq!(engine.drop_blobs(&log, 1, before).unwrap(), 2);
    assert_eq!(engine.drop_blobs(&log, 1, before).unwrap(), 0, "they are gone");
    assert_eq!(engine.drop_blobs(&log, 77, before).unwrap(), 0, "there never was one");
    check(&log, 512);
    let (engine, log) = rig.reopen();
    record(&engine, &log, 2000).unwrap();
    publish(&engine, &log);
    check(&log, 512);
    // No more is dropped than is sealed.
    engine.drop_blobs(&log, 1, LeafIndex::new(1_000_000).unwrap()).unwrap();
    check(&log, log.sealed_size());
    assert!(fsck(&rig.env(), Path::new(DATA), |_, _, _| {}).is_err(), "the server has it");
    drop((engine, log));
    rig.disk.kill();
    let report = fsck(&rig.env(), Path::new(DATA), |_, _, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_ledger_through_a_failure_at_every_step() {
    for at in 0.. {
        let (rig, engine, log) = ledger();
        record(&engine, &log, 250).unwrap();
        rig.die_at(at * 3);
        let mut acked = 250;
        let mut dropped = 0;
        let all = (|| {
            for size in [400, 560, 700] {
                record(&engine, &log, size).ok()?;
                acked = size;
                engine.publish_step(&log).then_some(())?;
                while engine.seal_step(&log) {}
                engine.snapshot_step(&log, true).then_some(())?;
            }
            dropped = 256;
            engine.drop_blobs(&log, 1, LeafIndex::new(300).unwrap()).ok()
        })();
        let is_over = all.is_some_and(|files| files == 1) && !is_poisoned(&engine);
        rig.heal();
        drop((engine, log));
        if at % 3 == 0 {
            rig.disk.kill();
        } else {
            rig.crash(at);
        }
        let (engine, log) = rig.open();
        assert!(log.durable_size() >= acked, "step {at}");
        let size = log.durable_size();
        record(&engine, &log, size + 20).unwrap();
        publish(&engine, &log);
        if dropped > 0 {
            engine.drop_blobs(&log, 1, LeafIndex::new(300).unwrap()).unwrap();
        }
        check(&log, dropped);
        if is_over {
            assert!(at > 60, "it takes more steps");
            return;
        }
    }
}

#[test]
fn the_first_leaf_is_there_wherever_its_creation_failed() {
    let second = LogName::new("second").unwrap();
    for at in 0.. {
        let (rig, engine, _) = ledger();
        rig.die_at(at);
        let made = engine.create_log(&second, Kind::Events, Visibility::Private);
        rig.heal();
        let is_made = made.is_ok();
        if let Ok(log) = &made {
            assert_eq!(log.durable_size(), 1);
        }
        drop((engine, made));
        rig.crash(at);
        // The start that makes up for it fails too, at some step.
        rig.die_at(at * 2);
        let opened = rig.try_open();
        rig.heal();
        drop(opened);
        rig.crash(at + 1);
        let engine = rig.try_open().unwrap();
        for log in engine.logs() {
            let name = &log.meta().name;
            assert!(log.durable_size() == 1, "step {at}: {name} has {} leaves", log.durable_size());
            record(&engine, &log, 40).unwrap();
            publish(&engine, &log);
            check(&log, 0);
        }
        if is_made {
            assert!(engine.log("second").is_some() && at > 20);
            return;
        }
    }
}

#[test]
fn refusals_reach_the_caller_and_leave_no_trace() {
    let (rig, engine, log) = ledger();
    record(&engine, &log, 20).unwrap();
    let size = log.durable_size();
    let refused = || Draft::new(Bytes::from_static(REFUSED.0));
    let refusal = sequence(&engine, &log, vec![draft(entry(1)), refused()]).unwrap_err();
    assert_eq!(refusal, AppendError::Refused(Refusal::new(42, "it was asked to")));
    for (drafts, expected) in [
        (vec![], AppendError::Nothing),
        (vec![draft(entry(1)), Draft::new(Bytes::new())], AppendError::Empty(1)),
        (vec![Draft::new(vec![1; 65_536].into())], AppendError::TooLong { position: 0, bytes: 65_536 }),
        (
            vec![draft(entry(1)), draft(entry(2)).with_attachment(Bytes::new())],
            AppendError::Attachment { position: 1, bytes: 0 },
        ),
        (
            vec![draft(entry(2)).with_attachment(vec![1; MAX_ATTACHMENT_BYTES + 1].into())],
            AppendError::Attachment { position: 0, bytes: MAX_ATTACHMENT_BYTES + 1 },
        ),
    ] {
        assert_eq!(sequence(&engine, &log, drafts).unwrap_err(), expected);
    }
    let long = draft(entry(2)).with_attachment(vec![1; engine.max_request_bytes()].into());
    let refusal = sequence(&engine, &log, vec![long]).unwrap_err();
    assert!(matches!(refusal, AppendError::TooMuch { entries: 1, .. }), "{refusal}");
    let refusal = engine.append_later(&log, vec![entry(1)], None).unwrap_err();
    assert!(matches!(refusal, AppendError::WrongKind { kind: Kind::Events, .. }));
    assert_eq!(log.durable_size(), size);
    let beyond = log.attachments(0..size + 1, 1).unwrap_err();
    assert_eq!(beyond, ReadError::OutOfRange { asked: size + 1, size });
    record(&engine, &log, 60).unwrap();
    publish(&engine, &log);
    check(&log, 0);

    let bytes = engine.create_log(&LogName::new("bytes").unwrap(), Kind::Bytes, Visibility::Private).unwrap();
    assert_eq!(bytes.durable_size(), 0);
    let refusal = engine.sequence_later(&bytes, vec![draft(entry(1))], None).unwrap_err();
    assert!(matches!(refusal, AppendError::WrongKind { kind: Kind::Bytes, .. }));
    assert!(engine.create_log(&LogName::new("own").unwrap(), Kind::Access, Visibility::Private).is_err());
    drop(rig);
}

#[test]
fn a_repeat_is_known_by_its_parts_and_not_by_what_is_stored_with_it() {
    let (rig, engine, log) = ledger();
    let one =
        || vec![draft(entry(1)).with_attachment(Bytes::from_static(b"\x01sealed with fresh randomness"))];
    let other =
        || vec![draft(entry(1)).with_attachment(Bytes::from_static(b"\x01sealed with other randomness"))];
    let first = sequence_as(&engine, &log, one(), Some(("k", &[b"request", b"parts"]))).unwrap();
    let (engine, log) = {
        drop((engine, log));
        rig.reopen()
    };
    let again = sequence_as(&engine, &log, other(), Some(("k", &[b"request", b"parts"]))).unwrap();
    assert_eq!(again, Sequenced { duplicate: true, ..first });
    let kept = log.attachment(LeafIndex::new(first.first).unwrap()).unwrap();
    assert_eq!(kept, one()[0].attachment);
    let reused = sequence_as(&engine, &log, one(), Some(("k", &[b"requestparts"]))).unwrap_err();
    assert_eq!(reused, AppendError::KeyReused { index: first.first });
}

#[test]
fn a_hook_that_breaks_its_contract_ends_the_engine_and_nothing_of_it_is_kept() {
    let (rig, engine, log) = ledger();
    record(&engine, &log, 20).unwrap();
    let size = log.durable_size();
    let broken = sequence(&engine, &log, vec![draft(entry(1)), Draft::new(Bytes::from_static(BREAKS))]);
    assert_eq!(broken, Err(AppendError::Poisoned));
    assert!(is_poisoned(&engine));
    let (engine, log) = rig.reopen();
    assert_eq!(log.durable_size(), size);
    record(&engine, &log, 40).unwrap();
    publish(&engine, &log);
    check(&log, 0);
}

/// Makes eight leaves of one draft, seven of them with as much attached as may be.
#[derive(Debug)]
struct Swells;

impl Sequencers for Swells {
    fn serves(&self, _kind: Kind) -> bool {
        true
    }

    fn of(&self, _meta: &LogMeta) -> Option<Box<dyn Sequencer>> {
        Some(Box::new(Self))
    }
}

impl Sequencer for Swells {
    fn sequence(&mut self, _: LeafIndex, _: u64, drafts: Vec<Draft>) -> Result<Vec<Leaf>, Refusal> {
        let attached = Bytes::from(vec![5; MAX_ATTACHMENT_BYTES]);
        let mut leaves: Vec<_> = drafts.into_iter().map(|draft| Leaf::new(draft.bytes, None)).collect();
        leaves.extend((0..7).map(|_| Leaf::new(Bytes::from_static(b"more"), Some(attached.clone()))));
        Ok(leaves)
    }

    fn replay(&mut self, _: LeafIndex, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    fn restore(&mut self, _: &[u8]) -> bool {
        false
    }
}

#[test]
fn requests_that_swell_beyond_a_record_take_as_many_as_it_needs() {
    let mut rig = Rig::new();
    rig.config.sequencers = Arc::new(Swells);
    rig.init_kind(Kind::Events).unwrap();
    let (engine, log) = rig.open();
    let ask = |n| engine.sequence_later(&log, vec![Draft::new(entry(n))], None).unwrap();
    let mut answers: Vec<_> = (0..5).map(ask).collect();
    engine.commit_step(Duration::ZERO);
    let firsts = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap().first);
    assert!(firsts.eq([0, 8, 16, 24, 32]));
    assert_eq!(log.unsealed_bytes() >> 20, 35);
    let (_engine, log) = rig.reopen();
    let kept = log.attachments(0..40, usize::MAX).unwrap();
    let expected = Some(MAX_ATTACHMENT_BYTES);
    for (kept, n) in kept.iter().zip(0..) {
        assert_eq!(kept.as_ref().map(Bytes::len), expected.filter(|_| n % 8 > 0), "leaf {n}");
    }
    let page = log.attachments(1..40, 2 * MAX_ATTACHMENT_BYTES + 1).unwrap();
    assert_eq!(page.len(), 2);
}

#[test]
fn less_than_a_bundle_is_taken_however_long_it_is() {
    let (mut rig, engine, log) = ledger();
    drop((engine, log));
    (rig.config.segment_bytes, rig.config.max_unsealed_bytes) = (4 << 20, 1 << 20);
    let (engine, log) = rig.reopen();
    let long = |n| draft(entry(n)).with_attachment([&[1][..], &[7; 20_000]].concat().into());
    let refusal = loop {
        let size = log.durable_size();
        // Only what is sealed counts towards being late; here that is a whole bundle.
        match sequence(&engine, &log, vec![long(size)]) {
            Ok(_) => assert!(size < 300),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, AppendError::Overloaded { .. }), "{refusal}");
    assert!(log.durable_size() >= 256 && log.unsealed_bytes() > 256 * 15_000);
    publish(&engine, &log);
    sequence(&engine, &log, vec![long(0)]).unwrap();
    assert!(log.unsealed_bytes() < 1 << 20);
}

#[test]
fn fsck_finds_what_is_wrong_with_attachments() {
    let (rig, engine, log) = ledger();
    record(&engine, &log, 600).unwrap();
    publish(&engine, &log);
    drop((engine, log));
    rig.disk.kill();
    let whole = rig.disk.snapshot();
    let blobs = rig.path("logs/audit/blobs");
    let (one, follow_ups) = (blobs.join("001/001"), blobs.join(format!("{FOLLOW_UP_CLASS:03}/000")));
    let check = |change: &dyn Fn(&mut Files)| {
        let mut files = whole.clone();
        change(&mut files);
        rig.disk.restore(&files);
        let report = fsck(&rig.env(), Path::new(DATA), |_, _, _| {}).unwrap();
        report.logs[0].problems.clone()
    };
    assert_eq!(check(&|_| ()), []);
    assert_eq!(check(&|files| drop(files.remove(&one))), [], "it may have been dropped");
    let flip = |at: usize| check(&|files| files.get_mut(&one).unwrap()[at] ^= 1);
    let object = |problem: &Problem| match problem {
        Problem::Object { path, first_index, .. } => (path.clone(), *first_index),
        other => panic!("{other}"),
    };
    for at in [0, 9, 20, 26, 30, 2000] {
        let found = flip(at);
        assert_eq!(found.iter().map(object).collect::<Vec<_>>(), [("blobs/001/001".to_owned(), 256)], "{at}");
    }
    // Another class, another bundle, a name that is none, a bundle that is not there yet.
    for (name, first) in [("001/000", 0), ("002/001", 256), ("001/1", 0), ("001/007", 7 * 256), ("x", 0)] {
        let found = check(&|files| {
            let bytes = files[&follow_ups].clone();
            files.insert(blobs.join(name), bytes);
        });
        assert_eq!(found.iter().map(object).collect::<Vec<_>>(), [(format!("blobs/{name}"), first)]);
    }
    // What is damaged is not handed out, and the rest is.
    rig.disk.restore(&whole);
    let (_engine, log) = rig.open();
    let n = (256..512)
        .find(|n| log.attachment(LeafIndex::new(*n).unwrap()).unwrap().is_some_and(|it| it[0] == 1));
    let at = LeafIndex::new(n.unwrap()).unwrap();
    let mut files = whole.clone();
    *files.get_mut(&one).unwrap().last_mut().unwrap() ^= 1;
    rig.disk.restore(&files);
    let (_engine, log) = rig.reopen();
    assert!(log.attachment(at).is_ok());
    assert!(matches!(log.attachments(256..512, usize::MAX), Err(ReadError::Damaged(_))));
    assert_eq!(log.entries(0..1, 1).unwrap(), [Bytes::from_static(GENESIS)]);
}
