//! Entries: a range of them in messages of bounded size, and one with its proof.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use graven_log::Log;
use graven_proto::Refusal;
use graven_proto::limits::{MAX_RANGE_ENTRIES, RANGE_MESSAGE_BYTES};
use graven_proto::v1::{
    ErrorReason, GetEntriesRequest, GetEntriesResponse, GetEntryAndProofRequest, GetEntryAndProofResponse,
    InclusionProof,
};
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::proofs::Tree;
use crate::access::Permission;
use crate::core::{Core, blocking};
use crate::{refusal, rpc};

/// `GetEntries`. A message is read when the caller has room for it, so a slow one costs two messages, and there is room
/// for some slow ones.
pub(super) fn range(
    core: &Arc<Core>,
    request: &Request<GetEntriesRequest>,
) -> Result<BoxStream<'static, Result<GetEntriesResponse, Status>>, Status> {
    let asked = request.get_ref();
    let log = core.open_log(request, &asked.log, Permission::Read)?;
    rpc::note_index(asked.first);
    let end = check_range(&log, asked.first, asked.count)?;
    let room = core.large.range().ok_or_else(refusal::too_many_ranges)?;
    let core = core.clone();
    let pages = stream::try_unfold((asked.first, room), move |(first, room)| {
        let (core, log) = (core.clone(), log.clone());
        async move {
            if first >= end {
                return Ok(None);
            }
            let page = core.large.page(page(log, first, end).in_current_span()).await?;
            // A page has at least one entry, so this goes on.
            let next = page.entries.iter().fold(first, |at, _| at + 1);
            Ok(Some((page, (next, room))))
        }
    });
    Ok(pages.boxed())
}

/// `GetEntryAndProof`.
pub(super) async fn with_proof(
    core: &Core,
    request: Request<GetEntryAndProofRequest>,
) -> Result<GetEntryAndProofResponse, Status> {
    let log = core.open_log(&request, &request.get_ref().log, Permission::Read)?;
    let asked = request.into_inner();
    rpc::note_index(asked.index);
    let tree = Tree::of(&log, asked.tree_size, "tree_size")?;
    let index = tree.index(asked.index, "index")?;
    blocking(move || {
        let entries = log.entries(asked.index..asked.index + 1, 1).map_err(|error| refusal::read(&error))?;
        let entry = entries.into_iter().next().ok_or_else(refusal::damaged)?;
        let (leaf, proof) = log.inclusion(index, tree.size).map_err(|error| refusal::read(&error))?;
        if graven_merkle::leaf_hash(&entry) != leaf {
            tracing::error!(log = %log.meta().name, index = asked.index, "stored entry does not match its leaf hash");
            return Err(refusal::damaged().into());
        }
        Ok(GetEntryAndProofResponse {
            entry,
            proof: Some(InclusionProof::from_merkle(index, tree.size, &proof)),
            head: tree.head(),
        })
    })
    .await
}

async fn page(log: Arc<Log>, first: u64, end: u64) -> Result<GetEntriesResponse, Status> {
    blocking(move || {
        let entries = log.entries(first..end, RANGE_MESSAGE_BYTES).map_err(|error| refusal::read(&error))?;
        Ok(GetEntriesResponse { first_index: first, entries })
    })
    .await
}

/// The end of a range that is published and not too long.
fn check_range(log: &Log, first: u64, count: u64) -> Result<u64, Refusal> {
    let refuse = |reason, field: &str, message: String| Err(Refusal::new(reason, message).with_field(field));
    if count == 0 {
        return refuse(ErrorReason::RangeEmpty, "count", "ask for at least one entry".to_owned());
    }
    if count > MAX_RANGE_ENTRIES {
        let message = format!("{count} entries; at most {MAX_RANGE_ENTRIES} go into one call: ask in parts");
        return refuse(ErrorReason::RangeTooLarge, "count", message)
            .map_err(|refusal| refusal.with_fact("limit", MAX_RANGE_ENTRIES));
    }
    let size = log.head().size().get();
    match first.checked_add(count).filter(|end| *end <= size) {
        Some(end) => Ok(end),
        None => {
            let field = if first < size { "count" } else { "first" };
            let message =
                format!("{count} entries from index {first} on go beyond the published size, {size}");
            refuse(ErrorReason::IndexBeyondTree, field, message)
                .map_err(|refusal| refusal.with_fact("size", size))
        }
    }
}
