//! Power cuts and failures at every step of storage, while entries are pushed and polled.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use graven_mirror::{UpdateError, Updated};
use graven_store::fault::{Fate, FaultFs, Phase, Point};
use graven_store::sim::Seed;

use crate::disk::{Made, Running, of};
use crate::pusher::{Info, Log};
use crate::site::Site;

const ENTRIES: usize = 1_300;

/// What a mirror promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Promised {
    pending: usize,
    next: usize,
    mirrored: usize,
}

/// A life of a mirror: pushes in one part and in two, a poll between them, and how far it got. Ends with the first refusal.
async fn live(running: &Running, log: &Log, sites: &[Site], promised: &mut Promised) -> Result<(), u16> {
    // With 300 and 400 entries one tile is the same, and must be there while it is written about.
    for to in [300, 400, 700] {
        if promised.pending < to {
            done(running.pend(log, promised.pending, to).await)?;
            promised.pending = to;
        }
        let part = running.upload(log, promised.next, to, 1).await;
        done(part.status)?;
        if part.status == 202 {
            promised.next = Info::parse(&part.body).next;
            done(running.upload(log, promised.next, to, usize::MAX).await.status)?;
        }
        (promised.next, promised.mirrored) = (to, to);
    }
    for (site, to) in sites.iter().zip([800, 1_024]) {
        match running.poll(site) {
            Ok(updated) => assert_eq!(updated, Updated::To(of(to))),
            Err(error) => {
                assert!(matches!(error, UpdateError::Storage(_)), "{error}");
                return Err(500);
            }
        }
        *promised = Promised { pending: to, next: to, mirrored: to };
    }
    done(running.pend(log, 1_024, ENTRIES).await)?;
    promised.pending = ENTRIES;
    done(running.upload(log, 1_024, ENTRIES, usize::MAX).await.status)?;
    *promised = Promised { pending: ENTRIES, next: ENTRIES, mirrored: ENTRIES };
    Ok(())
}

fn done(status: u16) -> Result<(), u16> {
    if matches!(status, 200 | 202) { Ok(()) } else { Err(status) }
}

fn sites() -> [Site; 2] {
    [Site::new(800), Site::new(1_024)]
}

/// Nothing that was promised is gone, and what is cosigned is here.
async fn check(made: &Made, log: &Log, promised: Promised) {
    let (running, mirrored, pending) = made.open(log);
    assert!(mirrored >= promised.mirrored, "{mirrored} entries are mirrored, {promised:?} was promised");
    assert!(
        pending >= promised.pending && pending >= mirrored,
        "{pending} is pending, {promised:?} was promised"
    );
    let info = Info::parse(&running.post("add-entries", log.add_entries(0, 0, b"", 0)).await.body);
    assert!(info.next >= promised.next, "{info:?}, {promised:?} was promised");
    // And it goes on from there.
    running.push_all(log, ENTRIES).await;
    assert_eq!(made.check(&running.log(), log), ENTRIES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_step_leaves_all_that_was_promised() {
    let (log, sites) = (Log::new(ENTRIES), sites());
    let mut cuts = 0;
    for step in 0.. {
        let made = Made::new(&log);
        let countdown = Arc::new(AtomicI64::new(i64::MAX));
        let script = {
            let (countdown, disk) = (countdown.clone(), made.disk.clone());
            move |point: Point<'_>| {
                let counts = point.op.mutates() && point.phase == Phase::Before;
                if counts && countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
                    disk.crash(&mut Seed(step));
                }
                // The process that was is no more.
                match countdown.load(Ordering::SeqCst) < 0 {
                    true => Fate::Fail(io::ErrorKind::Other),
                    false => Fate::Continue,
                }
            }
        };
        let running = Running::open(FaultFs::new(Arc::new(made.disk.clone()), Arc::new(script)));
        countdown.store(i64::try_from(step).unwrap(), Ordering::SeqCst);
        let mut promised = Promised::default();
        let lived = live(&running, &log, &sites, &mut promised).await;
        drop(running);
        if lived.is_ok() {
            made.disk.crash(&mut Seed(step));
        }
        check(&made, &log, promised).await;
        cuts += 1;
        if lived.is_ok() {
            assert!(cuts > 100, "only {cuts} steps were tried");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_step_fails_nothing_is_cosigned_from_then_on() {
    let (log, sites) = (Log::new(ENTRIES), sites());
    for failing in [Phase::Before, Phase::After] {
        for step in 0.. {
            let made = Made::new(&log);
            let (countdown, later) = (Arc::new(AtomicI64::new(i64::MAX)), Arc::new(AtomicUsize::new(0)));
            let script = {
                let (countdown, later) = (countdown.clone(), later.clone());
                move |point: Point<'_>| {
                    if !point.op.mutates() || point.phase != failing {
                        return Fate::Continue;
                    }
                    match countdown.fetch_sub(1, Ordering::SeqCst) {
                        0 => Fate::Fail(io::ErrorKind::Other),
                        left => {
                            later.fetch_add(usize::from(left < 0), Ordering::SeqCst);
                            Fate::Continue
                        }
                    }
                }
            };
            let faulty = FaultFs::new(Arc::new(made.disk.clone()), Arc::new(script));
            let running = Running::open(faulty);
            countdown.store(step, Ordering::SeqCst);
            let mut promised = Promised::default();
            let lived = live(&running, &log, &sites, &mut promised).await;
            if lived.is_ok() {
                assert!(step > 100, "only {step} steps were tried");
                break;
            }
            assert_eq!(lived, Err(500));
            // The disk would take it now; the mirror does not ask it again.
            let served = running.log().checkpoint();
            assert_eq!(running.pend(&log, promised.pending, ENTRIES).await, 500);
            assert_eq!(running.upload(&log, promised.next, promised.pending, 9).await.status, 500);
            assert!(matches!(running.poll(&sites[1]), Err(UpdateError::Storage(_))));
            assert_eq!(later.load(Ordering::SeqCst), 0, "something was written after the failure");
            assert_eq!(running.log().checkpoint(), served);
            drop(running);
            made.disk.crash(&mut Seed(step.unsigned_abs()));
            check(&made, &log, promised).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_pushes_and_polls_at_once_the_copy_goes_forward_only() {
    let (log, sites) = (Arc::new(Log::new(ENTRIES)), sites());
    let made = Made::new(&log);
    let running = Arc::new(Running::open(made.disk.clone()));
    let pushers = (0..4).map(|number| {
        let (log, running) = (log.clone(), running.clone());
        tokio::spawn(async move {
            let mut cosigned = 0;
            for to in (0..ENTRIES).skip(90 + number).step_by(90) {
                let asked = running.post("add-checkpoint", log.add_checkpoint(0, to)).await;
                let old = String::from_utf8(asked.body).unwrap().trim().parse().unwrap_or(0);
                if old < to {
                    running.pend(&log, old, to).await;
                }
                let (mut next, mut end) = (0, 0);
                for _ in 0..20 {
                    let answer = running.upload(&log, next, end, 2).await;
                    match answer.status {
                        200 => {
                            cosigned += 1;
                            break;
                        }
                        202 | 409 => {
                            let info = Info::parse(&answer.body);
                            assert!(info.next >= next.min(end), "{info:?} after {next}");
                            (next, end) = (info.next, info.size);
                        }
                        other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
                    }
                }
            }
            cosigned
        })
    });
    let pushers: Vec<_> = pushers.collect();
    let (mut size, mut polled) = (0, 0);
    while !pushers.iter().all(tokio::task::JoinHandle::is_finished) {
        for site in &sites {
            match tokio::task::block_in_place(|| running.poll(site)) {
                Ok(Updated::To(_)) => polled += 1,
                Ok(Updated::Not) | Err(UpdateError::WentBack { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let now = made.check(&running.log(), &log);
        assert!(now >= size, "{now} entries after {size}");
        size = now;
    }
    let mut cosigned = 0;
    for pusher in pushers {
        cosigned += pusher.await.unwrap();
    }
    assert!(cosigned > 10 && polled > 0, "{cosigned} pushed, {polled} polled: nothing was tried");
    assert!(!running.log().is_split());
    made.disk.crash(&mut Seed(1));
    drop(running);
    let (_, mirrored, _) = made.open(&log);
    assert!(mirrored >= size);
}
