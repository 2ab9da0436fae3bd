//! The events that a load records.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::GzDecoder;
use graven_event::map::{Format, map};
use graven_event::{Context, Decision, Event, Outcome, Party, Scope, Target, Token};
use graven_proto::v1::record_stream_request::Message as Streamed;
use graven_proto::v1::{
    self, QueryRequest, RecordBatchRequest, RecordRequest, RecordStreamEvent, RecordStreamRequest,
};
use prost::Message;

use crate::calls::{Random, random_bytes};
use crate::load::{Call, Link, Load};

/// Events that are made beforehand, over and over again with numbers of their own.
const TEMPLATES: u64 = 4096;
/// People of an API, and how often each turns up: the r-th in proportion to 1 ÷ r.
const PEOPLE: u64 = 1000;
/// 2,900 records of a real account.
const CLOUDTRAIL: &[u8] = include_bytes!("../../tests/vectors/events/cloudtrail.jsonl.gz");
/// Events of one request where many are to be recorded.
pub(crate) const BATCH: usize = 256;

/// Events of one kind, as many as are asked for, each with a request number of its own.
#[derive(Clone)]
pub(crate) struct Events {
    templates: Arc<Vec<v1::Event>>,
    made: Arc<AtomicU64>,
}

impl Events {
    /// What an API tells of its calls: who, through which application and by which token, with which scopes, did what to which
    /// document, from where. There is no record beside it.
    pub(crate) fn of_api() -> Self {
        let random = Random::default();
        Self::of((0..TEMPLATES).map(|_| api_event(&random)).collect())
    }

    /// CloudTrail's records as `graven import` records them: each with its text.
    pub(crate) fn of_cloudtrail() -> Self {
        Self::of(cloudtrail().lines().map(from_cloudtrail).collect())
    }

    fn of(templates: Vec<Event>) -> Self {
        let templates = templates.into_iter().map(v1::Event::from).collect();
        Self { templates: Arc::new(templates), made: Arc::default() }
    }

    /// The next one.
    pub(crate) fn one(&self) -> v1::Event {
        self.numbered(self.made.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn many(&self, count: usize) -> Vec<v1::Event> {
        let first = self.made.fetch_add(count as u64, Ordering::Relaxed);
        (first..).take(count).map(|number| self.numbered(number)).collect()
    }

    fn numbered(&self, number: u64) -> v1::Event {
        let template = usize::try_from(number).expect("64 bits") % self.templates.len();
        let mut event = self.templates[template].clone();
        event.context.get_or_insert_default().request_id = request_id(number);
        event
    }

    /// All that differ in more than their number.
    pub(crate) fn each(&self) -> &[v1::Event] {
        &self.templates
    }

    /// Length of a request with one event, on average: an entry of as many bytes is what it is held against.
    pub(crate) fn request_bytes(&self) -> usize {
        let each = self.templates.iter();
        let all = each.map(|event| {
            RecordRequest { event: Some(event.clone()), ..RecordRequest::default() }.encoded_len()
        });
        all.sum::<usize>() / self.templates.len()
    }

    pub(crate) fn record(&self) -> impl Call {
        let events = self.clone();
        move |link: Link| {
            let request = RecordRequest { event: Some(events.one()), ..RecordRequest::default() };
            async move { link.audit().record(link.request(request)).await.map(drop) }
        }
    }

    pub(crate) fn record_batch(&self, count: usize) -> impl Call {
        let events = self.clone();
        move |link: Link| {
            let request = RecordBatchRequest { events: events.many(count), ..RecordBatchRequest::default() };
            async move { link.audit().record_batch(link.request(request)).await.map(drop) }
        }
    }

    /// The event of this number in a stream.
    pub(crate) fn streamed(&self, seq: u64) -> RecordStreamRequest {
        let event = RecordStreamEvent { seq, event: Some(self.one()) };
        RecordStreamRequest { message: Some(Streamed::Event(event)) }
    }

    /// Records each once, so that everybody in them is known to the server.
    pub(crate) async fn introduce(&self, load: &Load) {
        let calls = self.templates.len().div_ceil(BATCH) as u64;
        load.times(1, calls, self.record_batch(BATCH)).await;
        until_found(load).await;
    }
}

/// What an event's request is called.
pub(crate) fn request_id(number: u64) -> String {
    format!("req-{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Waits until everything that was acknowledged is found: the server says so itself.
pub(crate) async fn until_found(load: &Load) {
    let request = QueryRequest { page_size: 1, ..QueryRequest::default() };
    while let Err(status) = load.link(0).audit().query(load.link(0).request(request.clone())).await {
        assert_eq!(status.code(), tonic::Code::Unavailable, "the index is behind at most: {status}");
    }
}

/// CloudTrail's records, one a line.
pub(crate) fn cloudtrail() -> String {
    let mut text = String::new();
    GzDecoder::new(CLOUDTRAIL).read_to_string(&mut text).expect("the records are packed text");
    text
}

pub(crate) fn from_cloudtrail(record: &str) -> Event {
    map(Format::CloudTrail, record).expect("a record of CloudTrail")
}

/// What somebody does with an API.
pub(crate) fn api_event(random: &Random) -> Event {
    let rank = ((PEOPLE as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20))) as u64;
    let action = ["data.read", "data.read", "data.update", "data.export"][random.below(4) as usize];
    let outcome = match random.below(100) {
        0..90 => Outcome::Success,
        90..95 => Outcome::Failure,
        _ => Outcome::Denied,
    };
    by_person(&format!("person-{rank}@example.com"), action, outcome, random)
}

pub(crate) fn by_person(person: &str, action: &str, outcome: Outcome, random: &Random) -> Event {
    let scope = vec![format!("documents.{}", action.rsplit('.').next().unwrap_or_default())];
    let text = |text: &str| Some(text.to_owned());
    Event {
        time: None,
        action: action.to_owned(),
        actor: Party::new("user", person),
        client: Some(Party::new("application", format!("gateway-{}", random.below(8)))),
        on_behalf_of: Vec::new(),
        session: Some(hex(12)),
        targets: vec![Target {
            kind: "document".to_owned(),
            id: format!("doc-{}", random.below(1_000_000)),
            name: None,
        }],
        outcome,
        decision: Decision { reason: None, policy: text("documents-by-team") },
        token: Some(Token {
            id: Some(hex(16)),
            issuer: text("https://login.example.com"),
            ..Token::default()
        }),
        scope: Scope { granted: scope.clone(), used: scope, ..Scope::default() },
        context: Context {
            request_id: None,
            trace_id: Some(hex(16)),
            ip: Some(format!("198.51.100.{}", random.below(256))),
            user_agent: text("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        },
        changes: Vec::new(),
        source: graven_event::Source::default(),
        labels: std::iter::once(("region".to_owned(), "eu-central".to_owned())).collect(),
        about: Vec::new(),
        raw: None,
    }
}

/// So many random bytes.
pub(crate) fn hex(bytes: usize) -> String {
    random_bytes(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
