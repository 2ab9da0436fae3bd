//! What a question finds in one run, chunk by chunk.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use graven_event::query::{AnyOf, Lookup, Plan};

use super::bits::Bits;
use super::run::{Found, Run};

/// Takes out what is of other times.
pub(crate) fn keep_in(bits: &mut Bits, happened: &[u64], range: &Range<u64>) {
    let outside = bits.places().filter(|place| {
        happened.get(usize::from(*place)).is_none_or(|time| *time == u64::MAX || !range.contains(time))
    });
    let outside: Vec<u16> = outside.collect();
    bits.and_not(&Bits::of(&outside));
}

/// A plan as a run has it: where the lists are.
pub(crate) struct Asked {
    /// Leaves that may be hits, counted within the run.
    leaves: Range<u64>,
    all: Vec<Any>,
    none: Vec<Vec<Any>>,
}

/// What one of several look-ups found.
#[derive(Default)]
struct Any {
    lists: Vec<Found>,
    /// Of beginnings, which may be those of many terms.
    bits: BTreeMap<u8, Bits>,
}

impl Asked {
    /// `None`: nothing in the run can be a hit.
    pub(crate) fn of(run: &Run, plan: &Plan, bounds: &Range<u64>) -> io::Result<Option<Self>> {
        let within = |index: u64| index.saturating_sub(run.span.start).min(run.span.leaves);
        let leaves = within(bounds.start).max(first_at(run, plan.logged.start)?)
            ..within(bounds.end).min(first_at(run, plan.logged.end)?);
        if leaves.is_empty() {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(plan.all.len());
        for any in &plan.all {
            let any = Any::of(run, any)?;
            if any.is_empty() {
                return Ok(None);
            }
            all.push(any);
        }
        let of = |all: &Vec<AnyOf>| all.iter().map(|any| Any::of(run, any)).collect::<io::Result<Vec<_>>>();
        let mut none = plan.none.iter().map(of).collect::<io::Result<Vec<_>>>()?;
        none.retain(|all| !all.iter().any(Any::is_empty));
        Ok(Some(Self { leaves, all, none }))
    }

    /// The hits in a chunk; `None`: none.
    pub(crate) fn hits(&self, run: &Run, plan: &Plan, chunk: u8, of: Range<u64>) -> io::Result<Option<Bits>> {
        let (from, to) = (self.leaves.start.max(of.start), self.leaves.end.min(of.end));
        if from >= to {
            return Ok(None);
        }
        let mut bits = Bits::range(from - of.start, to - of.start);
        for any in &self.all {
            bits.and(&any.in_chunk(run, chunk)?);
            if bits.is_empty() {
                return Ok(None);
            }
        }
        for all in &self.none {
            let mut excluded = bits.clone();
            for any in all {
                excluded.and(&any.in_chunk(run, chunk)?);
            }
            bits.and_not(&excluded);
        }
        if let Some(range) = plan.happened.as_ref().filter(|_| !bits.is_empty()) {
            keep_in(&mut bits, &run.happened(of.start, of.end)?, range);
        }
        Ok(Some(bits))
    }
}

impl Any {
    fn of(run: &Run, any: &AnyOf) -> io::Result<Self> {
        let mut found = Self::default();
        for lookup in any {
            match lookup {
                Lookup::Term(term) => found.lists.extend(run.lists(term.as_bytes())?),
                Lookup::Prefix(term) => run.each_with_prefix(term.as_bytes(), |_, at| {
                    for list in run.read(&at, None)? {
                        found.bits.entry(list.chunk).or_default().or(&list.bits()?);
                    }
                    Ok(())
                })?,
            }
        }
        Ok(found)
    }

    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.bits.is_empty()
    }

    fn in_chunk(&self, run: &Run, chunk: u8) -> io::Result<Bits> {
        let mut bits = self.bits.get(&chunk).cloned().unwrap_or_default();
        for found in &self.lists {
            for list in run.read(found, Some(chunk))? {
                bits.or(&list.bits()?);
            }
        }
        Ok(bits)
    }
}

/// The first leaf of a run, counted within it, that is of this log time or later.
fn first_at(run: &Run, time: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, run.span.leaves);
    // Most questions name no time: these bounds need no look.
    match time {
        0 => return Ok(0),
        u64::MAX => return Ok(high),
        _ => {}
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match run.logged(middle, middle + 1)?.first() {
            Some(found) if *found < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
