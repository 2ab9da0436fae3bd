//! The entries that are durable in the journal and not yet in sealed bundles, in memory and with their place on disk.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::{Hash, leaf_hash};
use graven_store::fs::File;
use graven_store::journal::{self, BundleSpan, LogId, RecordBuilder, Stored, bundle_leaves};

use crate::pool::FRAME_BYTES;

/// Entries of one journal record.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// In the encoding of an entry bundle.
    pub(crate) bundle: Bytes,
    /// As they stand in the record.
    attachments: Bytes,
    pub(crate) segment: u64,
    file: Arc<dyn File>,
    offset: u64,
}

impl Chunk {
    /// The chunks of one record that belong to `log`.
    pub(crate) fn of(stored: &Stored, log: LogId) -> impl Iterator<Item = Self> + '_ {
        stored.spans.iter().filter(move |span| span.log == log).map(|span| Self::at(stored, span))
    }

    pub(crate) fn at(stored: &Stored, span: &BundleSpan) -> Self {
        Self {
            first: span.first_index,
            count: span.count,
            bundle: stored.bytes.slice(span.bundle.clone()),
            attachments: stored.bytes.slice(span.attachments.clone()),
            segment: stored.segment,
            file: stored.file.clone(),
            offset: stored.offset + span.bundle.start as u64,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The leaf hashes of the entries, from the bytes as storage gives them back now.
    pub(crate) fn stored_leaves(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<Hash>> {
        buffer.resize(self.bundle.len(), 0);
        self.file.read_exact_at(buffer, self.offset)?;
        let count = usize::try_from(self.count).map_err(io::Error::other)?;
        bundle_leaves(buffer, count).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "stored entries are not as they were written")
        })
    }

    /// The entries from index `from` (at least the first) to before `to`.
    fn entries(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + '_ {
        let skip = usize::try_from(range.start.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let take = range.end.min(self.end()).saturating_sub(range.start.max(self.first));
        self.spans().skip(skip).take(usize::try_from(take).unwrap_or(0)).map(|span| self.bundle.slice(span))
    }

    /// The attachments of the entries of a range, each with its entry's index, in order.
    fn attachments(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        journal::attachments(&self.attachments)
            .map(|(entry, bytes)| (self.first + u64::from(entry), bytes))
            .filter(move |(index, _)| range.contains(index))
    }

    /// The entries of a range, and what is attached to some of them by their index.
    pub(crate) fn unsealed(&self, range: Range<u64>) -> (Vec<Bytes>, BTreeMap<u64, Bytes>) {
        (self.entries(range.clone()).collect(), self.attachments(range).collect())
    }

    /// Length of its entries and attachments.
    fn len(&self) -> usize {
        self.bundle.len() + self.attachments.len()
    }

    /// What [`carry_into`](Self::carry_into) adds to a record.
    pub(crate) fn carried_bytes(&self) -> usize {
        FRAME_BYTES + self.len()
    }

    /// Writes the entries again with their attachments, as carried ones.
    pub(crate) fn carry_into(&self, record: &mut RecordBuilder, log: LogId) {
        record.begin_entries(log, self.first, true);
        for span in self.spans() {
            let entry = &self.bundle[span];
            record.entry(entry, &leaf_hash(entry));
        }
        for (entry, attachment) in journal::attachments(&self.attachments) {
            record.attachment(entry, &attachment);
        }
    }

    fn spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        spans(&self.bundle)
    }
}

/// Where each entry lies in a bundle, without its length.
fn spans(bundle: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_be_bytes(bundle.get(at..at + 2)?.try_into().ok()?));
        let span = at + 2..at + 2 + len;
        at = span.end;
        Some(span)
    })
}

/// The attachments of a range with the indices of their entries, in order, as far as chunks have them.
pub(crate) fn attachments(chunks: &[Chunk], range: Range<u64>) -> Vec<(u64, Bytes)> {
    chunks.iter().flat_map(|chunk| chunk.attachments(range.clone())).collect()
}

/// Chunks in index order, without gaps.
#[derive(Default)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn push(&mut self, chunk: Chunk) {
        debug_assert!(self.chunks.back().is_none_or(|last| last.end() == chunk.first));
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Length of all entries and attachments together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest journal segment that holds one of the entries.
    pub(crate) fn oldest_segment(&self) -> Option<u64> {
        self.chunks.iter().map(|chunk| chunk.segment).min()
    }

    /// Lets go of entries before `index`, as far as whole chunks go.
    pub(crate) fn drop_before(&mut self, index: u64) {
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.end() <= index) {
            self.bytes -= chunk.len();
        }
    }

    /// Takes out every chunk, to be put back from newer records.
    pub(crate) fn take(&mut self) -> VecDeque<Chunk> {
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
    }

    /// The chunks that touch a range; cheap, their bytes are shared.
    pub(crate) fn chunks_in(&self, range: Range<u64>) -> Vec<Chunk> {
        let start = self.chunks.partition_point(|chunk| chunk.end() <= range.start);
        self.chunks.range(start..).take_while(|chunk| chunk.first < range.end).cloned().collect()
    }

    /// The entries of a range, or nothing where the tail does not reach back to its start.
    pub(crate) fn entries(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        let chunks = self.chunks_in(range.clone());
        if chunks.first().is_none_or(|chunk| chunk.first > range.start) {
            return None;
        }
        Some(chunks.iter().flat_map(|chunk| chunk.entries(range.start.max(chunk.first)..range.end)).collect())
    }

    /// A range as bundles, or nothing where the tail does not reach back to its start.
    pub(crate) fn bundles(&self, range: Range<u64>) -> Option<Bundles> {
        let mut chunks = self.chunks_in(range.clone()).into_iter();
        let first = chunks.next()?;
        let skip = usize::try_from(range.start.checked_sub(first.first)?).ok()?;
        let mut rest = first.bundle;
        take_entries(&mut rest, skip);
        Some(Bundles { chunks, rest })
    }
}

/// Goes through entries from left to right, once, and cuts them into bundles.
pub(crate) struct Bundles {
    chunks: std::vec::IntoIter<Chunk>,
    rest: Bytes,
}

impl Bundles {
    /// The next `width` entries, if there are as many: without a copy where one record holds them all.
    pub(crate) fn next(&mut self, width: u16) -> Option<Bytes> {
        let mut missing = usize::from(width);
        let mut bundle = Vec::new();
        loop {
            let (part, count) = take_entries(&mut self.rest, missing);
            missing -= count;
            if missing == 0 && bundle.is_empty() {
                return Some(part);
            }
            bundle.extend_from_slice(&part);
            if missing == 0 {
                return Some(bundle.into());
            }
            self.rest = self.chunks.next()?.bundle;
        }
    }
}

/// Splits up to `most` entries off the front of a bundle, and says how many.
fn take_entries(bundle: &mut Bytes, most: usize) -> (Bytes, usize) {
    let (count, end) = spans(bundle).take(most).fold((0, 0), |(count, _), span| (count + 1, span.end));
    (bundle.split_to(end), count)
}
