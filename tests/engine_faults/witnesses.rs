//! A log with three witnesses, two of which are a quorum: what is published when, what a crash takes back, and what is
//! refused before they were heard.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use graven_log::{
    AppendError, Clock as _, CosignError, Engine, Head, Log, LogName, OpenError, Publish, Witnessing,
};
use graven_merkle::TreeSize;
use graven_note::{LocalSigner, Policy, SignatureLine, SignatureType, Signer as _, sign_line};
use graven_store::fault::Fate;

use crate::outside::{SECOND, SimClock};
use crate::sim_rig::{Rig, append, check, entry, fill, is_poisoned, publish};

struct Witnesses(Vec<LocalSigner>, Arc<SimClock>);

impl Witnesses {
    /// Their clock is that of the machine.
    fn new(rig: &Rig) -> Self {
        let key = |n: u8| {
            let name = format!("w.example/{n}").parse().unwrap();
            LocalSigner::generate(name, SignatureType::CosignatureV1, &[n; 32]).unwrap()
        };
        Self((1..=3).map(key).collect(), rig.clock.clone())
    }

    fn policy(&self) -> Policy {
        let lines: String =
            self.0.iter().zip(1..).map(|(key, n)| format!("witness w{n} {}\n", key.vkey())).collect();
        Policy::parse(format!("{lines}group g 2 w1 w2 w3\nquorum g\n").as_bytes()).unwrap()
    }

    fn watch_over(&self, rig: &mut Rig, publish: Publish) {
        let witnessing = Witnessing::new(self.policy(), publish, Duration::from_secs(5)).unwrap();
        rig.config.witnessing = [(LogName::new("audit").unwrap(), witnessing)].into();
    }

    /// Witness `n`, counted from 1, cosigns the pending head.
    fn cosign(&self, engine: &Engine, log: &Log, n: usize) -> Result<bool, CosignError> {
        let pending = log.watch_pending().unwrap().borrow().head.clone();
        engine.cosign(log, pending.size().get(), &[self.line(&pending, n)])
    }

    /// What witness `n` says of a head, now.
    fn line(&self, head: &Head, n: usize) -> SignatureLine {
        let now_seconds = self.1.wall_ns() / SECOND;
        sign_line(&head.checkpoint.to_string(), &self.0[n - 1], now_seconds).unwrap()
    }

    fn quorum(&self, engine: &Engine, log: &Log) {
        self.cosign(engine, log, 1).unwrap();
        assert!(self.cosign(engine, log, 3).unwrap());
    }

    /// Whether a policy with this quorum takes the published head.
    fn accept(&self, log: &Log) -> bool {
        let meta = log.meta();
        self.policy().verify_checkpoint_of(&log.head().note, &meta.origin, &meta.keys).is_ok()
    }
}

/// A log whose heads are published so, past its start.
fn watched(publish: Publish) -> (Rig, Witnesses, Arc<Engine>, Arc<Log>) {
    let mut rig = Rig::new();
    let witnesses = Witnesses::new(&rig);
    rig.init().unwrap();
    witnesses.watch_over(&mut rig, publish);
    let (engine, log) = rig.open();
    witnesses.quorum(&engine, &log);
    (rig, witnesses, engine, log)
}

#[test]
fn a_head_that_needs_its_quorum_is_shown_with_it_and_not_before() {
    let (rig, witnesses, engine, log) = watched(Publish::Witnessed);
    fill(&engine, &log, 300);
    assert!(engine.publish_step(&log));
    let pending = || log.watch_pending().unwrap().borrow().clone();
    assert_eq!((pending().head.size().get(), log.head().size().get()), (300, 0));
    assert!(log.consistency(TreeSize::ZERO, pending().head.size()).is_err(), "readers see the old tree");
    assert!(log.pending_consistency(TreeSize::ZERO, pending().head.size()).is_ok(), "witnesses the new one");

    // Appends go on; another head is not signed while this one is on its way.
    fill(&engine, &log, 310);
    assert!(!engine.publish_step(&log));
    assert!(!witnesses.cosign(&engine, &log, 1).unwrap());
    assert!(!witnesses.cosign(&engine, &log, 1).unwrap(), "one witness counts once");
    assert_eq!(log.head().size().get(), 0);
    assert!(witnesses.cosign(&engine, &log, 2).unwrap());
    assert_eq!((log.head().size().get(), log.witnessed_head().unwrap()), (300, log.head()));
    assert!(witnesses.accept(&log));
    let shown = log.head().note.clone();
    assert!(witnesses.cosign(&engine, &log, 3).unwrap());
    assert!(log.head().note.len() > shown.len() && log.head().note.starts_with(&shown), "late, and added");

    // Witnesses that are away: the head of now takes the place of the one whose time is over, and readers see neither.
    for size in [310, 320] {
        fill(&engine, &log, size);
        assert!(engine.publish_step(&log));
        assert_eq!((pending().head.size().get(), log.head().size().get()), (size, 300));
        rig.clock.pass(6 * SECOND);
    }
    let old = engine.cosign(&log, 310, &[]).unwrap_err();
    assert_eq!(old, CosignError::NotPending { size: 320 });
    witnesses.quorum(&engine, &log);
    assert_eq!(log.head().size().get(), 320);
    check(&log);
}

#[test]
fn a_head_that_is_published_as_signed_gets_its_cosignatures_as_they_come() {
    let (_rig, witnesses, engine, log) = watched(Publish::Signed);
    fill(&engine, &log, 10);
    publish(&engine, &log);
    assert_eq!(log.head().size().get(), 10);
    let signed = log.head().note.clone();
    witnesses.cosign(&engine, &log, 2).unwrap();
    let once = log.head().note.clone();
    assert!(once.len() > signed.len() && once.starts_with(&signed) && !witnesses.accept(&log));
    witnesses.cosign(&engine, &log, 1).unwrap();
    assert!(log.head().note.starts_with(&once) && witnesses.accept(&log));

    // One is offered at a time; heads are published meanwhile.
    for size in [20, 30, 40] {
        fill(&engine, &log, size);
        publish(&engine, &log);
        assert_eq!(log.head().size().get(), size);
    }
    assert_eq!(log.watch_pending().unwrap().borrow().head.size().get(), 20);
    witnesses.quorum(&engine, &log);
    assert_eq!(log.witnessed_head().unwrap().size().get(), 20);
    assert_eq!(log.watch_pending().unwrap().borrow().head.size().get(), 40);
    witnesses.quorum(&engine, &log);
    assert!(witnesses.accept(&log));
}

#[test]
fn what_was_witnessed_is_witnessed_after_a_crash_at_any_moment() {
    for publish in [Publish::Signed, Publish::Witnessed] {
        let mut at = 0;
        let mut lived = false;
        while !lived {
            let (rig, witnesses, engine, log) = watched(publish);
            fill(&engine, &log, 10);
            assert!(engine.publish_step(&log));
            witnesses.cosign(&engine, &log, 1).unwrap();
            rig.die_at(at);
            let told = witnesses.cosign(&engine, &log, 2);
            lived = !is_poisoned(&engine);
            assert_eq!(told.is_ok(), lived, "told {told:?} at {at}");
            let shown = log.head();
            let witnessed = log.witnessed_head().unwrap();
            assert_eq!(
                witnessed.size().get(),
                if lived { 10 } else { 0 },
                "nothing is shown that is not durable"
            );
            drop((engine, log));
            rig.heal();
            rig.crash(at);
            let (engine, log) = rig.open();
            assert!(log.head().size() >= shown.size(), "what was shown is not taken back");
            assert!(log.witnessed_head().unwrap().size() >= witnessed.size());
            assert!(!lived || witnesses.accept(&log));
            // The head is offered again, and what was missing comes.
            witnesses.quorum(&engine, &log);
            assert!(log.head().size().get() == 10 && witnesses.accept(&log));
            at += 1;
        }
        assert!(at > 3, "only {at} failpoints");
    }
}

#[test]
fn before_the_witnesses_are_heard_nothing_is_appended_or_signed_and_reads_go_on() {
    let (rig, witnesses, engine, log) = watched(Publish::Signed);
    fill(&engine, &log, 300);
    publish(&engine, &log);
    witnesses.quorum(&engine, &log);
    fill(&engine, &log, 305);
    drop((engine, log));
    let (engine, log) = rig.reopen();
    assert!(log.is_awaiting_witnesses());
    rig.clock.pass(3600 * SECOND);
    assert_eq!(append(&engine, &log, vec![entry(305)]).unwrap_err(), AppendError::AwaitingWitnesses);
    assert!(!engine.publish_step(&log), "not even a heartbeat");
    check(&log);
    assert!(witnesses.accept(&log), "what was published is published as it was");
    // One answer of three: the other two could have seen more.
    witnesses.cosign(&engine, &log, 2).unwrap();
    assert_eq!(append(&engine, &log, vec![entry(305)]).unwrap_err(), AppendError::AwaitingWitnesses);
    witnesses.cosign(&engine, &log, 3).unwrap();
    append(&engine, &log, vec![entry(305)]).unwrap();
    assert!(engine.publish_step(&log));
    assert_eq!(log.head().size().get(), 306);
    check(&log);
}

/// A machine that was restored from an old copy while its witnesses are away, and somebody who brings what was public then.
#[test]
fn the_cosignatures_that_an_old_copy_was_published_with_do_not_let_it_fork() {
    let (rig, witnesses, engine, log) = watched(Publish::Signed);
    fill(&engine, &log, 2);
    publish(&engine, &log);
    witnesses.quorum(&engine, &log);
    let old = log.head();
    let lines: Vec<_> = (1..=3).map(|n| witnesses.line(&old, n)).collect();
    let copy = rig.disk.snapshot();
    fill(&engine, &log, 4);
    publish(&engine, &log);
    witnesses.quorum(&engine, &log);
    drop((engine, log));
    rig.disk.kill();
    rig.disk.restore(&copy);
    // The start is in the same second as they were, or later.
    for wait_ns in [1, SECOND, 3600 * SECOND] {
        rig.clock.pass(wait_ns);
        let (engine, log) = rig.reopen();
        for lines in [&lines[..1], &lines[1..2], &lines[2..], &lines[..]] {
            let refused = engine.cosign(&log, 2, lines).unwrap_err();
            assert!(matches!(refused, CosignError::NotOfNow { .. }), "{refused}");
        }
        assert!(log.is_awaiting_witnesses());
        assert_eq!(append(&engine, &log, vec![entry(99)]).unwrap_err(), AppendError::AwaitingWitnesses);
        assert!(!engine.publish_step(&log));
        rig.clock.pass(SECOND);
        drop(engine);
    }
    // Lines of now would be answers: these witnesses forgot, the true ones would not give them.
    let (engine, log) = rig.reopen();
    rig.clock.pass(SECOND);
    witnesses.quorum(&engine, &log);
    witnesses.cosign(&engine, &log, 2).unwrap();
    assert!(!log.is_awaiting_witnesses());
}

#[test]
fn a_log_that_a_witness_knows_more_of_stops() {
    let (rig, _witnesses, engine, log) = watched(Publish::Signed);
    let name = log.witness_policy().unwrap().witnesses().next().unwrap().name.clone();
    engine.refuse_behind(&log, &[name], "has cosigned size 9, and this data directory ends at size 0");
    let graven_log::Status::RolledBack(why) = engine.status() else { panic!("{:?}", engine.status()) };
    for said in [
        "`audit`",
        "`w1`",
        "size 9",
        "size 0",
        "graven recover --data-dir /data --log audit --from",
        "new origin",
    ] {
        assert!(why.contains(said), "{why}");
    }
    assert_eq!(append(&engine, &log, vec![entry(0)]).unwrap_err(), AppendError::Poisoned);
    rig.clock.pass(3600 * SECOND);
    assert!(!engine.publish_step(&log));
}

#[test]
fn changing_how_heads_are_published_takes_nothing_back() {
    let (mut rig, witnesses, engine, log) = watched(Publish::Signed);
    fill(&engine, &log, 10);
    publish(&engine, &log);
    witnesses.quorum(&engine, &log);
    fill(&engine, &log, 20);
    publish(&engine, &log);
    drop((engine, log));

    // 20 was published without its quorum, and is published still.
    witnesses.watch_over(&mut rig, Publish::Witnessed);
    for _ in 0..2 {
        let (_engine, log) = rig.reopen();
        assert_eq!((log.head().size().get(), log.witnessed_head().unwrap().size().get()), (20, 10));
    }
    let (engine, log) = rig.reopen();
    witnesses.quorum(&engine, &log);
    fill(&engine, &log, 30);
    assert!(engine.publish_step(&log));
    drop((engine, log));
    let (engine, log) = rig.reopen();
    assert_eq!(log.head().size().get(), 20, "30 never had its quorum");
    assert!(witnesses.accept(&log));
    drop((engine, log));

    // Without witnesses the signed head is the published one.
    rig.config.witnessing.clear();
    let (engine, log) = rig.reopen();
    assert_eq!(log.head().size().get(), 30);
    assert!(!log.is_awaiting_witnesses() && log.watch_pending().is_none());
    fill(&engine, &log, 40);
    publish(&engine, &log);
    drop((engine, log));
    witnesses.watch_over(&mut rig, Publish::Witnessed);
    let (_engine, log) = rig.reopen();
    assert_eq!(log.head().size().get(), 40);
    check(&log);
}

#[test]
fn a_witness_journal_tells_of_a_signer_journal_that_went_back() {
    let (rig, witnesses, engine, log) = watched(Publish::Signed);
    let older = rig.disk.snapshot();
    fill(&engine, &log, 10);
    publish(&engine, &log);
    witnesses.quorum(&engine, &log);
    drop((engine, log));
    rig.disk.kill();
    let mut files = rig.disk.snapshot();
    let signer = rig.path("logs/audit/signer");
    files.insert(signer.clone(), older[&signer].clone());
    rig.disk.restore(&files);
    assert!(matches!(rig.try_open(), Err(OpenError::Behind { have: 0, signed: 10, .. })));
}

#[test]
fn a_sync_that_fails_under_the_quorum_is_told_to_nobody() {
    let (rig, witnesses, engine, log) = watched(Publish::Witnessed);
    fill(&engine, &log, 10);
    assert!(engine.publish_step(&log));
    witnesses.cosign(&engine, &log, 1).unwrap();
    rig.fail(|point| match point.path {
        path if path.ends_with(Path::new("witnessed")) => Fate::Fail(std::io::ErrorKind::Other),
        _ => Fate::Continue,
    });
    assert_eq!(witnesses.cosign(&engine, &log, 2).unwrap_err(), CosignError::Poisoned);
    assert!(is_poisoned(&engine));
    assert_eq!(log.head().size().get(), 0);
    assert_eq!(witnesses.cosign(&engine, &log, 3).unwrap_err(), CosignError::Poisoned);
}

/// Another cosignature is on its way in while the sync fails: it was let in before anybody knew.
#[test]
fn nor_to_those_who_came_in_before_it_failed() {
    let (rig, witnesses, engine, log) = watched(Publish::Witnessed);
    fill(&engine, &log, 10);
    assert!(engine.publish_step(&log));
    witnesses.cosign(&engine, &log, 1).unwrap();
    let (failing, is_failing) = std::sync::mpsc::channel();
    rig.fail(move |point| match point.path {
        path if path.ends_with(Path::new("witnessed")) => {
            let _ = failing.send(());
            std::thread::sleep(Duration::from_millis(200));
            Fate::Fail(std::io::ErrorKind::Other)
        }
        _ => Fate::Continue,
    });
    std::thread::scope(|scope| {
        let second = scope.spawn(|| witnesses.cosign(&engine, &log, 2));
        is_failing.recv().unwrap();
        assert_eq!(witnesses.cosign(&engine, &log, 3).unwrap_err(), CosignError::Poisoned);
        assert_eq!(second.join().unwrap().unwrap_err(), CosignError::Poisoned);
    });
    assert_eq!(log.witnessed_head().unwrap().size().get(), 0);
    assert_eq!(log.head().size().get(), 0);
}
