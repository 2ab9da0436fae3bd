//! Runs of entries, verified at the cost of hashing them.
//!
//! The first `end` entries of a log have one root. Where it is known to begin the signed tree, each of those
//! entries is known. So a run `[start, end)` takes two short proofs, however long it is:
//!
//! ```text
//! left siblings of entry `start`   the frontier of the first `start` entries
//! + the run's own leaf hashes      the frontier, and with it the root, of the first `end` entries
//! consistency proof end → head     this root begins the signed tree, so everything above is genuine
//! ```
//!
//! The frontier is not believed for itself: were it wrong, the root would be another.

use bytes::Bytes;
use graven_merkle::{
    Frontier, Hash, InclusionProof, LeafIndex, TreeSize, VerifyError, leaf_hash, verify_consistency,
};
use graven_proto::{
    convert::required,
    v1::{self, get_inclusion_proof_request::Target},
};
use tonic::{Request, Streaming};

use crate::{Appender, CallError, ReadError, VerifiedHead, call::call_log, follow::fetch_consistency};

/// The frontier of the first `size` entries as the server tells it, not verified. `size` is not 0 and below the
/// head's.
pub(crate) async fn frontier_before(
    log: &Appender,
    size: TreeSize,
    head_size: TreeSize,
) -> Result<Frontier, ReadError> {
    let Some(index) = size.next_index().filter(|_| !size.is_empty()) else {
        return Ok(Frontier::new());
    };
    let request = v1::GetInclusionProofRequest {
        log: log.name().to_owned(),
        target: Some(Target::Index(index.get())),
        tree_size: head_size.get(),
    };
    let answer = call_log(log.pool(), log.pool().retries(), &request, |mut log, request| async move {
        log.get_inclusion_proof(request).await
    })
    .await?;
    let proof = required("proof", answer.proof)?.to_merkle()?;
    left_of(index, head_size, &proof).ok_or(ReadError::WrongAnswer("a proof of another length"))
}

/// The frontier of everything left of leaf `index`: the left siblings on its way up, one for each bit of the
/// index that is set. `None` where the proof has not the length that it must have.
fn left_of(index: LeafIndex, size: TreeSize, proof: &InclusionProof) -> Option<Frontier> {
    let (position, last) = (index.get(), size.last_index()?.get());
    let depth = u64::BITS - last.leading_zeros();
    let levels = (0..depth).filter(|level| (position >> level) ^ 1 <= last >> level);
    if levels.clone().count() != proof.hashes().len() {
        return None;
    }
    let left = levels.zip(proof.hashes()).filter(|(level, _)| position >> level & 1 == 1);
    let mut peaks: Vec<Hash> = left.map(|(_, hash)| *hash).collect();
    peaks.reverse(); // The largest subtree first.
    Frontier::from_peaks(TreeSize::new(position)?, peaks)
}

/// Asks the server whether the tree of this frontier begins the signed one. The inner error says that it does
/// not, or that the server cannot show it.
pub(crate) async fn begins_signed_tree(
    log: &Appender,
    frontier: &Frontier,
    head: &VerifiedHead,
) -> Result<Result<(), VerifyError>, ReadError> {
    let proof = fetch_consistency(log, frontier.size(), head.size()).await?;
    Ok(verify_consistency(frontier.size(), &frontier.root(), head.size(), head.root(), &proof))
}

/// The entries of a range as they come, counted but not verified.
pub(crate) struct RangeReader {
    messages: Streaming<v1::GetEntriesResponse>,
    next: u64,
    end: u64,
}

impl RangeReader {
    /// Asks for the entries from `first` to `end`, at most as many as one request may ask for.
    pub(crate) async fn open(log: &Appender, first: u64, end: u64) -> Result<Self, ReadError> {
        let request = v1::GetEntriesRequest { log: log.name().to_owned(), first, count: end - first };
        let answer = log.pool().log_service().get_entries(Request::new(request)).await;
        let messages = answer.map_err(|status| CallError::new(status, 1))?.into_inner();
        Ok(Self { messages, next: first, end })
    }

    /// The next entries, each with its hash; `None` when all of the range came.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Bytes, Hash)>>, ReadError> {
        let message = self.messages.message().await.map_err(|status| CallError::new(status, 1))?;
        let Some(message) = message else {
            let complete = self.next == self.end;
            return if complete { Ok(None) } else { Err(ReadError::WrongAnswer("fewer entries")) };
        };
        let count = u64::try_from(message.entries.len()).unwrap_or(u64::MAX);
        if message.first_index != self.next || count == 0 || count > self.end - self.next {
            return Err(ReadError::WrongAnswer("entries of another range"));
        }
        self.next += count;
        let hashed = message.entries.into_iter().map(|entry| {
            let hash = leaf_hash(&entry);
            (entry, hash)
        });
        Ok(Some(hashed.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_merkle::{HashReader, NodeId, prove_inclusion};
    use std::{collections::HashMap, convert::Infallible};

    struct Nodes(HashMap<NodeId, Hash>);

    impl HashReader for Nodes {
        type Error = Infallible;
        fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
            Ok(ids.iter().map(|id| self.0[id]).collect())
        }
    }

    #[test]
    fn an_inclusion_proof_holds_the_frontier_before_its_leaf() {
        let mut nodes = Nodes(HashMap::new());
        let (mut frontier, mut before) = (Frontier::new(), vec![Frontier::new()]);
        for n in 0..70_u8 {
            frontier.push_with(leaf_hash(&[n]), |id, hash| {
                nodes.0.insert(id, hash);
            });
            before.push(frontier.clone());
        }
        for size in 1..=70_u32 {
            for index in 0..size {
                let proof = prove_inclusion(&nodes, index.into(), size.into()).unwrap();
                let found = left_of(index.into(), size.into(), &proof);
                assert_eq!(found.as_ref(), Some(&before[usize::try_from(index).unwrap()]));
                let mut longer = proof.into_hashes();
                longer.push(leaf_hash(b""));
                assert_eq!(left_of(index.into(), size.into(), &longer.try_into().unwrap()), None);
            }
        }
    }
}
