//! Bytes that were durable and are not what they were.

use std::io::ErrorKind;
use std::path::PathBuf;

use graven_log::{OpenError, ReadError};
use graven_merkle::LeafIndex;
use graven_store::fault::{Fate, Op};
use graven_store::journal;

use crate::sim_rig::{Rig, append, check, entry, fill, publish};

/// A page of the journal.
const PAGE_BITS: u64 = 4096 * 8;

#[test]
fn a_journal_that_is_damaged_in_the_middle_does_not_open() {
    // The first record, one in the middle; places that hold bytes of entries and those that do not.
    for bit in [PAGE_BITS + 30, PAGE_BITS + 700, 2 * PAGE_BITS + 85 * 8, 3 * PAGE_BITS + 1] {
        let (rig, engine, log) = Rig::with_log();
        for n in 0..6 {
            append(&engine, &log, vec![entry(n)]).unwrap();
        }
        drop((engine, log));
        rig.disk.kill();
        rig.disk.flip_bit(&rig.path("journal/slot-000"), bit).unwrap();
        let refused = rig.try_open().err();
        let is_damage = matches!(
            refused,
            Some(OpenError::Journal(
                journal::OpenError::Damaged { .. } | journal::OpenError::Unreadable { .. }
            ))
        );
        assert!(is_damage, "bit {bit}: {refused:?}");
    }
}

fn sealed() -> (Rig, PathBuf, PathBuf) {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 700);
    publish(&engine, &log);
    assert_eq!(log.sealed_size(), 512);
    let site = rig.path("logs/audit/site/tile/0/000");
    let nodes = rig.path("logs/audit/nodes/0");
    (rig, site, nodes)
}

#[test]
fn damaged_derived_nodes_are_made_again_from_the_tiles() {
    let (rig, _, nodes) = sealed();
    let (_engine, log) = rig.reopen();
    for bit in (0..16_000 * 8).step_by(997) {
        rig.disk.flip_bit(&nodes, bit).unwrap();
    }
    check(&log);
}

#[test]
fn a_damaged_tile_gives_no_proof_and_does_not_open() {
    let (rig, tile, nodes) = sealed();
    let (engine, log) = rig.reopen();
    for path in [&tile, &nodes] {
        for bit in (0..8192 * 8).step_by(256) {
            rig.disk.flip_bit(path, bit).unwrap();
        }
    }
    let size = log.head().size();
    for n in 0..256 {
        let proof = log.inclusion(LeafIndex::new(n).unwrap(), size);
        assert!(matches!(proof, Err(ReadError::Damaged(_))), "{n}: {proof:?}");
    }
    // What does not lead through it is not hurt.
    assert!(log.inclusion(LeafIndex::new(600).unwrap(), size).is_ok());
    drop(engine);
    rig.disk.kill();
    assert!(matches!(rig.try_open(), Err(OpenError::Changed { .. })));
}

#[test]
fn a_tile_that_cannot_be_read_at_start_is_trouble_and_a_missing_one_damage() {
    let (rig, tile, _) = sealed();
    let unreadable = tile.clone();
    rig.disk.kill();
    rig.fail(move |point| {
        let strikes = (point.op, point.path) == (Op::Read, &unreadable);
        if strikes { Fate::Fail(ErrorKind::Other) } else { Fate::Continue }
    });
    assert!(matches!(rig.try_open(), Err(OpenError::Io(_))));
    rig.heal();
    let (_engine, log) = rig.reopen();
    check(&log);
    let mut files = rig.disk.snapshot();
    files.remove(&tile);
    rig.disk.restore(&files);
    assert!(matches!(rig.try_open(), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_bundle_that_does_not_parse_is_not_served() {
    let (rig, ..) = sealed();
    let (_engine, log) = rig.reopen();
    // The length of the first entry: every later one is out of place.
    rig.disk.flip_bit(&rig.path("logs/audit/site/tile/entries/000"), 9).unwrap();
    assert!(matches!(log.entries(0..1, 1), Err(ReadError::Damaged(_))));
    assert!(log.entries(256..700, usize::MAX).is_ok());
}
