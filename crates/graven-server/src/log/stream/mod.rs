//! `AppendStream`: entries as they come, acknowledged in order.
//!
//! ```text
//! inbox ──group──▶ queue ──▶ flights ──answered──▶ runs ──(published)──▶ acknowledgement
//! ```
//!
//! * *Inbox*: messages of the client. Whatever has arrived becomes one group: no timer.
//! * *Flights*: groups that the engine has, in order. A few are under way, so that the next entries gather while the
//!   last ones are synced: the faster a client sends, the larger its groups.
//! * *Runs*: durable entries under consecutive indices of one commit, which one message acknowledges.
//!
//! The transport asks for the next message when the client has room for it, and everything above happens in between:
//! a client that does not read is not read from either, and holds a window of entries at most.
//!
//! What the end of a stream tells must be true: an error names a `seq` only where this entry and all after it are not
//! in the log. So what the engine may still refuse after it took it in, an entry under an idempotency key, or one that
//! has to wait for room, is a group that nothing follows before its answer.

mod parts;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, FuturesOrdered, StreamExt as _};
use graven_log::{AppendError, Head, Log, Patience};
use graven_proto::Refusal;
use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::{AppendStreamEntry, AppendStreamRequest, AppendStreamResponse, ErrorReason};
use tonic::{Request, Status, Streaming};

use self::parts::{Ending, Entry, Group, Landed, Load, MAX_FLIGHTS, Run};
use super::claim::{Claim, Level, check_entry};
use super::wait;
use crate::access::Permission;
use crate::core::Core;
use crate::message::{timestamp, tree_head};
use crate::refusal;

/// A stream of appends.
struct AppendStream {
    core: Arc<Core>,
    log: Arc<Log>,
    level: Level,
    inbox: Streaming<AppendStreamRequest>,
    /// Groups that wait for what is before them.
    queue: VecDeque<Group>,
    flights: FuturesOrdered<BoxFuture<'static, Landed>>,
    /// Nothing may follow the last flight before it has landed.
    is_held: bool,
    /// A flight was refused. Whatever is behind it is not acknowledged.
    has_failed: bool,
    runs: VecDeque<Run>,
    /// What is taken in and not acknowledged.
    window: Load,
    last_seq: Option<u64>,
    /// How the stream ends once the rest is acknowledged.
    ending: Option<Ending>,
}

/// `AppendStream`.
pub(super) async fn open(
    core: &Arc<Core>,
    mut request: Request<Streaming<AppendStreamRequest>>,
) -> Result<BoxStream<'static, Result<AppendStreamResponse, Status>>, Status> {
    let opening = match request.get_mut().message().await?.and_then(|message| message.message) {
        Some(Message::Open(open)) => open,
        Some(Message::Entry(entry)) => {
            let refusal = out_of_order("the first message of a stream opens it");
            return Err(refusal.with_fact("seq", entry.seq).into());
        }
        None => return Err(required("open", "the first message of a stream opens it").into()),
    };
    let log = core.open_log(&request, &opening.log, Permission::Append)?;
    let level = Level::new(opening.wait, &log)?;
    let stream = AppendStream::new(core.clone(), log, level, request.into_inner());
    let acknowledgements = stream::try_unfold(stream, |mut stream| async move {
        Ok(stream.acknowledgement().await?.map(|message| (message, stream)))
    });
    Ok(acknowledgements.boxed())
}

impl AppendStream {
    fn new(core: Arc<Core>, log: Arc<Log>, level: Level, inbox: Streaming<AppendStreamRequest>) -> Self {
        Self {
            core,
            log,
            level,
            inbox,
            queue: VecDeque::new(),
            flights: FuturesOrdered::new(),
            is_held: false,
            has_failed: false,
            runs: VecDeque::new(),
            window: Load::default(),
            last_seq: None,
            ending: None,
        }
    }

    /// The next message to the client; `None` at the end of a stream that ends well.
    async fn acknowledgement(&mut self) -> Result<Option<AppendStreamResponse>, Status> {
        loop {
            self.land();
            if self.level == Level::Durable
                && let Some(run) = self.runs.pop_front()
            {
                return Ok(Some(self.acknowledge(&run, None)));
            }
            if self.flights.is_empty()
                && self.runs.is_empty()
                && let Some(ending) = self.ending.take()
            {
                return ending.into_result().map(|()| None);
            }
            if let Some(message) = self.advance().await? {
                return Ok(Some(message));
            }
        }
    }

    /// Waits until something happens, and does what follows from it.
    async fn advance(&mut self) -> Result<Option<AppendStreamResponse>, Status> {
        let may_read = self.may_read();
        let Self { core, log, level, inbox, flights, runs, ending, .. } = self;
        let mut draining = core.draining.clone();
        tokio::select! {
            biased;
            Some(landed) = flights.next(), if !flights.is_empty() => self.note(landed),
            head = covering(core, log, *level, runs.front()), if !runs.is_empty() => {
                let head = head?;
                return Ok(self.runs.pop_front().map(|run| self.acknowledge(&run, head.as_deref())));
            }
            _ = draining.wait_for(|draining| *draining), if ending.is_none() => {
                // What was not taken in is not in the log: the client may go on elsewhere from there.
                let seq = self.last_seq.and_then(|last| last.checked_add(1));
                self.ending = Some(Ending::refused(refusal::shutting_down(), seq));
            }
            message = inbox.message(), if may_read => self.take_in(message),
        }
        Ok(None)
    }

    /// Whether one more entry may be taken in, whatever its length.
    fn may_read(&self) -> bool {
        self.ending.is_none()
            && !self.is_held
            && self.flights.len() < MAX_FLIGHTS
            && self.window.has_room(Load::default())
    }

    /// Takes in a message and those that have arrived behind it.
    fn take_in(&mut self, first: Result<Option<AppendStreamRequest>, Status>) {
        let mut group: Option<Group> = None;
        let mut next = Some(first);
        while let Some(received) = next.take() {
            let taken = match received {
                Ok(None) => Err(Ending::Closed),
                Ok(Some(message)) => self.check(message),
                Err(status) => Err(Ending::Broken(status)),
            };
            match taken {
                Err(ending) => self.ending = Some(ending),
                Ok(entry) if entry.claim.is_some() => {
                    self.enqueue(group.take());
                    self.enqueue(Some(entry.into()));
                    break;
                }
                Ok(entry) => match &mut group {
                    Some(group) => group.push(entry.bytes),
                    None => group = Some(entry.into()),
                },
            }
            let max_bytes = self.core.engine.max_request_bytes();
            let is_full = group.as_ref().is_some_and(|group| group.is_full(self.window, max_bytes));
            if !is_full && self.ending.is_none() {
                next = self.inbox.message().now_or_never();
            }
        }
        self.enqueue(group);
        self.dispatch();
    }

    /// The entry of a message.
    fn check(&mut self, message: AppendStreamRequest) -> Result<Entry, Ending> {
        let next = self.last_seq.and_then(|last| last.checked_add(1));
        let AppendStreamEntry { seq, entry, idempotency_key, idempotency_issued_at } = match message.message {
            Some(Message::Entry(entry)) => entry,
            Some(Message::Open(_)) => {
                return Err(Ending::refused(out_of_order("a stream is opened once"), next));
            }
            None => {
                let refusal = required("message", "a message opens the stream or brings an entry");
                return Err(Ending::refused(refusal, next));
            }
        };
        let refused = |refusal| Ending::refused(refusal, Some(seq));
        if self.last_seq.is_some() && next != Some(seq) {
            return Err(refused(out_of_order("each `seq` is the one before plus 1").with_field("entry.seq")));
        }
        check_entry(&entry, || "entry.entry".to_owned()).map_err(refused)?;
        let claim = Claim::new(idempotency_key, idempotency_issued_at.as_ref()).map_err(refused)?;
        self.last_seq = Some(seq);
        Ok(Entry { seq, bytes: entry, claim })
    }

    fn enqueue(&mut self, group: Option<Group>) {
        if let Some(group) = group {
            self.window.add(group.load());
            self.queue.push_back(group);
        }
    }

    /// Hands groups to the engine, as far as nothing holds them back.
    fn dispatch(&mut self) {
        while !self.is_held
            && let Some(group) = self.queue.pop_front()
        {
            let flight = self.submit(group);
            self.flights.push_back(flight);
        }
    }

    fn submit(&mut self, group: Group) -> BoxFuture<'static, Landed> {
        let (seq, load) = (group.seq, group.load());
        let Group { entries, claim, .. } = group;
        self.is_held = claim.is_some();
        let key = claim.as_ref().map(Claim::key);
        match self.core.engine.append_later(&self.log, entries.clone(), key) {
            Ok(answer) => Box::pin(async move {
                let answer = answer.await.unwrap_or(Err(AppendError::Poisoned));
                Landed { seq, load, answer }
            }),
            Err(AppendError::Overloaded { .. }) => {
                // The client waits with us: it is not read from meanwhile.
                self.is_held = true;
                let (core, log) = (self.core.clone(), self.log.clone());
                Box::pin(async move {
                    let key = claim.as_ref().map(Claim::key);
                    let answer = core.engine.append(&log, entries, key, Patience::Wait).await;
                    Landed { seq, load, answer }
                })
            }
            Err(error) => Box::pin(std::future::ready(Landed { seq, load, answer: Err(error) })),
        }
    }

    /// Takes down whatever the engine has answered by now.
    fn land(&mut self) {
        while !self.flights.is_empty()
            && let Some(Some(landed)) = self.flights.next().now_or_never()
        {
            self.note(landed);
        }
    }

    fn note(&mut self, landed: Landed) {
        let Landed { seq, load, answer } = landed;
        self.is_held &= !self.flights.is_empty();
        match answer {
            Ok(appended) if self.has_failed => {
                tracing::warn!(index = appended.first, "appended behind a refused entry");
                self.ending = self.ending.take().map(Ending::without_seq);
            }
            Ok(appended) => self.add_run(Run::new(seq, load, appended)),
            Err(_) if self.has_failed => {}
            Err(error) => {
                self.has_failed = true;
                self.queue.clear();
                let refusal = refusal::append(&error, self.core.idempotency_window);
                // When storage failed, nobody knows yet whether the entry is in the log.
                let seq = (error != AppendError::Poisoned).then_some(seq);
                self.ending = Some(Ending::refused(refusal, seq));
            }
        }
        self.dispatch();
    }

    fn add_run(&mut self, run: Run) {
        if self.runs.back_mut().is_none_or(|last| !last.join(&run)) {
            self.runs.push_back(run);
        }
    }

    fn acknowledge(&mut self, run: &Run, head: Option<&Head>) -> AppendStreamResponse {
        self.window.remove(run.load);
        AppendStreamResponse {
            seq: run.seq,
            count: u64::from(run.appended.count),
            first_index: run.appended.first,
            log_time: Some(timestamp(run.appended.time_ns)),
            duplicate: run.appended.duplicate,
            head: head.map(tree_head),
        }
    }
}

/// The head that covers a run.
async fn covering(
    core: &Core,
    log: &Log,
    level: Level,
    run: Option<&Run>,
) -> Result<Option<Arc<Head>>, Status> {
    match run {
        Some(run) => wait::covering(core, log, level, &run.appended, run.deadline).await,
        None => std::future::pending().await,
    }
}

fn out_of_order(message: &str) -> Refusal {
    Refusal::new(ErrorReason::StreamOutOfOrder, message)
}

fn required(field: &str, message: &str) -> Refusal {
    Refusal::new(ErrorReason::FieldRequired, message).with_field(field)
}
