//! `Append` and `AppendBatch`.

use std::sync::Arc;

use bytes::Bytes;
use graven_log::{Head, Log, Patience, Sequenced};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_note::TlogProof;
use graven_proto::Refusal;
use graven_proto::convert::hash_bytes;
use graven_proto::limits::{MAX_BATCH_BYTES, MAX_BATCH_ENTRIES};
use graven_proto::v1::{
    AppendBatchRequest, AppendBatchResponse, AppendRequest, AppendResponse, ErrorReason, MultiInclusionProof,
};
use tonic::{Request, Status};

use super::claim::{Claim, Level, check_entry};
use super::wait;
use crate::access::Permission;
use crate::core::{Core, blocking};
use crate::message::{timestamp, tree_head};
use crate::{refusal, rpc};

/// `Append`.
pub(super) async fn one(core: &Core, request: Request<AppendRequest>) -> Result<AppendResponse, Status> {
    let log = core.open_log(&request, &request.get_ref().log, Permission::Append)?;
    let deadline = wait::deadline(request.metadata());
    let AppendRequest { entry, idempotency_key, idempotency_issued_at, wait, .. } = request.into_inner();
    rpc::note_entries(1, entry.len());
    check_entry(&entry, || "entry".to_owned())?;
    let level = Level::new(wait, &log)?;
    let claim = Claim::new(idempotency_key, idempotency_issued_at.as_ref())?;
    let leaf = leaf_hash(&entry);
    let appended = append(core, &log, vec![entry], claim.as_ref()).await?;
    let proof = match wait::covering(core, &log, level, &appended, deadline).await? {
        None => Bytes::new(),
        Some(head) => bundle(&log, &appended, &head)?,
    };
    Ok(AppendResponse {
        index: appended.first,
        leaf_hash: hash_bytes(&leaf),
        log_time: Some(timestamp(appended.time_ns)),
        duplicate: appended.duplicate,
        proof,
    })
}

/// `AppendBatch`.
pub(super) async fn batch(
    core: &Core,
    request: Request<AppendBatchRequest>,
) -> Result<AppendBatchResponse, Status> {
    let log = core.open_log(&request, &request.get_ref().log, Permission::Append)?;
    let deadline = wait::deadline(request.metadata());
    let AppendBatchRequest { entries, idempotency_key, idempotency_issued_at, wait, .. } =
        request.into_inner();
    check_batch(&entries)?;
    let level = Level::new(wait, &log)?;
    let claim = Claim::new(idempotency_key, idempotency_issued_at.as_ref())?;
    let appended = append(core, &log, entries, claim.as_ref()).await?;
    let (head, proof) = match wait::covering(core, &log, level, &appended, deadline).await? {
        None => (None, None),
        Some(head) => {
            let proof = batch_proof(log, appended, head.clone()).await?;
            (Some(tree_head(&head)), Some(proof))
        }
    };
    Ok(AppendBatchResponse {
        first_index: appended.first,
        count: u64::from(appended.count),
        log_time: Some(timestamp(appended.time_ns)),
        duplicate: appended.duplicate,
        head,
        proof,
    })
}

async fn append(
    core: &Core,
    log: &Arc<Log>,
    entries: Vec<Bytes>,
    claim: Option<&Claim>,
) -> Result<Sequenced, Status> {
    let appended = core.engine.append(log, entries, claim.map(Claim::key), Patience::Refuse).await;
    let appended = appended.map_err(|error| refusal::append(&error, core.idempotency_window))?;
    rpc::note_index(appended.first);
    Ok(appended)
}

fn check_batch(entries: &[Bytes]) -> Result<(), Refusal> {
    let bytes = entries.iter().map(Bytes::len).sum::<usize>();
    rpc::note_entries(entries.len(), bytes);
    let too_large = |what: String, limit: usize| {
        Err(Refusal::new(
            ErrorReason::BatchTooLarge,
            format!("the batch has {what}; at most {limit} go into one"),
        )
        .with_field("entries")
        .with_fact("limit", limit))
    };
    if entries.is_empty() {
        return Err(
            Refusal::new(ErrorReason::BatchEmpty, "a batch has at least one entry").with_field("entries")
        );
    }
    if entries.len() > MAX_BATCH_ENTRIES {
        return too_large(format!("{} entries", entries.len()), MAX_BATCH_ENTRIES);
    }
    for (position, entry) in entries.iter().enumerate() {
        check_entry(entry, || format!("entries[{position}]"))
            .map_err(|refusal| refusal.with_fact("position", position))?;
    }
    if bytes > MAX_BATCH_BYTES {
        return too_large(format!("{bytes} bytes"), MAX_BATCH_BYTES);
    }
    Ok(())
}

/// The entry's proof under `head` in the text format of C2SP tlog-proof.
pub(crate) fn bundle(log: &Log, appended: &Sequenced, head: &Head) -> Result<Bytes, Status> {
    let index = LeafIndex::new(appended.first).ok_or_else(refusal::damaged)?;
    let (_, proof) = log.inclusion(index, head.size()).map_err(|error| refusal::read(&error))?;
    let note = std::str::from_utf8(&head.note).map_err(|_| refusal::damaged())?;
    let bundle = TlogProof::new(index, proof, note).map_err(|_| refusal::damaged())?;
    Ok(bundle.to_string().into())
}

pub(crate) async fn batch_proof(
    log: Arc<Log>,
    appended: Sequenced,
    head: Arc<Head>,
) -> Result<MultiInclusionProof, Status> {
    blocking(move || {
        let range = appended.first..appended.first + u64::from(appended.count);
        let indices: Option<Vec<_>> = range.map(LeafIndex::new).collect();
        let indices = indices.ok_or_else(refusal::damaged)?;
        let (_, proof) = log.multi(&indices, head.size()).map_err(|error| refusal::read(&error))?;
        Ok(MultiInclusionProof::from_merkle(&indices, head.size(), &proof))
    })
    .await
}
