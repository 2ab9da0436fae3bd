//! A guarded service and the real server: every run of a handler has its entry before it, and where nothing can be recorded nothing runs.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[path = "guarded/office.rs"]
mod office;

use std::collections::BTreeSet;
use std::time::Duration;

use graven_event::Outcome;
use rustix::process::Signal;

use office::{Decision, Office};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_run_has_its_entry_before_it() {
    let office = Office::open().await;
    let calls = (0..300).map(|n| {
        let (client, method) = [
            ("billing", "GET"),
            ("billing", "PUT"),
            ("billing", "DELETE"),
            ("stranger", "GET"),
            ("admin-tool", "DELETE"),
        ][n % 5];
        office.spawn(client, method)
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await.unwrap());
    }
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    // Reading and modifying for billing, administering for the tool of administrators; nothing else was granted.
    assert_eq!((count(200), count(403)), (180, 120));

    let decisions = office.decisions().await;
    let by = |outcome| decisions.iter().filter(move |decision| decision.outcome == outcome);
    assert_eq!((by(Outcome::Success).count(), by(Outcome::Denied).count()), (180, 120));
    assert_runs_are_in_the_log(&office, &decisions);
    let denied: BTreeSet<_> =
        answers.iter().filter(|it| it.status == 403).map(|it| it.index.unwrap()).collect();
    assert_eq!(denied, by(Outcome::Denied).map(|decision| decision.index).collect());
    let reasons: BTreeSet<_> = by(Outcome::Denied).map(|decision| decision.reason.as_str()).collect();
    assert_eq!(reasons, BTreeSet::from(["no-grant"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_log_gone_nothing_runs_and_what_ran_is_in_it_afterwards() {
    let mut office = Office::open().await;
    let load: Vec<_> = (0..16).map(|_| office.load("billing", "PUT")).collect();
    office.until_runs(200).await;
    office.kill();
    for worker in load {
        // Each goes on until it is refused.
        assert_eq!(worker.await.unwrap(), 503);
    }
    let runs = office.runs().len();
    for method in ["GET", "PUT", "DELETE"] {
        let answer = office.spawn("billing", method).await.unwrap();
        assert_eq!((answer.status, answer.reason.as_str(), answer.index), (503, "unavailable", None));
    }
    assert_eq!(office.runs().len(), runs, "nothing ran without the log");

    office.start();
    office.until_answered("billing", "GET").await;
    let decisions = office.decisions().await;
    assert_runs_are_in_the_log(&office, &decisions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_log_that_hangs_nothing_runs() {
    let office = Office::open().await;
    assert_eq!(office.spawn("billing", "GET").await.unwrap().status, 200);
    office.server().signal(Signal::STOP);
    let begun = std::time::Instant::now();
    assert_eq!(office.spawn("billing", "GET").await.unwrap().status, 503);
    assert!(begun.elapsed() < office::PATIENCE + Duration::from_secs(1));
    assert_eq!(office.runs().len(), 1);
    office.server().signal(Signal::CONT);
    office.until_answered("billing", "GET").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_log_that_takes_no_more_nothing_runs() {
    let office = Office::open().await;
    assert_eq!(office.spawn("billing", "GET").await.unwrap().status, 200);
    office.freeze().await;
    assert_eq!(office.spawn("billing", "GET").await.unwrap().status, 503);
    assert_eq!(office.runs().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_by_a_decision_after_the_revocation() {
    let office = Office::open().await;
    let load: Vec<_> = (0..8).map(|_| office.load("billing", "GET")).collect();
    office.until_runs(100).await;
    let revoked = office.revoke("billing").await;
    for worker in load {
        assert_eq!(worker.await.unwrap(), 403);
    }
    assert!(office.runs().iter().all(|(index, _)| *index < revoked));
    let answer = office.spawn("billing", "GET").await.unwrap();
    assert_eq!((answer.status, answer.reason.as_str()), (403, "grant-revoked"));
    assert!(answer.index.unwrap() > revoked);
    assert_runs_are_in_the_log(&office, &office.decisions().await);
}

/// Each run has an entry of its own, which allows it.
fn assert_runs_are_in_the_log(office: &Office, decisions: &[Decision]) {
    let allowed: BTreeSet<_> = decisions
        .iter()
        .filter(|decision| decision.outcome == Outcome::Success)
        .map(|decision| (decision.index, decision.leaf_hash))
        .collect();
    let runs = office.runs();
    let distinct: BTreeSet<_> = runs.iter().copied().collect();
    assert_eq!(distinct.len(), runs.len(), "two runs by one decision");
    assert!(!runs.is_empty() && distinct.is_subset(&allowed), "a run without an entry");
}
