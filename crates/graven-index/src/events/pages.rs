//! Files of pages that are checked whenever they are read.
//!
//! ```text
//! page number n, 4,096 bytes
//!      0  4092  bytes n × 4,092 and on of what the file holds
//!   4092     4  CRC-32 of the file's seal (32 bytes), n (8 bytes, big-endian) and these bytes
//! ```
//!
//! The seal says of what a file is; a page of another file or another place does not pass for this one. A damaged page is
//! noticed exactly when it could have led to a wrong answer.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use graven_store::Fs;
use graven_store::fs::{File, Mode, Open};

pub(crate) const PAGE: usize = 4096;
/// What a page holds.
pub(crate) const HELD: usize = PAGE - 4;
/// Bytes of one write.
const WRITE_BYTES: usize = 64 * PAGE;

/// What a file is of.
pub(crate) type Seal = [u8; 32];

/// A file of pages.
#[derive(Clone)]
pub(crate) struct Pages {
    file: Arc<dyn File>,
    seal: Seal,
    pub(crate) count: u64,
}

impl Pages {
    pub(crate) fn open(fs: &dyn Fs, path: &Path, seal: Seal) -> io::Result<Self> {
        let file = fs.open(path, Open::Read)?;
        let len = file.len()?;
        if !len.is_multiple_of(PAGE as u64) {
            return Err(damaged("it does not end with a page"));
        }
        Ok(Self { file, seal, count: len / PAGE as u64 })
    }

    /// What pages hold, one after the other.
    pub(crate) fn pages(&self, pages: Range<u64>) -> io::Result<Vec<u8>> {
        if pages.end > self.count {
            return Err(damaged("it names a page that it does not have"));
        }
        let count = usize::try_from(pages.end.saturating_sub(pages.start)).map_err(io::Error::other)?;
        let mut bytes = vec![0; count * PAGE];
        self.file.read_exact_at(&mut bytes, pages.start * PAGE as u64)?;
        for (at, number) in (0..count).zip(pages) {
            let page = &bytes[at * PAGE..(at + 1) * PAGE];
            if page[HELD..] != crc(&self.seal, number, &page[..HELD]).to_be_bytes() {
                return Err(damaged("a page does not pass its check"));
            }
            bytes.copy_within(at * PAGE..at * PAGE + HELD, at * HELD);
        }
        bytes.truncate(count * HELD);
        Ok(bytes)
    }

    /// A range of what the file holds.
    pub(crate) fn bytes(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let held = HELD as u64;
        let first = range.start / held;
        let mut bytes = self.pages(first..range.end.div_ceil(held).max(first))?;
        let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        bytes.drain(..usize::try_from(range.start % held).unwrap_or(0).min(bytes.len()));
        bytes.truncate(len);
        (bytes.len() == len).then_some(bytes).ok_or_else(|| damaged("a range is cut short"))
    }
}

/// Writes a file of pages from its beginning.
pub(crate) struct PagesWriter {
    file: Arc<dyn File>,
    seal: Seal,
    /// Pages that are complete.
    pages: u64,
    /// Complete pages that are not written yet.
    unwritten: Vec<u8>,
    /// What the next page holds so far.
    held: Vec<u8>,
}

impl PagesWriter {
    pub(crate) fn begin(fs: &dyn Fs, path: &Path, seal: Seal) -> io::Result<Self> {
        if fs.exists(path)? {
            fs.remove_file(path)?;
        }
        let file = fs.open(path, Open::New(Mode::Private))?;
        Ok(Self { file, seal, pages: 0, unwritten: Vec::new(), held: Vec::new() })
    }

    /// How much it holds so far.
    pub(crate) fn len(&self) -> u64 {
        self.pages * HELD as u64 + self.held.len() as u64
    }

    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(HELD - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() == HELD {
                self.end_page()?;
            }
        }
        Ok(())
    }

    /// Fills a page that was begun with zeros.
    pub(crate) fn align(&mut self) -> io::Result<()> {
        if self.held.is_empty() { Ok(()) } else { self.end_page() }
    }

    /// The number of the next page.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Makes it durable, but for its name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.align()?;
        self.write()?;
        self.file.sync_data()
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.held.resize(HELD, 0);
        let crc = crc(&self.seal, self.pages, &self.held);
        self.unwritten.append(&mut self.held);
        self.unwritten.extend_from_slice(&crc.to_be_bytes());
        self.pages += 1;
        if self.unwritten.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let at = self.pages * PAGE as u64 - self.unwritten.len() as u64;
        self.file.write_all_at(&self.unwritten, at)?;
        self.unwritten.clear();
        Ok(())
    }
}

fn crc(seal: &Seal, page: u64, held: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(seal);
    crc.update(&page.to_be_bytes());
    crc.update(held);
    crc.finalize()
}

pub(crate) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
