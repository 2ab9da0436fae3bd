//! What the tests stand on: a server with a log of events, another one, one of bytes, and callers whose credentials say what they may.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use graven_audit::scopes::first_leaf;
use graven_audit::{Audit, AuditOptions, Hooks, Master, Opened};
use graven_event::{Facts, Group, LogState, Party};
use graven_log::{
    Config, Engine, Env, Kind, LogName, Paths, Running, Status as EngineStatus, Visibility, init,
};
use graven_merkle::{LeafIndex, leaf_hash, verify_multi};
use graven_note::{LocalSigner, VerifiedCheckpoint, VerifierKey};
use graven_proto::v1::admin_service_client::AdminServiceClient;
use graven_proto::v1::audit_service_client::AuditServiceClient;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::{self, QueryRequest, RecordRequest};
use graven_server::{
    Access, Caller, Denied, Grant, Identifying, KnownBy, Presented, ServeError, Server, ServerOptions,
};
use graven_vault::{FileMaster, MasterError, MasterKey};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::service::{config, until};

/// Everything that there is to do to events.
pub(crate) const ALL: &str = "append:*,read:*,query:*,reveal:*,erase:*,admin:*,audit:*";

pub(crate) type Client<T> = InterceptedService<T, Badge>;
pub(crate) type Events = AuditServiceClient<Client<Channel>>;

/// A server under test.
pub(crate) struct House {
    pub(crate) engine: Arc<Engine>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) url: String,
    pub(crate) channel: Channel,
    running: Option<Running>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
    dir: tempfile::TempDir,
}

/// Who calls: the name, a space, and the grants with commas between them; `for:2` among them: the credentials are over in two seconds.
#[derive(Clone)]
pub(crate) struct Badge(String);

impl Interceptor for Badge {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let shown = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", shown);
        Ok(request)
    }
}

/// Believes what credentials say of themselves.
pub(crate) struct Badges;

impl Access for Badges {
    fn identify(&self, presented: &Presented<'_>) -> Identifying {
        let Some(shown) = presented.headers.get("authorization") else {
            return Identifying::Known(Ok(Caller::anonymous()));
        };
        let badge = shown.to_str().ok().and_then(|shown| shown.strip_prefix("Bearer "));
        let Some((name, grants)) = badge.and_then(|badge| badge.split_once(' ')) else {
            return Identifying::Known(Err(Denied::Invalid));
        };
        let seconds = grants.split(',').find_map(|word| word.strip_prefix("for:")?.parse().ok());
        let until = seconds.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
        let grants: Vec<Grant> = grants.split(',').filter_map(|grant| grant.parse().ok()).collect();
        Identifying::Known(Ok(Caller::known(name, grants, KnownBy::Token).until(until)))
    }
}

/// The master key in a file beside the data.
struct InFile(Env, PathBuf);

impl InFile {
    fn entropy(&self) -> graven_vault::Entropy {
        let source = self.0.entropy.clone();
        Arc::new(move |bytes: &mut [u8]| source.fill(bytes))
    }
}

impl Master for InFile {
    fn open(&self) -> Result<Arc<dyn MasterKey>, MasterError> {
        Ok(Arc::new(FileMaster::open(&*self.0.fs, &self.1, self.entropy())?))
    }

    fn create(&self) -> Result<Arc<dyn MasterKey>, MasterError> {
        Ok(Arc::new(FileMaster::create(&*self.0.fs, &self.1, self.entropy()).unwrap()))
    }
}

impl House {
    /// With the logs of events `audit` and `other`, and `raw` of bytes.
    pub(crate) async fn new() -> Self {
        let house = Self::with(Env::system()).await;
        house.make("other", Kind::Events).await;
        house.make("raw", Kind::Bytes).await;
        house
    }

    /// With the log `audit` alone, over this storage.
    pub(crate) async fn with(env: Env) -> Self {
        Self::administered(env, &[], Arc::new(Badges)).await
    }

    /// The same, whose first leaf names administrators of scopes, and with this to say who calls.
    pub(crate) async fn administered(env: Env, administrators: &[&str], access: Arc<dyn Access>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let config = Config { sequencers: Arc::new(Hooks::default()), ..config() };
        let made =
            init(&env, &data, "example.com/audit", Kind::Events, Visibility::Private, &config).unwrap();
        let vault = data.join("vault");
        let vault = Audit::create_vault(&env, &vault, &InFile(env.clone(), data.join("vault-key"))).unwrap();
        if !administrators.is_empty() {
            let administrators: Vec<_> = administrators.iter().map(|name| Party::parse(name)).collect();
            let recovery = recovery_key(&env, &data, &made.meta.recovery);
            let first = first_leaf(&vault, &made.meta, &administrators, &recovery).unwrap();
            std::fs::write(Paths::new(&data).first_leaf(&made.meta.name), first).unwrap();
        }
        drop(vault);
        Self::open_with(dir, env, access).await
    }

    /// Over a folder that there is already.
    pub(crate) async fn open(dir: tempfile::TempDir, env: Env) -> Self {
        Self::open_with(dir, env, Arc::new(Badges)).await
    }

    async fn open_with(dir: tempfile::TempDir, env: Env, access: Arc<dyn Access>) -> Self {
        let data = dir.path().join("data");
        let hooks = Arc::new(Hooks::default());
        let config = Config { sequencers: hooks.clone(), ..config() };
        let engine = Engine::open(env.clone(), &data, config).unwrap();
        let options = AuditOptions {
            env: env.clone(),
            vault: data.join("vault"),
            master: Arc::new(InFile(env, data.join("vault-key"))),
            index: data.join("index/events"),
        };
        let audit = Audit::open(engine.clone(), hooks, options).await.unwrap();
        let running = Some(engine.start().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let options = ServerOptions {
            access,
            audit: Some(audit.clone()),
            drain_timeout: Duration::from_secs(2),
            ..ServerOptions::default()
        };
        let server = Server::new(engine.clone(), options);
        let serving = tokio::spawn(server.serve(listener, async move { drop(stopped.await) }));
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        Self { engine, audit, url, channel, running, stop: Some(stop), serving, dir }
    }

    /// Makes a log behind the server's back, so that nothing of it is in the access log.
    pub(crate) async fn make(&self, name: &str, kind: Kind) {
        let name = LogName::new(name).unwrap();
        if kind == Kind::Events {
            self.audit.create_log(name, Visibility::Private).await.unwrap();
        } else {
            self.engine.create_log(&name, kind, Visibility::Private).unwrap();
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn badge(name: &str, grants: &str) -> Badge {
        Badge(format!("{name} {grants}"))
    }

    /// `AuditService` as somebody with these grants sees it.
    pub(crate) fn events(&self, name: &str, grants: &str) -> Events {
        AuditServiceClient::with_interceptor(self.channel.clone(), Self::badge(name, grants))
    }

    pub(crate) fn logs(&self, name: &str, grants: &str) -> LogServiceClient<Client<Channel>> {
        LogServiceClient::with_interceptor(self.channel.clone(), Self::badge(name, grants))
    }

    pub(crate) fn admin(&self, name: &str, grants: &str) -> AdminServiceClient<Client<Channel>> {
        AdminServiceClient::with_interceptor(self.channel.clone(), Self::badge(name, grants))
    }

    /// Somebody who may do everything.
    pub(crate) fn root(&self) -> Events {
        self.events("root", ALL)
    }

    /// Records an event in `audit`, as somebody who may do everything.
    pub(crate) async fn record(&self, event: v1::Event) -> v1::RecordResponse {
        self.root().record(of(event)).await.unwrap().into_inner()
    }

    /// Everything that a question finds in `audit`, over all pages, newest first.
    pub(crate) async fn find(&self, query: &str) -> Vec<v1::Hit> {
        let (mut hits, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = QueryRequest { page_token, page_size: 1000, ..ask(query) };
            let page = self.root().query(request).await.unwrap().into_inner();
            hits.extend(page.hits);
            if page.next_page_token.is_empty() {
                return hits;
            }
            page_token = page.next_page_token;
        }
    }

    /// Every durable leaf of a log, opened, without asking anybody.
    pub(crate) fn leaves(&self, log: &str) -> Vec<Opened> {
        let book = self.audit.book(log).unwrap();
        let (mut leaves, size) = (Vec::new(), book.log().durable_size());
        while (leaves.len() as u64) < size {
            let more = book.open_range(leaves.len() as u64..size, &Group::ALL).unwrap();
            leaves.extend(more.map(Result::unwrap));
        }
        leaves
    }

    /// What the leaves of `audit` say about it.
    pub(crate) async fn state(&self) -> LogState {
        let book = self.audit.book("audit").unwrap();
        self.audit.durably(&book, LogState::clone).await.unwrap()
    }

    /// The kinds of a log's leaves, in order.
    pub(crate) fn kinds(&self, log: &str) -> Vec<&'static str> {
        let leaves = self.leaves(log);
        leaves.iter().map(|leaf| leaf.frame.as_ref().unwrap().facts.kind_word()).collect()
    }

    /// What the access log says, without asking for it.
    pub(crate) fn traces(&self) -> Vec<Trace> {
        self.leaves("access").iter().filter_map(Trace::of).collect()
    }

    /// What came into the access log since it had so many entries.
    pub(crate) fn traces_since(&self, count: usize) -> Vec<Trace> {
        self.traces().split_off(count)
    }

    /// The checkpoint of a head, verified by the keys of `audit`.
    pub(crate) fn verified(&self, head: Option<v1::TreeHead>) -> VerifiedCheckpoint {
        let log = self.engine.log("audit").unwrap();
        let meta = log.meta();
        VerifiedCheckpoint::open(&head.unwrap().checkpoint, &meta.origin, &meta.keys).unwrap()
    }

    /// Checks that a page is proven.
    pub(crate) fn assert_proven(&self, page: &v1::QueryResponse) {
        let checkpoint = self.verified(page.head.clone());
        let mut hits: Vec<_> = page.hits.iter().collect();
        hits.sort_by_key(|hit| hit.index);
        let indices: Vec<_> = hits.iter().map(|hit| LeafIndex::new(hit.index).unwrap()).collect();
        let leaves: Vec<_> = hits.iter().map(|hit| leaf_hash(&hit.leaf)).collect();
        let proof = page.proof.clone().unwrap().to_merkle().unwrap();
        let checkpoint = checkpoint.checkpoint();
        verify_multi(&indices, &leaves, checkpoint.size(), &proof, checkpoint.root()).unwrap();
    }

    /// Tells the server to stop, without waiting for it.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops server, followers and engine, in this order, and returns the data folder.
    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        self.begin_stop();
        let serving = tokio::time::timeout(Duration::from_secs(20), self.serving).await;
        serving.expect("the server ends in time").unwrap().unwrap();
        let (running, audit) = (self.running.take().unwrap(), self.audit.clone());
        let ended = tokio::task::spawn_blocking(move || {
            audit.stop();
            running.stop()
        });
        assert_eq!(ended.await.unwrap(), EngineStatus::Stopping);
        self.dir
    }

    /// Stops it and starts another one over the same data.
    pub(crate) async fn restart(self) -> Self {
        Self::open(self.stop().await, Env::system()).await
    }

    /// Waits until all of a log is published, and what follows that is done.
    pub(crate) async fn quiet(&self, log: &str) {
        let log = self.engine.log(log).unwrap();
        until(|| log.head().size().get() == log.durable_size()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Waits until the access log has this many entries of an action.
    pub(crate) async fn traced(&self, action: &str, count: usize) {
        until(|| self.traces().iter().filter(|trace| trace.action == action).count() >= count).await;
    }
}

/// The key that authorises what nobody in the log may.
pub(crate) fn recovery_key(env: &Env, data: &std::path::Path, vkey: &VerifierKey) -> LocalSigner {
    graven_store::key_file::load(&*env.fs, &data.join("recovery-key.pem"), vkey).unwrap()
}

/// An entry of the access log.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) action: String,
    pub(crate) actor: String,
    pub(crate) outcome: &'static str,
    pub(crate) reason: String,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

impl Trace {
    fn of(opened: &Opened) -> Option<Self> {
        let frame = opened.frame.as_ref()?;
        let Facts::Event(facts) = &frame.facts else { return None };
        Some(Self {
            action: facts.action.as_str().to_owned(),
            actor: opened.view.actor.as_ref()?.id.clone(),
            outcome: frame.outcome?.as_str(),
            reason: opened.view.decision.reason.clone().unwrap_or_default(),
            labels: opened.view.labels.clone(),
        })
    }

    pub(crate) fn says(&self, label: &str) -> &str {
        self.labels.get(label).map_or("", String::as_str)
    }
}

pub(crate) fn party(id: &str) -> v1::Party {
    v1::Party { kind: "user".to_owned(), id: id.to_owned(), name: String::new() }
}

/// An event that says who, what and how it ended.
pub(crate) fn event(actor: &str, action: &str) -> v1::Event {
    v1::Event {
        actor: Some(party(actor)),
        action: action.to_owned(),
        outcome: v1::Outcome::Success.into(),
        ..Default::default()
    }
}

/// The request to record it in `audit`.
pub(crate) fn of(event: v1::Event) -> RecordRequest {
    RecordRequest { log: "audit".to_owned(), event: Some(event), ..Default::default() }
}

/// The same under a producer's number.
pub(crate) fn numbered(stream: &str, sequence: u64, event: v1::Event) -> RecordRequest {
    let producer = v1::ProducerSequence { stream: stream.to_owned(), sequence };
    RecordRequest { producer: Some(producer), ..of(event) }
}

/// A question to `audit`.
pub(crate) fn ask(query: &str) -> QueryRequest {
    QueryRequest { log: "audit".to_owned(), query: query.to_owned(), ..Default::default() }
}

pub(crate) fn indices(hits: &[v1::Hit]) -> Vec<u64> {
    hits.iter().map(|hit| hit.index).collect()
}
