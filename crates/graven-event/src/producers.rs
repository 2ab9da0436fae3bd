//! Producers and their numbers: what is missing, what came twice, what came after all.
//!
//! A producer numbers its events from 1. The log takes a number once, in whatever order requests arrive; one that is
//! left out is missing from then on. When it has been missing for a while, an entry says so; when it comes after that, another one does.
//! The state is a function of the leaves alone.

use std::collections::BTreeMap;

use crate::codec::Malformed;
use crate::facts::{Facts, GapFacts, Ref};
use crate::frame::Frame;
use crate::time::Time;

/// Most ranges of missing numbers of one producer. One more is refused: whoever loses so much is not to hide it.
pub const MAX_MISSING: usize = 1024;
/// Most producers of one log. More may bring events, and decide, but not number what they bring.
pub const MAX_PRODUCERS: usize = 100_000;
const VERSION: u8 = 1;

/// All producers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers(BTreeMap<Ref, Producer>);

/// What the leaves say of one producer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producer {
    /// The largest number; 0: none yet.
    pub last: u64,
    /// The leaf hash of its newest leaf.
    pub previous: [u8; 32],
    /// What is missing below it, rising.
    pub missing: Vec<Missing>,
}

/// Numbers that did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Log time of the leaf that left them out.
    pub since: Time,
    /// Whether an entry says so.
    pub told: bool,
}

/// A number that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It was taken before.
    #[error("this producer's number was used before: the last is {last}")]
    Used {
        /// The largest that was taken.
        last: u64,
    },
    /// Too much is missing.
    #[error("this producer left out numbers in more than {MAX_MISSING} places: send those first")]
    TooManyGaps,
    /// Too many producers.
    #[error(
        "this log has as many producers as it takes: send events without a producer's numbers, or as one it knows"
    )]
    TooManyProducers,
}

impl Producers {
    /// What is known of a producer.
    pub fn of(&self, producer: Ref) -> Option<&Producer> {
        self.0.get(&producer)
    }

    /// These producers alone, as they are: to try something out.
    #[must_use]
    pub fn only(&self, producers: impl IntoIterator<Item = Ref>) -> Self {
        let some =
            producers.into_iter().filter_map(|producer| Some((producer, self.0.get(&producer)?.clone())));
        Self(some.collect())
    }

    /// Whether a gap is as it says: missing, and nobody has said so yet.
    pub fn is_untold(&self, gap: &GapFacts) -> bool {
        let known = self.0.get(&gap.producer);
        let mut missing = known.into_iter().flat_map(|known| &known.missing);
        missing.any(|range| (range.first, range.last, range.told) == (gap.first, gap.last, false))
    }

    /// Whether there is room for a producer's numbers, which begin; 0: it does not number, and is not kept out by those who do.
    ///
    /// # Errors
    /// There is none.
    pub fn admits(&self, producer: Ref, sequence: u64) -> Result<(), NumberError> {
        let has_room = sequence == 0 || !self.is_full_for(producer);
        has_room.then_some(()).ok_or(NumberError::TooManyProducers)
    }

    fn is_full_for(&self, producer: Ref) -> bool {
        self.0.len() >= MAX_PRODUCERS && !self.0.contains_key(&producer)
    }

    /// Whether a producer that is [admitted](Self::admits) may use a number; 0: it does not number.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, producer: Ref, sequence: u64) -> Result<(), NumberError> {
        let Some(known) = self.0.get(&producer) else { return Ok(()) };
        let is_missing = known.missing.iter().any(|range| range.holds(sequence));
        if sequence != 0 && sequence <= known.last && !is_missing {
            return Err(NumberError::Used { last: known.last });
        }
        let leaves_out = sequence > known.last.saturating_add(1);
        if (leaves_out || is_missing) && known.missing.len() >= MAX_MISSING {
            return Err(NumberError::TooManyGaps);
        }
        Ok(())
    }

    /// Takes in a leaf of the log. Returns the entry that must follow it: a number that was said to be missing came after all.
    pub fn take(&mut self, frame: &Frame, leaf_hash: [u8; 32]) -> Option<GapFacts> {
        if let Facts::Gap(gap) = &frame.facts {
            let missing = self.0.get_mut(&gap.producer).into_iter().flat_map(|known| &mut known.missing);
            missing
                .filter(|range| (gap.first..=gap.last).contains(&range.first))
                .for_each(|range| range.told = true);
        }
        if frame.producer == Ref::default() || self.is_full_for(frame.producer) {
            return None;
        }
        let known = self.0.entry(frame.producer).or_default();
        known.previous = leaf_hash;
        let was_told = known.number(frame.sequence, frame.log_time);
        was_told.then_some(GapFacts { producer: frame.producer, first: frame.sequence, last: frame.sequence })
    }

    /// What has been missing since before a time, and no entry says so yet.
    pub fn overdue(&self, before: Time) -> Vec<GapFacts> {
        let of = |(producer, known): (&Ref, &Producer)| {
            let late = known.missing.iter().filter(|range| !range.told && range.since <= before);
            late.map(|range| GapFacts { producer: *producer, first: range.first, last: range.last })
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Whether anything is missing that no entry speaks of.
    pub fn is_waiting(&self) -> bool {
        self.0.values().any(|known| known.missing.iter().any(|range| !range.told))
    }

    /// Its bytes, to go on from after a start.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (producer, known) in &self.0 {
            bytes.extend_from_slice(&producer.0);
            bytes.extend_from_slice(&known.last.to_be_bytes());
            bytes.extend_from_slice(&known.previous);
            bytes.extend_from_slice(&u16::try_from(known.missing.len()).unwrap_or(u16::MAX).to_be_bytes());
            for range in &known.missing {
                for number in [range.first, range.last, range.since.0] {
                    bytes.extend_from_slice(&number.to_be_bytes());
                }
                bytes.push(u8::from(range.told));
            }
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// It is of another version, or cut.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes.strip_prefix(&[VERSION]).ok_or(Malformed("a state of another version"))?;
        let mut producers = BTreeMap::new();
        while !rest.is_empty() {
            let producer = Ref(take(&mut rest)?);
            let (last, previous) = (u64::from_be_bytes(take(&mut rest)?), take(&mut rest)?);
            let count = u16::from_be_bytes(take(&mut rest)?);
            let mut missing = Vec::new();
            for _ in 0..count {
                let [first, last, since] =
                    [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_be_bytes);
                let [told] = take(&mut rest)?;
                missing.push(Missing { first, last, since: Time(since), told: told == 1 });
            }
            let below = missing.iter().try_fold(1, |from, range| {
                (from <= range.first && range.first <= range.last).then_some(range.last.saturating_add(1))
            });
            if below.is_none_or(|below| below > last.max(1)) {
                return Err(Malformed("missing numbers that nobody left out"));
            }
            producers.insert(producer, Producer { last, previous, missing });
        }
        Ok(Self(producers))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, tail) = rest.split_first_chunk::<N>().ok_or(Malformed("a state that is cut short"))?;
    *rest = tail;
    Ok(*taken)
}

impl Missing {
    fn holds(&self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

impl Producer {
    /// Takes in a number. Whether an entry had said that it is missing.
    fn number(&mut self, number: u64, now: Time) -> bool {
        if number == 0 {
            return false;
        }
        if number > self.last {
            if number > self.last + 1 {
                self.missing.push(Missing {
                    first: self.last + 1,
                    last: number - 1,
                    since: now,
                    told: false,
                });
            }
            self.last = number;
            return false;
        }
        let Some(at) = self.missing.iter().position(|range| range.holds(number)) else { return false };
        let range = self.missing.remove(at);
        let before = Missing { last: number - 1, ..range };
        let after = Missing { first: number.saturating_add(1), ..range };
        let parts = [before, after].into_iter().filter(|part| part.first <= part.last);
        self.missing.splice(at..at, parts);
        range.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{RejectedFacts, Word};
    use proptest::prelude::*;

    fn leaf(sequence: u64, time: u64) -> Frame {
        let facts = Facts::Rejected(RejectedFacts { digest: [0; 32], reason: Word::new("x").unwrap() });
        let (producer, log_time) = (Ref([7; 16]), Time(time));
        let (id, previous) = ([0; 16], [0; 32]);
        Frame {
            outcome: None,
            retention: 0,
            log_time,
            id,
            producer,
            sequence,
            previous,
            payload: None,
            facts,
        }
    }

    fn gap(facts: &GapFacts, time: u64) -> Frame {
        Frame { producer: Ref::default(), facts: Facts::Gap(facts.clone()), ..leaf(0, time) }
    }

    #[test]
    fn what_is_left_out_is_missing_until_it_comes() {
        let mut producers = Producers::default();
        for (sequence, time) in [(1, 1), (2, 2), (6, 3), (4, 4)] {
            assert_eq!(producers.check(Ref([7; 16]), sequence), Ok(()));
            assert_eq!(producers.take(&leaf(sequence, time), [0; 32]), None);
        }
        let range = |first, last| GapFacts { producer: Ref([7; 16]), first, last };
        assert_eq!(producers.overdue(Time(2)), []);
        assert_eq!(producers.overdue(Time(3)), [range(3, 3), range(5, 5)]);
        producers.take(&gap(&range(3, 3), 9), [0; 32]);
        assert_eq!(producers.overdue(Time(9)), [range(5, 5)]);
        assert_eq!(producers.take(&leaf(3, 10), [0; 32]), Some(range(3, 3)), "it was said to be missing");
        assert_eq!(producers.take(&leaf(5, 11), [0; 32]), None, "nobody had said so yet");
        assert!(!producers.is_waiting());
        for used in [1, 3, 5, 6] {
            assert_eq!(producers.check(Ref([7; 16]), used), Err(NumberError::Used { last: 6 }));
        }
    }

    #[test]
    fn a_producer_that_leaves_out_too_much_is_stopped() {
        let mut producers = Producers::default();
        for n in 0..MAX_MISSING as u64 {
            producers.take(&leaf(2 + n * 2, n), [0; 32]);
        }
        let next = 2 * MAX_MISSING as u64 + 2;
        assert_eq!(producers.check(Ref([7; 16]), next), Err(NumberError::TooManyGaps));
        assert_eq!(producers.check(Ref([7; 16]), next - 1), Ok(()), "the very next leaves nothing out");
        assert_eq!(producers.check(Ref([7; 16]), u64::MAX), Err(NumberError::TooManyGaps));
    }

    #[test]
    fn who_does_not_number_is_not_kept_out_by_those_who_do() {
        let mut producers = Producers::default();
        let of = |n: usize| Ref((n as u128 + 1).to_be_bytes());
        for n in 0..MAX_PRODUCERS {
            producers.take(&Frame { producer: of(n), ..leaf(1, 1) }, [0; 32]);
        }
        let (known, new) = (of(0), of(MAX_PRODUCERS));
        assert_eq!(producers.admits(known, 2), Ok(()));
        assert_eq!(producers.admits(new, 1), Err(NumberError::TooManyProducers));
        assert_eq!(producers.admits(new, 0), Ok(()));
        producers.take(&Frame { producer: new, ..leaf(0, 2) }, [9; 32]);
        assert_eq!(producers.of(new), None);
        producers.take(&Frame { producer: known, ..leaf(2, 2) }, [9; 32]);
        assert_eq!(producers.of(known).map(|known| known.last), Some(2));
        assert_eq!(Producers::decode(&producers.encode()), Ok(producers));
    }

    proptest! {
        #[test]
        fn every_number_is_taken_once_in_whatever_order(order in Just((1..40_u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut producers = Producers::default();
            for (at, number) in order.iter().enumerate() {
                prop_assert_eq!(producers.check(Ref([7; 16]), *number), Ok(()));
                producers.take(&leaf(*number, at as u64), [0; 32]);
                prop_assert!(producers.check(Ref([7; 16]), *number).is_err());
                let missing: u64 = producers.of(Ref([7; 16])).unwrap().missing.iter().map(|it| it.last - it.first + 1).sum();
                prop_assert_eq!(missing, order[..=at].iter().max().unwrap() - (at as u64 + 1));
                prop_assert_eq!(Producers::decode(&producers.encode()), Ok(producers.clone()));
            }
        }
    }
}
