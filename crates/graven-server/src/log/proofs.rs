//! Proofs of inclusion, of many entries at once, and of consistency.
//!
//! A single proof is some microseconds of reading nodes that are at hand, so it is made where the call is served; a
//! search in the index, and a proof of many entries, go to the threads that may block.

use std::sync::Arc;

use graven_log::{Head, Log};
use graven_merkle::{Hash, LeafIndex, TreeSize};
use graven_proto::Refusal;
use graven_proto::convert::{hash_bytes, hashes_bytes};
use graven_proto::limits::MAX_PROOF_INDICES;
use graven_proto::v1::get_inclusion_proof_request::Target;
use graven_proto::v1::{
    ConsistencyProof, ErrorReason, GetConsistencyProofRequest, GetConsistencyProofResponse,
    GetInclusionProofRequest, GetInclusionProofResponse, GetMultiInclusionProofRequest,
    GetMultiInclusionProofResponse, InclusionProof, MultiInclusionProof, TreeHead,
};
use tonic::{Request, Status};

use crate::access::Permission;
use crate::core::{Core, blocking};
use crate::lookup::LeafLookup;
use crate::message::tree_head;
use crate::{refusal, rpc};

/// When to ask again for an entry that the index has not come to yet.
const INDEX_LAG: std::time::Duration = std::time::Duration::from_millis(250);

/// The tree that a request asks about.
pub(super) struct Tree {
    pub(super) size: TreeSize,
    newest: Arc<Head>,
    /// The head goes with the answer, as the caller did not name a size.
    is_newest: bool,
}

/// `GetInclusionProof`.
pub(super) async fn inclusion(
    core: &Core,
    request: Request<GetInclusionProofRequest>,
) -> Result<GetInclusionProofResponse, Status> {
    let log = core.open_log(&request, &request.get_ref().log, Permission::Read)?;
    let GetInclusionProofRequest { target, tree_size, .. } = request.into_inner();
    let tree = Tree::of(&log, tree_size, "tree_size")?;
    let index = match target {
        Some(Target::Index(index)) => tree.index(index, "index")?,
        Some(Target::LeafHash(leaf)) => {
            let leaf = leaf_hash(&leaf)?;
            find(core, &log, leaf, tree.size).await?
        }
        None => {
            let message = "say which entry: by its index or its leaf hash";
            return Err(Refusal::new(ErrorReason::FieldRequired, message).with_field("target").into());
        }
    };
    rpc::note_index(index.get());
    let (leaf, proof) = log.inclusion(index, tree.size).map_err(|error| refusal::read(&error))?;
    Ok(GetInclusionProofResponse {
        proof: Some(InclusionProof::from_merkle(index, tree.size, &proof)),
        leaf_hash: hash_bytes(&leaf),
        head: tree.head(),
    })
}

/// `GetMultiInclusionProof`.
pub(super) async fn multi(
    core: &Core,
    request: Request<GetMultiInclusionProofRequest>,
) -> Result<GetMultiInclusionProofResponse, Status> {
    let log = core.open_log(&request, &request.get_ref().log, Permission::Read)?;
    let GetMultiInclusionProofRequest { indices, tree_size, .. } = request.into_inner();
    check_indices(&indices)?;
    let tree = Tree::of(&log, tree_size, "tree_size")?;
    let indices: Vec<_> = indices
        .iter()
        .enumerate()
        .map(|(position, index)| tree.index(*index, &format!("indices[{position}]")))
        .collect::<Result<_, _>>()?;
    blocking(move || {
        let (leaves, proof) = log.multi(&indices, tree.size).map_err(|error| refusal::read(&error))?;
        Ok(GetMultiInclusionProofResponse {
            proof: Some(MultiInclusionProof::from_merkle(&indices, tree.size, &proof)),
            leaf_hashes: hashes_bytes(&leaves),
            head: tree.head(),
        })
    })
    .await
}

/// `GetConsistencyProof`.
pub(super) fn consistency(
    core: &Core,
    request: &Request<GetConsistencyProofRequest>,
) -> Result<GetConsistencyProofResponse, Status> {
    let asked = request.get_ref();
    let log = core.open_log(request, &asked.log, Permission::Read)?;
    if asked.second_size != 0 && asked.first_size > asked.second_size {
        let message =
            format!("the first size, {}, is larger than the second, {}", asked.first_size, asked.second_size);
        return Err(Refusal::new(ErrorReason::SizesReversed, message).with_field("first_size").into());
    }
    let tree = Tree::of(&log, asked.second_size, "second_size")?;
    // Beyond the newest tree, where that is the second one: right once the log has grown.
    let first = match asked.first_size {
        0 => TreeSize::ZERO,
        size => Tree::of(&log, size, "first_size")?.size.min(tree.size),
    };
    let proof = log.consistency(first, tree.size).map_err(|error| refusal::read(&error))?;
    Ok(GetConsistencyProofResponse {
        proof: Some(ConsistencyProof::from_merkle(first, tree.size, &proof)),
        head: tree.head(),
    })
}

impl Tree {
    /// The tree of `size`, named by `field`; 0 means the newest.
    pub(super) fn of(log: &Log, size: u64, field: &str) -> Result<Self, Refusal> {
        let newest = log.head();
        let is_newest = size == 0;
        let published = newest.size();
        if is_newest {
            return Ok(Self { size: published, newest, is_newest });
        }
        match TreeSize::new(size).filter(|size| *size <= published) {
            Some(size) => Ok(Self { size, newest, is_newest }),
            None => {
                let message = format!("tree size {size} is beyond the published size, {}", published.get());
                Err(Refusal::new(ErrorReason::SizeBeyondTree, message)
                    .with_field(field)
                    .with_fact("size", published.get()))
            }
        }
    }

    /// An index below the size, named by `field`.
    pub(super) fn index(&self, index: u64, field: &str) -> Result<LeafIndex, Refusal> {
        LeafIndex::new(index).filter(|index| index.is_within(self.size)).ok_or_else(|| {
            let message = format!("index {index} is not below the tree size, {}", self.size.get());
            Refusal::new(ErrorReason::IndexBeyondTree, message)
                .with_field(field)
                .with_fact("size", self.newest.size().get())
        })
    }

    /// The head that goes with the answer.
    pub(super) fn head(&self) -> Option<TreeHead> {
        self.is_newest.then(|| tree_head(&self.newest))
    }
}

fn check_indices(indices: &[u64]) -> Result<(), Refusal> {
    let refuse = |reason, message: String| Refusal::new(reason, message).with_field("indices");
    if indices.is_empty() {
        return Err(refuse(ErrorReason::IndicesEmpty, "ask for at least one index".to_owned()));
    }
    if indices.len() > MAX_PROOF_INDICES {
        let message = format!("{} indices; at most {MAX_PROOF_INDICES} go into one proof", indices.len());
        return Err(refuse(ErrorReason::IndicesTooMany, message).with_fact("limit", MAX_PROOF_INDICES));
    }
    if !indices.is_sorted_by(|one, next| one < next) {
        return Err(refuse(ErrorReason::IndicesUnsorted, "indices must strictly increase".to_owned()));
    }
    Ok(())
}

fn leaf_hash(bytes: &[u8]) -> Result<Hash, Refusal> {
    Hash::try_from(bytes).map_err(|_| {
        let message = format!("a leaf hash has 32 bytes, this has {}", bytes.len());
        Refusal::new(ErrorReason::LeafHashInvalid, message).with_field("leaf_hash")
    })
}

/// The first entry with this leaf hash below `size`.
async fn find(core: &Core, log: &Arc<Log>, leaf: Hash, size: TreeSize) -> Result<LeafIndex, Status> {
    let Some(lookup) = core.lookup.clone() else { return Err(behind(TreeSize::ZERO).into()) };
    let log = log.clone();
    blocking(move || Ok(find_blocking(&*lookup, &log, &leaf, size)?)).await
}

fn find_blocking(
    lookup: &dyn LeafLookup,
    log: &Log,
    leaf: &Hash,
    size: TreeSize,
) -> Result<LeafIndex, Refusal> {
    let name = &log.meta().name;
    let found = lookup.find(name.as_str(), leaf).map_err(|error| {
        tracing::warn!(%error, log = %name, "the index by leaf hash cannot be read");
        behind(TreeSize::ZERO)
    })?;
    match found.index {
        // An index is never trusted: the tree has the last word.
        Some(index) if index.is_within(size) => match log.leaf_hash(index) {
            Ok(stored) if stored == *leaf => Ok(index),
            Ok(_) => {
                tracing::error!(log = %name, index = index.get(), "the index by leaf hash is wrong: rebuild it");
                Err(behind(TreeSize::ZERO))
            }
            Err(error) => Err(refusal::read(&error)),
        },
        None if found.covered < size => Err(behind(found.covered)),
        _ => Err(Refusal::new(
            ErrorReason::LeafHashNotFound,
            "no entry with this leaf hash is below the tree size",
        )
        .with_field("leaf_hash")),
    }
}

fn behind(covered: TreeSize) -> Refusal {
    let message = format!("the index by leaf hash covers {} entries so far: try again later", covered.get());
    Refusal::new(ErrorReason::LeafIndexBehind, message)
        .with_fact("position", covered.get())
        .with_retry_after(INDEX_LAG)
}
