//! Lists of places: where in a run a term is, by chunk.
//!
//! ```text
//! 0   1  number of chunks in it
//! 1  5n  for each, rising: chunk (1), places − 1 (2), bytes (2)
//! …   …  for each the places, as `bits` has them
//! ```

use std::io;

use super::bits::{Bits, CHUNK};
use super::pages::damaged;

/// Longest list: a bitmap of as many chunks as a byte counts.
pub(crate) const MAX_LIST_BYTES: u64 = MAX_HEADS_BYTES + 255 * (CHUNK as u64 / 8);
/// Longest beginning of a list.
pub(crate) const MAX_HEADS_BYTES: u64 = 1 + 255 * HEAD_BYTES as u64;
const HEAD_BYTES: usize = 5;

/// A term with where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) term: Vec<u8>,
    pub(crate) lists: Vec<List>,
}

/// Places of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) chunk: u8,
    pub(crate) count: u32,
    pub(crate) data: Vec<u8>,
}

impl List {
    pub(crate) fn bits(&self) -> io::Result<Bits> {
        let mut bits = Bits::default();
        bits.add_encoded(&self.data).ok_or_else(|| damaged("a list leads out of its chunk"))?;
        Ok(bits)
    }
}

/// What a list says of a chunk's places: where in it they are.
pub(crate) struct Head {
    pub(crate) chunk: u8,
    pub(crate) count: u32,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

pub(crate) fn heads_of(list: &[u8]) -> io::Result<Vec<Head>> {
    let heads = list.split_first().and_then(|(count, rest)| rest.get(..usize::from(*count) * HEAD_BYTES));
    let heads = heads.ok_or_else(|| damaged("a list is cut short"))?;
    let mut at = 1 + heads.len() as u64;
    let heads = heads.as_chunks::<HEAD_BYTES>().0.iter().map(|[chunk, c1, c0, b1, b0]| {
        let (count, bytes) = (u16::from_be_bytes([*c1, *c0]), u64::from(u16::from_be_bytes([*b1, *b0])));
        at += bytes;
        Head { chunk: *chunk, count: u32::from(count) + 1, at: at - bytes, bytes }
    });
    Ok(heads.collect())
}

pub(crate) fn lists_of(list: &[u8], wanted: Option<u8>) -> io::Result<Vec<List>> {
    let heads = heads_of(list)?.into_iter().filter(|head| wanted.is_none_or(|wanted| wanted == head.chunk));
    let lists = heads.map(|Head { chunk, count, at, bytes }| {
        let data = usize::try_from(at).ok().zip(usize::try_from(at + bytes).ok());
        let data =
            data.and_then(|(from, to)| list.get(from..to)).ok_or_else(|| damaged("a list is cut short"))?;
        Ok(List { chunk, count, data: data.to_vec() })
    });
    lists.collect()
}

pub(crate) fn encode_lists(lists: &[List]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(lists.len()).expect("a run has 255 chunks at most")];
    for list in lists {
        bytes.push(list.chunk);
        bytes.extend(u16::try_from(list.count - 1).expect("a list has a chunk's places").to_be_bytes());
        bytes.extend(u16::try_from(list.data.len()).expect("a bitmap is the longest").to_be_bytes());
    }
    lists.iter().for_each(|list| bytes.extend(&list.data));
    bytes
}
