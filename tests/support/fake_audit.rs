//! A log of events in memory behind the real wire interface, which lies on command: for the client's own tests.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use graven_event::{
    Disclosure, Event, Facts, Frame, Group, PayloadId, Ref, Time, View, Word,
    disclosure::Shown,
    facts::EventFacts,
    group::split,
    payload::{Opened, group_hash, root},
    query::Query,
};
use graven_merkle::leaf_hash;
use graven_proto::{
    Refusal,
    convert::{self, event::timestamp},
    v1::{
        self, ErrorReason, Wait,
        audit_service_server::{AuditService, AuditServiceServer},
        log_service_server::LogServiceServer,
        record_stream_request::Message,
    },
};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::fake_log::FakeLog;

/// What the server does wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum AuditLie {
    #[default]
    Nothing,
    /// Records another action than was sent.
    OtherAction,
    /// Tells of another action than stands in the leaf.
    OtherTold,
    /// Answers a query with everything, whatever was asked.
    Everything,
    /// Hands out the first page again and again.
    SamePage,
    /// Proves other entries than it found.
    OtherProof,
    /// Changes a byte of each leaf that it hands out.
    OtherLeaf,
    /// Shows more groups than were asked for.
    MoreGroups,
    /// Shows a text that the leaf did not commit to.
    OtherText,
    /// Records, but loses the answer this many times; breaks streams this many times, after three events each.
    Lose(u32),
    /// Acknowledges events that were not sent.
    OtherSeq,
}

/// A log of events.
#[derive(Clone)]
pub(crate) struct FakeAudit {
    pub(crate) log: FakeLog,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) lie: AuditLie,
    /// How many requests and streams recorded something, repeats included.
    pub(crate) calls: u32,
    /// How often it tells a producer less than it has recorded.
    pub(crate) behind: u32,
    /// By index; `None`: what else stands in the log.
    events: Vec<Option<Event>>,
    /// Which index a producer's number, or a key, has.
    known: BTreeMap<(String, u64), u64>,
}

impl FakeAudit {
    pub(crate) fn new() -> Self {
        Self { log: FakeLog::new(0), state: Arc::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn lie(&self, lie: AuditLie) {
        self.state().lie = lie;
    }

    /// Listens on a free loopback port and answers the address.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Server::builder()
            .add_service(LogServiceServer::new(self.log.clone()))
            .add_service(AuditServiceServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn record_one(&self, event: Option<v1::Event>, stream: &str, number: u64) -> Result<(u64, bool), Status> {
        let invalid = |field: &str, what: &dyn std::fmt::Display| {
            Status::from(Refusal::new(ErrorReason::EventInvalid, what.to_string()).with_field(field))
        };
        let event = Event::try_from(event.unwrap()).map_err(|error| invalid(&error.field.clone(), &error))?;
        event.check(Time(u64::MAX)).map_err(|error| invalid(&error.field.clone(), &error))?;
        let mut state = self.state();
        let name = (stream.to_owned(), number);
        if let Some(index) = state.known.get(&name).filter(|_| !stream.is_empty()) {
            return Ok((*index, true));
        }
        let index = u64::try_from(state.events.len()).unwrap();
        let mut frame = frame(&event, index, number);
        if let (AuditLie::OtherAction, Facts::Event(facts)) = (&state.lie, &mut frame.facts) {
            facts.action = Word::new("x.other").unwrap();
        }
        assert_eq!(self.log.state().push(frame.encode().unwrap().into()), index);
        state.events.push(Some(event));
        state.known.insert(name, index);
        Ok((index, false))
    }

    fn lose(&self) -> Result<(), Status> {
        let mut state = self.state();
        state.calls += 1;
        let AuditLie::Lose(times @ 1..) = state.lie else { return Ok(()) };
        state.lie = AuditLie::Lose(times - 1);
        Err(Refusal::new(ErrorReason::ShuttingDown, "draining").into())
    }

    fn leaf(&self, index: u64) -> bytes::Bytes {
        self.log.state().entries[usize::try_from(index).unwrap()].clone()
    }

    fn hit(&self, index: u64, event: &Event) -> v1::Hit {
        let (mut leaf, lie) = (self.leaf(index).to_vec(), self.state().lie.clone());
        let frame = Frame::decode(&leaf).unwrap();
        let mut told = v1::Event::from(event.clone());
        match lie {
            AuditLie::OtherTold => told.action = "auth.logout".to_owned(),
            // The lowest byte of the producer, which no part of the message repeats.
            AuditLie::OtherLeaf => leaf[47] ^= 1,
            _ => {}
        }
        v1::Hit {
            index,
            log_time: Some(timestamp(frame.log_time)),
            kind: frame.facts.kind_word().to_owned(),
            id: frame.id.to_vec().into(),
            leaf: leaf.into(),
            event: Some(told),
            ..Default::default()
        }
    }

    /// The indices of what a query finds.
    fn found(&self, text: &str) -> Result<Vec<(u64, Event)>, Status> {
        let query = Query::parse(text, now()).map_err(|error| {
            Status::from(
                Refusal::new(ErrorReason::QueryInvalid, error.to_string()).with_fact("position", error.at),
            )
        })?;
        let state = self.state();
        let everything = state.lie == AuditLie::Everything;
        let events =
            (0..).zip(state.events.iter().cloned()).filter_map(|(index, event)| Some((index, event?)));
        let fits = |(index, event): &(u64, Event)| {
            let view = View::try_from(v1::Event::from(event.clone())).unwrap();
            everything || query.matches(&Frame::decode(&self.leaf(*index)).unwrap(), &view)
        };
        Ok(events.filter(fits).collect())
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time(u64::try_from(since.as_nanos()).unwrap())
}

fn words(texts: &[String]) -> Vec<Word> {
    texts.iter().map(|text| Word::new(text.as_str()).unwrap()).collect()
}

fn salt(group: Group) -> [u8; 32] {
    [group.number(); 32]
}

fn commitments(event: &Event) -> [[u8; 32]; 8] {
    let mut hashes = [[0xaa; 32]; 8];
    for (group, text) in split(event) {
        hashes[usize::from(group.number() - 1)] = group_hash(group, &salt(group), &text);
    }
    hashes
}

fn frame(event: &Event, index: u64, number: u64) -> Frame {
    Frame {
        outcome: Some(event.outcome),
        retention: 0,
        log_time: Time(1_700_000_000_000_000_000 + index),
        id: [u8::try_from(index % 251).unwrap(); 16],
        producer: Ref([8; 16]),
        sequence: number,
        previous: [0; 32],
        payload: Some(PayloadId { commitment: root(&commitments(event)), digest: [7; 32] }),
        facts: Facts::Event(EventFacts {
            action: Word::new(event.action.as_str()).unwrap(),
            product: event.source.product.as_deref().map(|product| Word::new(product).unwrap()),
            event_time: event.time.map(Time::nanoseconds),
            actor: Ref([1; 16]),
            client: None,
            targets: Vec::new(),
            requested: words(&event.scope.requested),
            granted: words(&event.scope.granted),
            used: words(&event.scope.used),
            token: None,
            place: None,
            on_behalf_of: Vec::new(),
            about: Vec::new(),
        }),
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AuditService for FakeAudit {
    type RecordStreamStream = Answers<v1::RecordStreamResponse>;
    type TailStream = Answers<v1::TailResponse>;

    async fn record(
        &self,
        request: Request<v1::RecordRequest>,
    ) -> Result<Response<v1::RecordResponse>, Status> {
        let request = request.into_inner();
        let wait = request.wait();
        let (stream, number) = match &request.producer {
            Some(producer) => (producer.stream.clone(), producer.sequence),
            None => (request.idempotency_key.clone(), 0),
        };
        let (index, duplicate) = self.record_one(request.event, &stream, number)?;
        self.lose()?;
        let leaf = self.leaf(index);
        let proof =
            if wait == Wait::Published { self.log.state().bundle(index) } else { bytes::Bytes::new() };
        let leaf_hash = convert::hash_bytes(&leaf_hash(&leaf));
        let log_time = Some(timestamp(Frame::decode(&leaf).unwrap().log_time));
        Ok(Response::new(v1::RecordResponse { index, leaf_hash, log_time, duplicate, proof, leaf }))
    }

    async fn record_batch(
        &self,
        request: Request<v1::RecordBatchRequest>,
    ) -> Result<Response<v1::RecordBatchResponse>, Status> {
        let request = request.into_inner();
        let (stream, first) = match &request.producer {
            Some(producer) => (producer.stream.clone(), producer.sequence),
            None => (request.idempotency_key.clone(), 0),
        };
        let count = u64::try_from(request.events.len()).unwrap();
        let recorded = request.events.into_iter().zip(first..);
        let recorded: Result<Vec<_>, _> =
            recorded.map(|(event, number)| self.record_one(Some(event), &stream, number)).collect();
        self.lose()?;
        let (first_index, duplicate) = recorded?[0];
        let log_time = Some(timestamp(Time(1)));
        Ok(Response::new(v1::RecordBatchResponse {
            first_index,
            count,
            log_time,
            duplicate,
            head: None,
            proof: None,
        }))
    }

    async fn record_stream(
        &self,
        request: Request<Streaming<v1::RecordStreamRequest>>,
    ) -> Result<Response<Self::RecordStreamStream>, Status> {
        let (log, mut messages) = (self.clone(), request.into_inner());
        let opened = messages.message().await?.and_then(|message| message.message);
        let Some(Message::Open(open)) = opened else { return Err(Status::invalid_argument("no open")) };
        log.state().calls += 1;
        let (mut came, mut expected) = (0, None);
        let answers = messages.map(move |message| {
            let Some(Message::Event(event)) = message?.message else {
                return Err(Status::internal("no event"));
            };
            if expected.is_some_and(|expected| expected != event.seq) {
                return Err(Refusal::new(ErrorReason::StreamOutOfOrder, "out of order").into());
            }
            expected = Some(event.seq + 1);
            let recorded = log.record_one(event.event, &open.producer_stream, event.seq);
            let (first_index, duplicate) = recorded.map_err(|status| refused_at(&status, event.seq))?;
            if duplicate {
                // It cannot tell repeats of single events of what it recorded together.
                let refusal = Refusal::new(ErrorReason::SequenceUsed, "the number was used before");
                return Err(refusal.with_fact("seq", event.seq).into());
            }
            came += 1;
            if came > 3 && matches!(log.state().lie, AuditLie::Lose(1..)) {
                log.lose()?;
            }
            let seq = if log.state().lie == AuditLie::OtherSeq { event.seq + 1 } else { event.seq };
            Ok(v1::RecordStreamResponse { seq, first_index, count: 1, duplicate })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_producer(
        &self,
        request: Request<v1::GetProducerRequest>,
    ) -> Result<Response<v1::GetProducerResponse>, Status> {
        let stream = request.into_inner().stream;
        let mut state = self.state();
        let numbers: Vec<_> =
            state.known.keys().filter(|(name, _)| *name == stream).map(|(_, number)| *number).collect();
        let mut last_sequence = numbers.last().copied().unwrap_or_default();
        if state.behind > 0 {
            state.behind -= 1;
            last_sequence = last_sequence.saturating_sub(1);
        }
        let missing = (1..last_sequence).filter(|number| !numbers.contains(number));
        let missing = missing.map(|number| v1::SequenceRange { first: number, last: number }).collect();
        Ok(Response::new(v1::GetProducerResponse { last_sequence, missing }))
    }

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        let request = request.into_inner();
        let lie = self.state().lie.clone();
        let mut found = self.found(&request.query)?;
        if !request.ascending {
            found.reverse();
        }
        let from: usize = request.page_token.parse().unwrap_or_default();
        let from = if lie == AuditLie::SamePage { 0 } else { from };
        let size = usize::try_from(request.page_size).unwrap();
        let size = if size == 0 { 100 } else { size };
        let page: Vec<_> = found.iter().skip(from).take(size).collect();
        let next = from + page.len();
        let next_page_token = if next < found.len() { next.to_string() } else { String::new() };
        let hits: Vec<_> = page.iter().map(|(index, event)| self.hit(*index, event)).collect();
        let mut indices: Vec<_> = hits.iter().map(|hit| hit.index).collect();
        indices.sort_unstable();
        if lie == AuditLie::OtherProof {
            indices[0] += 1;
        }
        let log = self.log.state();
        let proof = (request.prove && !indices.is_empty()).then(|| log.multi(&indices, 0));
        let head = request.prove.then(|| log.head());
        let complete_to = u64::try_from(log.entries.len()).unwrap();
        Ok(Response::new(v1::QueryResponse { hits, next_page_token, complete_to, head, proof }))
    }

    async fn tail(&self, request: Request<v1::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let (log, request) = (self.clone(), request.into_inner());
        let mut next = request.from_index;
        if request.from_now {
            next = u64::try_from(log.log.state().entries.len()).unwrap();
        }
        let answers = tokio_stream::iter(0..).throttle(Duration::from_millis(2)).map(move |turn| {
            // Streams break now and then.
            if turn > 1 {
                log.lose()?;
            }
            let end = u64::try_from(log.log.state().entries.len()).unwrap().min(next + 2);
            let found = log.found(&request.query)?;
            let hits = found.iter().filter(|(index, _)| (next..end).contains(index));
            let hits = hits.map(|(index, event)| log.hit(*index, event)).collect();
            next = end;
            Ok(v1::TailResponse { hits, next_index: end })
        });
        Ok(Response::new(match request.until_now {
            true => Box::pin(answers.take(50)),
            false => Box::pin(answers),
        }))
    }

    async fn reveal(
        &self,
        request: Request<v1::RevealRequest>,
    ) -> Result<Response<v1::RevealResponse>, Status> {
        let request = request.into_inner();
        let lie = self.state().lie.clone();
        let asked: Vec<_> = request.groups.iter().map(|word| Group::named(word).unwrap()).collect();
        let mut disclosures = Vec::new();
        for index in request.indices {
            let event = self.state().events[usize::try_from(index).unwrap()].clone().unwrap();
            let mut shown = commitments(&event).map(Shown::Hash);
            for (group, mut text) in split(&event) {
                if asked.is_empty() || asked.contains(&group) || lie == AuditLie::MoreGroups {
                    if lie == AuditLie::OtherText {
                        let last = text.len() - 1;
                        text[last] ^= 1;
                    }
                    shown[usize::from(group.number() - 1)] =
                        Shown::Group(Opened { group, salt: salt(group), text });
                }
            }
            let proof = String::from_utf8(self.log.state().bundle(index).to_vec()).unwrap();
            let disclosure = Disclosure { leaf: self.leaf(index).to_vec(), groups: Some(shown), proof };
            disclosures.push(disclosure.to_string().into());
        }
        Ok(Response::new(v1::RevealResponse { disclosures }))
    }

    async fn erase_subject(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        if request.into_inner().subject == "nobody" {
            return Err(Refusal::new(ErrorReason::SubjectUnknown, "nobody of this name").into());
        }
        self.lose()?;
        let reference = bytes::Bytes::from_static(&[4; 16]);
        Ok(Response::new(v1::EraseSubjectResponse { index: 7, reference, epoch: 2 }))
    }

    async fn define_retention(
        &self,
        request: Request<v1::DefineRetentionRequest>,
    ) -> Result<Response<v1::DefineRetentionResponse>, Status> {
        let keep = request.into_inner().keep.map_or(0, |keep| keep.seconds);
        Ok(Response::new(v1::DefineRetentionResponse { index: u64::try_from(keep).unwrap() }))
    }

    async fn place_hold(
        &self,
        _: Request<v1::PlaceHoldRequest>,
    ) -> Result<Response<v1::PlaceHoldResponse>, Status> {
        Ok(Response::new(v1::PlaceHoldResponse { hold: "ab".repeat(16), index: 3 }))
    }

    async fn release_hold(
        &self,
        _: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        Ok(Response::new(v1::ReleaseHoldResponse { index: u64::MAX }))
    }

    async fn list_retention(
        &self,
        _: Request<v1::ListRetentionRequest>,
    ) -> Result<Response<v1::ListRetentionResponse>, Status> {
        let class = v1::RetentionClass {
            name: "short".to_owned(),
            keep: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            dropped_before: 5,
        };
        let hold = v1::Hold { hold: "ab".repeat(16), subjects: 1, ..Default::default() };
        Ok(Response::new(v1::ListRetentionResponse { classes: vec![class], holds: vec![hold] }))
    }
}

fn refused_at(status: &Status, seq: u64) -> Status {
    Refusal::of(status).unwrap().with_fact("seq", seq).into()
}
