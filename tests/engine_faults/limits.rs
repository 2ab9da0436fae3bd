//! What is bounded: the backlog of sealing, and the journal over many restarts.

use graven_log::AppendError;

use crate::sim_rig::{Rig, append, check, entry, fill, publish};

#[test]
fn a_backlog_of_sealing_refuses_appends_until_it_is_worked_off() {
    let (mut rig, engine, log) = Rig::with_log();
    drop((engine, log));
    rig.config.max_unsealed_bytes = 16 << 10;
    let (engine, log) = rig.reopen();
    let mut acked = 0;
    let refusal = loop {
        match append(&engine, &log, vec![entry(acked)]) {
            Ok(sequenced) => acked = sequenced.first + 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, AppendError::Overloaded { .. }), "{refusal}");
    assert!(acked > 1000, "{acked}");
    publish(&engine, &log);
    append(&engine, &log, vec![entry(acked)]).unwrap();
    publish(&engine, &log);
    check(&log);
}

#[test]
fn a_journal_at_rest_holds_the_tail_and_one_segment_that_is_ready() {
    let (rig, engine, log) = Rig::with_log();
    let slots = || rig.disk.snapshot().keys().filter(|path| path.starts_with(rig.path("journal"))).count();
    fill(&engine, &log, 4000);
    assert!(slots() >= 3, "{} slots", slots());
    publish(&engine, &log);
    engine.upkeep_step();
    engine.rest_step();
    // The tail is some entries of the last segment, or of the one before.
    assert!(slots() <= 3, "{} slots", slots());
    fill(&engine, &log, 8000);
    publish(&engine, &log);
    let (_engine, log) = rig.reopen();
    check(&log);
}

#[test]
fn restarts_in_a_row_do_not_make_the_journal_grow() {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 200);
    drop((engine, log));
    let slots = || rig.disk.snapshot().keys().filter(|path| path.starts_with(rig.path("journal"))).count();
    let mut most = 0;
    for restart in 0..100 {
        let (engine, log) = rig.reopen();
        assert_eq!(log.durable_size(), 200);
        drop(engine);
        if restart < 50 {
            most = most.max(slots());
        } else {
            assert!(slots() <= most, "{} slots after {restart} restarts", slots());
        }
    }
    assert!(most <= 24, "{most} slots");
    let (engine, log) = rig.reopen();
    publish(&engine, &log);
    check(&log);
}
