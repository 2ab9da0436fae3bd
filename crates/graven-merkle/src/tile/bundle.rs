//! Entry bundles: up to 256 entries, each behind its length.
//!
//! ```text
//! length   u16, big-endian
//! entry    that many bytes, verbatim, as they were hashed
//! …        and so on, as many times as the bundle is wide, with nothing after the last
//! ```

use super::TILE_WIDTH;

/// The longest entry, by the 16-bit length before it.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The bytes of a bundle that were found to be exactly as many entries as they should.
///
/// ```
/// use graven_merkle::tile::EntryBundle;
///
/// let bytes = EntryBundle::encode(["one", "two"])?;
/// assert_eq!(bytes, b"\x00\x03one\x00\x03two");
/// let bundle = EntryBundle::parse(&bytes, 2)?;
/// assert_eq!(bundle.entries().collect::<Vec<_>>(), [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryBundle<'a> {
    bytes: &'a [u8],
    width: u16,
}

/// An entry that is too long for a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry has at most {MAX_ENTRY_BYTES} bytes, this one has {0}")]
pub struct EntryTooLong(pub usize);

/// Why bytes are not the bundle they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More entries were expected than any bundle has: the caller's mistake.
    #[error("a bundle has at most {TILE_WIDTH} entries, not {0}")]
    TooWide(u16),
    /// The bytes end within an entry, or before it.
    #[error("the bundle ends before the end of its entry {position}")]
    Truncated {
        /// The zero-based position of the entry.
        position: u16,
    },
    /// There are bytes after the last entry.
    #[error("the bundle has {0} bytes after its last entry")]
    TrailingBytes(usize),
}

impl<'a> EntryBundle<'a> {
    /// Takes `bytes` for a bundle of exactly `width` entries, 0 to 256.
    pub fn parse(bytes: &'a [u8], width: u16) -> Result<Self, BundleError> {
        if width > TILE_WIDTH {
            return Err(BundleError::TooWide(width));
        }
        let mut rest = bytes;
        for position in 0..width {
            rest = split_entry(rest).ok_or(BundleError::Truncated { position })?.1;
        }
        if rest.is_empty() { Ok(Self { bytes, width }) } else { Err(BundleError::TrailingBytes(rest.len())) }
    }

    /// The bytes of a bundle of these entries. How many there are is the caller's care.
    pub fn encode<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Result<Vec<u8>, EntryTooLong> {
        let mut bytes = Vec::new();
        for entry in entries {
            Self::append(&mut bytes, entry.as_ref())?;
        }
        Ok(bytes)
    }

    /// Adds one entry to the bytes of a bundle, which stay as they were where it is too long.
    pub fn append(bytes: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
        let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong(entry.len()))?;
        bytes.reserve(size_of::<u16>() + entry.len());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
        Ok(())
    }

    /// The bundle as it is served.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many entries there are.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The entries in order, borrowed.
    pub fn entries(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (entry, after) = split_entry(rest)?;
            rest = after;
            Some(entry)
        })
    }

    /// The entry at `position`, found by walking past those before it.
    pub fn entry(&self, position: u16) -> Option<&'a [u8]> {
        self.entries().nth(position.into())
    }

    /// The partial bundle of the first `width` entries, or `None` where there are not that many.
    pub fn prefix(&self, width: u16) -> Option<Self> {
        let kept = self.entries().take(width.into());
        let length = kept.map(|entry| size_of::<u16>() + entry.len()).sum();
        (width <= self.width).then(|| Self { bytes: &self.bytes[..length], width })
    }
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
