//! Appending entries as they come: a window of them is under way at any time.
//!
//! One half sends, the other reads the acknowledgements; both have to be driven, as the sender waits while the
//! window is full. When the stream breaks, the reader says which entries are not acknowledged: send those again
//! on a new stream, with their idempotency keys.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use graven_merkle::{Hash, LeafIndex};
use graven_proto::{
    convert::leaf_index,
    limits::{MAX_ENTRY_BYTES, MAX_PROOF_INDICES, STREAM_WINDOW_BYTES, STREAM_WINDOW_ENTRIES},
    v1::{self, Wait, append_stream_request::Message},
};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Acked, AppendError, Appender, CallError, IdempotencyKey, LogClient, VerifiedHead,
    append::{Unproven, checked_leaf_hash, log_time},
};

/// How many messages wait between the sender and the connection.
const OUTBOX_MESSAGES: usize = 256;

/// Sends the entries of a stream. Dropping it, or [`finish`](Self::finish), ends the stream once the rest is
/// acknowledged.
#[derive(Debug)]
pub struct StreamSender {
    outbox: mpsc::Sender<v1::AppendStreamRequest>,
    window: Arc<Window>,
    next_seq: u64,
}

/// Reads the acknowledgements of a stream, in the order of the entries.
pub struct Acks {
    inbox: Inbox,
    window: Arc<Window>,
    ready: VecDeque<StreamAck>,
    next_seq: u64,
    /// Where acknowledgements have to be proven.
    verifier: Option<LogClient>,
}

/// One entry, acknowledged.
#[derive(Clone, Debug)]
pub struct StreamAck {
    /// The number that [`StreamSender::send`] gave it.
    pub seq: u64,
    /// What the server promises.
    pub acked: Acked,
    /// On a stream that waits for publication: the verified head that the entry was proven to be under.
    pub head: Option<VerifiedHead>,
}

/// An entry that was not acknowledged. The log may have it all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEntry {
    /// The number that [`StreamSender::send`] gave it.
    pub seq: u64,
    /// Its bytes.
    pub entry: Bytes,
    /// The key that it was sent under.
    pub key: Option<IdempotencyKey>,
}

/// Why an entry was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamClosed {
    /// It cannot be appended. The stream goes on.
    #[error("an entry has 1 to {MAX_ENTRY_BYTES} bytes, this one has {0}")]
    EntryLength(usize),
    /// The stream is over: its acknowledgements say why.
    #[error("the stream is over: read its acknowledgements to learn why")]
    Over,
}

/// A stream that broke.
#[derive(Debug, Error)]
#[error("the stream of appends broke, {} entries are not acknowledged: {problem}", .unknown.len())]
pub struct StreamError {
    /// What happened. A refusal whose facts name a `seq` says that this entry and all after it were not appended.
    pub problem: AppendError,
    /// The entries that were sent and not acknowledged, in order.
    pub unknown: Vec<UnknownEntry>,
}

enum Inbox {
    Opening(JoinHandle<Result<Response<Streaming<v1::AppendStreamResponse>>, Status>>),
    Open(Box<Streaming<v1::AppendStreamResponse>>),
    Over,
}

/// What is under way: as much as the server takes in before it stops reading.
#[derive(Debug)]
struct Window {
    entries: Semaphore,
    bytes: Semaphore,
    pending: Mutex<VecDeque<Pending>>,
}

#[derive(Debug)]
struct Pending {
    leaf_hash: Hash,
    entry: UnknownEntry,
}

/// Opens a stream. Must be called within a tokio runtime.
pub(crate) fn open(log: &Appender, verifier: Option<LogClient>) -> (StreamSender, Acks) {
    let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES);
    let wait = if verifier.is_some() { Wait::Published } else { Wait::Durable };
    let open = v1::AppendStreamOpen { log: log.name().to_owned(), wait: wait.into() };
    let first = v1::AppendStreamRequest { message: Some(Message::Open(open)) };
    let messages = tokio_stream::StreamExt::chain(tokio_stream::once(first), ReceiverStream::new(messages));
    let mut service = log.pool().log_service();
    // A task of its own, as a server may answer only after it has seen entries.
    let opening = tokio::spawn(async move { service.append_stream(Request::new(messages)).await });
    let window = Arc::new(Window {
        entries: Semaphore::new(STREAM_WINDOW_ENTRIES),
        bytes: Semaphore::new(STREAM_WINDOW_BYTES),
        pending: Mutex::default(),
    });
    let sender = StreamSender { outbox, window: Arc::clone(&window), next_seq: 0 };
    let inbox = Inbox::Opening(opening);
    (sender, Acks { inbox, window, ready: VecDeque::new(), next_seq: 0, verifier })
}

impl StreamSender {
    /// Sends an entry and answers its number on this stream; waits while the window is full.
    ///
    /// It goes without an idempotency key: if the stream breaks, it cannot be repeated safely.
    ///
    /// # Errors
    /// The entry cannot be appended, or the stream is over.
    pub async fn send(&mut self, entry: impl Into<Bytes>) -> Result<u64, StreamClosed> {
        self.send_as(entry.into(), None).await
    }

    /// Sends an entry under an idempotency key, so that it can be repeated if the stream breaks.
    ///
    /// # Errors
    /// The entry cannot be appended, or the stream is over.
    pub async fn send_with_key(
        &mut self,
        entry: impl Into<Bytes>,
        key: IdempotencyKey,
    ) -> Result<u64, StreamClosed> {
        self.send_as(entry.into(), Some(key)).await
    }

    /// Says that no more entries come.
    pub fn finish(self) {}

    async fn send_as(&mut self, entry: Bytes, key: Option<IdempotencyKey>) -> Result<u64, StreamClosed> {
        let length = StreamClosed::EntryLength(entry.len());
        let leaf_hash = checked_leaf_hash(&entry).map_err(|_| length.clone())?;
        let bytes = u32::try_from(entry.len()).map_err(|_| length)?;
        let over = |_| StreamClosed::Over;
        let count_permit = self.window.entries.acquire().await.map_err(over)?;
        let byte_permit = self.window.bytes.acquire_many(bytes).await.map_err(over)?;
        let slot = self.outbox.reserve().await.map_err(|_| StreamClosed::Over)?;
        // From here on nothing waits, so a caller who gives up in between leaves no gap in the numbers.
        count_permit.forget();
        byte_permit.forget();
        let seq = self.next_seq;
        self.next_seq += 1;
        let message = v1::AppendStreamEntry {
            seq,
            entry: entry.clone(),
            idempotency_key: key.as_ref().map(IdempotencyKey::to_string).unwrap_or_default(),
            idempotency_issued_at: key.as_ref().map(IdempotencyKey::issued_message),
        };
        self.window.pending().push_back(Pending { leaf_hash, entry: UnknownEntry { seq, entry, key } });
        slot.send(v1::AppendStreamRequest { message: Some(Message::Entry(message)) });
        Ok(seq)
    }
}

impl Acks {
    /// The next acknowledgement; `None` after the last one of a stream that ended well, or after an error.
    ///
    /// # Errors
    /// The stream broke: see [`StreamError`].
    pub async fn next(&mut self) -> Option<Result<StreamAck, StreamError>> {
        loop {
            if let Some(ack) = self.ready.pop_front() {
                return Some(Ok(ack));
            }
            let run = match self.receive().await {
                Ok(run) => run?,
                Err(error) => return Some(Err(self.broken(error))),
            };
            match self.take(&run).await {
                Ok(acks) => self.ready.extend(acks),
                Err(problem) => return Some(Err(self.broken(problem))),
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<v1::AppendStreamResponse>, AppendError> {
        let lost = |status| AppendError::Call { error: CallError::new(status, 1), key: None };
        if let Inbox::Opening(opening) = &mut self.inbox {
            let opened =
                opening.await.map_err(|_| lost(Status::cancelled("the runtime is shutting down")))?;
            self.inbox = Inbox::Open(Box::new(opened.map_err(lost)?.into_inner()));
        }
        let Inbox::Open(messages) = &mut self.inbox else { return Ok(None) };
        let message = messages.message().await.map_err(lost)?;
        if message.is_none() {
            self.inbox = Inbox::Over;
            if !self.window.pending().is_empty() {
                return Err(AppendError::WrongAnswer("the stream ended before every entry was acknowledged"));
            }
            self.window.close();
        }
        Ok(message)
    }

    /// Matches a run with the entries that were sent, and proves it where that is asked for.
    async fn take(&mut self, run: &v1::AppendStreamResponse) -> Result<Vec<StreamAck>, AppendError> {
        let first = leaf_index("first_index", run.first_index)?;
        leaf_index("first_index", run.first_index.saturating_add(run.count))?;
        let log_time = log_time(run.log_time)?;
        let entries = self.window.acknowledge(self.next_seq, run)?;
        self.next_seq += run.count;
        let indices = (run.first_index..).filter_map(LeafIndex::new);
        let mut acks: Vec<_> = entries
            .into_iter()
            .zip(indices)
            .map(|(pending, index)| StreamAck {
                seq: pending.entry.seq,
                acked: Acked { index, leaf_hash: pending.leaf_hash, log_time, duplicate: run.duplicate },
                head: None,
            })
            .collect();
        if let Some(log) = &self.verifier {
            let head = prove_run(log, run, &acks).await;
            let head = head.map_err(|problem| AppendError::Unproven { first, problem })?;
            acks.iter_mut().for_each(|ack| ack.head = Some(head.clone()));
        }
        Ok(acks)
    }

    fn broken(&mut self, problem: AppendError) -> StreamError {
        self.inbox = Inbox::Over;
        self.window.close();
        let unknown = self.window.pending().drain(..).map(|pending| pending.entry).collect();
        StreamError { problem, unknown }
    }
}

impl Drop for Acks {
    /// Nobody will make room in the window any more.
    fn drop(&mut self) {
        self.window.close();
    }
}

impl Window {
    fn pending(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the entries of a run, which has to continue at `next_seq`, out of the window.
    fn acknowledge(
        &self,
        next_seq: u64,
        run: &v1::AppendStreamResponse,
    ) -> Result<Vec<Pending>, AppendError> {
        let mut pending = self.pending();
        let count = usize::try_from(run.count).ok().filter(|count| (1..=pending.len()).contains(count));
        let Some(count) = count.filter(|_| run.seq == next_seq) else {
            return Err(AppendError::WrongAnswer(
                "it acknowledges entries that were not sent, or out of order",
            ));
        };
        let entries: Vec<_> = pending.drain(..count).collect();
        self.entries.add_permits(count);
        self.bytes.add_permits(entries.iter().map(|pending| pending.entry.entry.len()).sum());
        Ok(entries)
    }

    fn close(&self) {
        self.entries.close();
        self.bytes.close();
    }
}

/// Proves every entry of a run to be under the head that came with it.
async fn prove_run(
    log: &LogClient,
    run: &v1::AppendStreamResponse,
    acks: &[StreamAck],
) -> Result<VerifiedHead, Unproven> {
    let head = log.follower().accept_message(run.head.clone(), None).await?;
    for part in acks.chunks(MAX_PROOF_INDICES) {
        let (indices, leaf_hashes) = part.iter().map(|ack| (ack.acked.index, ack.acked.leaf_hash)).unzip();
        log.prove_leaves(&head, indices, leaf_hashes).await?;
    }
    Ok(head)
}
