//! A log is handed over to new keys: who signs what, what is refused, and what a failure at each step leaves.

use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use graven_log::{AppendError, Engine, Log, LogName, RotateError, request_rotation};
use graven_merkle::{LeafIndex, TreeSize};
use graven_note::{
    KeyName, LocalSigner, Rotation, RotationError, RotationText, SignatureType, SignedNote, Signer as _,
    VerifierKey,
};
use graven_store::key_file;

use crate::sim_rig::{DATA, Rig, entry, fill, is_poisoned, publish};

/// A log of five published entries, and a rotation of its keys that ends the old ones at 8.
fn about_to_rotate() -> (Rig, Arc<Engine>, Arc<Log>, Rotation) {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 5);
    publish(&engine, &log);
    let rotation = authorised(&rig, &request(&rig, 3));
    assert_eq!(rotation.text().last_size(), TreeSize::from(8));
    (rig, engine, log, rotation)
}

fn request(rig: &Rig, overlap: u64) -> RotationText {
    request_rotation(&rig.env(), Path::new(DATA), &LogName::new("audit").unwrap(), overlap).unwrap()
}

fn authorised(rig: &Rig, text: &RotationText) -> Rotation {
    let name = KeyName::new("example.com/recovery").unwrap();
    let path = rig.path("recovery-key.pem");
    let recovery = key_file::read(&*rig.env().fs, &path, name, SignatureType::Ed25519).unwrap();
    text.authorise(&recovery).unwrap()
}

/// Announces, with the commit that this waits for.
fn announce(engine: &Engine, log: &Arc<Log>) -> Result<Option<LeafIndex>, AppendError> {
    let mut announcing = pin!(engine.announce_rotation(log));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match announcing.as_mut().poll(&mut context) {
            Poll::Ready(announced) => return announced,
            Poll::Pending => drop(engine.commit_step(Duration::ZERO)),
        }
    }
}

fn grow_to(engine: &Engine, log: &Arc<Log>, size: u64) {
    fill(engine, log, size);
    publish(engine, log);
}

/// Which of the old and which of the new keys signed the published head.
fn signed(log: &Log, rotation: &RotationText) -> (usize, usize) {
    let note = SignedNote::parse(&log.head().note).unwrap();
    let by = |keys: &[VerifierKey]| {
        keys.iter().filter(|key| note.signatures().iter().any(|line| line.claims(key))).count()
    };
    (by(rotation.old()), by(rotation.new_keys()))
}

#[test]
fn both_keys_sign_up_to_the_last_size_and_the_new_ones_alone_after_it() {
    let (rig, engine, log, rotation) = about_to_rotate();
    let text = engine.begin_rotation(&log, rotation.as_bytes()).unwrap();
    assert_eq!(announce(&engine, &log).unwrap(), LeafIndex::new(5));
    assert!(log.rotations().is_empty(), "nobody is told before its entry is published");
    publish(&engine, &log);
    assert_eq!(signed(&log, &text), (3, 3));
    let [(index, told)] = &log.rotations()[..] else { panic!() };
    assert_eq!(log.entries(index.get()..index.get() + 1, 1).unwrap(), [told.rotation().as_bytes()]);

    // The same again is answered the same.
    assert_eq!(engine.begin_rotation(&log, rotation.as_bytes()).unwrap(), text);
    assert_eq!(announce(&engine, &log).unwrap(), LeafIndex::new(5));
    assert_eq!(log.durable_size(), 6);

    grow_to(&engine, &log, 8);
    assert_eq!(signed(&log, &text), (3, 3), "the last size is the old keys' last");
    let verified = log.keys().open(&log.head().note, &log.meta().origin).unwrap();
    verified.note().require_keys(text.old()).unwrap();
    grow_to(&engine, &log, 9);
    assert_eq!(signed(&log, &text), (0, 3));

    // A restart changes nothing, nor does it need the keys that ended.
    drop((engine, log));
    for ended in ["p256.pem", "ed25519.pem", "ml-dsa-44.pem"] {
        rig.env().fs.remove_file(&rig.path("logs/audit/keys").join(ended)).unwrap();
    }
    let (engine, log) = rig.reopen();
    grow_to(&engine, &log, 12);
    assert_eq!((signed(&log, &text), log.keys().newest()), ((0, 3), text.new_keys()));

    // And so on.
    let next = authorised(&rig, &request(&rig, 100));
    let next = engine.begin_rotation(&log, next.as_bytes()).unwrap();
    assert_eq!(announce(&engine, &log).unwrap(), LeafIndex::new(12));
    publish(&engine, &log);
    assert_eq!((signed(&log, &next), log.rotations().len()), ((3, 3), 2));
}

#[test]
fn what_is_not_authorised_or_comes_too_late_changes_nothing() {
    let (rig, engine, log, rotation) = about_to_rotate();
    let text = rotation.text().clone();
    let begin = |rotation: &Rotation| engine.begin_rotation(&log, rotation.as_bytes());
    let key = |name: &str, seed| {
        LocalSigner::generate(name.parse().unwrap(), SignatureType::Ed25519, &[seed; 32]).unwrap()
    };
    let unauthorised = |error| matches!(error, RotateError::Statement(RotationError::Unauthorised(_)));
    let forged = text.authorise(&key("example.com/recovery", 9)).unwrap();
    assert!(unauthorised(begin(&forged).unwrap_err()), "another key of that name");
    let changed = String::from_utf8(rotation.as_bytes().to_vec()).unwrap().replacen("\n8\n", "\n9\n", 1);
    assert!(unauthorised(engine.begin_rotation(&log, changed.as_bytes()).unwrap_err()), "another last size");

    let with = |old: Vec<VerifierKey>, new: Vec<VerifierKey>, last_size| {
        let text = RotationText::new(text.origin().clone(), TreeSize::from(last_size), old, new);
        authorised(&rig, &text.unwrap())
    };
    let (old, new) = (text.old().to_vec(), text.new_keys().to_vec());
    let absent = with(old.clone(), vec![key("example.com/audit", 3).vkey().clone()], 8_u32);
    assert!(matches!(begin(&absent), Err(RotateError::Key(_))), "keys that are not here");
    assert!(matches!(begin(&with(old[1..].to_vec(), new.clone(), 8)), Err(RotateError::OldKeys)));
    assert!(matches!(begin(&with(old.clone(), new[..2].to_vec(), 8)), Err(RotateError::Types)));
    assert!(matches!(begin(&with(old, new, 4)), Err(RotateError::Outrun { .. })));
    let other = RotationText::new(
        "example.com/other".parse().unwrap(),
        8_u32.into(),
        text.old().to_vec(),
        text.new_keys().to_vec(),
    );
    let other = begin(&authorised(&rig, &other.unwrap()));
    assert!(matches!(other, Err(RotateError::Statement(RotationError::OtherLog(_)))));

    assert_eq!(announce(&engine, &log).unwrap(), None);
    grow_to(&engine, &log, 9);
    assert_eq!((signed(&log, &text), log.durable_size()), ((3, 0), 9));
    assert!(matches!(begin(&rotation), Err(RotateError::Outrun { .. })), "the old keys signed 9");
    assert!(!is_poisoned(&engine));
}

#[test]
fn wherever_storage_fails_the_rotation_is_done_or_can_be_done_again() {
    let (rig, engine, log, rotation) = about_to_rotate();
    let text = rotation.text();
    drop((engine, log));
    rig.disk.kill();
    let disk = rig.disk.snapshot();
    let (mut begun, mut points) = (0, 0);
    for at in 0.. {
        rig.disk.kill();
        rig.disk.restore(&disk);
        let (engine, log) = rig.open();
        rig.die_at(at);
        let rotate = || {
            engine.begin_rotation(&log, rotation.as_bytes()).ok()?;
            announce(&engine, &log).ok()?;
            engine.publish_step(&log).then_some(())
        };
        let is_whole = rotate().is_some();
        let released = signed(&log, text);
        drop((engine, log));
        rig.crash(at);
        rig.heal();

        let (engine, log) = rig.open();
        let is_begun = log.keys().newest() == text.new_keys();
        begun += u64::from(is_begun);
        assert!(is_begun || released.1 == 0, "point {at}: a head was out under keys that are forgotten");
        if is_begun {
            // As at the start of a server.
            announce(&engine, &log).unwrap();
        }
        engine.begin_rotation(&log, rotation.as_bytes()).unwrap();
        let index = announce(&engine, &log).unwrap().unwrap();
        assert!(log.durable_size() <= 7, "point {at}: announced more than twice");
        if log.head().size().get() < log.durable_size() {
            publish(&engine, &log);
        }
        assert_eq!(signed(&log, text), (3, 3), "point {at}");
        let told = log.rotations()[0].1.rotation().as_bytes().to_vec();
        assert_eq!(log.entries(index.get()..index.get() + 1, 1).unwrap(), [&told[..]], "point {at}");
        grow_to(&engine, &log, 9);
        assert_eq!(signed(&log, text), (0, 3), "point {at}");
        assert_eq!(log.entries(0..1, 1).unwrap(), [entry(0)]);
        drop((engine, log));
        if is_whole {
            points = at;
            break;
        }
    }
    assert!(
        points > 10 && (1..points).contains(&begun),
        "{begun} of {points} points came after the beginning"
    );
}

#[test]
fn a_statement_is_an_entry_as_it_is_whatever_the_log_holds() {
    let (rig, engine, log) = crate::hooked::ledger();
    crate::hooked::record(&engine, &log, 100).unwrap();
    publish(&engine, &log);
    let rotation = authorised(&rig, &request(&rig, 50));
    engine.begin_rotation(&log, rotation.as_bytes()).unwrap();
    let index = announce(&engine, &log).unwrap().unwrap();
    crate::hooked::record(&engine, &log, 200).unwrap();
    publish(&engine, &log);
    let [(told, rotated)] = &log.rotations()[..] else { panic!() };
    assert_eq!(*told, index);
    let entry = log.entries(index.get()..index.get() + 1, 1).unwrap();
    assert_eq!(entry, [rotated.rotation().as_bytes()]);
    assert_eq!(log.attachment(index).unwrap(), None);
    // Its hook has counted it, then and at the next start.
    let (engine, log) = rig.reopen();
    crate::hooked::record(&engine, &log, 300).unwrap();
    publish(&engine, &log);
    let (mut ledger, size) = (crate::ledger::Ledger::default(), log.head().size().get());
    log.entries(0..size, usize::MAX).unwrap().iter().for_each(|entry| ledger.check(entry));
}
