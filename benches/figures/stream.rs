//! Entries without an answer each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::record_stream_request::Message as Recorded;
use graven_proto::v1::{
    AppendStreamEntry, AppendStreamOpen, AppendStreamRequest, RecordStreamOpen, RecordStreamRequest,
};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::calls::{self, Entries};
use crate::events::Events;
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
            async |time| append(&load, ENTRY_BYTES, time).await,
        )
        .await;
    table.add("unary durable append, concurrency 256", "entries/s", found.baseline.series(|rate| *rate));
    table.add(format!("AppendStream, {CONNECTIONS} streams"), "entries/s", found.figure.series(|rate| *rate));
    table.judge("AppendStream ÷ unary append", "ratio", Target::AtLeast(6.0), found.ratio(|rate| *rate));
}

/// Acknowledged entries a second, over a stream a connection.
pub(crate) async fn append(load: &Load, entry_bytes: usize, time: Duration) -> f64 {
    let started = Instant::now();
    let entries = Entries::of(entry_bytes);
    let streams = (0..CONNECTIONS)
        .map(|n| tokio::spawn(append_stream(load.link(n).clone(), entries.clone(), started + time)));
    let acked: u64 = load::all(streams.collect()).await.into_iter().sum();
    acked as f64 / started.elapsed().as_secs_f64()
}

/// Events that were acknowledged, over a stream a connection.
pub(crate) async fn record(load: &Load, events: &Events, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let streams =
        (0..CONNECTIONS).map(|n| tokio::spawn(record_stream(load.link(n).clone(), events.clone(), end)));
    load::all(streams.collect()).await.into_iter().sum()
}

async fn append_stream(link: Link, entries: Entries, end: Instant) -> u64 {
    let open = AppendStreamRequest { message: Some(Message::Open(AppendStreamOpen::default())) };
    let window = Arc::new(Semaphore::new(WINDOW));
    let (requests, sent) = send(open, window.clone(), end, move |seq| {
        let entry = AppendStreamEntry { seq, entry: entries.one(), ..AppendStreamEntry::default() };
        AppendStreamRequest { message: Some(Message::Entry(entry)) }
    });
    let answers = link.log().append_stream(link.request(ReceiverStream::new(requests))).await;
    let mut answers = answers.expect("the stream begins").into_inner();
    let mut acked = 0;
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        window.add_permits(usize::try_from(answer.count).expect("a count of entries on their way"));
        acked += answer.count;
    }
    assert_eq!(acked, sent.await.expect("the sender ends"), "each is acknowledged");
    acked
}

async fn record_stream(link: Link, events: Events, end: Instant) -> u64 {
    let open = RecordStreamRequest { message: Some(Recorded::Open(RecordStreamOpen::default())) };
    let window = Arc::new(Semaphore::new(WINDOW));
    let (requests, sent) = send(open, window.clone(), end, move |seq| events.streamed(seq));
    let answers = link.audit().record_stream(link.request(ReceiverStream::new(requests))).await;
    let mut answers = answers.expect("the stream begins").into_inner();
    let mut acked = 0;
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        window.add_permits(usize::try_from(answer.count).expect("a count of events on their way"));
        acked += answer.count;
    }
    assert_eq!(acked, sent.await.expect("the sender ends"), "each is acknowledged");
    acked
}

/// What a stream sends: its opening, then one message after another, as many as its window has room for; and how many they were.
fn send<M: Send + 'static>(
    open: M,
    window: Arc<Semaphore>,
    end: Instant,
    message: impl Fn(u64) -> M + Send + 'static,
) -> (Receiver<M>, JoinHandle<u64>) {
    let (sender, receiver) = mpsc::channel(WINDOW);
    let sending = tokio::spawn(async move {
        sender.send(open).await.map_err(drop).expect("the stream is open");
        let mut seq = 0;
        while Instant::now() < end {
            window.acquire().await.expect("the window stays").forget();
            sender.send(message(seq)).await.map_err(drop).expect("the stream is open");
            seq += 1;
        }
        seq
    });
    (receiver, sending)
}
