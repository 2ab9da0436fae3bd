//! Reading headers and records back: nothing where anything does not hold.

use bytes::Bytes;
use graven_merkle::{Hash, leaf_hash};

use super::layout::{
    ATTACHMENT_FRAME_BYTES, BundleSpan, DIGEST_BYTES, EntriesSection, KEY_BYTES, KeyRow, LogId,
    MAX_BODY_BYTES, PAGE_BYTES, RECORD_HEADER_BYTES, RECORD_MAGIC, Record, SEGMENT_MAGIC, Section,
    record_crc, record_digest,
};

/// Offset of a header's second copy: in another sector than the first.
const SECOND_HEADER: usize = PAGE_BYTES / 2;
const SEGMENT_HEADER_BYTES: usize = 44;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    pub(super) nonce: [u8; 16],
    /// Length of the file in bytes.
    pub(super) len: u64,
}

impl SegmentHeader {
    /// The header page.
    pub(super) fn page(&self) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        let mut copy = [&SEGMENT_MAGIC[..], &number, &self.nonce, &self.len.to_be_bytes()].concat();
        copy.extend_from_slice(&crc32fast::hash(&copy).to_be_bytes());
        let mut page = vec![0; PAGE_BYTES];
        for at in [0, SECOND_HEADER] {
            page[at..at + SEGMENT_HEADER_BYTES].copy_from_slice(&copy);
        }
        page
    }

    /// The header that a page holds, from whichever copy is whole. Where a crash left the first new and the second
    /// old, or the other way round, either is right: nothing was written under the new one yet.
    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        [0, SECOND_HEADER].into_iter().find_map(|at| Self::copy(page.get(at..at + SEGMENT_HEADER_BYTES)?))
    }

    fn copy(copy: &[u8]) -> Option<Self> {
        let (fields, crc) = copy.split_last_chunk::<4>()?;
        let holds = fields.starts_with(SEGMENT_MAGIC) && crc32fast::hash(fields).to_be_bytes() == *crc;
        holds.then_some(())?;
        Some(Self {
            number: u64::from_be_bytes(fields.get(8..16)?.try_into().ok()?),
            nonce: fields.get(16..32)?.try_into().ok()?,
            len: u64::from_be_bytes(fields.get(32..40)?.try_into().ok()?),
        })
    }
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
    let (stored, padding) = bytes.get(body_end..)?.split_at_checked(DIGEST_BYTES)?;
    // Padding that is not zero was never written: a torn record, or a damaged one.
    (stored == digest && padding.iter().all(|byte| *byte == 0)).then_some(())?;
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
    let within = |part: &Bytes| {
        // What is empty may point anywhere.
        let start = if part.is_empty() { 0 } else { part.as_ptr() as usize - base };
        start..start + part.len()
    };
    let entries = record.sections.iter().filter_map(|section| match section {
        Section::Entries(entries) => Some(entries),
        _ => None,
    });
    entries
        .map(|section| BundleSpan {
            log: section.log,
            first_index: section.first_index,
            count: u32::try_from(section.leaf_hashes.len()).expect("parsed from 32 bits"),
            bundle: within(&section.bundle),
            attachments: within(&section.attachments),
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
        let attachments = self.take(attachments_len)?;
        attachments_hold(&attachments, count).then_some(())?;
        Some(EntriesSection { log, carried, first_index, leaf_hashes, bundle, keys, attachments })
    }

    fn key(&mut self) -> Option<KeyRow> {
        let (first, count) = (self.u32()?, self.u32()?);
        let (key, request) = (self.array()?, self.array()?);
        Some(KeyRow { first, count, key, request, issued_ns: self.u64()? })
    }
}

/// The attachments of an entries section: of which entry, counted from the section's first, and their bytes.
pub fn attachments(block: &Bytes) -> impl Iterator<Item = (u32, Bytes)> + '_ {
    let mut reader = Reader { rest: block.clone() };
    std::iter::from_fn(move || {
        let entry = reader.u32()?;
        let len = reader.len()?;
        Some((entry, reader.take(len)?))
    })
}

/// Whether a block is attachments, at most one of each of `count` entries, in order.
fn attachments_hold(block: &Bytes, count: usize) -> bool {
    let (mut next, mut bytes) = (0, 0);
    for (entry, attachment) in attachments(block) {
        if entry < next || entry as usize >= count {
            return false;
        }
        next = entry + 1;
        bytes += ATTACHMENT_FRAME_BYTES + attachment.len();
    }
    bytes == block.len()
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
    use crate::journal::builder::{RecordBuilder, RecordPlace};

    fn sample() -> (RecordBuilder, RecordPlace) {
        let mut record = RecordBuilder::default();
        record.section(&Section::State { log: LogId(7), sequenced: 41, sealed: 0 });
        record.begin_entries(LogId(7), 41, false);
        for entry in [&b"one"[..], b"", &[9; 300]] {
            record.entry(entry, &leaf_hash(entry));
        }
        record.key(KeyRow { first: 1, count: 2, key: [1; 32], request: [2; 32], issued_ns: 3 });
        record.attachment(0, b"first");
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
        let attached: Vec<_> = attachments(&entries.attachments).collect();
        assert_eq!(attached, [(0, Bytes::from_static(b"first")), (2, Bytes::from_static(b"blob"))]);
        assert_eq!(entries.keys.len(), 1);
    }

    #[test]
    fn attachments_of_no_entry_or_out_of_order_are_no_record() {
        for (holds, entries) in [(true, &[0, 1][..]), (false, &[2]), (false, &[1, 1]), (false, &[1, 0])] {
            let mut record = RecordBuilder::default();
            record.begin_entries(LogId(1), 0, false);
            [b"a", b"b"].iter().for_each(|entry| record.entry(*entry, &leaf_hash(*entry)));
            entries.iter().for_each(|entry| record.attachment(*entry, b"x"));
            let place = RecordPlace { nonce: [4; 16], sequence: 1, time_ns: 1, previous: [0; 32] };
            assert_eq!(parse_record(&record.seal(&place).bytes).is_some(), holds, "{entries:?}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let (record, place) = sample();
        let sealed = record.seal(&place);
        for bit in 0..sealed.bytes.len() * 8 {
            let mut bytes = sealed.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_record = record_len(&bytes, &[4; 16]) == Some(bytes.len());
            assert!(!is_record || parse_record(&Bytes::from(bytes)).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_outlives_any_one_flipped_bit_and_not_two() {
        let header = SegmentHeader { number: 3, nonce: [7; 16], len: 65_536 };
        let page = header.page();
        for bit in 0..PAGE_BYTES * 8 {
            let mut page = page.clone();
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::parse(&page), Some(header));
            page[(bit / 8 + SECOND_HEADER) % PAGE_BYTES] ^= 1 << (bit % 8);
            let is_header = bit / 8 % SECOND_HEADER < SEGMENT_HEADER_BYTES;
            assert_eq!(SegmentHeader::parse(&page).is_none(), is_header, "bit {bit}");
        }
    }
}
