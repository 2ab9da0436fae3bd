//! One log, entry by entry, whichever way they come.

use graven_event::{
    Facts, Frame, Outcome as Ended, Word,
    replay::{Mismatch, Replay},
};
use graven_merkle::{Frontier, Hash, leaf_hash};
use graven_note::VerifierKey;
use serde_json::json;

use super::{ReplayArgs, film::Film};
use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Mismatches that are printed; what comes after is only counted. The first is the cause, more often than not.
const MAX_PRINTED: u64 = 1_000;

/// A replay under way.
pub(super) struct Replaying<'a> {
    args: &'a ReplayArgs,
    origin: String,
    replay: Replay,
    film: Option<Film>,
    frontier: Frontier,
    counts: Counts,
    mismatches: u64,
    first_mismatch: Option<String>,
}

/// What came of it.
pub(super) struct Replayed {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) counts: Counts,
    pub(super) mismatches: u64,
    pub(super) first_mismatch: Option<String>,
}

/// What there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) commands: u64,
    pub(super) refused: u64,
    pub(super) decisions: u64,
    pub(super) denied: u64,
    pub(super) alerts: u64,
    pub(super) events: u64,
}

impl<'a> Replaying<'a> {
    pub(super) fn new(args: &'a ReplayArgs, origin: &str, film: Option<Film>) -> Outcome<Self> {
        let word =
            Word::new(origin).map_err(|error| Failure::check_failed(format_args!("{origin}: {error}")))?;
        Ok(Self {
            args,
            origin: origin.to_owned(),
            replay: Replay::new(word, Box::new(verifies)),
            film,
            frontier: Frontier::new(),
            counts: Counts::default(),
            mismatches: 0,
            first_mismatch: None,
        })
    }

    /// Entries that were taken.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size().get()
    }

    /// The root over them.
    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, leaf: &[u8]) -> Outcome {
        let index = self.size();
        self.frontier.push(leaf_hash(leaf));
        for mismatch in self.replay.step(index, leaf) {
            self.report(&mismatch)?;
        }
        let Ok(frame) = Frame::decode(leaf) else { return Ok(()) };
        if index == 0 {
            self.check_recovery(&frame)?;
        }
        self.counts.take(&frame);
        match &mut self.film {
            Some(film) => film.take(index, &frame, self.args.json),
            None => Ok(()),
        }
    }

    /// Nothing follows any more.
    pub(super) fn finish(mut self) -> Outcome<Replayed> {
        for mismatch in self.replay.finish() {
            self.report(&mismatch)?;
        }
        let (size, root) = (self.size(), self.root());
        let Self { origin, counts, mismatches, first_mismatch, .. } = self;
        Ok(Replayed { origin, size, root, counts, mismatches, first_mismatch })
    }

    fn report(&mut self, mismatch: &Mismatch) -> Outcome {
        self.wrong(mismatch.to_string())
    }

    fn wrong(&mut self, what: String) -> Outcome {
        self.mismatches += 1;
        if self.mismatches <= MAX_PRINTED {
            output::either(
                self.args.json,
                || json!({ "mismatch": what, "origin": self.origin }),
                || output::shown(&what).into_owned(),
            )?;
        }
        self.first_mismatch.get_or_insert(what);
        Ok(())
    }

    /// Who begins to decide about scopes is authorised by the recovery key that is pinned, where one is.
    fn check_recovery(&mut self, frame: &Frame) -> Outcome {
        let (Facts::Genesis(genesis), Some(pinned)) = (&frame.facts, &self.args.log.trust.recovery) else {
            return Ok(());
        };
        if genesis.recovery.as_str() == pinned {
            return Ok(());
        }
        self.wrong("entry 0 names another recovery key than the one that is pinned".to_owned())
    }
}

/// Whether a log's recovery key signed a statement.
fn verifies(recovery: &str, statement: &[u8], signature: &[u8]) -> bool {
    VerifierKey::parse(recovery).is_ok_and(|key| key.verify(statement, signature).is_ok())
}

impl Counts {
    fn take(&mut self, frame: &Frame) {
        match &frame.facts {
            Facts::Scope(command) => {
                self.commands += 1;
                self.refused += u64::from(command.refused.is_some());
            }
            Facts::Decision(_) => {
                self.decisions += 1;
                self.denied += u64::from(frame.outcome == Some(Ended::Denied));
            }
            Facts::Alert(_) => self.alerts += 1,
            Facts::Event(_) => self.events += 1,
            _ => {}
        }
    }
}
