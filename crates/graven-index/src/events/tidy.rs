//! What happens behind: full chunks are written, small runs are merged, and the erased are taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::iter::Peekable;
use std::sync::Arc;

use graven_event::Ref;
use graven_event::query::Term;

use super::bits::Bits;
use super::index::{EventIndex, IndexError};
use super::lists::{List, Posting};
use super::run::{Postings, Run, Span, Times, write};
use super::tail::Tail;

/// What is to go from a run: of each group and chunk, these places.
type Dead = BTreeMap<(u8, u8), Bits>;

impl EventIndex {
    /// Writes one full chunk, or merges small runs, after it has finished what [`erase`](Self::erase) could not. `false`: there was nothing to
    /// do. Searching and adding go on meanwhile.
    ///
    /// # Errors
    /// The disk; what was to be written stays in memory.
    pub fn tidy(&self) -> Result<bool, IndexError> {
        let unfinished: Vec<Ref> = self.state.read().unfinished.iter().copied().collect();
        if !unfinished.is_empty() {
            return self.erase(&unfinished).map(|()| true);
        }
        let tidying = self.tidying.lock();
        let (full, mergeable) = {
            let state = self.state.read();
            (state.full.first().cloned(), self.mergeable(&state.runs))
        };
        let done = match (full, mergeable) {
            (_, Some(small)) => self.merge(&small),
            (Some(full), None) => self.write_full(&full),
            (None, None) => return Ok(false),
        };
        drop(tidying);
        done.map_err(|error| self.failed(error)).map(|()| true)
    }

    /// Takes out everything by which these people would be found: every term of each group of a payload that one of them
    /// owns. When it returns, no file of the index has any of it, and what is added later is taken in without it.
    ///
    /// It is repeated after a crash: what it did so far stays done.
    ///
    /// # Errors
    /// The disk, or a damaged run. Then it is not done, and [`tidy`](Self::tidy) finishes it.
    pub fn erase(&self, people: &[Ref]) -> Result<(), IndexError> {
        let _tidying = self.tidying.lock();
        let people: BTreeSet<Ref> = people.iter().copied().collect();
        let runs = {
            let mut state = self.state.write();
            state.erased.extend(&people);
            state.unfinished.extend(&people);
            state.tail.erase(&people);
            for full in &mut state.full {
                let mut without = Tail::clone(full);
                if without.erase(&people) {
                    *full = Arc::new(without);
                }
            }
            state.runs.clone()
        };
        self.clear_strays(&runs)?;
        for run in runs {
            self.erase_in(&run, &people).map_err(|error| self.failed(error))?;
        }
        self.state.write().unfinished.retain(|person| !people.contains(person));
        Ok(())
    }

    /// Removes files that are none of these runs: what an error or a race left behind.
    fn clear_strays(&self, runs: &[Arc<Run>]) -> io::Result<()> {
        let names: BTreeSet<String> = runs.iter().map(|run| run.span.file_name()).collect();
        for name in self.fs.list(&self.dir)?.iter().filter(|name| !names.contains(*name)) {
            self.fs.remove_file(&self.dir.join(name))?;
        }
        self.fs.sync_dir(&self.dir)
    }

    /// The oldest small runs that together are a large one.
    fn mergeable(&self, runs: &[Arc<Run>]) -> Option<Vec<Arc<Run>>> {
        let small: Vec<_> =
            runs.iter().filter(|run| run.span.leaves == u64::from(self.lengths.chunk)).collect();
        let wanted = usize::from(self.lengths.chunks);
        (wanted > 1 && small.len() >= wanted)
            .then(|| small[..wanted].iter().map(|run| Arc::clone(run)).collect())
    }

    fn write_full(&self, full: &Arc<Tail>) -> io::Result<()> {
        let span = Span { start: full.start, leaves: u64::from(full.len()) };
        let times = std::iter::once(Ok(full.times.clone()));
        let run = self.write_run(span, full.last, times, full.postings().map(Ok))?;
        let mut state = self.state.write();
        // A cut may have taken it away meanwhile.
        if state.full.first().is_some_and(|first| first.start == span.start) {
            state.full.remove(0);
            state.runs.push(Arc::new(run));
        }
        Ok(())
    }

    fn merge(&self, small: &[Arc<Run>]) -> io::Result<()> {
        let (first, last) = (&small[0], &small[small.len() - 1]);
        let span = Span { start: first.span.start, leaves: last.span.end() - first.span.start };
        let times = small.iter().map(|run| times(run));
        let run = self.write_run(span, last.last, times, Merge::of(small))?;
        {
            let mut state = self.state.write();
            let at = state.runs.iter().position(|run| Arc::ptr_eq(run, first));
            let is_there =
                |at: usize| state.runs.get(at + small.len() - 1).is_some_and(|run| Arc::ptr_eq(run, last));
            let Some(at) = at.filter(|at| is_there(*at)) else { return Ok(()) };
            state.runs.splice(at..at + small.len(), [Arc::new(run)]);
        }
        // The large run's name is durable, so a crash from here on leaves small ones that the next start removes.
        small.iter().try_for_each(|run| self.fs.remove_file(&self.dir.join(run.span.file_name())))?;
        self.fs.sync_dir(&self.dir)
    }

    fn erase_in(&self, run: &Arc<Run>, people: &BTreeSet<Ref>) -> io::Result<()> {
        let dead = dead(run, people)?;
        if dead.is_empty() {
            return Ok(());
        }
        let postings = run.postings().map(|posting| without(posting?, &dead));
        let chunks = (0..run.span.leaves).step_by(self.lengths.chunk as usize);
        let times = chunks.map(|from| times_of(run, from, from + u64::from(self.lengths.chunk)));
        // It takes the place of the old one by its name, in one step.
        let new = Arc::new(self.write_run(run.span, run.last, times, postings)?);
        let mut state = self.state.write();
        if let Some(old) = state.runs.iter_mut().find(|old| Arc::ptr_eq(old, run)) {
            *old = new;
        }
        Ok(())
    }

    /// Writes a run under another name, and gives it its own once it is durable.
    fn write_run(
        &self,
        span: Span,
        last: graven_merkle::Hash,
        times: impl Iterator<Item = io::Result<Times>>,
        postings: impl Iterator<Item = io::Result<Posting>>,
    ) -> io::Result<Run> {
        let (path, seal) = (self.dir.join(span.file_name()), self.seal(span));
        let staged = path.with_extension("new");
        let written = write(&*self.fs, &staged, (span, seal, last), times, postings);
        if let Err(error) = written {
            // What is left of it may name the erased: it goes now, or when the index is opened.
            let _ = self.fs.remove_file(&staged);
            return Err(error);
        }
        self.fs.rename(&staged, &path)?;
        self.fs.sync_dir(&self.dir)?;
        Run::open(&*self.fs, &path, span, seal)
    }

    /// After damage, the runs end before the one that has it.
    pub(crate) fn failed(&self, error: io::Error) -> IndexError {
        if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            return IndexError::Io(error);
        }
        let runs = self.state.read().runs.clone();
        let whole = runs.iter().take_while(|run| check(run).is_ok()).count();
        if whole == runs.len() {
            return IndexError::Io(error);
        }
        let position = runs[..whole].last().map_or(0, |run| run.span.end());
        tracing::warn!(%error, position, "the event index is damaged: it is made again from there on");
        IndexError::Damaged { position: self.cut_back(position) }
    }
}

/// Reads all of a run.
fn check(run: &Run) -> io::Result<()> {
    run.postings()
        .try_for_each(|posting| posting?.lists.iter().try_for_each(|list| list.bits().map(drop)))?;
    times(run).map(drop)
}

fn times(run: &Run) -> io::Result<Times> {
    times_of(run, 0, run.span.leaves)
}

fn times_of(run: &Run, from: u64, to: u64) -> io::Result<Times> {
    Ok(Times { logged: run.logged(from, to)?, happened: run.happened(from, to)? })
}

/// Where these people own groups.
fn dead(run: &Run, people: &BTreeSet<Ref>) -> io::Result<Dead> {
    let mut dead = Dead::new();
    for group in graven_event::Group::ALL {
        for person in people {
            let Some(found) = run.lists(Term::owner(group, *person).as_bytes())? else { continue };
            for list in run.read(&found, None)? {
                dead.entry((group.number(), list.chunk)).or_default().or(&list.bits()?);
            }
        }
    }
    Ok(dead)
}

fn without(mut posting: Posting, dead: &Dead) -> io::Result<Posting> {
    let group = Term::group_number(&posting.term);
    let mut kept = Vec::with_capacity(posting.lists.len());
    for list in posting.lists {
        let Some(dead) = dead.get(&(group, list.chunk)) else {
            kept.push(list);
            continue;
        };
        let mut bits = list.bits()?;
        bits.and_not(dead);
        if !bits.is_empty() {
            kept.push(List { chunk: list.chunk, count: bits.count(), data: bits.encode() });
        }
    }
    posting.lists = kept;
    Ok(posting)
}

/// Runs of a chunk each as one, by rising term. Lists are copied as they are.
struct Merge<'a>(Vec<Peekable<Postings<'a>>>);

impl<'a> Merge<'a> {
    fn of(runs: &'a [Arc<Run>]) -> Self {
        Self(runs.iter().map(|run| run.postings().peekable()).collect())
    }
}

impl Iterator for Merge<'_> {
    type Item = io::Result<Posting>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut least: Option<Vec<u8>> = None;
        for run in &mut self.0 {
            match run.peek() {
                Some(Err(_)) => return run.next(),
                Some(Ok(posting)) if least.as_ref().is_none_or(|least| posting.term < *least) => {
                    least = Some(posting.term.clone());
                }
                _ => {}
            }
        }
        let mut merged = Posting { term: least?, lists: Vec::new() };
        for (chunk, run) in (0..).zip(&mut self.0) {
            let is_next =
                |next: &io::Result<Posting>| matches!(next, Ok(posting) if posting.term == merged.term);
            if let Some(Ok(posting)) = run.next_if(is_next) {
                merged.lists.extend(posting.lists.into_iter().map(|list| List { chunk, ..list }));
            }
        }
        Some(Ok(merged))
    }
}
