//! The bytes of a segment. All numbers are big-endian; pages are 4,096 bytes.
//!
//! A **segment** is a preallocated file: one header page, then records, each starting on a page of its own. No page
//! that holds an acknowledged byte is ever written again, so a torn page can only hurt what nobody was promised.
//!
//! ```text
//! segment header (first page, the rest of it zero)
//!   0   8  "GRVNSEG1"
//!   8   8  segment number, from 1, without gaps
//!  16  16  nonce, random: bytes left by an earlier use of the file never parse as this segment's
//!  32   4  CRC-32 of bytes 0..32
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
//!   …   …  attachments: entry (4, counted from the section's first), length (4), bytes
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

use bytes::Bytes;
use graven_merkle::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

/// The unit of alignment.
pub(crate) const PAGE_BYTES: usize = 4096;
/// A record's bytes before its body.
pub(crate) const RECORD_HEADER_BYTES: usize = 80;
/// A record's bytes after its body.
const DIGEST_BYTES: usize = 32;
/// Longest body: one commit takes about 1 MiB, or one larger batch, itself bounded by the 4 MiB of a gRPC message;
/// carried entries are split. The rest is headroom for sections.
pub const MAX_BODY_BYTES: usize = 16 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"GRVNSEG1";
const RECORD_MAGIC: &[u8; 4] = b"GREC";
const SECTION_HEADER_BYTES: usize = 32;
const KEY_BYTES: usize = 80;

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
    /// Attachments: entry (counted from the first), bytes.
    pub attachments: Vec<(u32, Bytes)>,
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

/// Where an entries section's bundle bytes lie within their record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleSpan {
    /// Which log.
    pub log: LogId,
    /// Index of the first entry.
    pub first_index: u64,
    /// Number of entries.
    pub count: u32,
    /// Offset from the record's first byte.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
}

/// Builds a record in the buffer that is written, entry by entry, without copying any twice.
pub struct RecordBuilder {
    buf: Vec<u8>,
    leaves: Vec<u8>,
    spans: Vec<BundleSpan>,
    open: Option<OpenSection>,
}

struct OpenSection {
    start: usize,
    log: LogId,
    first_index: u64,
    count: u32,
    keys: Vec<KeyRow>,
    attachments: Vec<u8>,
}

impl Default for RecordBuilder {
    fn default() -> Self {
        Self::with_capacity(PAGE_BYTES)
    }
}

impl RecordBuilder {
    /// An empty record whose buffer holds `bytes` before it grows.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(bytes + PAGE_BYTES);
        buf.resize(RECORD_HEADER_BYTES, 0);
        Self { buf, leaves: Vec::new(), spans: Vec::new(), open: None }
    }

    /// Length of the body so far.
    pub fn body_len(&self) -> usize {
        self.buf.len() - RECORD_HEADER_BYTES
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.buf.len() == RECORD_HEADER_BYTES
    }

    /// Begins a section of entries of `log` from `first_index` on; ends the one before.
    pub fn begin_entries(&mut self, log: LogId, first_index: u64, carried: bool) {
        self.end_entries();
        let start = self.buf.len();
        self.buf.extend_from_slice(&[if carried { 2 } else { 1 }, 0, 0, 0]);
        self.buf.extend_from_slice(&log.0.to_be_bytes());
        self.buf.extend_from_slice(&first_index.to_be_bytes());
        self.buf.resize(start + SECTION_HEADER_BYTES, 0);
        self.open = Some(OpenSection {
            start,
            log,
            first_index,
            count: 0,
            keys: Vec::new(),
            attachments: Vec::new(),
        });
    }

    /// Adds an entry of at most 65,535 bytes to the section that was begun.
    pub fn entry(&mut self, entry: &[u8], leaf: &Hash) {
        let section = self.open.as_mut().expect("begin_entries comes first");
        let len = u16::try_from(entry.len()).expect("the caller bounds entries");
        section.count += 1;
        self.buf.extend_from_slice(&len.to_be_bytes());
        self.buf.extend_from_slice(entry);
        self.leaves.extend_from_slice(leaf.as_bytes());
    }

    /// Adds an idempotency key to the section that was begun.
    pub fn key(&mut self, row: KeyRow) {
        self.open.as_mut().expect("begin_entries comes first").keys.push(row);
    }

    /// Adds an attachment of the `entry`-th entry of the section that was begun.
    pub fn attachment(&mut self, entry: u32, bytes: &[u8]) {
        let attachments = &mut self.open.as_mut().expect("begin_entries comes first").attachments;
        attachments.extend_from_slice(&entry.to_be_bytes());
        attachments.extend_from_slice(&be_len(bytes.len()));
        attachments.extend_from_slice(bytes);
    }

    /// Adds a section that has no entries.
    pub fn section(&mut self, section: &Section) {
        self.end_entries();
        let start = self.buf.len();
        let mut put = |kind: u8, log: u32, words: &[u64]| {
            self.buf.extend_from_slice(&[kind, 0, 0, 0]);
            self.buf.extend_from_slice(&log.to_be_bytes());
            for word in words {
                self.buf.extend_from_slice(&word.to_be_bytes());
            }
        };
        match section {
            Section::State { log, sequenced, sealed } => put(3, log.0, &[*sequenced, *sealed]),
            Section::Sealed { log, sealed } => put(4, log.0, &[*sealed]),
            Section::KeyFloor { issued_ns } => put(5, 0, &[*issued_ns]),
            Section::Entries(_) => unreachable!("entries are added one by one"),
        }
        debug_assert!(self.buf.len() > start);
    }

    fn end_entries(&mut self) {
        let Some(section) = self.open.take() else { return };
        let bundle = section.start + SECTION_HEADER_BYTES;
        let len = self.buf.len() - bundle;
        let header = &mut self.buf[section.start..bundle];
        header[16..20].copy_from_slice(&section.count.to_be_bytes());
        header[20..24].copy_from_slice(&be_len(len));
        header[24..28].copy_from_slice(&be_len(section.keys.len()));
        header[28..32].copy_from_slice(&be_len(section.attachments.len()));
        for row in &section.keys {
            self.buf.extend_from_slice(&row.first.to_be_bytes());
            self.buf.extend_from_slice(&row.count.to_be_bytes());
            self.buf.extend_from_slice(&row.key);
            self.buf.extend_from_slice(&row.request);
            self.buf.extend_from_slice(&row.issued_ns.to_be_bytes());
        }
        self.buf.extend_from_slice(&section.attachments);
        let OpenSection { log, first_index, count, .. } = section;
        self.spans.push(BundleSpan { log, first_index, count, offset: bundle, len });
    }

    /// Completes the record: its bytes padded to whole pages, its digest, and where its bundles lie.
    pub(crate) fn seal(mut self, at: &RecordPlace) -> SealedRecord {
        self.end_entries();
        let body_len = self.body_len();
        let header = &mut self.buf[..RECORD_HEADER_BYTES];
        header[0..4].copy_from_slice(RECORD_MAGIC);
        header[4..8].copy_from_slice(&be_len(body_len));
        header[8..24].copy_from_slice(&at.nonce);
        header[24..32].copy_from_slice(&at.sequence.to_be_bytes());
        header[32..40].copy_from_slice(&at.time_ns.to_be_bytes());
        header[40..72].copy_from_slice(&at.previous);
        let crc = record_crc(&self.buf[..72], &self.buf[RECORD_HEADER_BYTES..]);
        self.buf[72..76].copy_from_slice(&crc.to_be_bytes());
        let digest = record_digest(&self.buf[..RECORD_HEADER_BYTES], &self.leaves);
        self.buf.extend_from_slice(&digest);
        self.buf.resize(self.buf.len().next_multiple_of(PAGE_BYTES), 0);
        SealedRecord { bytes: Bytes::from(self.buf), digest, spans: self.spans }
    }
}

/// What a record's header says about its place.
pub(crate) struct RecordPlace {
    pub(crate) nonce: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) time_ns: u64,
    pub(crate) previous: [u8; 32],
}

/// A record ready to be written.
pub(crate) struct SealedRecord {
    pub(crate) bytes: Bytes,
    pub(crate) digest: [u8; 32],
    pub(crate) spans: Vec<BundleSpan>,
}

fn be_len(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("bodies are bounded by MAX_BODY_BYTES").to_be_bytes()
}

fn record_crc(header: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(body);
    crc.finalize()
}

fn record_digest(header: &[u8], leaves: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(leaves).finalize().into()
}

/// The header page of a segment.
pub(crate) fn segment_header(number: u64, nonce: &[u8; 16]) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    page[0..8].copy_from_slice(SEGMENT_MAGIC);
    page[8..16].copy_from_slice(&number.to_be_bytes());
    page[16..32].copy_from_slice(nonce);
    let crc = crc32fast::hash(&page[..32]);
    page[32..36].copy_from_slice(&crc.to_be_bytes());
    page
}

/// Number and nonce of a segment, or nothing where the page is no segment header.
pub(crate) fn parse_segment_header(page: &[u8]) -> Option<(u64, [u8; 16])> {
    let (fields, crc) = page.get(..36)?.split_at(32);
    let is_header = &fields[..8] == SEGMENT_MAGIC && crc32fast::hash(fields).to_be_bytes() == crc;
    let number = u64::from_be_bytes(fields[8..16].try_into().ok()?);
    is_header.then_some((number, fields[16..32].try_into().ok()?))
}

/// Length in bytes of the record whose header this is, padding included, or nothing where it is no record of the
/// segment with this nonce.
pub(crate) fn record_len(header: &[u8], nonce: &[u8; 16]) -> Option<usize> {
    let header = header.get(..RECORD_HEADER_BYTES)?;
    let body = usize::try_from(u32::from_be_bytes(header[4..8].try_into().ok()?)).ok()?;
    let fits = &header[..4] == RECORD_MAGIC && &header[8..24] == nonce && body <= MAX_BODY_BYTES;
    fits.then(|| (RECORD_HEADER_BYTES + body + DIGEST_BYTES).next_multiple_of(PAGE_BYTES))
}

/// A whole record from its bytes (as many as [`record_len`] said), or nothing where anything in it does not hold.
pub(crate) fn parse_record(bytes: &Bytes) -> Option<Record> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let body_len = usize::try_from(u32::from_be_bytes(header[4..8].try_into().ok()?)).ok()?;
    let body_end = RECORD_HEADER_BYTES.checked_add(body_len)?;
    let body = bytes.get(RECORD_HEADER_BYTES..body_end)?;
    if record_crc(&header[..72], body).to_be_bytes() != header[72..76] {
        return None;
    }
    let mut reader = Reader { rest: bytes.slice(RECORD_HEADER_BYTES..body_end) };
    let (mut sections, mut leaves) = (Vec::new(), Vec::new());
    while !reader.rest.is_empty() {
        let section = reader.section()?;
        if let Section::Entries(entries) = &section {
            leaves.extend(entries.leaf_hashes.iter().flat_map(|leaf| leaf.as_bytes()));
        }
        sections.push(section);
    }
    let digest = record_digest(header, &leaves);
    (bytes.get(body_end..body_end + DIGEST_BYTES)? == digest).then_some(())?;
    Some(Record {
        sequence: u64::from_be_bytes(header[24..32].try_into().ok()?),
        time_ns: u64::from_be_bytes(header[32..40].try_into().ok()?),
        previous: header[40..72].try_into().ok()?,
        sections,
        digest,
    })
}

/// Where the entries of a parsed record lie within its bytes.
pub(crate) fn bundle_spans(record_bytes: &Bytes, record: &Record) -> Vec<BundleSpan> {
    let base = record_bytes.as_ptr() as usize;
    let entries = record.sections.iter().filter_map(|section| match section {
        Section::Entries(entries) => Some(entries),
        _ => None,
    });
    entries
        .map(|section| BundleSpan {
            log: section.log,
            first_index: section.first_index,
            count: u32::try_from(section.leaf_hashes.len()).expect("parsed from 32 bits"),
            offset: section.bundle.as_ptr() as usize - base,
            len: section.bundle.len(),
        })
        .collect()
}

struct Reader {
    rest: Bytes,
}

impl Reader {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        (self.rest.len() >= len).then(|| self.rest.split_to(len))
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?[..].try_into().ok()?))
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?[..].try_into().ok()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?[..].try_into().ok()
    }

    fn section(&mut self) -> Option<Section> {
        let kind = self.u8()?;
        (self.take(3)?[..] == [0, 0, 0]).then_some(())?;
        let log = LogId(self.u32()?);
        Some(match kind {
            1 | 2 => Section::Entries(self.entries(log, kind == 2)?),
            3 => Section::State { log, sequenced: self.u64()?, sealed: self.u64()? },
            4 => Section::Sealed { log, sealed: self.u64()? },
            5 if log.0 == 0 => Section::KeyFloor { issued_ns: self.u64()? },
            _ => return None,
        })
    }

    fn entries(&mut self, log: LogId, carried: bool) -> Option<EntriesSection> {
        let first_index = self.u64()?;
        let count = self.len()?;
        let (bundle_len, key_count, attachments_len) = (self.len()?, self.len()?, self.len()?);
        let bundle = self.take(bundle_len)?;
        let leaf_hashes = bundle_leaves(&bundle, count)?;
        (key_count <= self.rest.len() / KEY_BYTES).then_some(())?;
        let keys = (0..key_count).map(|_| self.key()).collect::<Option<_>>()?;
        let mut blobs = Reader { rest: self.take(attachments_len)? };
        let mut attachments = Vec::new();
        while !blobs.rest.is_empty() {
            let entry = blobs.u32()?;
            let len = blobs.len()?;
            attachments.push((entry, blobs.take(len)?));
        }
        Some(EntriesSection { log, carried, first_index, leaf_hashes, bundle, keys, attachments })
    }

    fn key(&mut self) -> Option<KeyRow> {
        let (first, count) = (self.u32()?, self.u32()?);
        let (key, request) = (self.array()?, self.array()?);
        Some(KeyRow { first, count, key, request, issued_ns: self.u64()? })
    }
}

/// Leaf hashes of exactly `count` entries that fill `bundle` exactly.
pub fn bundle_leaves(bundle: &[u8], count: usize) -> Option<Vec<Hash>> {
    let mut leaves = Vec::with_capacity(count.min(bundle.len() / 2));
    let mut rest = bundle;
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        leaves.push(leaf_hash(tail.get(..len)?));
        rest = &tail[len..];
    }
    (rest.is_empty() && leaves.len() == count).then_some(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (RecordBuilder, RecordPlace) {
        let mut record = RecordBuilder::default();
        record.section(&Section::State { log: LogId(7), sequenced: 41, sealed: 0 });
        record.begin_entries(LogId(7), 41, false);
        for entry in [&b"one"[..], b"", &[9; 300]] {
            record.entry(entry, &leaf_hash(entry));
        }
        record.key(KeyRow { first: 1, count: 2, key: [1; 32], request: [2; 32], issued_ns: 3 });
        record.attachment(2, b"blob");
        record.section(&Section::Sealed { log: LogId(8), sealed: 256 });
        record.section(&Section::KeyFloor { issued_ns: 5 });
        (record, RecordPlace { nonce: [4; 16], sequence: 12, time_ns: 99, previous: [6; 32] })
    }

    #[test]
    fn a_record_is_read_back_as_it_was_built() {
        let (record, place) = sample();
        let sealed = record.seal(&place);
        assert_eq!(record_len(&sealed.bytes, &[4; 16]), Some(sealed.bytes.len()));
        let parsed = parse_record(&sealed.bytes).expect("it was just built");
        assert_eq!((parsed.sequence, parsed.time_ns, parsed.previous), (12, 99, [6; 32]));
        assert_eq!(parsed.digest, sealed.digest);
        assert_eq!(parsed.sections.len(), 4);
        assert_eq!(bundle_spans(&sealed.bytes, &parsed), sealed.spans);
        let Section::Entries(entries) = &parsed.sections[1] else { panic!("the second section has entries") };
        assert_eq!(entries.leaf_hashes, [leaf_hash(b"one"), leaf_hash(b""), leaf_hash(&[9; 300])]);
        assert_eq!(entries.attachments, [(2, Bytes::from_static(b"blob"))]);
        assert_eq!(entries.keys.len(), 1);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let (record, place) = sample();
        let sealed = record.seal(&place);
        let used = sealed.bytes.iter().rposition(|byte| *byte != 0).expect("a digest is not all zero") + 1;
        for bit in 0..used * 8 {
            let mut bytes = sealed.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_record = record_len(&bytes, &[4; 16]) == Some(bytes.len());
            assert!(!is_record || parse_record(&Bytes::from(bytes)).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_other_bytes_is_none() {
        let page = segment_header(3, &[7; 16]);
        assert_eq!(parse_segment_header(&page), Some((3, [7; 16])));
        for bit in 0..36 * 8 {
            let mut page = page.clone();
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_segment_header(&page), None);
        }
    }
}
