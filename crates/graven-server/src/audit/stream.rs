//! `RecordStream`: events as they come, acknowledged in order.
//!
//! Whatever has arrived becomes one group, which is recorded as a whole; a few groups are under way, so that the next events gather while the
//! last ones are synced. A client that does not read acknowledgements is not read from either.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered};
use futures_util::{FutureExt as _, StreamExt as _};
use graven_audit::{AuditError, Numbered, Request as Recording};
use graven_event::Event;
use graven_log::{Patience, Sequenced};
use graven_proto::Refusal;
use graven_proto::v1::record_stream_request::Message;
use graven_proto::v1::{self, ErrorReason};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Request, Status, Streaming};

use super::record::{Filler, check_stream, missing};
use super::{Admitted, Answers, admit, refuse};
use crate::access::Permission;
use crate::core::Core;
use crate::log::claim::Level;
use crate::log::wait;
use crate::refusal;

/// Groups under way.
const MAX_FLIGHTS: usize = 4;
/// Events of one group: a window of the stream has this many for each flight.
const GROUP_EVENTS: usize = 256;
/// Bytes of one group.
const GROUP_BYTES: usize = 1 << 20;

type Flight = BoxFuture<'static, Result<v1::RecordStreamResponse, Status>>;

struct RecordStream {
    core: Arc<Core>,
    admitted: Arc<Admitted>,
    filler: Arc<Filler>,
    opening: v1::RecordStreamOpen,
    level: Level,
    inbox: Streaming<v1::RecordStreamRequest>,
    flights: FuturesOrdered<Flight>,
    last_seq: Option<u64>,
    /// Comes once the group before is recorded.
    before: Option<oneshot::Receiver<()>>,
    /// How it ends, once what is under way is acknowledged.
    ending: Option<Result<(), Status>>,
}

/// Events that are recorded together.
#[derive(Default)]
struct Group {
    first: u64,
    events: Vec<Event>,
    bytes: usize,
}

/// `RecordStream`.
pub(super) async fn open(
    core: &Arc<Core>,
    mut request: Request<Streaming<v1::RecordStreamRequest>>,
) -> Result<Answers<v1::RecordStreamResponse>, Status> {
    let opening = match request.get_mut().message().await?.and_then(|message| message.message) {
        Some(Message::Open(open)) => open,
        Some(Message::Event(event)) => {
            let refusal = out_of_order("the first message of a stream opens it");
            return Err(refusal.with_fact("seq", event.seq).into());
        }
        None => return Err(missing("open").into()),
    };
    let admitted = Arc::new(admit(core, &request, &opening.log, Permission::Append)?);
    if !opening.producer_stream.is_empty() {
        check_stream(&opening.producer_stream)?;
    }
    let stream = RecordStream {
        core: core.clone(),
        level: Level::new(opening.wait, admitted.book.log())?,
        admitted,
        filler: Arc::new(Filler::of(&request)),
        opening,
        inbox: request.into_inner(),
        flights: FuturesOrdered::new(),
        last_seq: None,
        before: None,
        ending: None,
    };
    let answers = stream::try_unfold(stream, |mut stream| async move {
        Ok(stream.next().await?.map(|answer| (answer, stream)))
    });
    Ok(answers.boxed())
}

impl RecordStream {
    /// The next acknowledgement; `None` at the end of a stream that ends well.
    async fn next(&mut self) -> Result<Option<v1::RecordStreamResponse>, Status> {
        loop {
            if self.flights.is_empty()
                && let Some(ending) = self.ending.take()
            {
                return ending.map(|()| None);
            }
            let may_read = self.ending.is_none() && self.flights.len() < MAX_FLIGHTS;
            let mut draining = self.core.draining.clone();
            let message = tokio::select! {
                biased;
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => return landed.map(Some),
                _ = draining.wait_for(|draining| *draining), if self.ending.is_none() => {
                    self.ending = Some(Err(refusal::shutting_down().into()));
                    continue;
                }
                message = self.inbox.message(), if may_read => message,
            };
            self.gather(message).await;
        }
    }

    /// Takes in a message and whatever else has arrived, and sends it off.
    async fn gather(&mut self, first: Result<Option<v1::RecordStreamRequest>, Status>) {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(message) = next {
            let event = match message {
                Ok(Some(v1::RecordStreamRequest { message: Some(Message::Event(event)) })) => event,
                Ok(Some(_)) => {
                    self.ending = Some(Err(out_of_order("after the first message come events").into()));
                    break;
                }
                Ok(None) => {
                    self.ending = Some(Ok(()));
                    break;
                }
                Err(status) => {
                    self.ending = Some(Err(status));
                    break;
                }
            };
            if let Err(status) = self.take(event, &mut group).await {
                self.ending = Some(Err(status));
                break;
            }
            if group.events.len() >= GROUP_EVENTS || group.bytes >= GROUP_BYTES {
                break;
            }
            next = self.inbox.message().now_or_never();
        }
        if !group.events.is_empty() {
            let flight = self.fly(group);
            self.flights.push_back(flight);
        }
    }

    async fn take(&mut self, message: v1::RecordStreamEvent, group: &mut Group) -> Result<(), Status> {
        let seq = message.seq;
        let expected = self.last_seq.map(|last| last.saturating_add(1));
        if expected.is_some_and(|expected| expected != seq) {
            return Err(out_of_order("each event's number is the one before plus 1")
                .with_fact("seq", seq)
                .into());
        }
        let named = |refusal: Refusal| Status::from(refusal.with_fact("seq", seq));
        let event = message.event.ok_or_else(|| named(missing("event")))?;
        group.bytes += event.encoded_len();
        let Admitted { audit, book } = &*self.admitted;
        let failed = |error: AuditError| named(refuse(&error, &self.core));
        let event = self.filler.event(audit, book, event, 0).await.map_err(failed)?;
        if let Err(invalid) = event.check(audit.now()) {
            return Err(failed(
                super::record::reject(audit, book, &self.filler.caller, &event, invalid).await,
            ));
        }
        if group.events.is_empty() {
            group.first = seq;
        }
        group.events.push(event);
        self.last_seq = Some(seq);
        Ok(())
    }

    /// Sends a group off: sealed beside those before it, recorded after them, and not at all where one of those failed.
    fn fly(&mut self, group: Group) -> Flight {
        let (recorded_it, recorded_this) = oneshot::channel();
        let after = self.before.replace(recorded_this);
        let (core, admitted, filler) = (self.core.clone(), self.admitted.clone(), self.filler.clone());
        let (stream, retention) = (self.opening.producer_stream.clone(), self.opening.retention.clone());
        let level = self.level;
        let recorded = async move {
            let Admitted { audit, book } = &*admitted;
            let (seq, count) = (group.first, group.events.len() as u64);
            let numbered = (!stream.is_empty()).then_some(Numbered { stream: &stream, first: seq });
            let recording = Recording {
                caller: &filler.caller,
                events: group.events,
                call: filler.call(),
                numbered,
                key: None,
                retention: &retention,
                patience: Patience::Wait,
                after,
            };
            let named = |refusal: Refusal| Status::from(refusal.with_fact("seq", seq));
            let recorded =
                audit.record(book, recording).await.map_err(|error| named(refuse(&error, &core)))?;
            let at: Sequenced = recorded.sequenced;
            // Whoever waits for it may be gone with the stream.
            let _ = recorded_it.send(());
            let deadline = tokio::time::Instant::now() + crate::options::PUBLISH_WAIT_MAX;
            wait::covering(&core, book.log(), level, &at, deadline).await?;
            Ok(v1::RecordStreamResponse { seq, first_index: at.first, count, duplicate: at.duplicate })
        };
        // On its own task: sealing is work, and the next group is sealed meanwhile.
        let task = tokio::spawn(recorded);
        async move { task.await.unwrap_or_else(|_| Err(refusal::shutting_down().into())) }.boxed()
    }
}

fn out_of_order(text: &str) -> Refusal {
    Refusal::new(ErrorReason::StreamOutOfOrder, text.to_owned())
}
