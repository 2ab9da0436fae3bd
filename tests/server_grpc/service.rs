//! What the tests stand on: a server that they start, call and stop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_log::{Config, Engine, Env, Kind, Log, Running, Status as EngineStatus, Visibility, init};
use graven_note::VerifiedCheckpoint;
use graven_proto::Refusal;
use graven_proto::v1::admin_service_client::AdminServiceClient;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::{self, ErrorReason};
use graven_server::{ServeError, Server, ServerOptions};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

/// A server under test.
pub(crate) struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) log: Arc<Log>,
    pub(crate) url: String,
    pub(crate) channel: Channel,
    running: Option<Running>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
    dir: tempfile::TempDir,
}

pub(crate) fn config() -> Config {
    Config {
        segment_bytes: 16 << 20,
        reserve_bytes: 0,
        checkpoint_interval: Duration::from_millis(10),
        ..Config::default()
    }
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(config(), ServerOptions::default()).await
    }

    pub(crate) async fn start_with(config: Config, options: ServerOptions) -> Self {
        Self::start_in(Env::system(), config, options).await
    }

    pub(crate) async fn start_in(env: Env, config: Config, options: ServerOptions) -> Self {
        let mut service = Self::open(env, config, options).await;
        service.run();
        service
    }

    /// A server whose engine commits nothing until [`run`](Self::run).
    pub(crate) async fn start_halted(config: Config) -> Self {
        Self::open(Env::system(), config, ServerOptions::default()).await
    }

    async fn open(env: Env, config: Config, options: ServerOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        init(&env, &data, "example.com/audit", Kind::Bytes, Visibility::Private, &config).unwrap();
        Self::serve(dir, env, config, options).await
    }

    /// A server over a folder that there is already, whose engine commits nothing until [`run`](Self::run).
    pub(crate) async fn reopen(dir: tempfile::TempDir, config: Config, options: ServerOptions) -> Self {
        Self::serve(dir, Env::system(), config, options).await
    }

    async fn serve(dir: tempfile::TempDir, env: Env, config: Config, options: ServerOptions) -> Self {
        let engine = Engine::open(env, &dir.path().join("data"), config).unwrap();
        let log = engine.log("audit").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let is_encrypted = options.tls.is_some();
        let server = Server::new(engine.clone(), options);
        let serving = tokio::spawn(server.serve(listener, async move { drop(stopped.await) }));
        let endpoint = Channel::from_shared(url.clone()).unwrap();
        // A test of TLS makes its own connections.
        let channel = if is_encrypted { endpoint.connect_lazy() } else { endpoint.connect().await.unwrap() };
        Self { engine, log, url, channel, running: None, stop: Some(stop), serving, dir }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The address of its port.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    pub(crate) fn run(&mut self) {
        self.running = Some(self.engine.start().unwrap());
    }

    pub(crate) fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Appends entries `0..count` and waits until they are published.
    pub(crate) async fn fill(&self, count: u64) {
        let entries: Vec<_> = (0..count).map(entry).collect();
        for batch in entries.chunks(1000) {
            let request = v1::AppendBatchRequest { entries: batch.to_vec(), ..Default::default() };
            self.client().append_batch(request).await.unwrap();
        }
        self.engine.published(&self.log, count).await.unwrap();
    }

    /// The checkpoint of a head, verified by the log's keys.
    pub(crate) fn verified(&self, head: Option<v1::TreeHead>) -> VerifiedCheckpoint {
        let head = head.expect("a head");
        let meta = self.log.meta();
        let verified = VerifiedCheckpoint::open(&head.checkpoint, &meta.origin, &meta.keys).unwrap();
        let checkpoint = verified.checkpoint();
        assert_eq!(
            (head.size, &head.root_hash[..]),
            (checkpoint.size().get(), &checkpoint.root().as_bytes()[..])
        );
        assert_eq!(head.origin, meta.origin.as_str());
        assert_eq!(head.time.map(|time| time.seconds.unsigned_abs()), verified.time());
        verified
    }

    /// Checks that the log has this many entries, and that no more are on their way. What was acknowledged is counted
    /// a moment later.
    #[track_caller]
    pub(crate) fn assert_size(&self, size: u64) -> impl Future<Output = ()> {
        let (log, caller) = (self.log.clone(), std::panic::Location::caller());
        async move {
            until(|| log.durable_size() >= size).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(log.durable_size(), size, "at {caller}");
        }
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops server and engine in this order, and returns the data folder.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        self.begin_stop();
        let (status, dir) = self.finish().await;
        assert_eq!(status, EngineStatus::Stopping);
        dir
    }

    /// Waits until the server ends by itself, and returns how the engine ended.
    pub(crate) async fn ended(mut self) -> EngineStatus {
        let stop = self.stop.take();
        let (status, _) = self.finish().await;
        assert!(stop.is_some_and(|stop| stop.is_closed()), "the server did not wait for its signal");
        status
    }

    async fn finish(self) -> (EngineStatus, tempfile::TempDir) {
        drop(self.channel);
        let serving = tokio::time::timeout(Duration::from_secs(20), self.serving).await;
        serving.expect("the server ends in time").unwrap().unwrap();
        let running = self.running.unwrap();
        (tokio::task::spawn_blocking(move || running.stop()).await.unwrap(), self.dir)
    }
}

/// Entry number `n` of those that tests append.
pub(crate) fn entry(n: u64) -> Bytes {
    Bytes::from(format!("entry {n}"))
}

pub(crate) fn append_request(entry: impl Into<Bytes>) -> v1::AppendRequest {
    v1::AppendRequest { entry: entry.into(), ..Default::default() }
}

pub(crate) fn published_request(entry: impl Into<Bytes>) -> v1::AppendRequest {
    v1::AppendRequest { wait: v1::Wait::Published.into(), ..append_request(entry) }
}

/// The refusal of a call, for this reason, with the code of that reason.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: ErrorReason) -> Refusal {
    let status = answer.expect_err("a refusal");
    let refusal = Refusal::of(&status).unwrap_or_else(|| panic!("no refusal of ours: {status:?}"));
    assert_eq!(refusal.reason(), reason, "{refusal:?}");
    assert_eq!(status.code(), reason.code());
    assert!(!refusal.message().is_empty());
    refusal
}

/// As [`refused`], of a named field.
#[track_caller]
pub(crate) fn refused_field<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    reason: ErrorReason,
    field: &str,
) -> Refusal {
    let refusal = refused(answer, reason);
    assert_eq!(refusal.field(), Some(field));
    refusal
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come true in ten seconds");
}
