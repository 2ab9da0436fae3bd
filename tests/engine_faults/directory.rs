//! Data directories that are missing, foreign, in use or half made.

use graven_log::{InitError, OpenError};
use graven_store::fs::{Fs, Mode};

use crate::sim_rig::{DATA, Rig, check, fill, publish};

#[test]
fn a_missing_directory_is_refused_and_not_made() {
    let rig = Rig::new();
    assert!(matches!(rig.try_open(), Err(OpenError::Missing(_))));
    assert!(rig.disk.snapshot().is_empty());
}

#[test]
fn a_foreign_directory_is_refused_and_left_as_it_is() {
    let rig = Rig::new();
    let fs: &dyn Fs = &rig.disk;
    fs.create_dir_all(DATA.as_ref()).unwrap();
    fs.create_durable(&rig.path("server"), b"graven-server/v9\n", Mode::Private).unwrap();
    let before = rig.disk.snapshot();
    assert!(matches!(rig.try_open(), Err(OpenError::Foreign(_))));
    assert!(matches!(rig.init(), Err(InitError::Exists(_))));
    let found = rig.disk.snapshot();
    assert!(before.iter().all(|(path, bytes)| found.get(path) == Some(bytes)));

    let rig = Rig::new();
    let fs: &dyn Fs = &rig.disk;
    fs.create_dir_all(DATA.as_ref()).unwrap();
    fs.create_durable(&rig.path("thesis.txt"), b"hands off", Mode::Shared).unwrap();
    assert!(matches!(rig.init(), Err(InitError::NotEmpty(_))));
}

#[test]
fn any_bit_of_the_servers_manifest_that_rots_is_noticed() {
    let rig = Rig::new();
    rig.init().unwrap();
    let bits = rig.disk.snapshot()[&rig.path("server")].len() as u64 * 8;
    for bit in 0..bits {
        rig.disk.flip_bit(&rig.path("server"), bit).unwrap();
        let found = rig.try_open().err();
        // A bit of the first line makes it another format, any other one damage.
        assert!(
            matches!(found, Some(OpenError::Foreign(_) | OpenError::Damaged { .. })),
            "bit {bit}: {found:?}"
        );
        rig.disk.flip_bit(&rig.path("server"), bit).unwrap();
    }
    rig.open();
}

#[test]
fn one_engine_a_directory() {
    let (rig, engine, log) = Rig::with_log();
    assert!(matches!(rig.try_open(), Err(OpenError::Locked(_))));
    fill(&engine, &log, 5);
    drop((engine, log));
    let (engine, log) = rig.open();
    assert_eq!(log.durable_size(), 5);
    drop(engine);
}

#[test]
fn init_that_fails_at_any_step_leaves_a_server_or_none() {
    for at in 0.. {
        let rig = Rig::new();
        rig.die_at(at);
        let made = rig.init();
        rig.heal();
        rig.crash(at);
        match rig.try_open() {
            Ok(engine) => {
                let log = engine.log("audit").unwrap();
                fill(&engine, &log, 3);
                publish(&engine, &log);
                check(&log);
            }
            Err(OpenError::Missing(_)) if made.is_err() => {}
            Err(error) => panic!("step {at}: {error}"),
        }
        if made.is_ok() {
            assert!(at > 40, "making a server takes more steps");
            return;
        }
    }
}
