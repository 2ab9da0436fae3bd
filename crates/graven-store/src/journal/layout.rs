//! The bytes of a segment. All numbers are big-endian; pages are 4,096 bytes.
//!
//! A **segment** is a preallocated file: one header page, then records, each starting on a page of its own. No page
//! that holds an acknowledged byte is ever written again, so a torn page can only hurt what nobody was promised.
//!
//! ```text
//! segment header (first page; twice, at 0 and at 2,048, so that it outlives a bad sector and a torn write; the rest zero)
//!   0   8  "GRVNSEG1"
//!   8   8  segment number, from 1, without gaps
//!  16  16  nonce, random: bytes left by an earlier use of the file never parse as this segment's
//!  32   8  length of the file in bytes: a shorter one was cut
//!  40   4  CRC-32 of bytes 0..40
//!
//! record
//!   0   4  "GREC"
//!   4   4  length of the body in bytes
//!   8  16  nonce of the segment
//!  24   8  sequence number, from 1, without gaps across segments
//!  32   8  log time of everything in the record: nanoseconds since 1970
//!  40  32  digest of the previous record (zero before the first)
//!  72   4  CRC-32 of bytes 0..72 and of the body
//!  76   4  zero
//!  80   …  body: sections, one after the other
//!   …  32  digest: SHA-256 of bytes 0..80, then the leaf hash of each entry of the body in order
//!   …      zero to the end of the page
//! ```
//!
//! The CRC finds accidents anywhere in the record at memory speed; the digest binds every entry, through the leaf
//! hash that the tree needs anyway, and chains the records.
//!
//! ```text
//! section: entries (type 1) and entries carried forward from an older segment (type 2)
//!   0   1  type
//!   1   3  zero
//!   4   4  log
//!   8   8  index of the first entry
//!  16   4  number of entries
//!  20   4  length of the entries in bytes
//!  24   4  number of idempotency keys
//!  28   4  length of the attachments in bytes
//!  32   …  entries: length (2), bytes — the encoding of a C2SP entry bundle
//!   …   …  keys, 80 each: first entry (4, counted from the section's first), number of entries (4),
//!          key digest (32), request digest (32), time of issue (8, nanoseconds since 1970)
//!   …   …  attachments, at most one of an entry, in the order of entries:
//!          entry (4, counted from the section's first), length (4), bytes
//!
//! section: state of a log (type 3; a segment's first record holds one for each log)
//!   0   1  type
//!   1   3  zero
//!   4   4  log
//!   8   8  sequenced: entries with an index
//!  16   8  sealed: entries in durable objects
//!
//! section: progress of sealing (type 4)
//!   0   1  type
//!   1   3  zero
//!   4   4  log
//!   8   8  sealed: entries in durable objects
//!
//! section: floor of the idempotency window (type 5)
//!   0   1  type
//!   1   7  zero
//!   8   8  keys issued at or before this time may have been forgotten: nanoseconds since 1970
//! ```

use std::ops::Range;

use bytes::Bytes;
use graven_merkle::Hash;
use sha2::{Digest, Sha256};

/// The unit of alignment.
pub(crate) const PAGE_BYTES: usize = 4096;
/// A record's bytes before its body.
pub(crate) const RECORD_HEADER_BYTES: usize = 80;
/// A record's bytes after its body.
pub(super) const DIGEST_BYTES: usize = 32;
/// Longest body: one commit takes about 1 MiB, or one larger batch, itself bounded by the 4 MiB of a gRPC message;
/// carried entries are split. The rest is headroom for sections.
pub const MAX_BODY_BYTES: usize = 16 << 20;

pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"GRVNSEG1";
pub(super) const RECORD_MAGIC: &[u8; 4] = b"GREC";
pub(super) const SECTION_HEADER_BYTES: usize = 32;
pub(super) const KEY_BYTES: usize = 80;
/// What an attachment has beside its bytes.
pub const ATTACHMENT_FRAME_BYTES: usize = 8;

/// Number of a log within its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// One idempotency key as journalled. Digests are keyed by the caller, so neither the key nor the request can be
/// guessed from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// First entry of the request, counted from the section's first.
    pub first: u32,
    /// Number of entries of the request.
    pub count: u32,
    /// Keyed digest of the log and the idempotency key.
    pub key: [u8; 32],
    /// Keyed digest of the request as received.
    pub request: [u8; 32],
    /// When the caller first used the key, nanoseconds since 1970.
    pub issued_ns: u64,
}

/// A part of a record's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Entries of one log.
    Entries(EntriesSection),
    /// Where a log stood when the segment began.
    State {
        /// Which log.
        log: LogId,
        /// Entries with an index.
        sequenced: u64,
        /// Entries in durable objects.
        sealed: u64,
    },
    /// A log's objects are durable up to here.
    Sealed {
        /// Which log.
        log: LogId,
        /// Entries in durable objects.
        sealed: u64,
    },
    /// Keys issued at or before this time may have been forgotten.
    KeyFloor {
        /// Nanoseconds since 1970.
        issued_ns: u64,
    },
}

/// Entries of one log with what must live with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntriesSection {
    /// Which log.
    pub log: LogId,
    /// Whether an older segment held them too.
    pub carried: bool,
    /// Index of the first entry.
    pub first_index: u64,
    /// Leaf hashes of the entries, recomputed from the bytes; as many as there are entries.
    pub leaf_hashes: Vec<Hash>,
    /// The entries as in a C2SP entry bundle: length (2), bytes, each.
    pub bundle: Bytes,
    /// Idempotency keys of the requests that brought the entries.
    pub keys: Vec<KeyRow>,
    /// Attachments, as they stand in the record: see [`attachments`](super::attachments).
    pub attachments: Bytes,
}

/// A record as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Sequence number.
    pub sequence: u64,
    /// Log time of everything in it, nanoseconds since 1970.
    pub time_ns: u64,
    /// Its parts.
    pub sections: Vec<Section>,
    pub(crate) previous: [u8; 32],
    pub(crate) digest: [u8; 32],
}

/// Where an entries section's bundle and attachments lie within their record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSpan {
    /// Which log.
    pub log: LogId,
    /// Index of the first entry.
    pub first_index: u64,
    /// Number of entries.
    pub count: u32,
    /// The entries, counted from the record's first byte.
    pub bundle: Range<usize>,
    /// Their attachments, likewise.
    pub attachments: Range<usize>,
}

pub(super) fn record_crc(header: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(body);
    crc.finalize()
}

pub(super) fn record_digest(header: &[u8], leaves: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(leaves).finalize().into()
}
