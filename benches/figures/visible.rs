//! From the acknowledgement of an event to the answer that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graven_proto::v1::{QueryRequest, RecordBatchRequest};
use tokio::time::MissedTickBehavior;
use tonic::Code;

use crate::events::Events;
use crate::load::{self, Link, Load, REFUSED_PAUSE};
use crate::machine;
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::rounds::Series;
use crate::world::World;

const PER_SECOND: u64 = 10_000;
/// Requests a second that bring them.
const TICKS: u64 = 100;
/// Every so many requests one event is looked for.
const PROBED: u64 = 10;

/// What one request saw.
struct Seen {
    ack: Duration,
    /// From then until an answer had the event, and how many answers had not; of those that were looked for.
    found: Option<(Duration, u32)>,
}

pub(crate) async fn visible(world: &World, table: &mut Table) {
    let time = Duration::from_secs(if world.is_quick() { 3 } else { 30 });
    let data = Data::init_events(world.home("visible"), "");
    let peer = data.serve();
    let load = Load::connect(&peer).await;
    let events = Events::of_api();
    events.introduce(&load).await;
    machine::peers_are_idle().await;
    let (begun, cpu, others) = (Instant::now(), machine::cpu_seconds(peer.pid()), machine::Cpu::now());
    let (seen, count) = offer(&load, &events, time).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let share = 100.0 * (machine::cpu_seconds(peer.pid()) - cpu) / elapsed;
    let foreign_percent = machine::Cpu::now().foreign_percent_since(&others);
    let once = |value| Series { values: vec![value], foreign_percent };
    let acks = sorted(seen.iter().map(|seen| seen.ack));
    let found: Vec<_> = seen.iter().filter_map(|seen| seen.found).collect();
    let late = found.iter().map(|(_, misses)| *misses).sum::<u32>();
    let waits = sorted(found.iter().map(|(wait, _)| *wait));
    table.add("recorded meanwhile", "events/s", once(count as f64 / elapsed));
    table.add("acknowledged after, p50", "ms", once(at(&acks, 0.5)));
    table.add("acknowledged after, p99", "ms", once(at(&acks, 0.99)));
    table.add(
        format!("found after its acknowledgement, p50 of {}", waits.len()),
        "ms",
        once(at(&waits, 0.5)),
    );
    table.judge("found after its acknowledgement, p99", "ms", Target::AtMost(250.0), once(at(&waits, 0.99)));
    table.add("answers that lacked an acknowledged event", "", once(f64::from(late)));
    table.add("the server's share of a core", "%", once(share));
}

/// Ten thousand a second, whether or not those before are acknowledged.
async fn offer(load: &Load, events: &Events, time: Duration) -> (Vec<Seen>, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / TICKS as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = Vec::new();
    for number in 0..time.as_secs() * TICKS {
        ticks.tick().await;
        let link = load.link(number as usize).clone();
        let (events, count) = (events.clone(), count.clone());
        requests.push(tokio::spawn(async move { one(link, &events, number % PROBED == 0, &count).await }));
    }
    (load::all(requests).await, count.load(Ordering::Relaxed))
}

async fn one(link: Link, events: &Events, is_probed: bool, count: &AtomicU64) -> Seen {
    let events = events.many((PER_SECOND / TICKS) as usize);
    let sent = events.len() as u64;
    let last = events.last().and_then(|event| Some(event.context.as_ref()?.request_id.clone()));
    let request = RecordBatchRequest { events, ..RecordBatchRequest::default() };
    let begun = Instant::now();
    while let Err(status) = link.audit().record_batch(link.request(request.clone())).await {
        assert_eq!(status.code(), Code::ResourceExhausted, "the events are recorded: {status}");
        tokio::time::sleep(REFUSED_PAUSE).await;
    }
    let ack = begun.elapsed();
    count.fetch_add(sent, Ordering::Relaxed);
    let found = match last {
        Some(id) if is_probed => Some(until_answered(&link, &id).await),
        _ => None,
    };
    Seen { ack, found }
}

async fn until_answered(link: &Link, id: &str) -> (Duration, u32) {
    let begun = Instant::now();
    let request = QueryRequest { query: format!("request:{id}"), ..QueryRequest::default() };
    let mut misses = 0;
    loop {
        match link.audit().query(link.request(request.clone())).await {
            Ok(answer) if answer.get_ref().hits.len() == 1 => return (begun.elapsed(), misses),
            // An answer is complete for all that was acknowledged, so there should be none of these.
            Ok(_) => misses += 1,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    }
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times
}

/// In milliseconds.
fn at(times: &[Duration], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}
