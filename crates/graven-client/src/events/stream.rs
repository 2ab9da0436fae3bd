//! Recording events as they come: a window of them is under way at any time.
//!
//! One half sends, the other reads what was acknowledged; both have to be driven, as the sender waits while the window is full. A task
//! between them keeps what is not acknowledged. With a producer's name it goes on after a broken connection: it asks which numbers
//! were recorded, and sends the others again. Without one, the error says which are unknown.
//!
//! The numbers of one connection have no gap (`STREAM_OUT_OF_ORDER`). Where a producer leaves numbers out, a new connection
//! begins after them.

use std::{collections::VecDeque, sync::Arc};

use graven_event::Event;
use graven_merkle::LeafIndex;
use graven_proto::{
    Refusal,
    convert::leaf_index,
    limits::{STREAM_WINDOW_BYTES, STREAM_WINDOW_ENTRIES},
    v1::{self, ErrorReason, Wait, record_stream_request::Message},
};
use prost::Message as _;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, mpsc::error::SendError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::EventLog;
use crate::{AppendError, Appender, CallError};

/// How many messages wait between the task and the connection.
const OUTBOX_MESSAGES: usize = 256;

/// What a stream is opened with.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// The producer's stream, whose numbers are those of the events; `None`: the events have none, and cannot be repeated safely.
    pub producer: Option<String>,
    /// The retention class; empty: the log's default.
    pub retention: String,
    /// What to wait for before an event is acknowledged.
    pub wait: WaitFor,
}

/// What to wait for. The server's word is taken for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitFor {
    /// On stable storage.
    #[default]
    Durable,
    /// In a published tree.
    Published,
    /// In a tree that the log's witnesses cosigned.
    Witnessed,
}

/// Sends the events of a stream. Dropping it, or [`finish`](Self::finish), ends the stream once the rest is acknowledged.
#[derive(Debug)]
pub struct RecordSender {
    events: mpsc::Sender<Pending>,
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    next: u64,
}

/// Reads what was acknowledged, in the order of the events; what a connection had recorded when it broke comes before the rest.
#[derive(Debug)]
pub struct RecordAcks {
    runs: mpsc::UnboundedReceiver<Result<RecordedRun, RecordStreamError>>,
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// Events with consecutive numbers, recorded under consecutive indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedRun {
    /// The first one's number.
    pub first: u64,
    /// Where its leaf stands; `None` where the connection broke before the server could say.
    pub first_index: Option<LeafIndex>,
    /// How many: at least one.
    pub count: u64,
    /// They had been recorded before.
    pub duplicate: bool,
}

/// Why an event was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordClosed {
    /// It is too large for a stream, which goes on without it.
    #[error("the event takes {0} bytes, and at most {STREAM_WINDOW_BYTES} can be under way")]
    TooLarge(usize),
    /// Its number is not above the one before. The stream goes on without it.
    #[error("its number is {0}, and numbers rise")]
    NotRising(u64),
    /// The stream is over: what was acknowledged says why.
    #[error("the stream is over: read what was acknowledged to learn why")]
    Over,
}

/// A stream that broke.
#[derive(Debug, Error)]
#[error("the stream of events broke, {} are not acknowledged: {problem}", .unknown.len())]
pub struct RecordStreamError {
    /// What happened. A refusal whose facts name a `seq` says that this event and all after it were not recorded.
    pub problem: AppendError,
    /// The numbers that were sent and not acknowledged, in order. The log may have them all the same.
    pub unknown: Vec<u64>,
}

#[derive(Debug)]
struct Pending {
    seq: u64,
    event: v1::Event,
    /// Its share of the window, given back with the acknowledgement.
    _share: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Opens a stream.
pub(super) fn open(log: &Appender, options: StreamOptions) -> (RecordSender, RecordAcks) {
    let (events, input) = mpsc::channel(OUTBOX_MESSAGES);
    let (output, runs) = mpsc::unbounded_channel();
    let count = Arc::new(Semaphore::new(STREAM_WINDOW_ENTRIES));
    let bytes = Arc::new(Semaphore::new(STREAM_WINDOW_BYTES));
    let (log, input) = (log.clone(), Some(input));
    let pump = Pump { log, options, input, output, pending: VecDeque::new(), highest: 0, unsettled: 0 };
    tokio::spawn(pump.run());
    let sender = RecordSender { events, count: Arc::clone(&count), bytes: Arc::clone(&bytes), next: 1 };
    (sender, RecordAcks { runs, count, bytes })
}

impl RecordSender {
    /// Sends an event under the next number, the first of them 1, and answers the number; waits while the window is full.
    ///
    /// # Errors
    /// The event is too large, or the stream is over.
    pub async fn send(&mut self, event: Event) -> Result<u64, RecordClosed> {
        self.send_as(self.next, event).await
    }

    /// Sends an event under this number, which is above the one before. See [`send`](Self::send).
    ///
    /// # Errors
    /// The event is too large, its number does not rise, or the stream is over.
    pub async fn send_as(&mut self, seq: u64, event: Event) -> Result<u64, RecordClosed> {
        if seq < self.next {
            return Err(RecordClosed::NotRising(seq));
        }
        let event = v1::Event::from(event);
        let length = event.encoded_len();
        let weight = u32::try_from(length).ok().filter(|_| length <= STREAM_WINDOW_BYTES);
        let weight = weight.ok_or(RecordClosed::TooLarge(length))?;
        let over = |_| RecordClosed::Over;
        let one = Arc::clone(&self.count).acquire_owned().await.map_err(over)?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(weight).await.map_err(over)?;
        let pending = Pending { seq, event, _share: (one, bytes) };
        self.events.send(pending).await.map_err(|SendError(_)| RecordClosed::Over)?;
        self.next = seq + 1;
        Ok(seq)
    }

    /// Says that no more events come.
    pub fn finish(self) {}
}

impl RecordAcks {
    /// The next run of acknowledged events; `None` after the last one of a stream that ended well, or after an error.
    ///
    /// # Errors
    /// The stream broke: see [`RecordStreamError`].
    pub async fn next(&mut self) -> Option<Result<RecordedRun, RecordStreamError>> {
        let run = self.runs.recv().await;
        if !matches!(run, Some(Ok(_))) {
            self.close();
        }
        run
    }

    fn close(&self) {
        self.count.close();
        self.bytes.close();
    }
}

impl Drop for RecordAcks {
    /// Nobody will make room in the window any more.
    fn drop(&mut self) {
        self.close();
    }
}

/// Carries events to the server, and what it answers back.
struct Pump {
    log: Appender,
    options: StreamOptions,
    /// `None` once the sender is done.
    input: Option<mpsc::Receiver<Pending>>,
    output: mpsc::UnboundedSender<Result<RecordedRun, RecordStreamError>>,
    pending: VecDeque<Pending>,
    /// The largest number that was ever sent.
    highest: u64,
    /// Numbers up to this one may have been recorded by a connection that broke.
    unsettled: u64,
}

/// How a connection ended.
enum Ended {
    /// All that came was acknowledged, and no more comes.
    Done,
    /// What is left goes out on a connection of its own.
    Next,
}

/// Why a connection broke.
enum Broke {
    Status(Status),
    Answer(AppendError),
}

impl Pump {
    async fn run(mut self) {
        let retries = self.log.pool().retries().clone();
        let mut failures = 0;
        loop {
            if let Err(error) = self.settle().await {
                return self.fail(AppendError::Numbered(error));
            }
            let mut acknowledged = false;
            let status = match self.connection(&mut acknowledged).await {
                Ok(Ended::Done) => return,
                Ok(Ended::Next) => continue,
                Err(Broke::Answer(problem)) => return self.fail(problem),
                Err(Broke::Status(status)) => status,
            };
            failures = if acknowledged { 1 } else { failures + 1 };
            let delay = match self.is_own_repeat(&status) {
                true => (failures < retries.attempts).then(|| retries.own_delay(failures)),
                false => retries.delay_after(failures, &status),
            };
            match delay.filter(|_| self.options.producer.is_some()) {
                Some(delay) => {
                    self.unsettled = self.highest;
                    tokio::time::sleep(delay).await;
                }
                None => {
                    let problem = self.lost(status, failures);
                    return self.fail(problem);
                }
            }
        }
    }

    /// Acknowledges what was recorded by connections that broke.
    async fn settle(&mut self) -> Result<(), CallError> {
        let (Some(producer), Some(first)) = (&self.options.producer, self.pending.front()) else {
            return Ok(());
        };
        if first.seq > self.unsettled {
            return Ok(());
        }
        let state = EventLog { log: self.log.clone() }.producer(producer).await?;
        let (unsettled, output) = (self.unsettled, &self.output);
        self.pending.retain(|pending| {
            let recorded = pending.seq <= unsettled && state.has(pending.seq);
            if recorded {
                let run = RecordedRun { first: pending.seq, first_index: None, count: 1, duplicate: false };
                // Whoever does not listen does not want to know.
                drop(output.send(Ok(run)));
            }
            !recorded
        });
        Ok(())
    }

    /// Whether a number was refused because a connection that broke was recording it all the while.
    fn is_own_repeat(&self, status: &Status) -> bool {
        let reason = Refusal::of(status).map(|refusal| refusal.reason());
        let used = matches!(reason, Some(ErrorReason::SequenceUsed | ErrorReason::IdempotencyKeyReused));
        used && self.pending.front().is_some_and(|first| first.seq <= self.unsettled)
    }

    fn lost(&self, status: Status, attempts: u32) -> AppendError {
        let error = CallError::new(status, attempts);
        match self.options.producer {
            Some(_) => AppendError::Numbered(error),
            None => AppendError::Call { error, key: None },
        }
    }

    fn fail(mut self, problem: AppendError) {
        if let Some(mut input) = self.input.take() {
            input.close();
            self.pending.extend(std::iter::from_fn(|| input.try_recv().ok()));
        }
        let unknown = self.pending.iter().map(|pending| pending.seq).collect();
        // Whoever does not listen does not want to know.
        drop(self.output.send(Err(RecordStreamError { problem, unknown })));
    }

    /// One connection, from its opening to its end. `acknowledged` tells whether it was good for anything.
    async fn connection(&mut self, acknowledged: &mut bool) -> Result<Ended, Broke> {
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES);
        let open = v1::RecordStreamRequest { message: Some(Message::Open(self.opening())) };
        // The channel is empty and its other end is below.
        drop(outbox.try_send(open));
        let mut service = self.log.pool().audit_service();
        // A task of its own, as a server may answer only after it has seen events.
        let opening = async move { service.record_stream(Request::new(ReceiverStream::new(messages))).await };
        let mut answers = Answers::Opening(Box::pin(opening));
        let (mut outbox, mut sent, mut last) = (Some(outbox), 0, None);
        // Whether this side has ended the connection, and whether the other one did.
        let (mut ending, mut cut) = (false, false);
        loop {
            ending |= self.is_over(sent, last);
            if ending || cut {
                outbox = None;
            }
            let ready = outbox.is_some() && sent < self.pending.len();
            let idle = outbox.is_some() && sent == self.pending.len() && self.input.is_some();
            tokio::select! {
                slot = reserve(outbox.as_ref()), if ready => match slot {
                    Some(slot) => {
                        let next = &self.pending[sent];
                        self.highest = self.highest.max(next.seq);
                        last = Some(next.seq);
                        slot.send(next.message());
                        sent += 1;
                    }
                    // Its answers say why.
                    None => cut = true,
                },
                event = next_of(&mut self.input), if idle => match event {
                    Some(event) => self.pending.push_back(event),
                    None => self.input = None,
                },
                answer = answers.next() => match answer.map_err(Broke::Status)? {
                    Some(run) => {
                        sent -= self.take(&run, sent).map_err(Broke::Answer)?;
                        *acknowledged = true;
                    }
                    None if sent > 0 || !ending => return Err(Broke::Status(ended_early())),
                    None if self.pending.is_empty() => return Ok(Ended::Done),
                    None => return Ok(Ended::Next),
                },
            }
        }
    }

    /// Whether nothing more goes out on this connection after the first `sent` events, the last of them this one: no more comes, or the
    /// numbers have a gap.
    fn is_over(&self, sent: usize, last: Option<u64>) -> bool {
        match self.pending.get(sent) {
            Some(next) => last.is_some_and(|last| next.seq != last + 1),
            None => self.input.is_none(),
        }
    }

    fn opening(&self) -> v1::RecordStreamOpen {
        let wait = match self.options.wait {
            WaitFor::Durable => Wait::Durable,
            WaitFor::Published => Wait::Published,
            WaitFor::Witnessed => Wait::Witnessed,
        };
        v1::RecordStreamOpen {
            log: self.log.name().to_owned(),
            wait: wait.into(),
            retention: self.options.retention.clone(),
            producer_stream: self.options.producer.clone().unwrap_or_default(),
        }
    }

    /// Takes the events of a run, which has to be of the first ones under way, out of the window.
    fn take(&mut self, run: &v1::RecordStreamResponse, sent: usize) -> Result<usize, AppendError> {
        let first = self.pending.front().map(|pending| pending.seq);
        let count = usize::try_from(run.count).ok().filter(|count| (1..=sent).contains(count));
        let Some(count) = count.filter(|_| first == Some(run.seq)) else {
            return Err(AppendError::WrongAnswer(
                "it acknowledges events that were not sent, or out of order",
            ));
        };
        leaf_index("first_index", run.first_index.saturating_add(run.count))?;
        let first_index = Some(leaf_index("first_index", run.first_index)?);
        self.pending.drain(..count);
        let run = RecordedRun { first: run.seq, first_index, count: run.count, duplicate: run.duplicate };
        // Whoever does not listen does not want to know.
        drop(self.output.send(Ok(run)));
        Ok(count)
    }
}

impl Pending {
    fn message(&self) -> v1::RecordStreamRequest {
        let event = v1::RecordStreamEvent { seq: self.seq, event: Some(self.event.clone()) };
        v1::RecordStreamRequest { message: Some(Message::Event(event)) }
    }
}

/// The server's side of a connection, which may be answered only after events were sent.
enum Answers<F> {
    Opening(std::pin::Pin<Box<F>>),
    Open(Box<Streaming<v1::RecordStreamResponse>>),
}

impl<F> Answers<F>
where
    F: Future<Output = Result<tonic::Response<Streaming<v1::RecordStreamResponse>>, Status>>,
{
    /// The next one. May be given up and asked again.
    async fn next(&mut self) -> Result<Option<v1::RecordStreamResponse>, Status> {
        if let Self::Opening(opening) = self {
            *self = Self::Open(Box::new(opening.await?.into_inner()));
        }
        match self {
            Self::Open(messages) => messages.message().await,
            Self::Opening(_) => Ok(None),
        }
    }
}

async fn reserve<T>(outbox: Option<&mpsc::Sender<T>>) -> Option<mpsc::Permit<'_, T>> {
    outbox?.reserve().await.ok()
}

async fn next_of<T>(input: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    input.as_mut()?.recv().await
}

fn ended_early() -> Status {
    Status::unavailable("the server ended the stream before every event was acknowledged")
}
