//! The sample of real events (`sample/LICENSE` says whose), and many clients that append it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use graven_client::{Client, ConnectOptions};
use tokio::task::JoinSet;

use super::CLIENTS;
use crate::exit::{Failure, Outcome};

/// AWS CloudTrail events, one JSON object a line.
pub(super) const SAMPLE: &str = include_str!("../../sample/cloudtrail.jsonl");

/// The event that the demo keeps for last.
const TRAIL_DELETED: &str = "\"eventName\":\"DeleteTrail\"";

/// What came of appending.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) entries: u64,
    took: Duration,
    slowest: Duration,
}

/// The event by which somebody deletes an audit trail.
pub(super) fn trail_deleted() -> &'static [u8] {
    SAMPLE.lines().find(|event| event.contains(TRAIL_DELETED)).unwrap_or_default().as_bytes()
}

/// All other events.
pub(super) fn many() -> Vec<&'static str> {
    SAMPLE.lines().filter(|event| !event.contains(TRAIL_DELETED)).collect()
}

/// Appends the events from several clients at once, each with a connection of its own and one event at a time.
pub(super) async fn append_all(url: &str, events: &[&'static str]) -> Outcome<Tally> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for share in events.chunks(events.len().div_ceil(CLIENTS)) {
        clients.spawn(append_share(url.to_owned(), share.to_vec()));
    }
    let mut tally = Tally::default();
    while let Some(share) = clients.join_next().await {
        let share = share.map_err(Failure::check_failed)??;
        tally.entries += share.entries;
        tally.slowest = tally.slowest.max(share.slowest);
    }
    tally.took = begun.elapsed();
    Ok(tally)
}

async fn append_share(url: String, events: Vec<&'static str>) -> Outcome<Tally> {
    let options = ConnectOptions { connections: 1, ..ConnectOptions::default() };
    let log = Client::connect(&url, options).await?.appender("audit");
    let mut tally = Tally::default();
    for event in events {
        let begun = Instant::now();
        log.append(event).durable().await?;
        tally.slowest = tally.slowest.max(begun.elapsed());
        tally.entries += 1;
    }
    Ok(tally)
}

impl Tally {
    /// Adds what came of appending more, afterwards.
    pub(super) fn add(&mut self, more: &Self) {
        self.entries += more.entries;
        self.took += more.took;
        self.slowest = self.slowest.max(more.slowest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, took, slowest) = (self.entries, self.took.as_millis(), self.slowest.as_millis());
        write!(
            f,
            "{entries} appends acknowledged in {took} ms, each after it was on disk; the slowest took {slowest} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_the_demo_says_it_is() {
        assert_eq!(SAMPLE.lines().count(), many().len() + 1);
        assert!(SAMPLE.lines().all(|event| serde_json::from_str::<serde_json::Value>(event).is_ok()));
        assert!(!trail_deleted().is_empty());
    }
}
