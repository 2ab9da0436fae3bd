//! Finding events among many, through the wire.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use graven_event::{Outcome, Time};
use graven_proto::v1::{self, QueryRequest, QueryResponse, RecordBatchRequest};

use crate::calls::Random;
use crate::events::{BATCH, Events, by_person, request_id, until_found};
use crate::load::Load;
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::world::{World, settle};

/// Who does what is to be found.
const INTRUDER: &str = "mallory@example.com";
/// How often, throughout the log.
const DEEDS: u64 = 7;
/// Pages that are turned before the one that counts.
const DEEP: usize = 50;
/// Each question is asked this often.
const ASKED: usize = 20;
/// What a question may take.
const BOUND_MS: f64 = 1000.0;
const CALLERS: usize = 4;

pub(crate) async fn finding(world: &World, table: &mut Table) {
    let count = if world.is_quick() { 20_000 } else { 1_000_000 };
    let data = Data::init_events(world.home("find"), "");
    let peer = data.serve();
    let load = Load::connect(&peer).await;
    let events = Events::of_api();
    let begun = Instant::now();
    let mut moments = Vec::new();
    for deed in 0..DEEDS {
        load.times(CALLERS, count / DEEDS / BATCH as u64, events.record_batch(BATCH)).await;
        seed(&load, deed).await;
        moments.push(now());
        eprintln!(
            "  {} of {count} events, {:.1} s",
            count / DEEDS * (deed + 1),
            begun.elapsed().as_secs_f64()
        );
    }
    until_found(&load).await;
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    table.add(format!("{count} events recorded and found"), "events/s", per_second);
    settle(&load, &data, &peer).await;
    let incident = ask(&load, &format!("actor:{INTRUDER} outcome:denied"), "").await;
    assert_eq!(incident.hits.len() as u64, DEEDS, "one question finds the whole incident");
    assert!(incident.next_page_token.is_empty(), "and nothing else");
    for (what, query) in [
        ("the seeded incident: a rare actor and outcome", format!("actor:{INTRUDER} outcome:denied")),
        ("a request number", format!("request:{}", request_id(count / 2))),
        ("a common action and outcome", "action:data.read outcome:denied".to_owned()),
        ("a range of time", format!("action:data.export since:{} until:{}", moments[2], moments[3])),
        ("everything", String::new()),
    ] {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            ask(&load, &query, "").await;
            times.push(begun.elapsed());
        }
        judge(table, &format!("first page: {what}"), &times);
    }
    deep(&load, table).await;
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Time(u64::try_from(since.as_nanos()).expect("it is before 2554"))
}

/// The page after many others.
async fn deep(load: &Load, table: &mut Table) {
    let (mut token, mut times) = (String::new(), Vec::new());
    for page in 0..DEEP {
        let begun = Instant::now();
        let answer = ask(load, "action:data.read outcome:denied", &token).await;
        times.push(begun.elapsed());
        token = answer.next_page_token;
        if token.is_empty() {
            return eprintln!("page {} was the last", page + 1);
        }
    }
    judge(table, &format!("pages up to the {DEEP}th: a common action and outcome"), &times);
}

/// The slowest counts.
fn judge(table: &mut Table, what: &str, times: &[Duration]) {
    let slowest = times.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e3;
    table.judge(format!("{what}, slowest of {}", times.len()), "ms", Target::AtMost(BOUND_MS), slowest);
}

/// One more deed, among everything else.
async fn seed(load: &Load, deed: u64) {
    let random = Random::default();
    let mut event = by_person(INTRUDER, "data.export", Outcome::Denied, &random);
    event.context.request_id = Some(format!("deed-{deed}"));
    let request =
        RecordBatchRequest { events: vec![v1::Event::from(event)], ..RecordBatchRequest::default() };
    let link = load.link(0);
    link.audit().record_batch(link.request(request)).await.expect("the event is recorded");
}

async fn ask(load: &Load, query: &str, token: &str) -> QueryResponse {
    let link = load.link(0);
    let request =
        QueryRequest { query: query.to_owned(), page_token: token.to_owned(), ..QueryRequest::default() };
    link.audit().query(link.request(request)).await.expect("the question is answered").into_inner()
}
