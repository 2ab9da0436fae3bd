//! The engine without threads or sockets: append, publish, prove, seal, reopen.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a test that fails says so
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_log::{AppendError, Config, Engine, Env, IdempotencyKey, Kind, Log, Sequenced, Visibility, init};
use graven_merkle::{LeafIndex, TreeSize, leaf_hash, verify_consistency, verify_inclusion};

fn config() -> Config {
    Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..Config::default() }
}

fn begin(dir: &Path) -> (Arc<Engine>, Arc<Log>) {
    init(&Env::system(), dir, "example.com/audit", Kind::Bytes, Visibility::Private, &config()).unwrap();
    reopen(dir)
}

fn reopen(dir: &Path) -> (Arc<Engine>, Arc<Log>) {
    let engine = Engine::open(Env::system(), dir, config()).unwrap();
    let log = engine.log("audit").unwrap();
    (engine, log)
}

fn entry(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}"))
}

fn append(
    engine: &Engine,
    log: &Arc<Log>,
    entries: Vec<Bytes>,
    key: Option<&str>,
) -> Result<Sequenced, AppendError> {
    let issued_ns =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut answer = engine.append_later(log, entries, key.map(|key| IdempotencyKey { key, issued_ns }))?;
    engine.commit_step(Duration::ZERO);
    answer.try_recv().unwrap()
}

#[test]
fn entries_are_appended_published_proven_sealed_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let (engine, log) = begin(&dir);
    assert_eq!(log.head().size(), TreeSize::ZERO);
    for n in 0..3000 {
        let batch: Vec<_> = (n * 7..n * 7 + 7).map(entry).collect();
        let sequenced = append(&engine, &log, batch, None).unwrap();
        assert_eq!((sequenced.first, sequenced.count), (n * 7, 7));
        if n % 97 == 0 {
            assert!(engine.publish_step(&log));
        }
        if n % 1000 == 999 {
            while engine.seal_step(&log) {}
            assert_eq!(log.sealed_size(), log.head().size().get() / 256 * 256);
        }
    }
    engine.publish_step(&log);
    check(&log, 21_000);
    drop((engine, log));

    let (engine, log) = reopen(&dir);
    check(&log, 21_000);
    append(&engine, &log, vec![entry(21_000)], None).unwrap();
    engine.publish_step(&log);
    while engine.seal_step(&log) {}
    check(&log, 21_001);
}

fn check(log: &Log, size: u64) {
    let head = log.head();
    assert_eq!(head.size().get(), size);
    for n in (0..size).step_by(211).chain([size - 1]) {
        let index = LeafIndex::new(n).unwrap();
        let (leaf, proof) = log.inclusion(index, head.size()).unwrap();
        assert_eq!(leaf, leaf_hash(&entry(n)));
        verify_inclusion(leaf, index, head.size(), &proof, head.checkpoint.root()).unwrap();
        assert_eq!(log.entries(n..n + 1, 1).unwrap(), [entry(n)]);
    }
    let from = TreeSize::new(size / 3).unwrap();
    let naive: graven_merkle::Frontier = {
        let mut frontier = graven_merkle::Frontier::new();
        frontier.append((0..from.get()).map(|n| leaf_hash(&entry(n))));
        frontier
    };
    let proof = log.consistency(from, head.size()).unwrap();
    verify_consistency(from, &naive.root(), head.size(), head.checkpoint.root(), &proof).unwrap();
    let all = log.entries(0..size, usize::MAX).unwrap();
    assert!(all.iter().zip(0..).all(|(found, n)| *found == entry(n)) && all.len() as u64 == size);
}

#[test]
fn a_repeat_gives_the_first_index_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let (engine, log) = begin(&dir);
    append(&engine, &log, vec![entry(0)], None).unwrap();
    let first = append(&engine, &log, vec![entry(1), entry(2)], Some("k1")).unwrap();
    let again = append(&engine, &log, vec![entry(1), entry(2)], Some("k1")).unwrap();
    assert_eq!(again, Sequenced { duplicate: true, ..first });
    drop((engine, log));
    for _ in 0..3 {
        let (engine, log) = reopen(&dir);
        let again = append(&engine, &log, vec![entry(1), entry(2)], Some("k1")).unwrap();
        assert_eq!(again, Sequenced { duplicate: true, ..first });
        let other = append(&engine, &log, vec![entry(3)], Some("k1")).unwrap_err();
        assert_eq!(other, AppendError::KeyReused { index: 1 });
        assert_eq!(log.durable_size(), 3);
    }

    let (engine, log) = reopen(&dir);
    engine.freeze(&log).unwrap();
    let again = append(&engine, &log, vec![entry(1), entry(2)], Some("k1")).unwrap();
    assert_eq!(again, Sequenced { duplicate: true, ..first }, "a frozen log still knows what it has");
    let new = append(&engine, &log, vec![entry(3)], Some("k2")).unwrap_err();
    assert_eq!(new, AppendError::Frozen("audit".to_owned()));
}

#[test]
fn fsck_names_the_entry_that_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let (engine, log) = begin(&dir);
    for n in 0..8 {
        let batch: Vec<_> = (n * 100..n * 100 + 100).map(entry).collect();
        append(&engine, &log, batch, None).unwrap();
        engine.publish_step(&log);
    }
    while engine.seal_step(&log) {}
    drop((engine, log));
    let report = graven_log::fsck(&Env::system(), &dir, |_, _, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let found = &report.logs[0];
    assert_eq!((found.entries, found.sealed, found.signed, found.heads), (800, 768, 800, 9));

    let path = dir.join("logs/audit/site/tile/entries/001");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[2 + 3] ^= 1; // the fourth byte of the first entry of the second bundle
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let report = graven_log::fsck(&Env::system(), &dir, |_, _, _| {}).unwrap();
    assert_eq!(report.logs[0].problems[0], graven_log::Problem::Entry(256));
    assert!(!report.is_clean());
}

#[test]
fn fsck_misses_a_log_whose_folder_is_gone_and_a_checkpoint_that_nobody_signed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let (engine, log) = begin(&dir);
    append(&engine, &log, vec![entry(0)], None).unwrap();
    engine.publish_step(&log);
    engine.export_step(&log).unwrap();
    drop((engine, log));
    let fsck = || graven_log::fsck(&Env::system(), &dir, |_, _, _| {}).unwrap();
    assert!(fsck().is_clean());

    let checkpoint = dir.join("logs/audit/site/checkpoint");
    let signed = std::fs::read(&checkpoint).unwrap();
    let mut flipped = signed.clone();
    flipped[120] ^= 1;
    std::fs::write(&checkpoint, flipped).unwrap();
    assert!(!fsck().logs[0].problems.is_empty());
    std::fs::write(&checkpoint, signed).unwrap();
    assert!(fsck().is_clean());

    std::fs::rename(dir.join("logs/audit"), dir.join("audit-elsewhere")).unwrap();
    let report = fsck();
    assert!(
        !report.is_clean() && report.journal.is_some_and(|what| what.contains("the folder of a log is gone"))
    );
}
