//! Entries, fetched and verified.

use std::ops::Range;

use bytes::Bytes;
use graven_merkle::{Hash, LeafIndex, TreeSize, leaf_hash, verify_inclusion};
use graven_proto::{convert::required, limits::MAX_RANGE_ENTRIES, v1};

use crate::{
    LogClient, ReadError, VerifiedHead,
    call::call_log,
    range::{RangeReader, begins_signed_tree, frontier_before},
};

/// The most bytes of entries that [`LogClient::entries`] holds in memory.
const MAX_RANGE_BYTES: usize = 256 << 20;

/// An entry that is in the log, as a signed head states it.
#[derive(Clone, Debug)]
pub struct VerifiedEntry {
    index: LeafIndex,
    leaf_hash: Hash,
    bytes: Bytes,
    head: VerifiedHead,
}

impl VerifiedEntry {
    /// Where it stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// Its bytes, as they were appended.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The hash of its bytes.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The tree head that vouches for it.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

/// A run of entries that is in the log, as a signed head states it.
#[derive(Clone, Debug)]
pub struct VerifiedEntries {
    first: u64,
    entries: Vec<Bytes>,
    head: VerifiedHead,
}

impl VerifiedEntries {
    /// The entries with their indices, in order.
    pub fn iter(&self) -> impl Iterator<Item = (LeafIndex, &Bytes)> {
        (self.first..).filter_map(LeafIndex::new).zip(&self.entries)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none, which no answer is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tree head that vouches for them.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

impl LogClient {
    /// The entry at `index`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn entry(&self, index: LeafIndex) -> Result<VerifiedEntry, ReadError> {
        let known = self.follower().kept().await?;
        let request = v1::GetEntryAndProofRequest { log: self.name(), index: index.get(), tree_size: 0 };
        let answer = call_log(self.pool(), self.pool().retries(), &request, |mut log, request| async move {
            log.get_entry_and_proof(request).await
        })
        .await?;
        let head = self.follower().accept_message(answer.head, known.as_ref()).await?;
        let proof = required("proof", answer.proof)?.to_merkle()?;
        let leaf_hash = leaf_hash(&answer.entry);
        verify_inclusion(leaf_hash, index, head.size(), &proof, head.root())?;
        Ok(VerifiedEntry { index, leaf_hash, bytes: answer.entry, head })
    }

    /// The entries at `indices`: at most 65,536 of them and 256 MiB, as all are held in memory until they are
    /// verified.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn entries(&self, indices: Range<u64>) -> Result<VerifiedEntries, ReadError> {
        if indices.is_empty() {
            return Err(ReadError::EmptyRange);
        }
        let head = self.tree_head().await?;
        let size = head.size();
        let (Some(start), true) = (TreeSize::new(indices.start), indices.end <= size.get()) else {
            return Err(ReadError::BeyondTree { asked: indices.end, size });
        };
        if indices.end - indices.start > MAX_RANGE_ENTRIES {
            return Err(ReadError::RangeTooLong(indices.end - indices.start));
        }
        let mut frontier = frontier_before(self.appender(), start, head.size()).await?;
        let mut reader = RangeReader::open(self.appender(), indices.start, indices.end).await?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(run) = reader.next().await? {
            for (entry, hash) in run {
                bytes += entry.len();
                frontier.push(hash);
                entries.push(entry);
            }
            if bytes > MAX_RANGE_BYTES {
                return Err(ReadError::RangeTooLong(indices.end - indices.start));
            }
        }
        begins_signed_tree(self.appender(), &frontier, &head).await??;
        Ok(VerifiedEntries { first: indices.start, entries, head })
    }
}
