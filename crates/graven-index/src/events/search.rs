//! Answering: chunk by chunk, from either end, until a page is full.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use graven_event::query::{AnyOf, Lookup, Plan};

use super::asked::{Asked, keep_in};
use super::bits::{Bits, CHUNK};
use super::index::{EventIndex, IndexError, State};
use super::run::Run;
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
