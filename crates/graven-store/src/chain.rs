//! A small append-only file of records, each durable when [`ChainFile::append`] returns: the signer's memory.
//!
//! ```text
//! record, one after the other from byte 0; numbers big-endian
//!   0   4  "GCHN"
//!   4   4  length of the payload in bytes, at most 1 MiB
//!   8  32  digest of the previous record (zero before the first)
//!  40   …  payload
//!   …  32  digest: SHA-256 of everything before it in this record
//! ```
//!
//! The last record may be torn by a crash and is then cut off: its append never returned. A record that does not hold
//! with a whole one anywhere behind it is damage, and refused; so is a first one that does not hold (a file begins its
//! life with it), and a tail longer than one record. Damage to the last record cannot be told from a torn one: what was
//! published, and witnesses, show that a signer is behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::fs::{File, Fs, Mode, Open};

const MAGIC: &[u8; 4] = b"GCHN";
const HEADER_BYTES: usize = 40;
const DIGEST_BYTES: usize = 32;
/// Longest payload.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Longest file that is written or opened: rotation keeps real ones far below.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Longest record.
const MAX_RECORD_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES + DIGEST_BYTES;
/// Most bytes that are hashed in search of a whole record in a tail, which a torn payload full of would-be headers
/// could make quadratic. A tail that takes more is refused as damage.
const MAX_SEARCH_BYTES: usize = 64 << 20;

/// Why a chain file does not open.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Storage failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What storage said.
        source: io::Error,
    },
    /// A record does not hold, and a later one does.
    #[error("{path} is damaged at byte {offset}: restore the data directory from a copy")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first bad record begins.
        offset: usize,
    },
}

/// The file, open at its end.
pub struct ChainFile {
    file: Arc<dyn File>,
    end: u64,
    previous: [u8; 32],
    /// A write or a sync did not succeed: nothing is known of what storage kept.
    failed: bool,
}

impl ChainFile {
    /// Makes a new file that already holds `first`, durably and in one step.
    pub fn create(fs: &dyn Fs, path: &Path, first: &[u8]) -> io::Result<Self> {
        Self::create_with(fs, path, &[first])
    }

    /// Makes a new file that already holds several payloads, durably and in one step.
    pub fn create_with<P: AsRef<[u8]>>(fs: &dyn Fs, path: &Path, payloads: &[P]) -> io::Result<Self> {
        let payload_bytes: usize = payloads.iter().map(|payload| payload.as_ref().len()).sum();
        let mut bytes = Vec::with_capacity(payload_bytes + payloads.len() * (HEADER_BYTES + DIGEST_BYTES));
        let mut previous = [0; 32];
        for payload in payloads {
            let (record, digest) = frame(payload.as_ref(), previous);
            bytes.extend_from_slice(&record);
            previous = digest;
        }
        fs.replace_durable(path, &bytes, Mode::Private)?;
        Ok(Self { file: fs.open(path, Open::ReadWrite)?, end: bytes.len() as u64, previous, failed: false })
    }

    /// Opens a file: itself, and its payloads in order, all of them durable.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<(Self, Vec<Vec<u8>>), ChainError> {
        let io = |source| ChainError::Io { path: path.to_owned(), source };
        let bytes = fs.read(path, MAX_FILE_BYTES).map_err(io)?;
        let (payloads, end, previous) = undamaged(path, &bytes)?;
        let last = payloads.last().map_or(0, |payload| HEADER_BYTES + payload.len() + DIGEST_BYTES);
        let file = fs.open(path, Open::ReadWrite).map_err(io)?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - end, "cutting off a record that was not finished");
            file.set_len(end as u64).map_err(io)?;
        }
        // The last record may be one whose sync never returned, read from a cache: the same bytes over themselves tear
        // nothing, and once synced it counts like any other, before anyone acts on it or writes behind it.
        let start = end - last;
        file.write_all_at(&bytes[start..end], start as u64).and_then(|()| file.sync_data()).map_err(io)?;
        Ok((Self { file, end: end as u64, previous, failed: false }, payloads))
    }

    /// The payloads of a file that nobody is writing, as [`open`](Self::open) would find them, without changing a byte.
    pub fn look(fs: &dyn Fs, path: &Path) -> Result<Vec<Vec<u8>>, ChainError> {
        let io = |source| ChainError::Io { path: path.to_owned(), source };
        undamaged(path, &fs.read(path, MAX_FILE_BYTES).map_err(io)?).map(|(payloads, ..)| payloads)
    }

    /// The payloads of a file that somebody else may be writing, up to the last whole record.
    pub fn peek(fs: &dyn Fs, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        Ok(parse(&fs.read(path, MAX_FILE_BYTES)?).0)
    }

    /// Adds a record and makes it durable. After an error the caller stops for good.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(
                "an earlier write to this file failed: start again, from what is on disk",
            ));
        }
        let (bytes, digest) = frame(payload, self.previous);
        if self.end + bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the file would be too long to be opened again",
            ));
        }
        self.failed = true;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.failed = false;
        self.end += bytes.len() as u64;
        self.previous = digest;
        Ok(())
    }

    /// Writes an empty record behind the last one, which is neither synced nor counted: the next append takes its place. Once
    /// the system has written it, the last record is followed by a whole one, so that its damage is refused and not taken
    /// for a torn append. A reader passes over empty payloads.
    pub fn mark(&mut self) -> io::Result<()> {
        let (bytes, _) = frame(&[], self.previous);
        let was_failed = std::mem::replace(&mut self.failed, true);
        self.file.write_all_at(&bytes, self.end)?;
        self.failed = was_failed;
        Ok(())
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }
}

fn frame(payload: &[u8], previous: [u8; 32]) -> (Vec<u8>, [u8; 32]) {
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "the caller bounds payloads");
    let len = u32::try_from(payload.len()).expect("MAX_PAYLOAD_BYTES fits 32 bits");
    let mut bytes = [&MAGIC[..], &len.to_be_bytes(), &previous, payload].concat();
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&digest);
    (bytes, digest)
}

/// Payloads, the end of the last whole record, and its digest.
type Parsed = (Vec<Vec<u8>>, usize, [u8; 32]);

/// What [`parse`] finds, where what follows it is nothing, or an append that broke off.
fn undamaged(path: &Path, bytes: &[u8]) -> Result<Parsed, ChainError> {
    let (payloads, end, previous) = parse(bytes);
    if payloads.is_empty() || !is_torn(&bytes[end..]) {
        return Err(ChainError::Damaged { path: path.to_owned(), offset: end });
    }
    Ok((payloads, end, previous))
}

fn parse(bytes: &[u8]) -> Parsed {
    let (mut payloads, mut end, mut previous) = (Vec::new(), 0, [0; 32]);
    while let Some((payload, before, digest)) = whole(&bytes[end..]) {
        if before != previous {
            break;
        }
        end += HEADER_BYTES + payload.len() + DIGEST_BYTES;
        previous = digest;
        payloads.push(payload.to_vec());
    }
    (payloads, end, previous)
}

/// Whether what stands behind the last whole record can be one that was being written.
fn is_torn(tail: &[u8]) -> bool {
    let mut searched = 0;
    let mut starts =
        tail.windows(MAGIC.len()).enumerate().filter(|(_, magic)| magic == MAGIC).map(|(at, _)| at);
    let is_damage = starts.any(|at| {
        searched += record_bytes(&tail[at..]).unwrap_or(0);
        searched > MAX_SEARCH_BYTES || whole(&tail[at..]).is_some()
    });
    tail.len() <= MAX_RECORD_BYTES && !is_damage
}

/// Length of the record at the beginning of `bytes` by its header, if they are as many.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(MAGIC))?;
    let payload = usize::try_from(u32::from_be_bytes(header[4..8].try_into().ok()?)).ok()?;
    let len = HEADER_BYTES + Some(payload).filter(|len| *len <= MAX_PAYLOAD_BYTES)? + DIGEST_BYTES;
    (len <= bytes.len()).then_some(len)
}

/// The record at the beginning of `bytes`: payload, digest of the one before, digest.
fn whole(bytes: &[u8]) -> Option<(&[u8], [u8; 32], [u8; 32])> {
    let (record, digest) = bytes[..record_bytes(bytes)?].split_last_chunk::<DIGEST_BYTES>()?;
    let expected: [u8; 32] = Sha256::digest(record).into();
    (*digest == expected).then_some((&record[HEADER_BYTES..], record[8..40].try_into().ok()?, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Seed, SimFs};

    const PATH: &str = "/d/chain";

    fn with_records(count: u8) -> SimFs {
        let fs = SimFs::new();
        fs.create_dir_all(Path::new("/d")).unwrap();
        let mut chain = ChainFile::create(&fs, Path::new(PATH), &[0]).unwrap();
        for n in 1..count {
            chain.append(&vec![n; usize::from(n) * 100]).unwrap();
        }
        fs
    }

    #[test]
    fn every_acknowledged_record_survives_every_crash() {
        for seed in 0..200 {
            let fs = with_records(3);
            let (mut chain, _) = ChainFile::open(&fs, Path::new(PATH)).unwrap();
            let file = chain.file.clone();
            // A record is being written, not yet synced, when the power goes.
            let (bytes, _) = frame(&[9; 3000], chain.previous);
            file.write_all_at(&bytes, chain.end).unwrap();
            fs.crash(&mut Seed(seed));
            let (reopened, payloads) = ChainFile::open(&fs, Path::new(PATH)).unwrap();
            assert!(payloads.len() == 3 || payloads.len() == 4);
            chain = reopened;
            chain.append(b"next").unwrap();
            fs.crash(&mut Seed(seed + 1));
            assert_eq!(ChainFile::open(&fs, Path::new(PATH)).unwrap().1.last().unwrap(), b"next");
        }
    }

    #[test]
    fn a_mark_tells_damage_of_the_last_record_from_a_torn_append() {
        let marked = || {
            let fs = with_records(3);
            let (mut chain, _) = ChainFile::open(&fs, Path::new(PATH)).unwrap();
            chain.mark().unwrap();
            (fs, chain)
        };
        let (_, chain) = marked();
        for byte in 0..chain.end {
            let (fs, _) = marked();
            fs.flip_bit(Path::new(PATH), byte * 8).unwrap();
            assert!(ChainFile::open(&fs, Path::new(PATH)).is_err(), "{byte}");
        }
        // An append over the mark is torn like any other, and loses nothing that was acknowledged.
        for seed in 0..200 {
            let (fs, chain) = marked();
            let (bytes, _) = frame(&[9; 3000], chain.previous);
            chain.file.sync_data().unwrap();
            chain.file.write_all_at(&bytes, chain.end).unwrap();
            fs.crash(&mut Seed(seed));
            let (mut chain, payloads) = ChainFile::open(&fs, Path::new(PATH)).unwrap();
            assert!(payloads[3..].iter().all(|payload| payload.is_empty() || *payload == [9; 3000]));
            chain.append(b"next").unwrap();
            assert_eq!(ChainFile::open(&fs, Path::new(PATH)).unwrap().1.last().unwrap(), b"next");
        }
    }

    #[test]
    fn damage_before_the_last_record_is_refused() {
        let len = with_records(4).snapshot()[Path::new(PATH)].len();
        let last = HEADER_BYTES + 300 + DIGEST_BYTES;
        for byte in 0..len - last {
            let fs = with_records(4);
            fs.flip_bit(Path::new(PATH), byte as u64 * 8).unwrap();
            assert!(
                matches!(ChainFile::open(&fs, Path::new(PATH)), Err(ChainError::Damaged { .. })),
                "{byte}"
            );
        }
    }
}
