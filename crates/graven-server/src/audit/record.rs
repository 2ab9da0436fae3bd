//! `Record`, `RecordBatch` and `GetProducer`.

use std::sync::Arc;

use bytes::Bytes;
use graven_audit::{Audit, AuditError, Book, Call, Numbered, Request as Recording};
use graven_event::{Event, Invalid};
use graven_log::{Patience, Sequenced};
use graven_merkle::leaf_hash;
use graven_proto::Refusal;
use graven_proto::convert::hash_bytes;
use graven_proto::limits::MAX_BATCH_ENTRIES;
use graven_proto::v1::{self, ErrorReason};
use prost::Message as _;
use tonic::{Request, Status};

use super::{Admitted, admit, principal, refuse, who};
use crate::access::Permission;
use crate::core::Core;
use crate::log::append::{batch_proof, bundle};
use crate::log::claim::{Claim, Level};
use crate::log::wait;
use crate::message::{timestamp, tree_head};
use crate::{refusal, rpc};

/// Longest name of a producer's stream.
const MAX_STREAM_BYTES: usize = 64;

/// `Record`.
pub(super) async fn one(
    core: &Core,
    request: Request<v1::RecordRequest>,
) -> Result<v1::RecordResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Append)?;
    let (deadline, filler) = (wait::deadline(request.metadata()), Filler::of(&request));
    let asked = request.into_inner();
    let level = Level::new(asked.wait, book.log())?;
    let claim = Claim::new(asked.idempotency_key, asked.idempotency_issued_at.as_ref())?;
    let numbered = asked.producer.as_ref().map(numbered).transpose()?;
    let event = asked.event.ok_or_else(|| missing("event"))?;
    rpc::note_entries(1, event.encoded_len());
    let event = filler.event(&audit, &book, event, 0).await.map_err(|error| refuse(&error, core))?;
    let recording = Recording {
        caller: &filler.caller,
        events: vec![event],
        call: filler.call(),
        numbered,
        key: claim.as_ref().map(Claim::key),
        retention: &asked.retention,
        patience: Patience::Refuse,
        after: None,
    };
    let at = record(core, &audit, &book, recording).await?;
    let leaf = book.log().durable_entries(at.first..at.first + 1).map_err(|error| refusal::read(&error))?;
    let leaf = leaf.into_iter().next().ok_or_else(refusal::damaged)?;
    let proof = match wait::covering(core, book.log(), level, &at, deadline).await? {
        None => Bytes::new(),
        Some(head) => bundle(book.log(), &at, &head)?,
    };
    Ok(v1::RecordResponse {
        index: at.first,
        leaf_hash: hash_bytes(&leaf_hash(&leaf)),
        log_time: Some(timestamp(at.time_ns)),
        duplicate: at.duplicate,
        proof,
        leaf,
    })
}

/// `RecordBatch`.
pub(super) async fn batch(
    core: &Core,
    request: Request<v1::RecordBatchRequest>,
) -> Result<v1::RecordBatchResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Append)?;
    let (deadline, filler) = (wait::deadline(request.metadata()), Filler::of(&request));
    let asked = request.into_inner();
    let level = Level::new(asked.wait, book.log())?;
    let claim = Claim::new(asked.idempotency_key, asked.idempotency_issued_at.as_ref())?;
    let numbered = asked.producer.as_ref().map(numbered).transpose()?;
    rpc::note_entries(asked.events.len(), asked.events.iter().map(v1::Event::encoded_len).sum());
    check_count(asked.events.len())?;
    let mut events = Vec::with_capacity(asked.events.len());
    for (event, position) in asked.events.into_iter().zip(0..) {
        let event = filler.event(&audit, &book, event, position).await;
        events.push(event.map_err(|error| refuse(&error, core).with_fact("position", position))?);
    }
    let recording = Recording {
        caller: &filler.caller,
        events,
        call: filler.call(),
        numbered,
        key: claim.as_ref().map(Claim::key),
        retention: &asked.retention,
        patience: Patience::Refuse,
        after: None,
    };
    let at = record(core, &audit, &book, recording).await?;
    let (head, proof) = match wait::covering(core, book.log(), level, &at, deadline).await? {
        None => (None, None),
        Some(head) => {
            let proof = batch_proof(book.log().clone(), at, head.clone()).await?;
            (Some(tree_head(&head)), Some(proof))
        }
    };
    Ok(v1::RecordBatchResponse {
        first_index: at.first,
        count: u64::from(at.count),
        log_time: Some(timestamp(at.time_ns)),
        duplicate: at.duplicate,
        head,
        proof,
    })
}

/// `GetProducer`.
pub(super) async fn producer(
    core: &Core,
    request: Request<v1::GetProducerRequest>,
) -> Result<v1::GetProducerResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Append)?;
    let stream = check_stream(&request.get_ref().stream)?;
    let caller = Filler::of(&request).caller;
    // What is told must not be taken back by a crash.
    let known = audit.producer(&book, &caller, stream).await.map_err(|error| refuse(&error, core))?;
    let missing =
        known.missing.iter().map(|range| v1::SequenceRange { first: range.first, last: range.last });
    Ok(v1::GetProducerResponse { last_sequence: known.last, missing: missing.collect() })
}

async fn record(
    core: &Core,
    audit: &Audit,
    book: &Book,
    recording: Recording<'_>,
) -> Result<Sequenced, Status> {
    let recorded = audit.record(book, recording).await.map_err(|error| {
        let refusal = refuse(&error, core);
        match error {
            AuditError::Invalid { position, .. } => refusal.with_fact("position", position),
            _ => refusal,
        }
    })?;
    rpc::note_index(recorded.sequenced.first);
    Ok(recorded.sequenced)
}

/// What a call knows that its event may not say.
pub(super) struct Filler {
    pub(super) caller: String,
    request_id: Option<String>,
    ip: Option<String>,
}

impl Filler {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let who = who(request);
        Self { caller: principal(&who), request_id: who.request_id, ip: who.ip.map(|ip| ip.to_string()) }
    }

    /// The event of a message.
    pub(super) async fn event(
        &self,
        audit: &Arc<Audit>,
        book: &Book,
        message: v1::Event,
        position: usize,
    ) -> Result<Event, AuditError> {
        let digested = message.encode_to_vec();
        match Event::try_from(message) {
            Ok(event) => Ok(event),
            Err(invalid) => {
                audit.reject(book, &self.caller, &digested, &invalid).await?;
                Err(AuditError::Invalid { position, invalid })
            }
        }
    }

    /// What completes its events.
    pub(super) fn call(&self) -> Call<'_> {
        Call { request_id: self.request_id.as_deref(), ip: self.ip.as_deref() }
    }
}

/// Leaves an entry for an event that a stream refuses.
pub(super) async fn reject(
    audit: &Audit,
    book: &Book,
    caller: &str,
    event: &Event,
    invalid: Invalid,
) -> AuditError {
    let content = serde_json::to_vec(event).unwrap_or_default();
    match audit.reject(book, caller, &content, &invalid).await {
        Ok(()) => AuditError::Invalid { position: 0, invalid },
        Err(error) => error,
    }
}

fn numbered(producer: &v1::ProducerSequence) -> Result<Numbered<'_>, Refusal> {
    let stream = check_stream(&producer.stream)?;
    if producer.sequence == 0 {
        let text = "a producer's numbers begin with 1";
        return Err(Refusal::new(ErrorReason::FieldRequired, text).with_field("producer.sequence"));
    }
    Ok(Numbered { stream, first: producer.sequence })
}

pub(super) fn check_stream(stream: &str) -> Result<&str, Refusal> {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if (1..=MAX_STREAM_BYTES).contains(&stream.len()) && stream.bytes().all(is_legal) {
        return Ok(stream);
    }
    let text = format!("a producer's stream has 1 to {MAX_STREAM_BYTES} of a-z, 0-9, -, _ and .");
    Err(Refusal::new(ErrorReason::FieldRequired, text).with_field("producer.stream"))
}

fn check_count(count: usize) -> Result<(), Refusal> {
    match count {
        0 => {
            Err(Refusal::new(ErrorReason::BatchEmpty, "a batch has at least one event").with_field("events"))
        }
        count if count > MAX_BATCH_ENTRIES => {
            let text = format!("the batch has {count} events; at most {MAX_BATCH_ENTRIES} go into one");
            let refusal = Refusal::new(ErrorReason::BatchTooLarge, text).with_field("events");
            Err(refusal.with_fact("limit", MAX_BATCH_ENTRIES))
        }
        _ => Ok(()),
    }
}

pub(crate) fn missing(field: &str) -> Refusal {
    Refusal::new(ErrorReason::FieldRequired, format!("`{field}` is missing")).with_field(field)
}
