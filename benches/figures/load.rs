//! The load: as many callers as asked for, each with one call on its way, over a few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::{
    AppendBatchRequest, AppendRequest, AppendResponse, AppendStreamEntry, AppendStreamOpen,
    AppendStreamRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// Entries that a stream has on their way: within the server's window.
const STREAM_WINDOW: usize = 2048;

/// How long a caller waits that was refused for overload.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// What one round gave.
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) struct Load {
    channels: Vec<Channel>,
}

impl Load {
    pub(crate) async fn connect(url: &str, connections: usize) -> Self {
        let mut channels = Vec::new();
        for _ in 0..connections {
            let endpoint = Channel::from_shared(url.to_owned()).expect("the peer's address is one");
            channels.push(endpoint.tcp_nodelay(true).connect().await.expect("the peer accepts"));
        }
        Self { channels }
    }

    pub(crate) async fn echo(&self, concurrency: usize, time: Duration) -> Sample {
        let entry = Bytes::from(random_bytes(crate::ENTRY_BYTES));
        self.run(concurrency, time, 1, move |channel| {
            let entry = entry.clone();
            async move {
                let mut grpc = tonic::client::Grpc::new(channel);
                grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
                let codec = ProstCodec::<AppendRequest, AppendResponse>::default();
                let request = Request::new(AppendRequest { entry, ..AppendRequest::default() });
                let path = http::uri::PathAndQuery::from_static(crate::echo::PATH);
                grpc.unary(request, path, codec).await.map(drop)
            }
        })
        .await
    }

    pub(crate) async fn append(&self, concurrency: usize, time: Duration) -> Sample {
        let entry = Bytes::from(random_bytes(crate::ENTRY_BYTES));
        self.run(concurrency, time, 1, move |channel| {
            let request = AppendRequest { entry: entry.clone(), ..AppendRequest::default() };
            let mut client = LogServiceClient::new(channel);
            async move { client.append(request).await.map(drop) }
        })
        .await
    }

    pub(crate) async fn append_batch(
        &self,
        concurrency: usize,
        entries: usize,
        entry_bytes: usize,
        time: Duration,
    ) -> Sample {
        let batch = Bytes::from(random_bytes(entries * entry_bytes));
        let batch: Vec<_> =
            (0..entries).map(|n| batch.slice(n * entry_bytes..(n + 1) * entry_bytes)).collect();
        self.run(concurrency, time, entries, move |channel| {
            let request = AppendBatchRequest { entries: batch.clone(), ..AppendBatchRequest::default() };
            let mut client = LogServiceClient::new(channel);
            async move { client.append_batch(request).await.map(drop) }
        })
        .await
    }

    /// `streams` streams, each with a window of entries on their way; counts acknowledged entries.
    pub(crate) async fn append_stream(&self, streams: usize, entry_bytes: usize, time: Duration) -> Sample {
        let started = Instant::now();
        let acked = Arc::new(AtomicUsize::new(0));
        let all = (0..streams).map(|n| {
            let channel = self.channels[n % self.channels.len()].clone();
            tokio::spawn(stream_entries(channel, entry_bytes, started + time, acked.clone()))
        });
        finish(all.collect()).await;
        let per_second = acked.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        Sample { per_second, p50_us: f64::NAN, p99_us: f64::NAN }
    }

    async fn run<F, C>(&self, concurrency: usize, time: Duration, entries: usize, call: F) -> Sample
    where
        F: Fn(Channel) -> C + Clone + Send + 'static,
        C: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let started = Instant::now();
        let end = started + time;
        let callers: Vec<_> = (0..concurrency)
            .map(|n| {
                let channel = self.channels[n % self.channels.len()].clone();
                let call = call.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < end {
                        let one = Instant::now();
                        match call(channel.clone()).await {
                            Ok(()) => times.push(one.elapsed()),
                            // More than the server takes: it counts as time without a result.
                            Err(status) if status.code() == Code::ResourceExhausted => {
                                tokio::time::sleep(REFUSED_PAUSE).await;
                            }
                            Err(status) => panic!("a call failed: {status}"),
                        }
                    }
                    times
                })
            })
            .collect();
        let mut times: Vec<Duration> = finish(callers).await.into_iter().flatten().collect();
        let elapsed = started.elapsed().as_secs_f64();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        Sample { per_second: (times.len() * entries) as f64 / elapsed, p50_us: at(0.5), p99_us: at(0.99) }
    }
}

async fn stream_entries(channel: Channel, entry_bytes: usize, end: Instant, acked: Arc<AtomicUsize>) {
    let entry = Bytes::from(random_bytes(entry_bytes));
    let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_WINDOW);
    let open = AppendStreamRequest { message: Some(Message::Open(AppendStreamOpen::default())) };
    sender.send(open).await.expect("the stream is open");
    let window = Arc::new(tokio::sync::Semaphore::new(STREAM_WINDOW));
    let sent = tokio::spawn({
        let window = window.clone();
        async move {
            let mut seq = 0;
            while Instant::now() < end {
                window.acquire().await.expect("the window stays").forget();
                let entry = AppendStreamEntry { seq, entry: entry.clone(), ..AppendStreamEntry::default() };
                if sender.send(AppendStreamRequest { message: Some(Message::Entry(entry)) }).await.is_err() {
                    break;
                }
                seq += 1;
            }
        }
    });
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let answers = LogServiceClient::new(channel).append_stream(requests).await;
    let mut answers = answers.expect("the stream begins").into_inner();
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        let count = usize::try_from(answer.count).expect("a count of entries on their way");
        window.add_permits(count);
        acked.fetch_add(count, Ordering::Relaxed);
    }
    sent.await.expect("the sender ends");
}

/// What the tasks gave, once all have ended.
async fn finish<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

/// Bytes that do not compress.
pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).expect("the system has entropy");
    bytes
}
