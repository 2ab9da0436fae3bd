//! Entries without an answer each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::{AppendStreamEntry, AppendStreamOpen, AppendStreamRequest};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Sender};

use crate::calls::{self, Entries};
use crate::load::{self, Link, Load};
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::world::World;
use crate::{CONNECTIONS, ENTRY_BYTES};

/// Entries that a stream has on their way: within the server's window.
const WINDOW: usize = 2048;

pub(crate) async fn streams(world: &World, table: &mut Table) {
    let data = Data::init(world.home("stream"), "");
    let graven = data.serve();
    let load = Load::connect(&graven).await;
    let found = world
        .rounds()
        .compare(
            async |time| load.run(256, time, calls::append(ENTRY_BYTES)).await.per_second,
            async |time| stream(&load, time).await,
        )
        .await;
    table.add("unary durable append, concurrency 256", "entries/s", found.baseline.series(|rate| *rate));
    table.add(format!("AppendStream, {CONNECTIONS} streams"), "entries/s", found.figure.series(|rate| *rate));
    table.judge("AppendStream ÷ unary append", "ratio", Target::AtLeast(6.0), found.ratio(|rate| *rate));
}

/// Acknowledged entries a second, over a stream a connection.
async fn stream(load: &Load, time: Duration) -> f64 {
    let started = Instant::now();
    let entries = Entries::of(ENTRY_BYTES);
    let streams = (0..CONNECTIONS)
        .map(|n| tokio::spawn(one_stream(load.link(n).clone(), entries.clone(), started + time)));
    let acked: u64 = load::all(streams.collect()).await.into_iter().sum();
    acked as f64 / started.elapsed().as_secs_f64()
}

async fn one_stream(link: Link, entries: Entries, end: Instant) -> u64 {
    let (sender, receiver) = mpsc::channel(WINDOW);
    let window = Arc::new(Semaphore::new(WINDOW));
    let sent = tokio::spawn(send(sender, window.clone(), entries, end));
    let requests = link.request(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let answers = link.log().append_stream(requests).await;
    let mut answers = answers.expect("the stream begins").into_inner();
    let mut acked = 0;
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        window.add_permits(usize::try_from(answer.count).expect("a count of entries on their way"));
        acked += answer.count;
    }
    assert_eq!(acked, sent.await.expect("the sender ends"), "each entry is acknowledged");
    acked
}

async fn send(
    sender: Sender<AppendStreamRequest>,
    window: Arc<Semaphore>,
    entries: Entries,
    end: Instant,
) -> u64 {
    let mut seq = 0;
    let mut message = Message::Open(AppendStreamOpen::default());
    loop {
        sender.send(AppendStreamRequest { message: Some(message) }).await.expect("the stream is open");
        if Instant::now() >= end {
            return seq;
        }
        window.acquire().await.expect("the window stays").forget();
        let entry = entries.one();
        message = Message::Entry(AppendStreamEntry { seq, entry, ..AppendStreamEntry::default() });
        seq += 1;
    }
}
