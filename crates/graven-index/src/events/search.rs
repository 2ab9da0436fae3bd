//! Answering: chunk by chunk, from either end, until a page is full.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use graven_event::query::{AnyOf, Lookup, Plan};

use super::bits::{Bits, CHUNK};
use super::index::{EventIndex, IndexError, State};
use super::run::{Found, Run};
use super::tail::Tail;

/// Most hits of a page.
pub const MAX_PAGE: usize = 1000;

/// Which hits are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Those after this; `None`: from the beginning.
    pub after: Option<Cursor>,
    /// So many, [`MAX_PAGE`] at most.
    pub limit: usize,
    /// The newest first. Pages do not shift as the log grows, since what is new comes before the first of them.
    pub newest_first: bool,
}

/// Where a page ended: the index of its last hit. It gives no right to anything: with a made-up one, pages of the same answer begin elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u64);

/// A page of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hits {
    /// The indices, in order. Whoever asks holds these leaves against the question again.
    pub indices: Vec<u64>,
    /// Where the next page begins; `None`: there is no other hit below [`complete_to`](Self::complete_to).
    pub next: Option<Cursor>,
    /// Every leaf below this index was looked at.
    pub complete_to: u64,
}

/// How many hits there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub hits: u64,
    /// Among the leaves below this index.
    pub complete_to: u64,
}

impl Cursor {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// A cursor from what somebody handed in.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl EventIndex {
    /// A page of what a plan asks for.
    ///
    /// # Errors
    /// The disk, or damage, which is repaired by reading the log again.
    pub fn search(&self, plan: &Plan, page: Page) -> Result<Hits, IndexError> {
        let limit = page.limit.clamp(1, MAX_PAGE);
        let mut indices = Vec::new();
        let mut bounds = 0..u64::MAX;
        match page.after {
            Some(Cursor(at)) if page.newest_first => bounds.end = at,
            Some(Cursor(at)) => bounds.start = at.saturating_add(1),
            None => {}
        }
        let complete_to = self.each_chunk(plan, bounds, page.newest_first, |start, bits| {
            let wanted = limit + 1 - indices.len();
            let index = |place: u16| start + u64::from(place);
            match page.newest_first {
                true => indices.extend(bits.places().rev().take(wanted).map(index)),
                false => indices.extend(bits.places().take(wanted).map(index)),
            }
            indices.len() <= limit
        })?;
        let has_more = indices.len() > limit;
        indices.truncate(limit);
        let next = indices.last().filter(|_| has_more).map(|index| Cursor(*index));
        Ok(Hits { indices, next, complete_to })
    }

    /// How many leaves are what a plan asks for.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn count(&self, plan: &Plan) -> Result<Count, IndexError> {
        let mut hits = 0;
        let complete_to = self.each_chunk(plan, 0..u64::MAX, false, |_, bits| {
            hits += u64::from(bits.count());
            true
        })?;
        Ok(Count { hits, complete_to })
    }

    /// Gives each chunk's hits within `bounds`, with the index of the chunk's first leaf, for as long as `each` says.
    fn each_chunk(
        &self,
        plan: &Plan,
        bounds: Range<u64>,
        newest_first: bool,
        mut each: impl FnMut(u64, &Bits) -> bool,
    ) -> Result<u64, IndexError> {
        let (parts, complete_to) = self.parts(plan, &bounds);
        let mut parts = parts.into_iter();
        while let Some(part) = if newest_first { parts.next_back() } else { parts.next() } {
            let goes_on = match part {
                Part::Memory(start, bits) => Ok(bits.is_empty() || each(start, &bits)),
                Part::Run(run) => self.each_of_run(&run, plan, &bounds, newest_first, &mut each),
            };
            if !goes_on.map_err(|error| self.failed(error))? {
                break;
            }
        }
        Ok(complete_to)
    }

    /// What there is at one moment, oldest first. What is in memory is looked into at once.
    fn parts(&self, plan: &Plan, bounds: &Range<u64>) -> (Vec<Part>, u64) {
        let state = self.state.read();
        let State { runs, full, tail, .. } = &*state;
        let memory = full.iter().map(|full| &**full).chain([tail]);
        let memory = memory.map(|tail| Part::Memory(tail.start, tail.hits(plan, bounds)));
        (runs.iter().map(|run| Part::Run(run.clone())).chain(memory).collect(), tail.end())
    }

    fn each_of_run(
        &self,
        run: &Run,
        plan: &Plan,
        bounds: &Range<u64>,
        newest_first: bool,
        each: &mut impl FnMut(u64, &Bits) -> bool,
    ) -> io::Result<bool> {
        let Some(asked) = Asked::of(run, plan, bounds)? else { return Ok(true) };
        let chunk_leaves = u64::from(self.lengths.chunk);
        let count = u8::try_from(run.span.leaves / chunk_leaves).unwrap_or(u8::MAX);
        let mut chunks = 0..count;
        while let Some(chunk) = if newest_first { chunks.next_back() } else { chunks.next() } {
            let from = u64::from(chunk) * chunk_leaves;
            let bits = asked.hits(run, plan, chunk, from..from + chunk_leaves)?;
            if bits.is_some_and(|bits| !bits.is_empty() && !each(run.span.start + from, &bits)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

enum Part {
    Memory(u64, Bits),
    Run(Arc<Run>),
}

impl Tail {
    fn hits(&self, plan: &Plan, bounds: &Range<u64>) -> Bits {
        let logged = &self.times.logged;
        let first = logged.partition_point(|time| *time < plan.logged.start) as u64;
        let end = logged.partition_point(|time| *time < plan.logged.end) as u64;
        let from = first.max(bounds.start.saturating_sub(self.start)).min(u64::from(CHUNK));
        let to = end.min(bounds.end.saturating_sub(self.start));
        let mut bits = Bits::range(from, to);
        for any in &plan.all {
            if bits.is_empty() {
                return bits;
            }
            bits.and(&self.any(any));
        }
        for all in &plan.none {
            let mut excluded = bits.clone();
            all.iter().for_each(|any| excluded.and(&self.any(any)));
            bits.and_not(&excluded);
        }
        if let Some(range) = &plan.happened {
            keep_in(&mut bits, &self.times.happened, range);
        }
        bits
    }

    fn any(&self, any: &AnyOf) -> Bits {
        let mut bits = Bits::default();
        for lookup in any {
            let found = match lookup {
                Lookup::Term(term) => self.term(term.as_bytes()),
                Lookup::Prefix(term) => self.beginning_with(term.as_bytes()),
            };
            found.iter().for_each(|found| bits.or(found));
        }
        bits
    }
}

/// Takes out what is of other times.
fn keep_in(bits: &mut Bits, happened: &[u64], range: &Range<u64>) {
    let outside = bits.places().filter(|place| {
        happened.get(usize::from(*place)).is_none_or(|time| *time == u64::MAX || !range.contains(time))
    });
    let outside: Vec<u16> = outside.collect();
    bits.and_not(&Bits::of(&outside));
}

/// A plan as a run has it: where the lists are.
struct Asked {
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
    fn of(run: &Run, plan: &Plan, bounds: &Range<u64>) -> io::Result<Option<Self>> {
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
    fn hits(&self, run: &Run, plan: &Plan, chunk: u8, of: Range<u64>) -> io::Result<Option<Bits>> {
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
