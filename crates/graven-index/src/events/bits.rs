//! Sets of places in a chunk, in memory and as bytes.
//!
//! ```text
//! fewer bytes than 8,192: for each place, rising, how far it is from the one before (the first: from 0), as a varint of
//!                         seven bits a byte, lowest first, the top bit says that more follow
//! 8,192 bytes:            one bit a place, lowest bit first
//! ```

/// Leaves of a chunk: as many as two bytes can tell apart.
pub(crate) const CHUNK: u32 = 1 << 16;
const WORDS: usize = CHUNK as usize / 64;
const BITMAP_BYTES: usize = WORDS * 8;

/// A set of places in a chunk.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64; WORDS]>);

impl Default for Bits {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Bits {
    /// All places from `from` up to `to`.
    pub(crate) fn range(from: u64, to: u64) -> Self {
        let mut bits = Self::default();
        for (word, bits) in (0..).zip(bits.0.iter_mut()) {
            let below = |place: u64| match place.saturating_sub(word * 64) {
                0 => 0,
                n if n >= 64 => u64::MAX,
                n => (1 << n) - 1,
            };
            *bits = below(to) & !below(from);
        }
        bits
    }

    pub(crate) fn of(places: &[u16]) -> Self {
        let mut bits = Self::default();
        places.iter().for_each(|place| bits.insert(*place));
        bits
    }

    pub(crate) fn insert(&mut self, place: u16) {
        self.0[usize::from(place / 64)] |= 1 << (place % 64);
    }

    pub(crate) fn contains(&self, place: u16) -> bool {
        self.0[usize::from(place / 64)] >> (place % 64) & 1 == 1
    }

    pub(crate) fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn and_not(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(a, b)| *a &= !b);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Its places, rising; from the back, falling.
    pub(crate) fn places(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        let of_word = |(word, bits): (u16, &u64)| {
            let bits = *bits;
            (0..64_u16).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        };
        (0..1024_u16).zip(self.0.iter()).filter(|(_, bits)| **bits != 0).flat_map(of_word)
    }

    /// Adds the places that `bytes` tell of. `None`: no set is written so.
    pub(crate) fn add_encoded(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.len() == BITMAP_BYTES {
            let (words, _) = bytes.as_chunks::<8>();
            self.0.iter_mut().zip(words).for_each(|(a, b)| *a |= u64::from_le_bytes(*b));
            return Some(());
        }
        let mut rest = bytes;
        let mut place = 0;
        while !rest.is_empty() {
            place += take_varint(&mut rest)?;
            self.insert(u16::try_from(place).ok()?);
        }
        Some(())
    }

    /// The bytes that tell of it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self.places()).unwrap_or_else(|| self.0.iter().flat_map(|word| word.to_le_bytes()).collect())
    }
}

/// The bytes that tell of places, which rise.
pub(crate) fn encode_places(places: &[u16]) -> Vec<u8> {
    encode(places.iter().copied()).unwrap_or_else(|| Bits::of(places).encode())
}

/// As varints, where that is shorter than a bit a place.
fn encode(places: impl Iterator<Item = u16>) -> Option<Vec<u8>> {
    let (mut bytes, mut before) = (Vec::new(), 0);
    for place in places {
        put_varint(&mut bytes, u64::from(place - before));
        before = place;
        if bytes.len() >= BITMAP_BYTES {
            return None;
        }
    }
    Some(bytes)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    fn places(step: usize, count: usize) -> Vec<u16> {
        (0..65_536_usize).step_by(step).take(count).map(|place| place as u16).collect()
    }

    #[test]
    fn sets_come_back_from_their_bytes() {
        for (step, count) in
            [(1, 0), (1, 1), (7, 9_000), (1, 65_536), (8, 8_191), (8, 8_192), (300, 218), (65_535, 2)]
        {
            let places = places(step, count);
            let bytes = encode_places(&places);
            assert!(bytes.len() <= BITMAP_BYTES);
            let mut bits = Bits::default();
            bits.add_encoded(&bytes).unwrap();
            assert_eq!(bits.places().collect::<Vec<_>>(), places);
            assert_eq!(
                bits.places().rev().collect::<Vec<_>>(),
                places.iter().rev().copied().collect::<Vec<_>>()
            );
            assert_eq!(bits.encode(), bytes);
            assert_eq!(bits.count() as usize, places.len());
            assert!(bits == Bits::of(&places));
        }
    }

    #[test]
    fn ranges_are_what_they_say() {
        for (from, to) in [(0, 0), (0, 1), (0, 65_536), (63, 65), (64, 128), (100, 65_535), (5, 3)] {
            let bits = Bits::range(from, to);
            assert!((0..65_536_u64).all(|place| bits.contains(place as u16) == (from..to).contains(&place)));
        }
    }

    #[test]
    fn bytes_that_lead_out_of_a_chunk_are_refused() {
        for bytes in [&[0x80][..], &[0xff; 12], &[0xff, 0xff, 0x03, 0x01]] {
            assert_eq!(Bits::default().add_encoded(bytes), None, "{bytes:?}");
        }
    }
}
