//! The bytes of a blob file. All numbers are big-endian.
//!
//! ```text
//!  0    8  "GRVNBLB1"
//!  8    4  log
//! 12    8  index of the bundle's first entry
//! 20    1  class
//! 21    1  zero
//! 22    2  number of attachments: 1 to 256
//! 24    4  CRC-32 of bytes 0..24 and of the table
//! 28 12×n  table, in the order of entries:
//!            0  1  entry, counted from the bundle's first
//!            1  3  zero
//!            4  4  length of its attachment in bytes
//!            8  4  CRC-32 of its attachment
//!  …    …  attachments, one after the other; the first byte of each is the class
//! ```
//!
//! One attachment is read with the table and itself alone. The CRCs find accidents; that an attachment is the one its
//! leaf was made with, the leaf must say.

use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::tile::TILE_WIDTH;
use graven_store::fs::File;
use graven_store::journal::LogId;

use crate::error::ReadError;
use crate::log::damaged;
use crate::sequencer::MAX_ATTACHMENT_BYTES;

const MAGIC: &[u8; 8] = b"GRVNBLB1";
/// What the CRC covers of the header.
const FIELDS_BYTES: usize = 24;
const HEADER_BYTES: usize = FIELDS_BYTES + 4;
const ROW_BYTES: usize = 12;
/// The longest header with its table.
const MAX_TABLE_BYTES: usize = HEADER_BYTES + ROW_BYTES * TILE_WIDTH as usize;

/// What a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) log: LogId,
    pub(super) class: u8,
    /// Index of the bundle's first entry.
    pub(super) first: u64,
}

/// Where an attachment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The index of its entry.
    pub(super) index: u64,
    /// Its length in bytes.
    pub(super) len: usize,
    crc: u32,
    offset: u64,
}

/// A file with its table.
pub(super) struct BlobFile {
    file: Arc<dyn File>,
    class: u8,
    rows: Vec<Row>,
}

/// The bytes of a file: attachments of one class, of entries of one bundle, in order.
pub(super) fn encode<'a>(
    name: &Name,
    attachments: impl Iterator<Item = &'a (u64, Bytes)> + Clone,
) -> Vec<u8> {
    let (count, bytes) =
        attachments.clone().fold((0, 0), |(count, bytes), (_, it)| (count + 1, bytes + it.len()));
    let mut file = Vec::with_capacity(HEADER_BYTES + count * ROW_BYTES + bytes);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&name.log.0.to_be_bytes());
    file.extend_from_slice(&name.first.to_be_bytes());
    file.extend_from_slice(&[name.class, 0]);
    file.extend_from_slice(&u16::try_from(count).unwrap_or(0).to_be_bytes());
    file.extend_from_slice(&[0; HEADER_BYTES - FIELDS_BYTES]);
    for (index, attachment) in attachments.clone() {
        file.extend_from_slice(&[u8::try_from(index - name.first).unwrap_or(u8::MAX), 0, 0, 0]);
        file.extend_from_slice(&u32::try_from(attachment.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend_from_slice(&crc32fast::hash(attachment).to_be_bytes());
    }
    let crc = table_crc(&file);
    file[FIELDS_BYTES..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    attachments.for_each(|(_, attachment)| file.extend_from_slice(attachment));
    file
}

fn table_crc(table: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&table[..FIELDS_BYTES]);
    crc.update(&table[HEADER_BYTES..]);
    crc.finalize()
}

impl BlobFile {
    /// Reads the table of a file that is of `name`.
    pub(super) fn open(file: Arc<dyn File>, name: Name) -> Result<Self, ReadError> {
        let len = file.len()?;
        let most = usize::try_from(len).unwrap_or(MAX_TABLE_BYTES).min(MAX_TABLE_BYTES);
        let mut bytes = vec![0; most];
        file.read_exact_at(&mut bytes, 0)?;
        let rows = table(&bytes, &name).ok_or_else(|| damaged("its table does not hold"))?;
        let end = rows.last().map_or(0, |row| row.offset + row.len as u64);
        if end != len {
            return Err(damaged("it is not as long as its table says"));
        }
        Ok(Self { file, class: name.class, rows })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// Reads an attachment.
    pub(super) fn attachment(&self, row: &Row) -> Result<Bytes, ReadError> {
        let mut bytes = vec![0; row.len];
        self.file.read_exact_at(&mut bytes, row.offset)?;
        if crc32fast::hash(&bytes) != row.crc {
            return Err(damaged(&format!("the attachment of entry {} was changed", row.index)));
        }
        if bytes.first() != Some(&self.class) {
            return Err(damaged(&format!("the attachment of entry {} is of another class", row.index)));
        }
        Ok(bytes.into())
    }
}

/// The table of a file from its first bytes.
fn table(bytes: &[u8], name: &Name) -> Option<Vec<Row>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut take = |len| {
        let (taken, left) = rest.split_at_checked(len)?;
        rest = left;
        Some(taken)
    };
    let log = LogId(u32::from_be_bytes(take(4)?.try_into().ok()?));
    let first = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let [class, 0] = *take(2)? else { return None };
    let count = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let crc = u32::from_be_bytes(take(4)?.try_into().ok()?);
    let table_end = HEADER_BYTES + usize::from(count) * ROW_BYTES;
    let is_of_name = Name { log, class, first } == *name && (1..=TILE_WIDTH).contains(&count);
    if !is_of_name || table_crc(bytes.get(..table_end)?) != crc {
        return None;
    }
    let mut offset = table_end as u64;
    let mut rows: Vec<Row> = Vec::with_capacity(usize::from(count));
    for row in bytes[HEADER_BYTES..table_end].chunks_exact(ROW_BYTES) {
        let [entry, 0, 0, 0, numbers @ ..] = row else { return None };
        let (len, crc) = numbers.split_at_checked(4)?;
        let len = usize::try_from(u32::from_be_bytes(len.try_into().ok()?)).ok()?;
        let crc = u32::from_be_bytes(crc.try_into().ok()?);
        let index = first + u64::from(*entry);
        let follows = rows.last().is_none_or(|last| last.index < index);
        if !follows || !(1..=MAX_ATTACHMENT_BYTES).contains(&len) {
            return None;
        }
        rows.push(Row { index, len, crc, offset });
        offset += len as u64;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_store::fs::{Fs, Mode, Open};
    use graven_store::sim::SimFs;
    use std::path::Path;

    const NAME: Name = Name { log: LogId(3), class: 7, first: 512 };

    fn stored(bytes: &[u8]) -> Arc<dyn File> {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
        fs.create_dir_all(Path::new("/d")).unwrap();
        let file = fs.open(Path::new("/d/f"), Open::New(Mode::ReadOnly)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn read(bytes: &[u8], name: Name) -> Result<Vec<(u64, Bytes)>, ReadError> {
        let file = BlobFile::open(stored(bytes), name)?;
        file.rows().map(|row| Ok((row.index, file.attachment(row)?))).collect()
    }

    fn sample() -> Vec<(u64, Bytes)> {
        [(512, &b"\x07"[..]), (515, b"\x07blob"), (767, &[7; 300])]
            .map(|(index, bytes)| (index, Bytes::copy_from_slice(bytes)))
            .to_vec()
    }

    #[test]
    fn attachments_are_read_back_and_no_flipped_bit_or_missing_byte_passes() {
        let attachments = sample();
        let bytes = encode(&NAME, attachments.iter());
        assert_eq!(read(&bytes, NAME), Ok(attachments));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, NAME).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], NAME).is_err(), "{len} bytes");
        }
        assert!(read(&[&bytes[..], b"x"].concat(), NAME).is_err(), "a byte more");
    }

    #[test]
    fn a_file_is_of_one_log_class_and_bundle_and_a_full_one_holds_256() {
        let bytes = encode(&NAME, sample().iter());
        for other in [Name { log: LogId(4), ..NAME }, Name { class: 8, ..NAME }, Name { first: 256, ..NAME }]
        {
            assert!(read(&bytes, other).is_err(), "{other:?}");
        }
        let all: Vec<_> = (512..768).map(|index| (index, Bytes::from(vec![7; 3]))).collect();
        assert_eq!(read(&encode(&NAME, all.iter()), NAME), Ok(all.clone()));
        // Well made, and of another class than its name says.
        let foreign = [(512, Bytes::from_static(&[8, 8]))];
        assert!(read(&encode(&NAME, foreign.iter()), NAME).is_err());
        for wrong in [[(512, 1), (512, 1)], [(513, 1), (512, 1)], [(512, 1), (513, 0)]] {
            let rows: Vec<_> =
                wrong.iter().map(|(index, len)| (*index, Bytes::from(vec![7; *len]))).collect();
            assert!(read(&encode(&NAME, rows.iter()), NAME).is_err(), "{wrong:?}");
        }
    }
}
