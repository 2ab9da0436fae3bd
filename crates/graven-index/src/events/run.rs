//! Runs: write-once files that say which leaves of a range have which terms.
//!
//! A run covers a chunk of leaves, 65,536, or sixteen chunks that small runs were merged from. Which leaves, its name says; what it holds
//! stands in [pages](super::pages), whose seal is SHA-256 of the index's identity, the run's start and its length. All numbers are
//! big-endian, but for varints and bitmaps.
//!
//! ```text
//! START-LEAVES (hexadecimal first index, decimal count)
//!     times   8n  log time of each leaf, never falling
//!             8n  event time of each leaf; all ones: none
//!     lists    …  of terms with longer ones, one after the other
//!     terms    …  begins with a page: entries by rising term; no entry reaches over two pages, and a length of
//!                 zero ends a page
//!                 varint length of the term ‖ term ‖ varint length of its list ‖
//!                     up to 64 bytes: the list; longer: where it begins (8)
//!     end     64  begins with a page: "GRVEIDX1" ‖ start (8) ‖ leaves (8) ‖ first page of terms (8)
//!                 ‖ leaf hash of the last leaf (32)
//! ```
//!
//! A term is found by halving: each page of terms begins with an entry of its own, so some sixteen pages are read.

use std::io;
use std::path::Path;

use graven_merkle::Hash;
use graven_store::Fs;

use super::bits::{put_varint, take_varint};
use super::lists::{List, MAX_HEADS_BYTES, MAX_LIST_BYTES, Posting, encode_lists, heads_of, lists_of};
use super::pages::{HELD, Pages, PagesWriter, Seal, damaged};

const MAGIC: &[u8; 8] = b"GRVEIDX1";
const END_BYTES: usize = 64;
/// Longest list that stands with its term.
const INLINE_BYTES: usize = 64;
/// Longest term: two bytes, and what a value may have.
const MAX_TERM_BYTES: usize = 1024;
const NO_TIME: u64 = u64::MAX;

/// The times of leaves, in order.
#[derive(Clone, Default)]
pub(crate) struct Times {
    pub(crate) logged: Vec<u64>,
    pub(crate) happened: Vec<u64>,
}

impl Times {
    pub(crate) fn push(&mut self, logged: u64, happened: Option<u64>) {
        self.logged.push(logged);
        self.happened.push(happened.unwrap_or(NO_TIME));
    }
}

/// Which leaves a run covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) leaves: u64,
}

impl Span {
    pub(crate) fn end(self) -> u64 {
        self.start + self.leaves
    }

    pub(crate) fn file_name(self) -> String {
        format!("{:016x}-{}", self.start, self.leaves)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (start, leaves) = name.split_once('-')?;
        let span = Self { start: u64::from_str_radix(start, 16).ok()?, leaves: leaves.parse().ok()? };
        span.start.checked_add(span.leaves)?;
        (span.file_name() == name && span.leaves > 0).then_some(span)
    }
}

/// An open run.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) span: Span,
    pub(crate) last: Hash,
    pages: Pages,
    /// The first page of terms.
    terms: u64,
}

impl Run {
    pub(crate) fn open(fs: &dyn Fs, path: &Path, span: Span, seal: Seal) -> io::Result<Self> {
        let pages = Pages::open(fs, path, seal)?;
        let last_page = pages.count.checked_sub(1).ok_or_else(|| damaged("it is empty"))?;
        let end = pages.pages(last_page..pages.count)?;
        let number = |at: usize| end[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let is_of = end[..8] == *MAGIC && (number(8), number(16)) == (span.start, span.leaves);
        let last = Hash::try_from(&end[32..END_BYTES]).map_err(|_| damaged("it has no end"))?;
        if !is_of || number(24) > last_page {
            return Err(damaged("it is not the run that its name says"));
        }
        Ok(Self { span, last, pages, terms: number(24) })
    }

    /// The places of a term.
    pub(crate) fn lists(&self, term: &[u8]) -> io::Result<Option<Found>> {
        let mut found = None;
        self.from(term, |entry| {
            if entry.term == term {
                found = Some(entry.found());
            }
            Ok(false)
        })?;
        Ok(found)
    }

    /// All terms that begin with `prefix`, in order.
    pub(crate) fn each_with_prefix(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], Found) -> io::Result<()>,
    ) -> io::Result<()> {
        self.from(prefix, |entry| {
            let is_one = entry.term.starts_with(prefix);
            if is_one {
                each(entry.term, entry.found())?;
            }
            Ok(is_one)
        })
    }

    /// Everything that it has, in order.
    pub(crate) fn postings(&self) -> Postings<'_> {
        Postings { run: self, page: self.terms, entries: Vec::new().into_iter() }
    }

    /// The lists behind what was found, of one chunk or of all.
    pub(crate) fn read(&self, found: &Found, chunk: Option<u8>) -> io::Result<Vec<List>> {
        let (at, bytes) = match found {
            Found::Here(list) => return lists_of(list, chunk),
            Found::At { at, bytes } => (*at, *bytes),
        };
        let end = at.checked_add(bytes).filter(|end| *end <= self.terms * HELD as u64);
        let end = end
            .filter(|_| bytes <= MAX_LIST_BYTES)
            .ok_or_else(|| damaged("a list is not where lists are"))?;
        let Some(chunk) = chunk else { return lists_of(&self.pages.bytes(at..end)?, None) };
        let heads = self.pages.bytes(at..end.min(at + MAX_HEADS_BYTES))?;
        let Some(list) = heads_of(&heads)?.into_iter().find(|head| head.chunk == chunk) else {
            return Ok(Vec::new());
        };
        let data = self.pages.bytes(at + list.at..(at + list.at + list.bytes).min(end))?;
        Ok(vec![List { chunk, count: list.count, data }])
    }

    /// Places of leaves from `from` on, counted within the run, up to `to`.
    pub(crate) fn logged(&self, from: u64, to: u64) -> io::Result<Vec<u64>> {
        self.numbers(from, to)
    }

    pub(crate) fn happened(&self, from: u64, to: u64) -> io::Result<Vec<u64>> {
        self.numbers(self.span.leaves + from, self.span.leaves + to)
    }

    fn numbers(&self, from: u64, to: u64) -> io::Result<Vec<u64>> {
        let bytes = self.pages.bytes(from * 8..to * 8)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number)).collect())
    }

    /// Goes through the entries from the first that is not below `term`, for as long as `each` says.
    fn from(&self, term: &[u8], mut each: impl FnMut(Entry<'_>) -> io::Result<bool>) -> io::Result<()> {
        // The last page that begins below the term, or with it.
        let (mut low, mut high) = (self.terms, self.pages.count - 1);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let page = self.pages.pages(middle..middle + 1)?;
            match entries(&page).next().transpose()? {
                Some(first) if first.term <= term => low = middle,
                _ => high = middle,
            }
        }
        for number in low..self.pages.count - 1 {
            let page = self.pages.pages(number..number + 1)?;
            for entry in entries(&page) {
                let entry = entry?;
                if entry.term >= term && !each(entry)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Where a term's list is.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Here(Vec<u8>),
    At { at: u64, bytes: u64 },
}

struct Entry<'a> {
    term: &'a [u8],
    bytes: u64,
    rest: &'a [u8],
}

impl Entry<'_> {
    fn found(&self) -> Found {
        match self.rest.first_chunk::<8>() {
            Some(at) if self.bytes > INLINE_BYTES as u64 => {
                Found::At { at: u64::from_be_bytes(*at), bytes: self.bytes }
            }
            _ => Found::Here(self.rest.to_vec()),
        }
    }
}

fn entries(page: &[u8]) -> impl Iterator<Item = io::Result<Entry<'_>>> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let entry = take_entry(&mut rest);
        entry.map(|entry| entry.ok_or_else(|| damaged("an entry of a term is cut short")))
    })
}

/// `None`: there is no more. `Some(None)`: what there is, is none.
fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<Option<Entry<'a>>> {
    if rest.first().is_none_or(|length| *length == 0) {
        return None;
    }
    let mut take = || {
        let length = usize::try_from(take_varint(rest)?).ok()?;
        let (term, after) = rest.split_at_checked(length)?;
        *rest = after;
        let bytes = take_varint(rest)?;
        let here = if bytes > INLINE_BYTES as u64 { 8 } else { usize::try_from(bytes).ok()? };
        let (list, after) = rest.split_at_checked(here)?;
        *rest = after;
        Some(Entry { term, bytes, rest: list })
    };
    let entry = take();
    if entry.is_none() {
        *rest = &[];
    }
    Some(entry)
}

/// Goes through a run.
pub(crate) struct Postings<'a> {
    run: &'a Run,
    page: u64,
    entries: std::vec::IntoIter<(Vec<u8>, Found)>,
}

impl Postings<'_> {
    fn next_posting(&mut self) -> io::Result<Option<Posting>> {
        loop {
            if let Some((term, found)) = self.entries.next() {
                return Ok(Some(Posting { term, lists: self.run.read(&found, None)? }));
            }
            let end = self.run.pages.count - 1;
            if self.page >= end {
                return Ok(None);
            }
            let page = self.run.pages.pages(self.page..self.page + 1)?;
            self.page += 1;
            let entries: io::Result<Vec<_>> =
                entries(&page).map(|entry| entry.map(|entry| (entry.term.to_vec(), entry.found()))).collect();
            self.entries = entries?.into_iter();
        }
    }
}

impl Iterator for Postings<'_> {
    type Item = io::Result<Posting>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_posting().transpose()
    }
}

/// Writes a run: its times first, then its postings by rising term. Its name is the caller's to make durable.
pub(crate) fn write(
    fs: &dyn Fs,
    path: &Path,
    (span, seal, last): (Span, Seal, Hash),
    times: impl Iterator<Item = io::Result<Times>>,
    postings: impl Iterator<Item = io::Result<Posting>>,
) -> io::Result<()> {
    let mut out = PagesWriter::begin(fs, path, seal)?;
    let mut happened = Vec::new();
    for times in times {
        let times = times?;
        times.logged.iter().try_for_each(|time| out.put(&time.to_be_bytes()))?;
        happened.extend(times.happened);
    }
    happened.iter().try_for_each(|time| out.put(&time.to_be_bytes()))?;
    // The terms' pages follow on the lists, so they wait in memory: some 30 bytes a leaf.
    let mut terms = Vec::new();
    for posting in postings {
        let Posting { term, lists } = posting?;
        if lists.is_empty() || term.len() > MAX_TERM_BYTES {
            continue;
        }
        let list = encode_lists(&lists);
        let mut entry = Vec::with_capacity(term.len() + 16);
        put_varint(&mut entry, term.len() as u64);
        entry.extend(&term);
        put_varint(&mut entry, list.len() as u64);
        if list.len() > INLINE_BYTES {
            entry.extend(out.len().to_be_bytes());
            out.put(&list)?;
        } else {
            entry.extend(&list);
        }
        let room = HELD - terms.len() % HELD;
        if entry.len() > room {
            terms.resize(terms.len() + room, 0);
        }
        terms.extend(&entry);
    }
    out.align()?;
    let first_page = out.pages();
    out.put(&terms)?;
    out.align()?;
    let numbers = [span.start, span.leaves, first_page].map(u64::to_be_bytes);
    out.put(&[&MAGIC[..], &numbers.concat(), last.as_bytes()].concat())?;
    out.finish()
}
