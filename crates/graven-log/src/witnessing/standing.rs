//! How a log stands with its witnesses, for people and metrics; and what ends it where they know more than it does.

use std::time::Duration;

use graven_note::policy::PolicyWord;

use super::rounds;
use crate::engine::{Engine, Status};
use crate::log::Log;

/// How far one witness is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessLag {
    /// Its name in the policy.
    pub witness: PolicyWord,
    /// What it cosigned last, as far as is known.
    pub size: u64,
    /// Entries of the newest signed head beyond that.
    pub entries: u64,
    /// How long ago its last cosignature came, or the start where none came since.
    pub silent: Duration,
    /// Why it did not cosign when it was asked last, in one word.
    pub error: Option<&'static str>,
}

impl Engine {
    /// How long it is since a quorum of fresh cosignatures was there.
    pub fn unwitnessed_for(&self, log: &Log) -> Option<Duration> {
        let witnesses = log.witnesses.as_ref()?;
        let met_ns = witnesses.state.lock().rounds.met_ns();
        Some(Duration::from_nanos(self.env.clock.monotonic_ns().saturating_sub(met_ns)))
    }

    /// Says why witnesses did not cosign when they were asked, in one word, or that they did.
    pub fn witnesses_erred(&self, log: &Log, names: &[PolicyWord], error: Option<&'static str>) {
        let Some(witnesses) = &log.witnesses else { return };
        let mut errors = witnesses.errors.lock();
        for name in names {
            match error {
                Some(error) => drop(errors.insert(name.clone(), error)),
                None => drop(errors.remove(name)),
            }
        }
    }

    /// How far each witness of the log's policy is behind.
    pub fn witness_lags(&self, log: &Log) -> Vec<WitnessLag> {
        let Some(witnesses) = &log.witnesses else { return Vec::new() };
        let now_ns = self.env.clock.monotonic_ns();
        let state = witnesses.state.lock();
        let signed = state.rounds.newest_size();
        let errors = witnesses.errors.lock();
        let lag = |(witness, seen): (&PolicyWord, rounds::Seen)| WitnessLag {
            witness: witness.clone(),
            size: seen.size,
            entries: signed.saturating_sub(seen.size),
            silent: Duration::from_nanos(now_ns.saturating_sub(seen.at_ns)),
            error: errors.get(witness).copied(),
        };
        state.rounds.seen().map(lag).collect()
    }

    /// A witness shows something that the log signed and that is newer than the last stored head, or another tree: this log
    /// is behind or was changed. Nothing more is signed or acknowledged.
    pub fn refuse_behind(&self, log: &Log, witness: &[PolicyWord], what: &str) {
        let (name, witness) = (&log.meta().name, quoted(witness));
        self.end(Status::RolledBack(format!(
            "log `{name}`: witness {witness} {what}: this data directory went back in time. Nothing will be signed or \
             appended. {}",
            self.ways_out(log)
        )));
    }

    /// What an operator can do about a log that is behind.
    fn ways_out(&self, log: &Log) -> String {
        let (root, name) = (self.paths().root().display(), &log.meta().name);
        format!(
            "Fetch what is missing from a mirror with `graven recover --data-dir {root} --log {name} --from URL`, or start a new log \
             under a new origin."
        )
    }

    /// A witness, by its names in the policy, says the same after a start, and shows nothing that the log signed. One that lies
    /// is not to stop the log: it counts as not having answered, until those that say so are a quorum, whom the log would
    /// believe anything. `true`: they are, and nothing more is signed or acknowledged.
    pub fn dispute(&self, log: &Log, witness: &[PolicyWord], what: &str) -> bool {
        let Some(witnesses) = &log.witnesses else { return false };
        let mut state = witnesses.state.lock();
        let is_quorum = state.rounds.disputed(witness);
        let disputing = quoted(state.rounds.disputing());
        drop(state);
        if is_quorum {
            let name = &log.meta().name;
            self.end(Status::RolledBack(format!(
                "log `{name}`: {disputing} are a quorum of its witnesses and say that they have seen what is not here, the \
                 last one that it {what}: this data directory went back in time, or they lie together. Nothing will be \
                 signed or appended. {} Or take witnesses that lie out of the policy",
                self.ways_out(log)
            )));
        }
        is_quorum
    }
}

fn quoted(names: &[PolicyWord]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
