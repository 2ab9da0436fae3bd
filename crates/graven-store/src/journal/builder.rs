//! Building a record, in the buffer that is written.

use bytes::Bytes;
use graven_merkle::Hash;

use super::layout::{
    BundleSpan, KEY_BYTES, KeyRow, LogId, PAGE_BYTES, RECORD_HEADER_BYTES, RECORD_MAGIC,
    SECTION_HEADER_BYTES, Section, record_crc, record_digest,
};

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

    /// Length of the body so far, with the keys and attachments of the section that is still open.
    pub fn body_len(&self) -> usize {
        let open = self.open.as_ref();
        let waiting = open.map_or(0, |section| section.keys.len() * KEY_BYTES + section.attachments.len());
        self.buf.len() - RECORD_HEADER_BYTES + waiting
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

    /// Adds the attachment of the `entry`-th entry of the section that was begun, after those of entries before it.
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
        let attachments = self.buf.len()..self.buf.len() + section.attachments.len();
        self.buf.extend_from_slice(&section.attachments);
        let OpenSection { log, first_index, count, .. } = section;
        self.spans.push(BundleSpan { log, first_index, count, bundle: bundle..bundle + len, attachments });
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
