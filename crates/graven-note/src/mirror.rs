//! What is uploaded to a mirror, and what it answers: C2SP tlog-mirror, `add-entries`.
//!
//! ```text
//! POST add-entries, of type application/octet-stream; numbers big-endian
//!   length    2   of the origin
//!   origin    …   the log's, UTF-8
//!   start     8   index of the first entry that is uploaded, ≤ end
//!   end       8   size of a checkpoint that is, or was, pending at the mirror; at most 2^63 − 1
//!   length    2   of the ticket
//!   ticket    …   what the mirror said last, or nothing
//!   packages      0 or more, in order: one for each bundle of [start, end), cut to that interval
//!
//! package of the entries [from, to)
//!   entries       to − from of them, each: length 2, and as many bytes
//!   count     1   of hashes, 0 to 63
//!   proof     …   count × 32: that the subtree [from rounded down to a multiple of 256, to) is in the tree of `end` leaves
//!
//! 200        one signature line or more
//! 202, 409   of type text/x.tlog.mirror-info: <size of a pending checkpoint>\n<next entry>\nbase64(<ticket>)\n
//! ```
//!
//! A request has no limit, so it is read piece by piece: [`Upload::split`] and [`Package::split`] take one from the bytes that
//! are there, or say that more are needed. Nothing here is verified: [`ProvenBundle`](graven_merkle::tile::ProvenBundle) does
//! that. `add-checkpoint` and `sign-subtree` are those of [`witness`](crate::witness).

use std::fmt;

use graven_merkle::tile::{BundleRange, MAX_ENTRY_BYTES, TILE_WIDTH, bundle_ranges};
use graven_merkle::{ConsistencyProof, HASH_BYTES, Hash, TreeSize};
use thiserror::Error;

use crate::base64;
use crate::checkpoint::Origin;
use crate::witness::MAX_PROOF_LINES;

/// The content type of a request.
pub const UPLOAD_TYPE: &str = "application/octet-stream";

/// The content type of [`MirrorInfo`].
pub const INFO_TYPE: &str = "text/x.tlog.mirror-info";

/// The longest ticket, by the 16-bit length before it.
pub const MAX_TICKET_BYTES: usize = u16::MAX as usize;

/// The most hashes of a package's proof, as the specification has it.
pub const MAX_PACKAGE_HASHES: usize = MAX_PROOF_LINES;

/// The longest package: 256 entries and their proof.
pub const MAX_PACKAGE_BYTES: usize =
    TILE_WIDTH as usize * (size_of::<u16>() + MAX_ENTRY_BYTES) + 1 + MAX_PACKAGE_HASHES * HASH_BYTES;

/// What comes before the packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The log.
    pub origin: Origin,
    /// The index of the first entry.
    pub start: u64,
    /// The size of the tree that the packages are proven to be part of.
    pub end: TreeSize,
    /// What the mirror said last, or nothing.
    pub ticket: Vec<u8>,
}

/// The entries of one bundle, or the end of them, with their proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The entries as they stand in a bundle, each behind its length.
    pub entries: Vec<u8>,
    /// That they are in the tree, together with those that come before them in the bundle.
    pub proof: ConsistencyProof,
}

/// How far a mirror is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorInfo {
    /// The size of a checkpoint that is, or was, pending: 0 where there is none.
    pub size: TreeSize,
    /// The index of the first entry that the mirror has not.
    pub next: u64,
    /// What to show with the next upload.
    pub ticket: Vec<u8>,
}

/// Why bytes are no upload. Whoever sent them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UploadError {
    /// The first field.
    #[error("it does not begin with the origin of a log")]
    Origin,
    /// The interval.
    #[error("the start is behind the end, or the end above 2^63 - 1")]
    Interval,
    /// A package with too many hashes.
    #[error("a package has at most {MAX_PACKAGE_HASHES} hashes, this one has {0}")]
    Hashes(u8),
}

impl Upload {
    /// Takes what comes before the packages, and how many bytes that is; `None` where `bytes` end before it does.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub fn split(bytes: &[u8]) -> Result<Option<(Self, usize)>, UploadError> {
        let mut rest = Rest(bytes);
        let Some((origin, start, end, ticket)) = rest.header() else { return Ok(None) };
        let origin = std::str::from_utf8(origin).ok().and_then(|origin| Origin::new(origin).ok());
        let origin = origin.ok_or(UploadError::Origin)?;
        let end = TreeSize::new(end).filter(|end| start <= end.get()).ok_or(UploadError::Interval)?;
        Ok(Some((Self { origin, start, end, ticket: ticket.to_vec() }, bytes.len() - rest.0.len())))
    }

    /// The interval of each package of the canonical sequence, as a part of a bundle of the tree of `end` leaves.
    pub fn packages(&self) -> impl Iterator<Item = BundleRange> + Send + use<> {
        bundle_ranges(self.start..self.end.get(), self.end)
    }
}

impl Package {
    /// Takes a package of `count` entries, and how many bytes it has; `None` where `bytes` end before it does.
    ///
    /// # Errors
    /// [`UploadError::Hashes`].
    pub fn split(bytes: &[u8], count: u16) -> Result<Option<(Self, usize)>, UploadError> {
        let mut rest = Rest(bytes);
        for _ in 0..count {
            if rest.counted().is_none() {
                return Ok(None);
            }
        }
        let entries = &bytes[..bytes.len() - rest.0.len()];
        let Some([hashes]) = rest.array() else { return Ok(None) };
        if usize::from(hashes) > MAX_PACKAGE_HASHES {
            return Err(UploadError::Hashes(hashes));
        }
        let proof: Option<Vec<_>> = (0..hashes).map(|_| rest.array().map(Hash::from)).collect();
        let Some(proof) = proof else { return Ok(None) };
        let proof = ConsistencyProof::from_hashes(proof).map_err(|_| UploadError::Hashes(hashes))?;
        Ok(Some((Self { entries: entries.to_vec(), proof }, bytes.len() - rest.0.len())))
    }
}

impl fmt::Display for MirrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.size.get(), self.next, base64::encode(&self.ticket))
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn header(&mut self) -> Option<(&'a [u8], u64, u64, &'a [u8])> {
        let origin = self.counted()?;
        let (start, end) = (u64::from_be_bytes(self.array()?), u64::from_be_bytes(self.array()?));
        Some((origin, start, end, self.counted()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// As many bytes as the 16 bits before them say.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\x00\x07a.b/log\0\0\0\0\0\0\x01\x05\0\0\0\0\0\0\x02\x58\x00\x02tk";

    #[test]
    fn a_header_is_taken_once_it_is_there() {
        let upload = Upload {
            origin: Origin::new("a.b/log").unwrap(),
            start: 261,
            end: TreeSize::from(600),
            ticket: b"tk".to_vec(),
        };
        let more = [HEADER, b"more"].concat();
        assert_eq!(Upload::split(&more), Ok(Some((upload.clone(), HEADER.len()))));
        for end in 0..HEADER.len() {
            assert_eq!(Upload::split(&HEADER[..end]), Ok(None), "{end}");
        }
        let ranges: Vec<_> =
            upload.packages().map(|it| (it.bundle.index(), it.bundle.width(), it.first, it.count)).collect();
        assert_eq!(ranges, [(1, 256, 5, 251), (2, 88, 0, 88)]);
    }

    #[test]
    fn what_can_be_no_header_is_refused() {
        let with = |at: usize, byte: u8| {
            let mut bytes = HEADER.to_vec();
            bytes[at] = byte;
            Upload::split(&bytes)
        };
        assert_eq!(with(2, 0xff), Err(UploadError::Origin));
        assert_eq!(with(3, b'\n'), Err(UploadError::Origin));
        assert_eq!(with(17, 0x80), Err(UploadError::Interval), "beyond all tree sizes");
        assert_eq!(with(15, 0x03), Err(UploadError::Interval), "from 773 to 600");
        assert_eq!(Upload::split(&[&[0; 20][..]].concat()), Err(UploadError::Origin), "no origin is empty");
    }

    #[test]
    fn a_package_is_taken_once_it_is_there() {
        let package = [&b"\0\x03one\0\0\x02"[..], &[7; 64], b"next"].concat();
        let (taken, length) = Package::split(&package, 2).unwrap().unwrap();
        assert_eq!((taken.entries.as_slice(), length), (&b"\0\x03one\0\0"[..], package.len() - 4));
        assert_eq!(taken.proof.hashes(), [Hash::from([7; 32]); 2]);
        for end in 0..length {
            assert_eq!(Package::split(&package[..end], 2), Ok(None), "{end}");
        }
        let hashes = |count: u8| Package::split(&[&[count][..], &[0; 64 * 32]].concat(), 0);
        assert_eq!(hashes(63).unwrap().unwrap().1, 1 + 63 * 32);
        assert_eq!(hashes(64), Err(UploadError::Hashes(64)));
        assert_eq!(MAX_PACKAGE_BYTES, 256 * 65_537 + 1 + 63 * 32);
    }

    #[test]
    fn what_a_mirror_says_of_itself() {
        let info = MirrorInfo { size: TreeSize::from(600), next: 512, ticket: vec![1] };
        assert_eq!(info.to_string(), "600\n512\nAQ==\n");
        let nothing = MirrorInfo { size: TreeSize::ZERO, next: 0, ticket: vec![] };
        assert_eq!(nothing.to_string(), "0\n0\n\n");
    }
}
