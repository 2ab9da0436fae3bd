//! The load: as many callers as asked for, each with one call on its way, over a few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graven_proto::v1::admin_service_client::AdminServiceClient;
use graven_proto::v1::audit_service_client::AuditServiceClient;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::scope_service_client::ScopeServiceClient;
use graven_proto::v1::{GetLogRequest, LogInfo};
use tokio::task::JoinHandle;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::calls;
use crate::peer::Peer;

/// How long a caller waits that was refused for overload.
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// How long a log that starts may take none.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// What one round gave.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Calls that were answered.
    pub(crate) calls: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// One connection, and what is said on it about who calls.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    token: Option<AsciiMetadataValue>,
}

/// A call that is made again and again.
pub(crate) trait Call: Clone + Send + Sync + 'static {
    type Answer: Future<Output = Result<(), Status>> + Send + 'static;

    fn make(&self, link: Link) -> Self::Answer;
}

impl<F, A> Call for F
where
    F: Fn(Link) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<(), Status>> + Send + 'static,
{
    type Answer = A;

    fn make(&self, link: Link) -> A {
        self(link)
    }
}

pub(crate) struct Load {
    links: Vec<Link>,
}

impl Link {
    pub(crate) fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub(crate) fn scopes(&self) -> ScopeServiceClient<Channel> {
        ScopeServiceClient::new(self.channel.clone())
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }
}

impl Load {
    pub(crate) async fn connect(peer: &Peer) -> Self {
        Self::connect_with(peer, peer.token.clone()).await
    }

    /// With another token than the peer's own.
    pub(crate) async fn connect_as(peer: &Peer, token: &str) -> Self {
        let bearer = format!("Bearer {token}").parse().expect("a token is plain text");
        Self::connect_with(peer, Some(bearer)).await
    }

    async fn connect_with(peer: &Peer, token: Option<AsciiMetadataValue>) -> Self {
        let mut links = Vec::new();
        for _ in 0..crate::CONNECTIONS {
            let endpoint = Channel::from_shared(peer.url.clone()).expect("the peer's address is one");
            let channel = endpoint.tcp_nodelay(true).connect().await.expect("the peer accepts");
            links.push(Link { channel, token: token.clone() });
        }
        Self { links }
    }

    /// The connection of the `n`-th caller.
    pub(crate) fn link(&self, n: usize) -> &Link {
        &self.links[n % self.links.len()]
    }

    /// Appends one entry, as soon as the log takes any: with witnesses, once enough of them have answered.
    pub(crate) async fn until_appended(&self, entry_bytes: usize) {
        let (call, patience) = (calls::append(entry_bytes), Instant::now() + START_PATIENCE);
        while let Err(status) = call.make(self.link(0).clone()).await {
            assert!(Instant::now() < patience, "the log takes no entry: {status}");
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    /// The log that the peer serves.
    pub(crate) async fn log_info(&self) -> LogInfo {
        let link = self.link(0);
        let request = link.request(GetLogRequest::default());
        let answer = AdminServiceClient::new(link.channel.clone()).get_log(request).await;
        answer.expect("the log is there").into_inner().log.expect("an answer holds its log")
    }

    /// Calls for that long.
    pub(crate) async fn run(&self, concurrency: usize, time: Duration, call: impl Call) -> Sample {
        let end = Instant::now() + time;
        self.run_while(concurrency, move || Instant::now() < end, call).await
    }

    /// Calls that often.
    pub(crate) async fn times(&self, concurrency: usize, times: u64, call: impl Call) -> Sample {
        let begun = Arc::new(AtomicU64::new(0));
        self.run_while(concurrency, move || begun.fetch_add(1, Ordering::Relaxed) < times, call).await
    }

    async fn run_while(
        &self,
        concurrency: usize,
        go_on: impl Fn() -> bool + Clone + Send + 'static,
        call: impl Call,
    ) -> Sample {
        let started = Instant::now();
        let callers = (0..concurrency).map(|n| {
            let (link, go_on, call) = (self.link(n).clone(), go_on.clone(), call.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while go_on() {
                    let begun = Instant::now();
                    until_taken(&call, &link).await;
                    times.push(begun.elapsed());
                }
                times
            })
        });
        let mut times: Vec<Duration> = all(callers.collect()).await.into_iter().flatten().collect();
        let elapsed = started.elapsed().as_secs_f64();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let calls = times.len() as u64;
        Sample { calls, per_second: calls as f64 / elapsed, p50_us: at(0.5), p99_us: at(0.99) }
    }
}

/// A refusal for overload is time without a result: the call is made again.
async fn until_taken(call: &impl Call, link: &Link) {
    loop {
        match call.make(link.clone()).await {
            Ok(()) => return,
            Err(status) if status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Err(status) => panic!("a call failed: {status}"),
        }
    }
}

/// What the tasks gave, once all have ended.
pub(crate) async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}
