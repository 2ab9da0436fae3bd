//! Auditing a log behind gRPC.
//!
//! Every entry is read and hashed, in pages. After each page the tree so far is shown to begin the signed one
//! by one consistency proof. Where that fails, the first entry that is not the signed one is found by halving
//! the page with more proofs: at most one for each bit of the page's length.

use graven_merkle::{Frontier, Hash, LeafIndex};
use thiserror::Error;

use super::{Audited, Auditor, Finding, Progress};
use crate::{
    LogClient, ReadError, VerifiedHead,
    range::{RangeReader, begins_signed_tree},
};

/// Entries of one page: 64 full bundles. A damaged page is halved 14 times.
const PAGE_ENTRIES: u64 = 16_384;

/// Why an audit did not end well.
#[derive(Debug, Error)]
pub enum RemoteAuditError {
    /// The log is not what its head signs.
    #[error(transparent)]
    Found(#[from] Box<Finding>),
    /// The log could not be read, or its head is not acceptable.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Finding> for RemoteAuditError {
    fn from(finding: Finding) -> Self {
        Self::Found(Box::new(finding))
    }
}

impl LogClient {
    /// Reads and hashes every entry of the log, up to its newest head.
    ///
    /// # Errors
    /// [`RemoteAuditError::Found`] where the log is not what was signed.
    pub async fn audit(&self, mut progress: impl FnMut(Progress)) -> Result<Audited, RemoteAuditError> {
        let head = self.tree_head().await.map_err(ReadError::from)?;
        let mut auditor = Auditor::new();
        while auditor.frontier().size() < head.size() {
            let before = auditor.frontier().clone();
            let first = before.size().get();
            let end = head.size().get().min(first + PAGE_ENTRIES);
            let hashes = self.audit_page(&mut auditor, first, end).await?;
            if begins_signed_tree(self.appender(), auditor.frontier(), &head).await?.is_err() {
                return Err(self.first_unsigned(before, &hashes, &head).await?.into());
            }
            progress(auditor.progress(&head));
        }
        Ok(auditor.finish(&head)?)
    }

    async fn audit_page(
        &self,
        auditor: &mut Auditor,
        first: u64,
        end: u64,
    ) -> Result<Vec<Hash>, RemoteAuditError> {
        let mut hashes = Vec::new();
        let mut reader = RangeReader::open(self.appender(), first, end).await?;
        let mut indices = (first..).filter_map(LeafIndex::new);
        while let Some(run) = reader.next().await? {
            for ((entry, hash), index) in run.into_iter().zip(&mut indices) {
                auditor.push_hash(index, hash, entry.len())?;
                hashes.push(hash);
            }
        }
        Ok(hashes)
    }

    /// Of leaves whose tree does not begin the signed one, though that of the leaves before them does, the first
    /// that breaks it.
    async fn first_unsigned(
        &self,
        before: Frontier,
        hashes: &[Hash],
        head: &VerifiedHead,
    ) -> Result<Finding, RemoteAuditError> {
        let (mut good, mut rest) = (before, hashes);
        while rest.len() > 1 {
            let (left, right) = rest.split_at(rest.len() / 2);
            let mut middle = good.clone();
            middle.append(left.iter().copied());
            if begins_signed_tree(self.appender(), &middle, head).await?.is_ok() {
                (good, rest) = (middle, right);
            } else {
                rest = left;
            }
        }
        Ok(Finding::NotSigned { index: good.size().get() })
    }
}
