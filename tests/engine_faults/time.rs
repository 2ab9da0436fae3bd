//! Clocks, heartbeats, and what must outlive restarts.

use graven_log::{AppendError, Clock, ClockError};

use crate::outside::SECOND;
use crate::sim_rig::{Rig, append, append_as, check, entry, fill, publish};

#[test]
fn a_heartbeat_signs_the_same_body_with_a_later_time() {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 3);
    publish(&engine, &log);
    let first = log.head();
    assert!(!engine.publish_step(&log), "nothing is new");
    rig.clock.pass(rig.config.heartbeat.as_secs() * SECOND);
    assert!(engine.publish_step(&log));
    let second = log.head();
    assert_eq!(second.checkpoint, first.checkpoint);
    assert_eq!(second.time_seconds, first.time_seconds + rig.config.heartbeat.as_secs());
    let (_engine, log) = rig.reopen();
    assert_eq!(log.head(), second, "the last note is released again, byte for byte");
}

#[test]
fn a_signer_journal_that_grows_long_begins_anew_with_the_last_note() {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 3);
    let signer = rig.path("logs/audit/signer");
    let len = || rig.disk.snapshot()[&signer].len();
    let (mut longest, mut beats) = (0, 0);
    while len() >= longest {
        longest = len();
        rig.clock.pass(rig.config.heartbeat.as_secs() * SECOND);
        assert!(engine.publish_step(&log));
        beats += 1;
        assert!(beats < 10_000, "it never begins anew");
    }
    let head = log.head();
    let (engine, log) = rig.reopen();
    assert_eq!(log.head(), head);
    fill(&engine, &log, 6);
    publish(&engine, &log);
    check(&log);
}

#[test]
fn a_frozen_log_stays_frozen_and_readable() {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 3);
    engine.freeze(&log).unwrap();
    let refused = Err(AppendError::Frozen("audit".to_owned()));
    assert_eq!(append(&engine, &log, vec![entry(3)]), refused);
    publish(&engine, &log);
    for seed in 0..20 {
        rig.crash(seed);
        let (engine, log) = rig.open();
        assert_eq!(append(&engine, &log, vec![entry(3)]), refused);
        check(&log);
        assert_eq!(log.head().size().get(), 3);
    }
}

#[test]
fn a_clock_that_leaps_stops_sequencing_until_it_is_right_again() {
    let (rig, engine, log) = Rig::with_log();
    let time_ns = append(&engine, &log, vec![entry(0)]).unwrap().time_ns;
    publish(&engine, &log);
    assert!(!engine.is_clock_suspect());
    let right = rig.clock.wall_ns();
    rig.clock.set_wall(right + 3600 * SECOND);
    assert!(engine.is_clock_suspect());
    let leapt = Err(AppendError::Clock(ClockError::Leapt(3600)));
    assert_eq!(append(&engine, &log, vec![entry(1)]), leapt);
    assert!(log.entries(0..0, 1).is_ok(), "reads go on");
    rig.clock.set_wall(right - 3600 * SECOND);
    let lags = append(&engine, &log, vec![entry(1)]);
    assert!(matches!(lags, Err(AppendError::Clock(ClockError::Lags(_)))), "{lags:?}");
    assert!(engine.is_clock_suspect());
    rig.clock.set_wall(right);
    assert!(!engine.is_clock_suspect());
    let again = append(&engine, &log, vec![entry(1)]).unwrap();
    assert!(again.time_ns > time_ns);
    publish(&engine, &log);
    check(&log);
}

#[test]
fn a_key_gives_its_first_index_or_is_too_old_across_restarts_and_released_segments() {
    let (rig, mut engine, mut log) = Rig::with_log();
    let issued_ns = rig.clock.wall_ns();
    let key = Some(("the-key", issued_ns));
    let first = append_as(&engine, &log, vec![entry(0)], key).unwrap();
    let mut was_too_old = false;
    for round in 0..40 {
        rig.clock.pass(30 * SECOND);
        fill(&engine, &log, log.durable_size() + 300);
        publish(&engine, &log);
        if round % 3 == 0 {
            (engine, log) = rig.reopen();
        }
        match append_as(&engine, &log, vec![entry(0)], key) {
            Ok(again) => {
                assert!(again.duplicate && again.first == first.first && !was_too_old, "round {round}");
            }
            Err(AppendError::KeyTooOld) => was_too_old = true,
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    assert!(was_too_old, "a key is forgotten after its time");
    check(&log);
}
