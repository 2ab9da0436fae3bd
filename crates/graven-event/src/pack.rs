//! How the text of a group is packed before it is sealed: [`payload`](crate::payload) draws it.
//!
//! Packing is what most of an event's cost was, so it is done by zstd, whose dictionary is prepared once, and which is the one library of C
//! in a crate without I/O: it is given bytes and gives bytes, as the others do.

use std::cell::RefCell;
use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};
use zeroize::Zeroizing;
use zstd_safe::{CCtx, CDict, CParameter, DCtx, DDict, compress_bound, find_frame_compressed_size};

use crate::check::MAX_RAW_BYTES;
use crate::group::Group;

/// Longest text of a group: a raw record and its format.
pub const MAX_GROUP_BYTES: usize = MAX_RAW_BYTES + (64 << 10) * 16;
/// What groups are packed after.
pub const GROUPS_DICTIONARY: &[u8] = include_bytes!("groups-v2.dict");
/// What records are packed after, before the other groups' texts.
pub const RECORDS_DICTIONARY: &[u8] = include_bytes!("records-v2.dict");

/// What groups were packed after by deflate.
const OLD_GROUPS_DICTIONARY: &[u8] = include_bytes!("groups-v1.dict");
/// What records were packed after by deflate.
const OLD_RECORDS_DICTIONARY: &[u8] = include_bytes!("records-v1.dict");
/// How far back deflate can refer.
const WINDOW_BYTES: usize = 32 << 10;
/// How much of the other groups' texts a record is packed after: preparing it is paid for each record.
const MAX_OTHERS_BYTES: usize = 32 << 10;
/// How hard it is tried to pack: beyond this, microseconds buy nothing.
const LEVEL: i32 = 3;
/// How every frame of zstd begins (RFC 8878 §3.1.1). It is left out.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Where a dictionary has its number (RFC 8878 §5). It is taken as 0, so that no frame names it.
const NUMBER: std::ops::Range<usize> = 4..8;

static PACKED_AFTER: LazyLock<CDict<'static>> = LazyLock::new(|| CDict::create(GROUPS_DICTIONARY, LEVEL));
static UNPACKED_AFTER: LazyLock<DDict<'static>> = LazyLock::new(|| DDict::create(GROUPS_DICTIONARY));

thread_local! {
    /// The memory for unpacking, kept from text to text.
    static UNPACKER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Packs one text after the other, in the same memory.
pub(crate) struct Packer {
    /// Of all groups but records.
    groups: CCtx<'static>,
    records: CCtx<'static>,
}

impl Default for Packer {
    fn default() -> Self {
        let mut groups = CCtx::create();
        let prepared = groups.set_parameter(CParameter::DictIdFlag(false));
        prepared.and_then(|_| groups.ref_cdict(&PACKED_AFTER)).expect("nothing was begun");
        Self { groups, records: CCtx::create() }
    }
}

impl Packer {
    /// The text of a group behind the byte that says how it is packed. `texts` are those of all groups.
    pub(crate) fn pack(
        &mut self,
        group: Group,
        text: &[u8],
        texts: &[(Group, Vec<u8>)],
    ) -> Zeroizing<Vec<u8>> {
        let mut packed = Zeroizing::new(Vec::with_capacity(compress_bound(text.len())));
        let written = match group {
            Group::Raw => self.records.compress_using_dict(&mut *packed, text, &before_record(texts), LEVEL),
            _ => self.groups.compress2(&mut *packed, text),
        };
        let frame = packed.strip_prefix(&MAGIC).filter(|frame| stated_len(frame) == Some(text.len()));
        if written.is_err() || frame.is_none_or(|frame| frame.len() >= text.len()) {
            packed.clear();
            packed.push(0);
            packed.extend_from_slice(text);
            return packed;
        }
        packed.drain(..MAGIC.len() - 1);
        packed[0] = 2;
        packed
    }
}

/// The text of a group, given those of the others where it is a record. It never takes more memory than [`MAX_GROUP_BYTES`], whatever it
/// says that it unpacks to.
pub(crate) fn unpack(packed: &[u8], group: Group, texts: &[(Group, Vec<u8>)]) -> Option<Vec<u8>> {
    let (how, rest) = packed.split_first()?;
    match how {
        0 => (rest.len() <= MAX_GROUP_BYTES).then(|| rest.to_vec()),
        1 => inflate(rest, group, texts),
        2 => decompress(rest, group, texts),
        _ => None,
    }
}

/// Reads a frame of zstd without its first four bytes: one, whole, and nothing behind it.
fn decompress(frame: &[u8], group: Group, texts: &[(Group, Vec<u8>)]) -> Option<Vec<u8>> {
    let len = stated_len(frame)?;
    let whole = [&MAGIC[..], frame].concat();
    if find_frame_compressed_size(&whole) != Ok(whole.len()) {
        return None;
    }
    let mut text = Vec::with_capacity(len);
    let read = UNPACKER.with_borrow_mut(|context| match group {
        Group::Raw => context.decompress_using_dict(&mut text, &whole, &before_record(texts)),
        _ => context.decompress_using_ddict(&mut text, &whole, &UNPACKED_AFTER),
    });
    (read == Ok(len)).then_some(text)
}

/// How long the text of a frame is, as its header says in the one form that is taken: [`payload`](crate::payload) draws it.
fn stated_len(frame: &[u8]) -> Option<usize> {
    let (least, len) = match *frame {
        [0x20, a, ..] => (0, u32::from(a)),
        [0x60, a, b, ..] => (256, 256 + u32::from(u16::from_le_bytes([a, b]))),
        [0xa0, a, b, c, d, ..] => (256 + (1 << 16), u32::from_le_bytes([a, b, c, d])),
        _ => return None,
    };
    let len = usize::try_from(len).ok()?;
    (least..=MAX_GROUP_BYTES).contains(&len).then_some(len)
}

/// What a record is packed after: the dictionary, and then the end of the other groups' texts.
fn before_record(texts: &[(Group, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::with_capacity(RECORDS_DICTIONARY.len() + 2048);
    all.extend_from_slice(RECORDS_DICTIONARY);
    all[NUMBER].fill(0);
    let start = all.len();
    others(texts).for_each(|text| all.extend_from_slice(text));
    let surplus = (all.len() - start).saturating_sub(MAX_OTHERS_BYTES);
    all.drain(start..start + surplus);
    all
}

fn others(texts: &[(Group, Vec<u8>)]) -> impl Iterator<Item = &[u8]> {
    texts.iter().filter(|(other, _)| *other != Group::Raw).map(|(_, text)| &text[..])
}

/// Reads what was packed by deflate: nothing is any more.
fn inflate(packed: &[u8], group: Group, texts: &[(Group, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut inflate = Decompress::new(false);
    let before = match group {
        Group::Raw => [OLD_RECORDS_DICTIONARY].into_iter().chain(others(texts)).collect::<Vec<_>>().concat(),
        _ => OLD_GROUPS_DICTIONARY.to_vec(),
    };
    inflate.set_dictionary(&before[before.len().saturating_sub(WINDOW_BYTES)..]).ok()?;
    let mut text = Vec::with_capacity((packed.len() * 4).clamp(1024, MAX_GROUP_BYTES));
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let from = usize::try_from(before_in).ok()?;
        match inflate.decompress_vec(packed.get(from..)?, &mut text, FlushDecompress::None).ok()? {
            Status::StreamEnd => break,
            _ if text.len() >= MAX_GROUP_BYTES => return None,
            _ if text.len() == text.capacity() => {
                text.reserve_exact(text.len().min(MAX_GROUP_BYTES - text.len()));
            }
            _ if (before_in, before_out) == (inflate.total_in(), inflate.total_out()) => return None,
            _ => {}
        }
    }
    (inflate.total_in() == packed.len() as u64 && text.len() <= MAX_GROUP_BYTES).then_some(text)
}
