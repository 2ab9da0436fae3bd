//! Tree heads: the newest, each newer one, and how the keys that sign them changed.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use graven_log::Log;
use graven_merkle::LeafIndex;
use graven_note::VerifiedRotation;
use graven_proto::limits::MAX_PAGE_ROTATIONS;
use graven_proto::v1::{
    GetTreeHeadRequest, GetTreeHeadResponse, KeyRotation, ListKeyRotationsRequest, ListKeyRotationsResponse,
    WatchTreeHeadsRequest, WatchTreeHeadsResponse, WitnessLag, WitnessState,
};
use tonic::{Request, Status};

use crate::access::Permission;
use crate::core::Core;
use crate::message::tree_head;
use crate::refusal;

/// `GetTreeHead`.
pub(super) fn newest(
    core: &Core,
    request: &Request<GetTreeHeadRequest>,
) -> Result<GetTreeHeadResponse, Status> {
    let log = core.open_log(request, &request.get_ref().log, Permission::Read)?;
    let witnesses = log.witness_policy().is_some().then(|| witness_state(core, &log));
    Ok(GetTreeHeadResponse { head: Some(tree_head(&log.head())), witnesses })
}

fn witness_state(core: &Core, log: &Log) -> WitnessState {
    let lags = core.engine.witness_lags(log);
    let lag = |lag: &graven_log::WitnessLag| WitnessLag {
        name: lag.witness.to_string(),
        size: lag.size,
        silent_seconds: lag.silent.as_secs(),
        error: lag.error.unwrap_or_default().to_owned(),
    };
    WitnessState {
        signed_size: lags.iter().map(|lag| lag.size + lag.entries).max().unwrap_or(0),
        witnessed_size: log.witnessed_head().map_or(0, |head| head.size().get()),
        awaited: log.is_awaiting_witnesses(),
        witnesses: lags.iter().map(lag).collect(),
    }
}

/// `ListKeyRotations`.
pub(super) fn rotations(
    core: &Core,
    request: &Request<ListKeyRotationsRequest>,
) -> Result<ListKeyRotationsResponse, Status> {
    let ListKeyRotationsRequest { log, skip } = request.get_ref();
    let rotations = core.open_log(request, log, Permission::Read)?.rotations();
    let skip = usize::try_from(*skip).unwrap_or(usize::MAX);
    let message = |(index, rotation): &(LeafIndex, VerifiedRotation)| KeyRotation {
        statement: Bytes::copy_from_slice(rotation.rotation().as_bytes()),
        index: index.get(),
    };
    Ok(ListKeyRotationsResponse {
        rotations: rotations.iter().skip(skip).take(MAX_PAGE_ROTATIONS).map(message).collect(),
        total: u32::try_from(rotations.len()).unwrap_or(u32::MAX),
    })
}

/// `WatchTreeHeads`. Nothing is buffered: a reader that was away gets the newest head when it comes back.
pub(super) fn watch(
    core: &Core,
    request: &Request<WatchTreeHeadsRequest>,
) -> Result<BoxStream<'static, Result<WatchTreeHeadsResponse, Status>>, Status> {
    let log = core.open_log(request, &request.get_ref().log, Permission::Read)?;
    let mut heads = log.watch();
    heads.mark_changed();
    let following =
        stream::try_unfold((heads, core.draining.clone()), |(mut heads, mut draining)| async move {
            tokio::select! {
                biased;
                // The newest head still goes out before the end.
                changed = heads.changed() => if changed.is_err() {
                    return Err(refusal::shutting_down().into());
                },
                _ = draining.wait_for(|draining| *draining) => if !heads.has_changed().unwrap_or(false) {
                    return Err(refusal::shutting_down().into());
                },
            }
            let head = tree_head(&heads.borrow_and_update());
            Ok(Some((WatchTreeHeadsResponse { head: Some(head) }, (heads, draining))))
        });
    Ok(following.boxed())
}
