//! A log that answers as it is told, and a handler that counts.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graven_event::facts::{DecisionFacts, ExpiryFacts};
use graven_event::{Facts, Frame, Outcome, Ref, Time, Word};
use graven_guard::{
    Address, Allowed, Caller, Check, Checker, Decided, GuardLayer, GuardOptions, Identify, Known, Need,
    Rules, ShownToken,
};
use graven_proto::v1::{CheckAccessRequest, CheckAccessResponse, Wait};
use http::request::Parts;
use http::{Request, Response};
use prost_types::Timestamp;
use tonic::Status;
use tower::{BoxError, Layer as _, ServiceExt as _};

/// When everything is decided.
pub(crate) const DECIDED: u64 = 1_760_000_000;

type Answering =
    dyn Fn(&CheckAccessRequest, u64) -> Option<Result<CheckAccessResponse, Status>> + Send + Sync;

/// A log that answers as it is told: with nothing where it is to hang.
#[derive(Clone)]
pub(crate) struct Log {
    answer: Arc<Answering>,
    asked: Arc<Mutex<Vec<CheckAccessRequest>>>,
    delay: Duration,
}

impl Log {
    pub(crate) fn answering(
        answer: impl Fn(&CheckAccessRequest, u64) -> Option<Result<CheckAccessResponse, Status>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default(), delay: Duration::ZERO }
    }

    /// One that allows everything, and records it.
    pub(crate) fn allowing() -> Self {
        Self::answering(|asked, index| Some(Ok(allowed(asked, index))))
    }

    /// One whose answers take a while.
    pub(crate) fn slow(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<CheckAccessRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Checker for Log {
    async fn check(&self, asked: &Check, _: Duration) -> Result<Decided, BoxError> {
        let request = asked.request("who", Wait::Durable);
        let index = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() as u64 + 9
        };
        tokio::time::sleep(self.delay).await;
        match (self.answer)(&request, index) {
            Some(answer) => Ok(Decided::of(asked, answer?)?),
            None => std::future::pending().await,
        }
    }
}

/// The leaf of an answer that allows what was asked, after `change`.
pub(crate) fn leaf(
    asked: &CheckAccessRequest,
    index: u64,
    change: impl FnOnce(&mut Frame, &mut DecisionFacts),
) -> Vec<u8> {
    let words = |words: &[String]| words.iter().map(|word| Word::new(word).unwrap()).collect();
    let token = asked.token.as_ref();
    let time =
        |time: Option<Timestamp>| time.map(|time| u64::try_from(time.seconds).unwrap() * 1_000_000_000);
    let action = if asked.action.is_empty() { "scope.check" } else { &asked.action };
    let mut decision = DecisionFacts {
        action: Word::new(action).unwrap(),
        client: Ref([1; 16]),
        subject: (!asked.subject.is_empty()).then_some(Ref([2; 16])),
        token: token.map(|_| Ref([3; 16])),
        issued: token.and_then(|token| time(token.issued)),
        scopes: words(&asked.scopes),
        resource: (!asked.resource.is_empty()).then(|| Word::new(&asked.resource).unwrap()),
        state_size: index,
        decided_at: DECIDED * 1_000_000_000,
        consistency: 1,
        grants: vec![Ref([7; 16])],
        reason: Word::new("granted").unwrap(),
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: token.and_then(|token| time(token.expires)),
        presented: token.map(|token| words(&token.scopes)).unwrap_or_default(),
        rules: 1,
    };
    let mut frame = Frame {
        outcome: Some(Outcome::Success),
        retention: 0,
        log_time: Time::from_seconds(DECIDED),
        id: [4; 16],
        producer: Ref([5; 16]),
        sequence: 0,
        previous: [0; 32],
        payload: None,
        facts: Facts::Expiry(ExpiryFacts { class: 1, before: 2 }),
    };
    change(&mut frame, &mut decision);
    if frame.outcome.is_some() {
        frame.facts = Facts::Decision(decision);
    }
    frame.encode().unwrap()
}

/// An answer that allows what was asked.
pub(crate) fn allowed(asked: &CheckAccessRequest, index: u64) -> CheckAccessResponse {
    CheckAccessResponse {
        allowed: true,
        reason: "granted".to_owned(),
        grants: vec!["07".repeat(16)],
        missing: Vec::new(),
        index,
        leaf: leaf(asked, index, |_, _| {}).into(),
        state_size: index,
        decided_at: Some(Timestamp { seconds: DECIDED.try_into().unwrap(), nanos: 0 }),
        aggregated: false,
        proof: Default::default(),
    }
}

/// An answer that denies it.
pub(crate) fn denied(asked: &CheckAccessRequest, reason: &str, index: u64) -> CheckAccessResponse {
    let leaf = leaf(asked, index, |frame, decision| {
        frame.outcome = Some(Outcome::Denied);
        decision.reason = Word::new(reason).unwrap();
        decision.grants.clear();
    });
    CheckAccessResponse {
        allowed: false,
        reason: reason.to_owned(),
        grants: Vec::new(),
        leaf: leaf.into(),
        ..allowed(asked, index)
    }
}

/// Read-only, modify-specific, admin-only; and one that is open.
pub(crate) fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.need("GET /documents/{id}", Need::of(["documents:read"]).action("data.read")).unwrap();
    rules
        .need("PUT /documents/{id}", Need::of(["documents:modify"]).resource("https://docs.example.com"))
        .unwrap();
    rules.need("DELETE /documents/{id}", Need::of(["documents:admin", "documents:modify"])).unwrap();
    rules.public("GET /healthz").unwrap();
    rules
}

/// Somebody with a token for all of it.
pub(crate) fn alice() -> Caller {
    let token = ShownToken {
        id: "token-1".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        issued: Some(Time::from_seconds(DECIDED - 60)),
        expires: Some(Time::from_seconds(DECIDED + 60)),
        scopes: ["documents:read", "documents:modify", "documents:admin"].map(str::to_owned).to_vec(),
    };
    Caller { client: "billing".to_owned(), subject: Some("alice".to_owned()), token: Some(token) }
}

/// A guarded handler.
#[derive(Clone)]
pub(crate) struct Desk {
    log: Log,
    layer: GuardLayer<Known, Log>,
    runs: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Option<Allowed>>>>,
}

impl Desk {
    pub(crate) fn new(log: Log) -> Self {
        Self::with(log, GuardOptions::default())
    }

    pub(crate) fn with(log: Log, options: GuardOptions) -> Self {
        let layer = GuardLayer::with(rules(), Known, log.clone(), options);
        Self { log, layer, runs: Arc::default(), seen: Arc::default() }
    }

    /// How often the handler ran.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    /// What allowed its runs.
    pub(crate) fn seen(&self) -> Vec<Option<Allowed>> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) async fn send(&self, request: Request<()>) -> Response<String> {
        let desk = self.clone();
        let handler = tower::service_fn(move |request: Request<()>| {
            desk.runs.fetch_add(1, Ordering::SeqCst);
            let allowed = request.extensions().get::<Allowed>().cloned();
            // Who reads what it was asked sees the check before the run.
            assert!(allowed.is_none() || !desk.log.asked().is_empty());
            desk.seen.lock().unwrap().push(allowed);
            std::future::ready(Ok::<_, Infallible>(Response::new("done".to_owned())))
        });
        self.layer.layer(handler).oneshot(request).await.unwrap()
    }

    /// As alice, over plain HTTP.
    pub(crate) async fn http(&self, method: &str, path: &str) -> Response<String> {
        self.send(request(method, path)).await
    }

    /// As alice, in gRPC: what the answer's status says.
    pub(crate) async fn grpc(&self, method: &str, path: &str) -> Status {
        let mut request = request(method, path);
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let answer = self.send(request).await;
        assert_eq!(answer.status(), 200);
        Status::from_header_map(answer.headers()).unwrap_or_else(|| Status::ok(""))
    }
}

/// Sends a request from somewhere to a guarded handler: how it ended, and how often that ran.
pub(crate) async fn send(
    identify: impl Identify,
    log: &Log,
    request: Request<()>,
) -> (Response<String>, u64) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    let handler = tower::service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, Infallible>(Response::new("done".to_owned())))
    });
    let address: Address = Arc::new(|_: &Parts| Some("192.0.2.7".parse().unwrap()));
    let options = GuardOptions { address: Some(address), ..GuardOptions::default() };
    let guard = GuardLayer::with(rules(), identify, log.clone(), options).layer(handler);
    (guard.oneshot(request).await.unwrap(), runs.load(Ordering::SeqCst))
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(path).extension(alice()).body(()).unwrap()
}

/// A header as text.
pub(crate) fn header<'a, T>(answer: &'a Response<T>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
