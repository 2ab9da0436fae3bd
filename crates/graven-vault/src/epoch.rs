//! One epoch of a vault: its key, and the segments that are sealed under it.
//!
//! Everything the vault knows lies under one epoch key. Nothing of an epoch is ever rewritten but its wrapped key, once, with
//! random bytes, when another epoch has taken its place: that is the erasure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_store::fs::{Mode, Open};
use graven_store::{ChainFile, Fs};

use crate::error::OpenError;
use crate::files::{self, HEAD, Kind, MAX_WRAPPED_BYTES, Stamp, check_segment, damaged, io_at};
use crate::master::{MasterError, MasterKey};
use crate::rows::{MAX_PAGE_BYTES, Page, Read, Row};
use crate::secret::{Entropy, SecretKey};
use crate::sight::{Last, read_rows};

/// Segments end near this length: opening a vault holds one of them in memory, and a change of epoch writes one at a time.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

/// Records of a segment that holds nothing: its first, and the empty one at its end.
const NEW_RECORDS: u32 = 2;

/// Where a vault lies, and what it needs.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) entropy: Entropy,
    pub(crate) dir: PathBuf,
    /// [`SEGMENT_BYTES`], but in tests.
    pub(crate) segment_bytes: u64,
}

impl Home {
    fn page(&self) -> Page {
        Page::new(
            usize::try_from(self.segment_bytes).map_or(MAX_PAGE_BYTES, |bytes| bytes.min(MAX_PAGE_BYTES)),
        )
    }
}

/// A new epoch of which nothing is written yet.
pub(crate) struct Draft {
    stamp: Stamp,
    key: SecretKey,
    wrapped: Vec<u8>,
}

/// An epoch that is written to.
pub(crate) struct Epoch {
    home: Home,
    pub(crate) stamp: Stamp,
    key: SecretKey,
    /// The last segment.
    chain: ChainFile,
    segment: u32,
    /// Records in it.
    records: u32,
}

impl Draft {
    /// A key for an epoch, wrapped. Nothing is written.
    pub(crate) fn new(entropy: &Entropy, stamp: Stamp, master: &dyn MasterKey) -> Result<Self, MasterError> {
        let key = SecretKey::random(entropy)
            .map_err(|error| MasterError::Unavailable(format!("no randomness: {error}")))?;
        let wrapped = master.wrap(&key, &stamp.preamble(Kind::Key))?;
        if wrapped.len() > MAX_WRAPPED_BYTES {
            return Err(MasterError::Unavailable(format!(
                "it wraps a key in {} bytes; at most {MAX_WRAPPED_BYTES} are kept",
                wrapped.len()
            )));
        }
        Ok(Self { stamp, key, wrapped })
    }

    /// Writes the epoch, with all its rows, durably. It does not count before the head says so.
    pub(crate) fn write<'a>(
        self,
        home: &Home,
        rows: impl Iterator<Item = Row<'a>>,
    ) -> Result<Epoch, OpenError> {
        let Self { stamp, key, wrapped } = self;
        let path = stamp.key_path(&home.dir);
        home.fs.create_durable(&path, &stamp.key_file(&wrapped), Mode::Private).map_err(io_at(&path))?;
        let mut segment = Segment::new(0, stamp);
        let mut page = home.page();
        for row in rows {
            if !page.has_room(row) {
                let is_full = segment.bytes >= home.segment_bytes;
                if is_full {
                    page.push(Row::Next);
                }
                segment.push(page, home, &key)?;
                page = home.page();
                if is_full {
                    let number = segment.number + 1;
                    segment.create(home)?;
                    segment = Segment::new(number, stamp);
                }
            }
            page.push(row);
        }
        if !page.is_empty() {
            segment.push(page, home, &key)?;
        }
        let (number, records) = (segment.number, segment.count() + 1);
        let chain = segment.create(home)?;
        Ok(Epoch { home: home.clone(), stamp, key, chain, segment: number, records })
    }
}

/// A segment that is not on disk yet.
struct Segment {
    number: u32,
    stamp: Stamp,
    payloads: Vec<Vec<u8>>,
    bytes: u64,
}

impl Segment {
    fn new(number: u32, stamp: Stamp) -> Self {
        Self { number, stamp, payloads: vec![stamp.segment(number).to_vec()], bytes: 0 }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.payloads.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, page: Page, home: &Home, key: &SecretKey) -> Result<(), OpenError> {
        let place = place(&self.stamp, self.number, self.count());
        let payload = page.seal(key, &place, &home.entropy).map_err(OpenError::Entropy)?;
        self.bytes += payload.len() as u64;
        self.payloads.push(payload);
        Ok(())
    }

    /// Writes it whole, with an empty record at its end: whatever stands before is known to be damaged if it does not hold.
    fn create(mut self, home: &Home) -> Result<ChainFile, OpenError> {
        self.payloads.push(Vec::new());
        let path = self.stamp.segment_path(&home.dir, self.number);
        ChainFile::create_with(&*home.fs, &path, &self.payloads).map_err(io_at(&path))
    }
}

impl Epoch {
    /// Reads the epoch that the head names, to write on, and hands over each row in order; a row that is refused is damage.
    pub(crate) fn load(
        home: &Home,
        stamp: Stamp,
        master: &dyn MasterKey,
        keep: impl FnMut(Read) -> Result<(), &'static str>,
    ) -> Result<Self, OpenError> {
        let open = |path: &Path| ChainFile::open(&*home.fs, path);
        let (key, Last { segment, records, mut chain }) =
            read_rows((&*home.fs, &home.dir), stamp, master, open, keep)?;
        if is_stray(&*home.fs, &home.dir, &stamp, segment + 1)? {
            let path = stamp.segment_path(&home.dir, segment + 1);
            home.fs.remove_file(&path).map_err(io_at(&path))?;
            home.fs.sync_dir(&home.dir).map_err(io_at(&home.dir))?;
        }
        chain.mark().map_err(io_at(&stamp.segment_path(&home.dir, segment)))?;
        Ok(Self { home: home.clone(), stamp, key, chain, segment, records })
    }

    /// Adds rows, durable when this returns. After an error the caller stops for good.
    pub(crate) fn append<'a>(&mut self, rows: impl Iterator<Item = Row<'a>>) -> Result<(), OpenError> {
        let mut page = self.home.page();
        for row in rows {
            if !page.has_room(row) {
                self.append_page(std::mem::replace(&mut page, self.home.page()))?;
            }
            page.push(row);
        }
        if page.is_empty() { Ok(()) } else { self.append_page(page) }
    }

    fn append_page(&mut self, mut page: Page) -> Result<(), OpenError> {
        let goes_on = self.chain.len() >= self.home.segment_bytes;
        if !goes_on {
            return self.append_sealed(page);
        }
        // The next segment is there before the row that leads to it: a crash between the two leaves one that is empty,
        // and removed. Without the row, a segment that got lost would not be missed.
        page.push(Row::Next);
        let next = Segment::new(self.segment + 1, self.stamp).create(&self.home)?;
        self.append_sealed(page)?;
        (self.chain, self.segment, self.records) = (next, self.segment + 1, NEW_RECORDS);
        Ok(())
    }

    fn append_sealed(&mut self, page: Page) -> Result<(), OpenError> {
        let place = place(&self.stamp, self.segment, self.records);
        let payload = page.seal(&self.key, &place, &self.home.entropy).map_err(OpenError::Entropy)?;
        let path = self.stamp.segment_path(&self.home.dir, self.segment);
        self.chain.append(&payload).and_then(|()| self.chain.mark()).map_err(io_at(&path))?;
        self.records += 1;
        Ok(())
    }

    /// Makes this the epoch that counts: the one step by which an erasure happens.
    pub(crate) fn enthrone(&self) -> Result<(), OpenError> {
        let path = self.home.dir.join(HEAD);
        self.home.fs.replace_durable(&path, &self.stamp.head_file(), Mode::Private).map_err(io_at(&path))
    }

    /// Destroys every other epoch, whether it counted before or was never finished: first all keys, then the files.
    pub(crate) fn destroy_others(&self) -> Result<(), OpenError> {
        let Home { fs, dir, .. } = &self.home;
        let names = fs.list(dir).map_err(io_at(dir))?;
        let others: Vec<_> =
            names.iter().filter(|name| !self.owns(name)).filter(|name| is_ours(name)).collect();
        if others.is_empty() {
            return Ok(());
        }
        // The head that was read may be one that only the system's cache has.
        fs.sync_dir(dir).map_err(io_at(dir))?;
        for name in others.iter().filter(|name| name.contains(".key")) {
            overwrite(&self.home, &dir.join(name))?;
        }
        for name in &others {
            let path = dir.join(name);
            fs.remove_file(&path).map_err(io_at(&path))?;
        }
        fs.sync_dir(dir).map_err(io_at(dir))
    }

    fn owns(&self, name: &str) -> bool {
        let epoch = self.stamp.epoch;
        let is_whole = !name.ends_with(".tmp");
        is_whole
            && (name == HEAD
                || name == format!("epoch-{epoch}.key")
                || name.starts_with(&format!("epoch-{epoch}-")))
    }
}

/// Puts random bytes where a wrapped key was, on the disk and in place.
fn overwrite(home: &Home, path: &Path) -> Result<(), OpenError> {
    let io = io_at(path);
    let file = home.fs.open(path, Open::ReadWrite).map_err(&io)?;
    let len = usize::try_from(file.len().map_err(&io)?).unwrap_or(usize::MAX);
    let mut noise = vec![0; len.min(files::SECTOR_BYTES)];
    (home.entropy)(&mut noise).map_err(OpenError::Entropy)?;
    file.write_all_at(&noise, 0).map_err(&io)?;
    file.sync_data().map_err(&io)
}

/// Whether a crash left a segment before the row that leads to it. One that holds anything is no such, and damage.
pub(crate) fn is_stray(fs: &dyn Fs, dir: &Path, stamp: &Stamp, number: u32) -> Result<bool, OpenError> {
    let path = stamp.segment_path(dir, number);
    if !fs.exists(&path).map_err(io_at(&path))? {
        return Ok(false);
    }
    let payloads = ChainFile::peek(fs, &path).map_err(io_at(&path))?;
    check_segment(&path, stamp, number, payloads.first())?;
    if payloads.iter().skip(1).any(|payload| !payload.is_empty()) {
        return Err(damaged(&path, "no segment before leads to it"));
    }
    Ok(true)
}

/// Whether a file is of the vault, and not something that somebody put beside it.
pub(crate) fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    let is_of_epoch = |rest: &str| {
        let body = rest.strip_suffix(".key").or_else(|| rest.strip_suffix(".subjects"));
        body.is_some_and(|body| body.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    };
    name == HEAD || name.strip_prefix("epoch-").is_some_and(is_of_epoch)
}

/// What a page is bound to.
pub(crate) fn place(stamp: &Stamp, segment: u32, record: u32) -> Vec<u8> {
    [&stamp.segment(segment)[..], &record.to_be_bytes()].concat()
}
