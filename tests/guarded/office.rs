//! A server with a log of events, three scopes in it, and a guarded handler that writes down what allowed each of its runs.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use graven_client::scopes::ScopeLog;
use graven_client::{BearerToken, Client, ConnectOptions};
use graven_event::{Facts, Frame, Outcome};
use graven_guard::{Allowed, Caller, GuardLayer, GuardOptions, Known, Need, Rules};
use graven_merkle::{Hash, leaf_hash};
use graven_proto::v1::admin_service_client::AdminServiceClient;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::scope_service_client::ScopeServiceClient;
use graven_proto::v1::{
    ApproveGrantRequest, DefineScopeRequest, FreezeLogRequest, GetEntriesRequest, GetTreeHeadRequest,
    RequestGrantRequest, RevokeGrantRequest, ScopeTier,
};
use http::{Request, Response};
use tokio::task::JoinHandle;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request as Call, Status};
use tower::{Layer as _, ServiceExt as _};

use crate::bench::{Bench, Server};

/// How long the guard waits for the log.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long the tests wait for anything.
const TIME: Duration = Duration::from_secs(20);
const LOG: &str = "who";

pub(crate) struct Office {
    bench: Bench,
    server: Option<Server>,
    guard: GuardLayer<Known, ScopeLog>,
    runs: Arc<Mutex<Vec<(u64, Hash)>>>,
    grants: Vec<(String, String)>,
}

/// How a request ended.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) index: Option<u64>,
}

/// A decision in the log.
pub(crate) struct Decision {
    pub(crate) index: u64,
    pub(crate) leaf_hash: Hash,
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
}

impl Office {
    pub(crate) async fn open() -> Self {
        let bench = Bench::new();
        bench.run("init --data-dir data --origin example.com/who --kind events --administrator alice").ok();
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        bench.write(
            "graven.toml",
            format!(
                "listen = \"{listen}\"\ndata_dir = \"data\"\n[access]\ncredentials = \"credentials.toml\"\n[ops]\nlisten = \"off\"\n\
                 [engine]\nsegment_mib = 1\nreserve_mib = 0\n"
            ),
        );
        for (name, grants) in
            [("alice", "scope:* admin:* read:*"), ("bob", "scope:*"), ("documents", "check:*")]
        {
            let grants: String = grants.split(' ').map(|grant| format!(" --grant {grant}")).collect();
            let made =
                bench.run(&format!("token new --name {name}{grants} --credentials credentials.toml")).ok();
            bench.write_secret(&format!("{name}.token"), made.text());
        }
        let server = bench.serve_with("serve --config graven.toml");
        let token = BearerToken::new(token(&bench, "documents").as_str()).unwrap();
        let options = ConnectOptions { token: Some(token), ..ConnectOptions::default() };
        let client = Client::connect(server.url(), options).await.unwrap();
        let guard_options = GuardOptions { patience: PATIENCE, ..GuardOptions::default() };
        let guard = GuardLayer::with(rules(), Known, client.scopes(LOG), guard_options);
        let mut office =
            Self { bench, server: Some(server), guard, runs: Arc::default(), grants: Vec::new() };
        office.grants = office.furnish().await;
        office
    }

    /// Three tiers; billing reads and modifies, the tool of administrators administers.
    async fn furnish(&self) -> Vec<(String, String)> {
        let mut grants = Vec::new();
        let tiers = [("read", ScopeTier::Read), ("modify", ScopeTier::Modify), ("admin", ScopeTier::Admin)];
        let (mut alice, mut bob) = (self.scopes("alice").await, self.scopes("bob").await);
        for (name, tier) in tiers {
            let scope = format!("documents:{name}");
            let defined =
                DefineScopeRequest { log: LOG.to_owned(), scope, tier: tier.into(), ..Default::default() };
            alice.define_scope(defined).await.unwrap();
        }
        for (client, scopes) in
            [("billing", &["documents:read", "documents:modify"][..]), ("admin-tool", &["documents:admin"])]
        {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            let asked = RequestGrantRequest {
                log: LOG.to_owned(),
                client: client.to_owned(),
                scopes,
                ..Default::default()
            };
            let asked = bob.request_grant(asked).await.unwrap().into_inner();
            let (grant, revision) = (asked.id.clone(), asked.revision);
            let approval = ApproveGrantRequest { log: LOG.to_owned(), grant, revision, options: None };
            alice.approve_grant(approval).await.unwrap();
            grants.push((client.to_owned(), asked.id));
        }
        grants
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    pub(crate) fn start(&mut self) {
        self.server = Some(self.bench.serve_with("serve --config graven.toml"));
    }

    /// What allowed each run, so far.
    pub(crate) fn runs(&self) -> Vec<(u64, Hash)> {
        self.runs.lock().unwrap().clone()
    }

    pub(crate) async fn until_runs(&self, count: usize) {
        let begun = Instant::now();
        while self.runs.lock().unwrap().len() < count {
            assert!(begun.elapsed() < TIME, "too few requests get through");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn until_answered(&self, client: &'static str, method: &'static str) {
        let begun = Instant::now();
        while self.spawn(client, method).await.unwrap().status != 200 {
            assert!(begun.elapsed() < TIME, "the log does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request.
    pub(crate) fn spawn(&self, client: &'static str, method: &'static str) -> JoinHandle<Answer> {
        tokio::spawn(send(self.guard.clone(), self.runs.clone(), client, method))
    }

    /// Sends one after the other until one does not get through: how that one ended.
    pub(crate) fn load(&self, client: &'static str, method: &'static str) -> JoinHandle<u16> {
        let (guard, runs) = (self.guard.clone(), self.runs.clone());
        tokio::spawn(async move {
            loop {
                let answer = send(guard.clone(), runs.clone(), client, method).await;
                if answer.status != 200 {
                    return answer.status;
                }
            }
        })
    }

    /// Ends the grant of a client: the index of that.
    pub(crate) async fn revoke(&self, client: &str) -> u64 {
        let (_, grant) = self.grants.iter().find(|(granted, _)| granted == client).unwrap();
        let request =
            RevokeGrantRequest { log: LOG.to_owned(), grant: grant.clone(), revision: 0, options: None };
        self.scopes("alice").await.revoke_grant(request).await.unwrap().into_inner().index
    }

    pub(crate) async fn freeze(&self) {
        let mut admin =
            AdminServiceClient::with_interceptor(self.channel().await, badge(&self.bench, "alice"));
        admin.freeze_log(FreezeLogRequest { log: LOG.to_owned() }).await.unwrap();
    }

    /// All decisions of the log, once all of it is published.
    pub(crate) async fn decisions(&self) -> Vec<Decision> {
        // Whatever was acknowledged before this is below it.
        let last = self.spawn("nobody", "GET").await.unwrap().index.unwrap();
        let mut logs = LogServiceClient::with_interceptor(self.channel().await, badge(&self.bench, "alice"));
        let begun = Instant::now();
        loop {
            let head = logs.get_tree_head(GetTreeHeadRequest { log: LOG.to_owned() }).await;
            if head.unwrap().into_inner().head.unwrap().size > last {
                break;
            }
            assert!(begun.elapsed() < TIME, "the log is not published");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let request = GetEntriesRequest { log: LOG.to_owned(), first: 0, count: last };
        let mut answers = logs.get_entries(request).await.unwrap().into_inner();
        let mut decisions = Vec::new();
        while let Some(part) = answers.message().await.unwrap() {
            let indices = part.first_index..;
            decisions
                .extend(indices.zip(&part.entries).filter_map(|(index, leaf)| Decision::of(index, leaf)));
        }
        decisions
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(self.server().url().to_owned()).unwrap().connect().await.unwrap()
    }

    async fn scopes(
        &self,
        name: &str,
    ) -> ScopeServiceClient<InterceptedService<Channel, impl tonic::service::Interceptor>> {
        ScopeServiceClient::with_interceptor(self.channel().await, badge(&self.bench, name))
    }
}

impl Decision {
    fn of(index: u64, leaf: &[u8]) -> Option<Self> {
        let Ok(Frame { outcome: Some(outcome), facts: Facts::Decision(facts), .. }) = Frame::decode(leaf)
        else {
            return None;
        };
        Some(Self { index, leaf_hash: leaf_hash(leaf), outcome, reason: facts.reason.as_str().to_owned() })
    }
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.need("GET /documents/{id}", Need::of(["documents:read"]).action("data.read")).unwrap();
    rules.need("PUT /documents/{id}", Need::of(["documents:modify"]).action("data.update")).unwrap();
    rules.need("DELETE /documents/{id}", Need::of(["documents:admin"]).action("data.delete")).unwrap();
    rules
}

async fn send(
    guard: GuardLayer<Known, ScopeLog>,
    runs: Arc<Mutex<Vec<(u64, Hash)>>>,
    client: &str,
    method: &str,
) -> Answer {
    let handler = tower::service_fn(move |request: Request<()>| {
        let allowed = request.extensions().get::<Allowed>().expect("no request gets here without");
        runs.lock().unwrap().push((allowed.index().unwrap(), allowed.leaf_hash().unwrap()));
        std::future::ready(Ok::<_, Infallible>(Response::new(())))
    });
    let caller = Caller { client: client.to_owned(), ..Caller::default() };
    let request = Request::builder().method(method).uri("/documents/7").extension(caller).body(()).unwrap();
    let answer = guard.layer(handler).oneshot(request).await.unwrap();
    let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap());
    Answer {
        status: answer.status().as_u16(),
        reason: header("graven-reason").to_owned(),
        index: header("graven-index").parse().ok(),
    }
}

fn token(bench: &Bench, name: &str) -> String {
    String::from_utf8(bench.read(&format!("{name}.token"))).unwrap().trim().to_owned()
}

fn badge(bench: &Bench, name: &str) -> impl tonic::service::Interceptor + use<> {
    let shown: tonic::metadata::AsciiMetadataValue =
        format!("Bearer {}", token(bench, name)).parse().unwrap();
    move |mut call: Call<()>| -> Result<Call<()>, Status> {
        call.metadata_mut().insert("authorization", shown.clone());
        Ok(call)
    }
}
