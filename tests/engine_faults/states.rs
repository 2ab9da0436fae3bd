//! The state that a hook's log keeps: what is used of it, and that a start without it comes to the same.

use crate::hooked::{check, ledger, record};
use crate::sim_rig::{Rig, publish};

/// A ledger with a state of `at` leaves or a few more, and some leaves after it.
fn with_state(at: u64) -> Rig {
    let (rig, engine, log) = ledger();
    record(&engine, &log, at).unwrap();
    publish(&engine, &log);
    assert!(!engine.snapshot_step(&log, false), "not enough has come");
    assert!(engine.snapshot_step(&log, true) && !engine.snapshot_step(&log, true));
    record(&engine, &log, at + 300).unwrap();
    publish(&engine, &log);
    rig
}

/// Opens, and sees by the follow-ups of more entries that the state is right.
fn goes_on(rig: &Rig) {
    let (engine, log) = rig.reopen();
    let size = log.durable_size();
    record(&engine, &log, size + 40).unwrap();
    publish(&engine, &log);
    check(&log, 0);
}

#[test]
fn a_state_that_is_missing_cut_or_changed_anywhere_is_made_again() {
    let rig = with_state(300);
    let path = rig.path("logs/audit/state");
    let files = rig.disk.snapshot();
    let state = files[&path].clone();
    let is_set_aside = || rig.disk.snapshot().contains_key(&path.with_extension("aside"));
    goes_on(&rig);
    assert!(!is_set_aside());
    let mut missing = files.clone();
    missing.remove(&path);
    rig.disk.restore(&missing);
    goes_on(&rig);
    assert!(!is_set_aside());
    let flipped = |at: usize| {
        let mut state = state.clone();
        state[at] ^= 0x10;
        state
    };
    // Format, origin's length and bytes, size, root, state's length and bytes, digest.
    let flips = [0, 9, 12, 34, 40, 74, 80, state.len() - 1].map(flipped);
    let cuts = [0, 1, 50, state.len() - 1].map(|len| state[..len].to_vec());
    for bytes in flips.into_iter().chain(cuts) {
        let mut changed = files.clone();
        changed.insert(path.clone(), bytes);
        rig.disk.restore(&changed);
        goes_on(&rig);
        assert!(is_set_aside());
    }
}

#[test]
fn a_state_of_another_log_of_another_history_or_of_the_future_is_not_used() {
    let rig = with_state(300);
    let path = rig.path("logs/audit/state");
    let future = {
        let (engine, log) = rig.reopen();
        record(&engine, &log, 900).unwrap();
        assert!(engine.snapshot_step(&log, true));
        rig.disk.snapshot()[&path].clone()
    };
    let other = {
        let (other, engine, log) = ledger();
        // The same origin and size, and other leaves.
        let drafts = vec![graven_log::Draft::new(bytes::Bytes::from_static(b"other"))];
        crate::hooked::sequence(&engine, &log, drafts).unwrap();
        publish(&engine, &log);
        assert!(engine.snapshot_step(&log, true));
        other.disk.snapshot()[&other.path("logs/audit/state")].clone()
    };
    let rig = with_state(300);
    let files = rig.disk.snapshot();
    for bytes in [future, other] {
        let mut changed = files.clone();
        changed.insert(path.clone(), bytes);
        rig.disk.restore(&changed);
        goes_on(&rig);
        assert!(rig.disk.snapshot().contains_key(&path.with_extension("aside")));
    }
}
