//! Data directories of which a part went back in time. What tells: the signer journal tells about the journal, the
//! exported checkpoint about the signer journal. Nothing in a directory tells when all of it went back: that takes a
//! witness.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graven_log::OpenError;

use crate::sim_rig::{Rig, check, fill, publish};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Puts back as they were in `older` the files that `is_old` names.
fn roll_back(rig: &Rig, older: &Files, is_old: impl Fn(&Path) -> bool) {
    rig.disk.kill();
    let newer = rig.disk.snapshot();
    let kept = newer.iter().filter(|(path, _)| !is_old(path));
    let old = older.iter().filter(|(path, _)| is_old(path));
    rig.disk.restore(&kept.chain(old).map(|(path, bytes)| (path.clone(), bytes.clone())).collect());
}

/// A log that went on to 900 entries, and its directory as it was at 300.
fn grown(exports: bool) -> (Rig, Files) {
    let (rig, engine, log) = Rig::with_log();
    let grow = |size| {
        fill(&engine, &log, size);
        publish(&engine, &log);
        assert!(!exports || engine.export_step(&log).is_some());
        rig.disk.snapshot()
    };
    let older = grow(300);
    grow(900);
    drop((engine, log));
    (rig, older)
}

#[test]
fn a_journal_older_than_the_signer_journal_is_behind() {
    for exports in [false, true] {
        let (rig, older) = grown(exports);
        roll_back(&rig, &older, |path| !path.ends_with("signer"));
        match rig.try_open() {
            Err(OpenError::Behind { have: 300, signed: 900, .. }) => {}
            other => panic!("{:?}", other.err()),
        }
    }
}

#[test]
fn a_signer_journal_older_than_the_exported_checkpoint_is_behind() {
    let (rig, older) = grown(true);
    roll_back(&rig, &older, |path| path.ends_with("signer"));
    assert!(matches!(rig.try_open(), Err(OpenError::Behind { signed: 900, .. })));
}

#[test]
fn a_signer_journal_older_than_what_was_sealed_is_behind() {
    let (rig, older) = grown(false);
    roll_back(&rig, &older, |path| path.ends_with("signer"));
    assert!(matches!(rig.try_open(), Err(OpenError::Behind { have: 300, signed: 768, .. })));
}

#[test]
fn a_signer_journal_that_went_back_by_less_than_a_bundle_signs_the_same_again_and_no_fork() {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 300);
    publish(&engine, &log);
    let older = rig.disk.snapshot();
    fill(&engine, &log, 500);
    publish(&engine, &log);
    let signed = log.head();
    drop((engine, log));
    roll_back(&rig, &older, |path| path.ends_with("signer"));
    let (engine, log) = rig.open();
    assert_eq!(log.head().size().get(), 300);
    publish(&engine, &log);
    assert_eq!(log.head().checkpoint, signed.checkpoint);
    check(&log);
}

#[test]
fn tiles_that_went_back_are_missed() {
    let (rig, older) = grown(true);
    let site = rig.path("logs/audit/site");
    let nodes = rig.path("logs/audit/nodes");
    roll_back(&rig, &older, |path| path.starts_with(&site) || path.starts_with(&nodes));
    assert!(matches!(rig.try_open(), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_whole_directory_that_went_back_opens_as_it_was() {
    let (rig, older) = grown(true);
    roll_back(&rig, &older, |_| true);
    let (_engine, log) = rig.open();
    assert_eq!(log.head().size().get(), 300);
    check(&log);
}

#[test]
fn a_journal_and_signer_older_than_the_sealed_bundles_are_behind_and_replace_none() {
    let (rig, older) = grown(false);
    roll_back(&rig, &older, |path| !in_site(path));
    let before = rig.disk.snapshot();
    assert!(matches!(rig.try_open(), Err(OpenError::Behind { have: 300, signed: 512, .. })));
    let after = rig.disk.snapshot();
    assert!(
        before.iter().filter(|(path, _)| in_site(path)).all(|(path, bytes)| after.get(path) == Some(bytes))
    );
}

#[test]
fn an_exported_checkpoint_that_the_log_did_not_sign_is_damage() {
    let (rig, _) = grown(true);
    rig.disk.kill();
    let checkpoint = rig.path("logs/audit/site/checkpoint");
    for bit in [0, 8 * 20, 8 * 120] {
        rig.disk.flip_bit(&checkpoint, bit).unwrap();
        assert!(matches!(rig.try_open(), Err(OpenError::Damaged { .. })), "bit {bit}");
        rig.disk.flip_bit(&checkpoint, bit).unwrap();
    }
    rig.open();
}

fn in_site(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "site")
}
