//! The small files of a vault, and what all of them begin with.
//!
//! ```text
//! preamble, 32 bytes; numbers big-endian
//!   0   4  "GVHD" the head, "GVEK" an epoch key, "GVSG" a segment
//!   4   1  version, 1
//!   5   3  zero
//!   8   8  epoch, counted from 1
//!  16  16  the vault, a random number
//!
//! head, 64 bytes: which epoch counts
//!   0  32  preamble
//!  32  32  SHA-256 of everything before
//!
//! epoch-E.key, at most one sector of 512 bytes, so that it is overwritten whole or not at all
//!   0  32  preamble: the associated data of the wrapping
//!  32   2  length of the wrapped key, at most 256
//!  34   …  the epoch key, wrapped by the master key
//!   …  32  SHA-256 of everything before
//!
//! epoch-E-S.subjects: a chain of records (graven-store, `chain`); S counts from 0
//!   first record: 0 32 preamble | 32 4 S
//!   further ones: sealed pages (`rows`), or empty, which only show that the one before was written whole
//! ```

use std::path::{Path, PathBuf};

use graven_store::Fs;
use sha2::{Digest, Sha256};

use crate::error::OpenError;

pub(crate) const HEAD: &str = "head";
const PREAMBLE_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;
const VERSION: u8 = 1;
/// Longest wrapped key. Tokens add an IV and a tag, some a header; a sector must hold it.
pub(crate) const MAX_WRAPPED_BYTES: usize = 256;
/// Longest small file: one sector.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Which vault, and which epoch of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) vault: [u8; 16],
    pub(crate) epoch: u64,
}

/// What a file is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Head,
    Key,
    Segment,
}

impl Kind {
    fn magic(self) -> [u8; 4] {
        match self {
            Kind::Head => *b"GVHD",
            Kind::Key => *b"GVEK",
            Kind::Segment => *b"GVSG",
        }
    }
}

impl Stamp {
    pub(crate) fn preamble(&self, kind: Kind) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..4].copy_from_slice(&kind.magic());
        bytes[4] = VERSION;
        bytes[8..16].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[16..].copy_from_slice(&self.vault);
        bytes
    }

    /// With what the segment of this number begins.
    pub(crate) fn segment(&self, number: u32) -> [u8; PREAMBLE_BYTES + 4] {
        let mut bytes = [0; PREAMBLE_BYTES + 4];
        bytes[..PREAMBLE_BYTES].copy_from_slice(&self.preamble(Kind::Segment));
        bytes[PREAMBLE_BYTES..].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    pub(crate) fn head_file(&self) -> Vec<u8> {
        with_digest(self.preamble(Kind::Head).to_vec())
    }

    pub(crate) fn key_file(&self, wrapped: &[u8]) -> Vec<u8> {
        let len = u16::try_from(wrapped.len()).expect("MAX_WRAPPED_BYTES fits 16 bits");
        with_digest([&self.preamble(Kind::Key)[..], &len.to_be_bytes(), wrapped].concat())
    }

    pub(crate) fn key_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("epoch-{}.key", self.epoch))
    }

    pub(crate) fn segment_path(&self, dir: &Path, number: u32) -> PathBuf {
        dir.join(format!("epoch-{}-{number}.subjects", self.epoch))
    }
}

/// Reads the head.
pub(crate) fn read_head(fs: &dyn Fs, dir: &Path) -> Result<Stamp, OpenError> {
    let path = dir.join(HEAD);
    let body = read(fs, &path)?;
    check_version(&path, &body)?;
    let head = body.first_chunk().filter(|_| body.len() == PREAMBLE_BYTES).and_then(stamp_of);
    head.filter(|stamp| stamp.preamble(Kind::Head)[..] == body[..])
        .ok_or_else(|| damaged(&path, "it is no head of a vault"))
}

/// Reads the wrapped key of the epoch that the head names.
pub(crate) fn read_key(fs: &dyn Fs, dir: &Path, stamp: &Stamp) -> Result<Vec<u8>, OpenError> {
    let path = stamp.key_path(dir);
    let body = read(fs, &path)?;
    check_version(&path, &body)?;
    let wrapped = body.strip_prefix(&stamp.preamble(Kind::Key)[..]).and_then(|rest| {
        let (len, wrapped) = rest.split_first_chunk()?;
        let fits =
            wrapped.len() == usize::from(u16::from_be_bytes(*len)) && wrapped.len() <= MAX_WRAPPED_BYTES;
        fits.then(|| wrapped.to_vec())
    });
    wrapped.ok_or_else(|| damaged(&path, "it is not the key of the epoch that the head names"))
}

/// Checks the record with which a segment begins.
pub(crate) fn check_segment(
    path: &Path,
    stamp: &Stamp,
    number: u32,
    first: Option<&Vec<u8>>,
) -> Result<(), OpenError> {
    let first = first.map_or(&[][..], Vec::as_slice);
    check_version(path, first)?;
    let is_it = first == stamp.segment(number);
    if is_it { Ok(()) } else { Err(damaged(path, "it is another segment")) }
}

pub(crate) fn damaged(path: &Path, what: &'static str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what }
}

/// For `map_err`, where storage fails.
pub(crate) fn io_at(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

fn read(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut bytes = fs.read(path, SECTOR_BYTES as u64).map_err(io_at(path))?;
    let body = bytes.len().checked_sub(DIGEST_BYTES);
    let body = body.filter(|body| Sha256::digest(&bytes[..*body])[..] == bytes[*body..]);
    bytes.truncate(body.ok_or_else(|| damaged(path, "its digest does not hold"))?);
    Ok(bytes)
}

fn check_version(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    match bytes.get(4) {
        Some(version) if *version > VERSION => {
            Err(OpenError::Version { path: path.to_owned(), version: *version })
        }
        _ => Ok(()),
    }
}

fn stamp_of(preamble: &[u8; PREAMBLE_BYTES]) -> Option<Stamp> {
    let epoch = u64::from_be_bytes(*preamble[8..].first_chunk()?);
    Some(Stamp { vault: *preamble[16..].first_chunk()?, epoch })
}

pub(crate) fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}
