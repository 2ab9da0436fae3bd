//! How the text of a group is packed before it is sealed: [`payload`](crate::payload) draws it.

use std::borrow::Cow;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zeroize::Zeroizing;

use crate::check::MAX_RAW_BYTES;
use crate::group::Group;

/// Longest text of a group: a raw record and its format.
pub const MAX_GROUP_BYTES: usize = MAX_RAW_BYTES + (64 << 10) * 16;
/// How far back deflate can refer.
const WINDOW_BYTES: usize = 32 << 10;
/// What groups are packed after.
pub const GROUPS_DICTIONARY: &[u8] = include_bytes!("groups-v1.dict");
/// What records are packed after, before the other groups' texts.
pub const RECORDS_DICTIONARY: &[u8] = include_bytes!("records-v1.dict");
/// How hard it is tried to pack: beyond this, microseconds buy nothing.
const LEVEL: Compression = Compression::new(6);

/// Packs one text after the other, in the same memory.
pub(crate) struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        Self(Compress::new(LEVEL, false))
    }
}

impl Packer {
    /// The text behind the byte that says how it is packed.
    pub(crate) fn pack(&mut self, text: &[u8], dictionary: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut packed = Zeroizing::new(Vec::with_capacity(text.len() + 16));
        packed.push(1);
        self.0.reset();
        let primed = self.0.set_dictionary(dictionary).is_ok();
        let status = self.0.compress_vec(text, &mut packed, FlushCompress::Finish);
        if !primed || !matches!(status, Ok(Status::StreamEnd)) || packed.len() > text.len() {
            packed.clear();
            packed.push(0);
            packed.extend_from_slice(text);
        }
        packed
    }
}

/// What a group is packed after: see the module.
pub(crate) fn dictionary<'t>(group: Group, texts: &'t [(Group, Vec<u8>)]) -> Cow<'t, [u8]> {
    if group != Group::Raw {
        return Cow::Borrowed(GROUPS_DICTIONARY);
    }
    let others = texts.iter().filter(|(other, _)| *other != Group::Raw).map(|(_, text)| &text[..]);
    let all: Vec<u8> = [RECORDS_DICTIONARY].into_iter().chain(others).flatten().copied().collect();
    let start = all.len().saturating_sub(WINDOW_BYTES);
    Cow::Owned(all[start..].to_vec())
}

/// The text of a group. It never takes more memory than [`MAX_GROUP_BYTES`], whatever it says that it unpacks to.
pub(crate) fn unpack(packed: &[u8], dictionary: &[u8]) -> Option<Vec<u8>> {
    let (how, rest) = packed.split_first()?;
    let mut inflate = Decompress::new(false);
    match how {
        0 => return (rest.len() <= MAX_GROUP_BYTES).then(|| rest.to_vec()),
        1 => drop(inflate.set_dictionary(dictionary).ok()?),
        _ => return None,
    }
    let mut text = Vec::with_capacity((rest.len() * 4).clamp(1024, MAX_GROUP_BYTES));
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let from = usize::try_from(before_in).ok()?;
        match inflate.decompress_vec(rest.get(from..)?, &mut text, FlushDecompress::None).ok()? {
            Status::StreamEnd => break,
            _ if text.len() >= MAX_GROUP_BYTES => return None,
            _ if text.len() == text.capacity() => {
                text.reserve_exact(text.len().min(MAX_GROUP_BYTES - text.len()));
            }
            _ if (before_in, before_out) == (inflate.total_in(), inflate.total_out()) => return None,
            _ => {}
        }
    }
    (inflate.total_in() == rest.len() as u64 && text.len() <= MAX_GROUP_BYTES).then_some(text)
}
