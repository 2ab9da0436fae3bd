//! How far the rules of a log have read, kept in a file.
//!
//! ```text
//! NAME.alerts, beside the indexes
//!   0   8  "GRVALRT1"
//!   8   8  position, big-endian: every leaf below was looked at, and what it raised is durable
//!  16  32  leaf hash of the leaf before it: it counts only where the log has that leaf there
//! ```
//!
//! It only saves reading again: without it, nothing is lost and nothing said twice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_merkle::leaf_hash;
use graven_store::Fs;
use graven_store::fs::Mode;

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;

/// How often the position is kept.
const KEEP_INTERVAL: Duration = Duration::from_secs(2);

const MAGIC: &[u8; 8] = b"GRVALRT1";
const POSITION_BYTES: u64 = 48;

/// Where the position is kept.
pub(super) struct Place {
    fs: Arc<dyn Fs>,
    file: PathBuf,
    /// What was kept last.
    pub(super) kept: u64,
    when: Instant,
}

/// A position, about to be written.
pub(super) struct Keeping {
    book: Arc<Book>,
    fs: Arc<dyn Fs>,
    file: PathBuf,
    position: u64,
}

impl Place {
    /// The place of a log, with what was kept there, if it is of this log.
    pub(super) fn new(audit: &Audit, book: &Book) -> Self {
        let file = audit.index_dir.join(format!("{}.alerts", book.log.meta().name));
        let mut place = Self { fs: audit.env.fs.clone(), file, kept: 0, when: Instant::now() };
        place.kept = place.read(book).unwrap_or(0);
        place
    }

    fn read(&self, book: &Book) -> Option<u64> {
        let bytes = self.fs.read(&self.file, POSITION_BYTES).ok()?;
        let (position, hash) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let position = u64::from_be_bytes(*position);
        let before = position.checked_sub(1)?;
        (before < book.log.durable_size() && book.hash_at(before).ok()? == hash).then_some(position)
    }

    /// The position, where it is time to keep it.
    pub(super) fn keep(&mut self, book: &Arc<Book>, position: u64) -> Option<Keeping> {
        if position <= self.kept || self.when.elapsed() < KEEP_INTERVAL {
            return None;
        }
        (self.kept, self.when) = (position, Instant::now());
        let (book, fs, file) = (book.clone(), self.fs.clone(), self.file.clone());
        Some(Keeping { book, fs, file, position })
    }
}

impl Keeping {
    /// Writes it. It holds up the thread.
    pub(super) fn write(&self) -> Result<(), AuditError> {
        let Some(before) = self.position.checked_sub(1) else { return Ok(()) };
        let hash = self.book.hash_at(before)?;
        let bytes = [&MAGIC[..], &self.position.to_be_bytes(), &hash].concat();
        Ok(self.fs.replace_durable(&self.file, &bytes, Mode::Shared)?)
    }
}

impl Book {
    fn hash_at(&self, index: u64) -> Result<[u8; 32], AuditError> {
        let leaf = self.log.durable_entries(index..index + 1)?.pop().ok_or(AuditError::Damaged(index))?;
        Ok(*leaf_hash(&leaf).as_bytes())
    }
}
