//! Storage that fails, lies or is full.

use std::io::ErrorKind;

use graven_log::AppendError;
use graven_store::fault::{Fate, Op, Phase};
use graven_store::journal::MIN_SEGMENT_BYTES;

use crate::sim_rig::{Rig, append, check, entry, fill, is_poisoned, publish};

#[test]
fn after_the_first_failed_sync_nothing_is_acknowledged_or_signed() {
    for phase in [Phase::Before, Phase::After] {
        let (rig, engine, log) = Rig::with_log();
        fill(&engine, &log, 10);
        let (head, disk) = (log.head(), rig.disk.clone());
        let mut failed = false;
        rig.fail(move |point| {
            if point.op != Op::SyncData || point.phase != phase || failed {
                return Fate::Continue;
            }
            failed = true;
            if phase == Phase::Before {
                disk.drop_unsynced(point.path);
            }
            Fate::Fail(ErrorKind::Other)
        });
        assert_eq!(append(&engine, &log, vec![entry(10)]), Err(AppendError::Poisoned));
        assert!(is_poisoned(&engine));
        // Storage works again; the engine must not believe it.
        for n in 11..31 {
            assert!(append(&engine, &log, vec![entry(n)]).is_err());
            assert!(!engine.publish_step(&log) && !engine.seal_step(&log));
            assert!(engine.export_step(&log).is_none() && engine.freeze(&log).is_err());
        }
        assert_eq!(log.head(), head);
        // What it holds is whole, after a restart and after the power cut that follows.
        for cut in [false, true] {
            rig.disk.kill();
            if cut {
                rig.crash(7);
            }
            let (engine, log) = rig.open();
            let size = log.durable_size();
            fill(&engine, &log, size + 5);
            publish(&engine, &log);
            check(&log);
        }
    }
}

#[test]
fn a_bit_that_flips_between_write_and_sign_gets_no_signature() {
    for bit in [0, 9, 70, 801] {
        let (rig, engine, log) = Rig::with_log();
        fill(&engine, &log, 300);
        let head = log.head();
        rig.fail(move |point| {
            let is_read = (point.op, point.phase) == (Op::Read, Phase::After);
            if is_read { Fate::FlipBit(bit) } else { Fate::Continue }
        });
        assert!(!engine.publish_step(&log));
        assert!(is_poisoned(&engine));
        assert_eq!(log.head(), head);
        rig.heal();
        let (engine, log) = rig.reopen();
        publish(&engine, &log);
        check(&log);
    }
}

#[test]
fn a_full_disk_refuses_appends_early_reads_go_on_and_appends_resume_with_room() {
    let (mut rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 300);
    publish(&engine, &log);
    drop((engine, log));
    let used: usize = rig.disk.snapshot().values().map(Vec::len).sum();
    rig.disk.set_capacity(Some(used as u64 + 6 * MIN_SEGMENT_BYTES));
    rig.config.reserve_bytes = 2 * MIN_SEGMENT_BYTES;
    let (engine, log) = rig.reopen();
    let mut acked = log.durable_size();
    let refusal = loop {
        engine.upkeep_step();
        match append(&engine, &log, vec![entry(acked)]) {
            Ok(sequenced) => acked = sequenced.first + 1,
            Err(refusal) => break refusal,
        }
        assert!(acked < 100_000, "the disk never got full");
        if acked.is_multiple_of(50) {
            engine.publish_step(&log);
        }
    };
    assert_eq!(refusal, AppendError::DiskFull);
    assert!(engine.is_disk_full() && !is_poisoned(&engine));
    check(&log);
    rig.disk.set_capacity(None);
    engine.upkeep_step();
    fill(&engine, &log, acked + 300);
    publish(&engine, &log);
    check(&log);
    assert!(!engine.is_disk_full());
}

#[test]
fn a_creation_that_fails_at_any_step_leaves_a_log_or_none() {
    for at in 0.. {
        let (rig, engine, _) = Rig::with_log();
        rig.die_at(at);
        let name = graven_log::LogName::new("second").unwrap();
        let made = engine.create_log(&name, graven_log::Kind::Bytes, graven_log::Visibility::Public);
        rig.heal();
        let is_made = made.is_ok();
        // The first step asks for room.
        assert!(is_made || is_poisoned(&engine) || engine.is_disk_full(), "step {at}: {:?}", made.err());
        drop((engine, made));
        rig.crash(at);
        let engine = rig.try_open().unwrap();
        let log = match engine.log("second") {
            Some(log) => log,
            None if is_made => panic!("step {at}: the log is gone"),
            None => {
                engine.create_log(&name, graven_log::Kind::Bytes, graven_log::Visibility::Public).unwrap()
            }
        };
        fill(&engine, &log, 3);
        publish(&engine, &log);
        check(&log);
        if is_made {
            assert!(at > 20, "creating a log takes more steps");
            return;
        }
    }
}
