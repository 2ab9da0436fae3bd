//! How much at once, and for how long.

use std::sync::Arc;
use std::time::Duration;

use graven_guard::GuardOptions;

use crate::rig::{Desk, Log, allowed, header};

fn bounded(log: Log, in_flight: usize) -> Desk {
    Desk::with(log, GuardOptions { in_flight, ..GuardOptions::default() })
}

#[tokio::test(start_paused = true)]
async fn one_more_than_there_is_room_for_is_refused_at_once() {
    let desk = bounded(Log::allowing().slow(Duration::from_secs(1)), 2);
    let first: Vec<_> = (0..2).map(|_| spawn(&desk)).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let begun = tokio::time::Instant::now();
    let answer = desk.http("GET", "/documents/7").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "graven-reason")), (503, "busy"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // What takes nothing takes no room.
    assert_eq!(desk.http("GET", "/healthz").await.status(), 200);

    for one in first {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(desk.http("GET", "/documents/7").await.status(), 200, "there is room again");
    assert_eq!(desk.runs(), 4);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_or_waits_too_long_leaves_its_room() {
    let desk = bounded(Log::answering(|_, _| None), 1);
    let gone = spawn(&desk);
    tokio::time::sleep(Duration::from_millis(10)).await;
    gone.abort();
    let _ = gone.await;
    let answer = desk.http("GET", "/documents/7").await;
    assert_eq!(header(&answer, "graven-reason"), "unavailable", "it was asked, and got no answer");
    let answer = desk.http("GET", "/documents/7").await;
    assert_eq!(header(&answer, "graven-reason"), "unavailable");
    assert_eq!(desk.runs(), 0);
}

#[tokio::test]
async fn many_at_once_have_a_decision_each() {
    // Every third is denied, every fifth fails.
    let log = Log::answering(|asked, index| match index {
        index if index % 3 == 0 => Some(Ok(crate::rig::denied(asked, "no-grant", index))),
        index if index % 5 == 0 => Some(Err(tonic::Status::unavailable("not now"))),
        index => Some(Ok(allowed(asked, index))),
    });
    let desk = Arc::new(Desk::new(log.slow(Duration::from_millis(1))));
    let calls: Vec<_> = (0..600).map(|_| spawn(&desk)).collect();
    let mut by_status = std::collections::BTreeMap::new();
    for call in calls {
        *by_status.entry(call.await.unwrap()).or_insert(0) += 1;
    }
    let allowed = (10..610_u64).filter(|index| index % 3 != 0 && index % 5 != 0);
    let mut seen: Vec<_> = desk.seen().into_iter().map(|seen| seen.unwrap().index().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, allowed.collect::<Vec<_>>(), "each run by a decision of its own");
    assert_eq!((desk.runs(), by_status[&200]), (320, 320));
    assert_eq!((by_status[&403], by_status[&503]), (200, 80));
}

fn spawn(desk: &Desk) -> tokio::task::JoinHandle<u16> {
    let desk = desk.clone();
    tokio::spawn(async move { desk.http("GET", "/documents/7").await.status().as_u16() })
}
