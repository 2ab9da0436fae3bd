//! What somebody does to bytes.

use proptest::prelude::*;
use proptest::sample::Index;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    Copy(Index, Index, usize),
    Exchange(Index, Index, usize),
    Number(Index, u16),
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = any::<Index>;
    let length = 1_usize..48;
    let change = prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (at(), length.clone()).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => at().prop_map(Change::Cut),
        2 => (at(), at(), length.clone()).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
        2 => (at(), at(), length).prop_map(|(a, b, length)| Change::Exchange(a, b, length)),
        2 => (at(), any::<u16>()).prop_map(|(at, number)| Change::Number(at, number)),
    ];
    proptest::collection::vec(change, 1..4)
}

pub(crate) fn apply(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    changes
        .iter()
        .fold(bytes.to_vec(), |bytes, change| if bytes.is_empty() { bytes } else { one(bytes, change) })
}

fn one(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    let len = bytes.len();
    let end = |at: usize, length: usize| (at + length).min(len);
    match change {
        Change::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Change::Set(at, byte) => bytes[at.index(len)] = *byte,
        Change::Insert(at, new) => {
            let at = at.index(len + 1);
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Remove(at, length) => {
            let at = at.index(len);
            bytes.drain(at..end(at, *length));
        }
        Change::Cut(at) => bytes.truncate(at.index(len)),
        Change::Copy(from, to, length) => {
            let (from, to) = (from.index(len), to.index(len + 1));
            let part = bytes[from..end(from, *length)].to_vec();
            bytes.splice(to..to, part);
        }
        Change::Exchange(a, b, length) => {
            let (a, b) = (a.index(len), b.index(len));
            for offset in 0..(end(a, *length) - a).min(end(b, *length) - b) {
                bytes.swap(a + offset, b + offset);
            }
        }
        Change::Number(at, number) => {
            let at = at.index(len);
            for (place, byte) in bytes[at..].iter_mut().zip(number.to_be_bytes()) {
                *place = byte;
            }
        }
    }
    bytes
}
