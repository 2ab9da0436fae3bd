//! Recording ÷ appending: what it costs that an entry is an event.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls;
use crate::events::{BATCH, Events, until_found};
use crate::issuer::LocalIssuer;
use crate::load::{Load, Sample};
use crate::machine::{self, Threads};
use crate::parts;
use crate::peer::{Data, Peer};
use crate::report::{Table, Target};
use crate::stream;
use crate::tokens::SigningKey;
use crate::world::World;

const CALLERS: usize = 256;
const BATCH_CALLERS: usize = 16;
/// Whom the tokens of the benchmark's own issuer are for.
const AUDIENCE: &str = "https://log.example.com";
/// Threads with less than this, in microseconds an entry, are not worth a row.
const WORTH_A_ROW: f64 = 0.05;

/// One round.
struct Round {
    acked: Sample,
    /// Calls a second, up to the moment when the last of them could be found.
    found_per_second: f64,
}

pub(crate) async fn recording(world: &World, table: &mut Table) {
    let key = SigningKey::es256("bench");
    let issuer = LocalIssuer::start(&[&key]);
    let plain = Data::init(world.home("record-append"), "");
    let data = Data::init_events(world.home("record"), "");
    data.trust(&issuer.url, AUDIENCE);
    let (appending, recording) = (plain.serve(), data.serve());
    let append = Load::connect(&appending).await;
    let by_token = Load::connect(&recording).await;
    let by_jwt = Load::connect_as(&recording, &access_token(&key, &issuer.url)).await;
    for (events, what) in
        [(Events::of_api(), "event of an API"), (Events::of_cloudtrail(), "CloudTrail's, with its record")]
    {
        events.introduce(&by_token).await;
        let bytes = events.request_bytes();
        let append_base = async |time| {
            let acked = append.run(CALLERS, time, calls::append(bytes)).await;
            Round { found_per_second: acked.per_second, acked }
        };
        let record = async |load: &Load, time| record(load, time, CALLERS, || events.record(), 1).await;
        let with_token =
            world.rounds().compare(append_base, async |time| record(&by_token, time).await).await;
        let with_jwt = world.rounds().compare(append_base, async |time| record(&by_jwt, time).await).await;
        let (found, acked) = (|round: &Round| round.found_per_second, |round: &Round| round.acked.per_second);
        table.add(format!("Append of {bytes} B"), "entries/s", with_jwt.baseline.series(found));
        table.add(format!("Record, {what}: acknowledged"), "events/s", with_jwt.figure.series(acked));
        table.add(format!("Record, {what}: found"), "events/s", with_jwt.figure.series(found));
        table.add(format!("Record, {what}: p99"), "µs", with_jwt.figure.series(|round| round.acked.p99_us));
        table.add(format!("Record ÷ Append, {what}, static token"), "ratio", with_token.ratio(found));
        table.add(format!("Record ÷ Append, {what}, JWT: acknowledged"), "ratio", with_jwt.ratio(acked));
        table.judge(
            format!("Record ÷ Append, {what}, JWT: found"),
            "ratio",
            Target::AtLeast(0.5),
            with_jwt.ratio(found),
        );
        let time = world.rounds().time;
        by_thread(table, "Append", &appending, async || {
            append.run(CALLERS, time, calls::append(bytes)).await.calls
        })
        .await;
        by_thread(table, "Record", &recording, async || {
            let calls = by_jwt.run(CALLERS, time, events.record()).await.calls;
            until_found(&by_jwt).await;
            calls
        })
        .await;
        parts::each(&events, time, table);
        batches(world, &append, &by_jwt, &events, table).await;
        streams(world, &append, &by_jwt, &events, table).await;
    }
}

async fn batches(world: &World, append: &Load, load: &Load, events: &Events, table: &mut Table) {
    let bytes = events.request_bytes();
    let base = async |time| {
        append.run(BATCH_CALLERS, time, calls::append_batch(bytes, BATCH)).await.per_second * BATCH as f64
    };
    let figure = async |time| {
        record(load, time, BATCH_CALLERS, || events.record_batch(BATCH), BATCH).await.found_per_second
    };
    let found = world.rounds().compare(base, figure).await;
    table.add(format!("  AppendBatch of {BATCH}"), "entries/s", found.baseline.series(|rate| *rate));
    table.add(format!("  RecordBatch of {BATCH}: found"), "events/s", found.figure.series(|rate| *rate));
    table.add("  RecordBatch ÷ AppendBatch", "ratio", found.ratio(|rate| *rate));
}

async fn streams(world: &World, append: &Load, load: &Load, events: &Events, table: &mut Table) {
    let bytes = events.request_bytes();
    let base = async |time| stream::append(append, bytes, time).await;
    let figure = async |time| {
        let begun = Instant::now();
        let acked = stream::record(load, events, time).await;
        until_found(load).await;
        acked as f64 / begun.elapsed().as_secs_f64()
    };
    let found = world.rounds().compare(base, figure).await;
    table.add("  AppendStream", "entries/s", found.baseline.series(|rate| *rate));
    table.add("  RecordStream: found", "events/s", found.figure.series(|rate| *rate));
    table.add("  RecordStream ÷ AppendStream", "ratio", found.ratio(|rate| *rate));
}

/// Records for that long, and waits until all of it is found.
async fn record<C: crate::load::Call>(
    load: &Load,
    time: Duration,
    callers: usize,
    call: impl Fn() -> C,
    events: usize,
) -> Round {
    let begun = Instant::now();
    let acked = load.run(callers, time, call()).await;
    until_found(load).await;
    let found_per_second = (acked.calls * events as u64) as f64 / begun.elapsed().as_secs_f64();
    Round { acked, found_per_second }
}

/// What each of the server's threads spends on an entry, until nothing is left to do.
async fn by_thread(table: &mut Table, what: &str, peer: &Peer, run: impl AsyncFnOnce() -> u64) {
    machine::peers_are_idle().await;
    let before = Threads::of(peer.pid());
    let entries = run().await as f64;
    machine::peers_are_idle().await;
    for (thread, seconds) in Threads::of(peer.pid()).since(&before) {
        let us = seconds * 1e6 / entries;
        if us >= WORTH_A_ROW {
            table.add(format!("  {what}: CPU of {thread}"), "µs/entry", us);
        }
    }
}

/// A token that lives longer than the run, with scopes for all that is measured.
fn access_token(key: &SigningKey, issuer: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    key.token(&json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "bench", "client_id": "gateway", "jti": "8a4f2e6c1b", "iat": now,
        "exp": now + 24 * 3600, "scope": "graven:append:* graven:query:* graven:reveal:*",
    }))
}
