//! A log's witnesses: heads are offered to them, and what they cosign is verified, remembered and shown.
//!
//! The engine speaks to no witness. Whoever does — a driver that pushes, a service that is polled — follows
//! [`Log::watch_pending`], proves with [`Log::pending_consistency`], and hands in what came back with
//! [`Engine::cosign`]. Order, and what a crash leaves after each step:
//!
//! 1. a head is signed and journalled (see `signing`), and offered — after a crash it is offered again;
//! 2. cosignatures come in and are verified, one by one — after a crash witnesses give them again;
//! 3. with a quorum of them the note goes into the witness journal, synced — after a crash it is witnessed still;
//! 4. where heads are published with a quorum only, it is released;
//! 5. *ack witnessed*.
//!
//! Cosignatures that come after the quorum are shown but not journalled: no acknowledgement depends on them.
//!
//! **After a start** a log with witnesses takes no entries and signs nothing until those that have not cosigned its last
//! stored head contain no quorum. A machine that was restored from an old copy cannot know by itself that it is behind,
//! and an entry that it acknowledged would take the index of another one. Only what a witness says from then on counts: see
//! `rounds`. Reads go on. (Where a crash came between body and note,
//! the journalled body is signed at the start: it is what was, or would have been, signed before.)

mod candidate;
mod journal;
mod rounds;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use graven_merkle::{ConsistencyProof, Hash, TreeSize};
use graven_note::policy::PolicyWord;
use graven_note::{Checkpoint, KeyName, LogKeys, Policy, SignatureLine};
use graven_store::fs::Fs;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::candidate::Candidate;
use self::journal::WitnessJournal;
use self::rounds::{Effect, Rounds};
pub use self::standing::WitnessLag;
use crate::engine::Engine;
use crate::env::Clock;
use crate::error::{AppendError, OpenError, ReadError};
use crate::log::{Head, Log};
use crate::meta::LogMeta;

/// Most witnesses of a log's policy: with the log's own, their lines must fit a note's 100.
pub const MAX_WITNESSES: usize = 64;

/// When a head is shown to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// As soon as it is signed; cosignatures are added to it as they come.
    Signed,
    /// With its quorum, and not before: readers see an older head while witnesses are away.
    Witnessed,
}

/// The witnesses of a log, and what depends on them.
#[derive(Clone, Debug)]
pub struct Witnessing {
    policy: Policy,
    /// When heads are shown.
    pub publish: Publish,
    /// How long one head is offered before a newer one takes its place.
    pub round: Duration,
}

/// A policy that a log cannot be witnessed by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessingError {
    /// It is met by nobody.
    #[error("its quorum is met without any witness: name one in the quorum line, or leave out the policy")]
    NoQuorum,
    /// Too many.
    #[error("{0} witnesses are too many: at most {MAX_WITNESSES}, or their lines would not fit a checkpoint")]
    TooMany(usize),
    /// One witness would count for two, and clients refuse the same policy.
    #[error(
        "the policy counts the witness {0} more than once, by several of its keys: put these into a group of their own, \
         `any` or `all`, and count that group"
    )]
    CountedTwice(KeyName),
}

impl Witnessing {
    /// By this policy.
    ///
    /// # Errors
    /// It demands no witness, has too many, or counts one twice.
    pub fn new(policy: Policy, publish: Publish, round: Duration) -> Result<Self, WitnessingError> {
        let count = policy.witnesses().count();
        if count > MAX_WITNESSES {
            return Err(WitnessingError::TooMany(count));
        }
        if policy.quorum_is_met(|_| false) {
            return Err(WitnessingError::NoQuorum);
        }
        if let Some(name) = policy.counted_twice() {
            return Err(WitnessingError::CountedTwice(name.clone()));
        }
        Ok(Self { policy, publish, round })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// The head that witnesses are asked to cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The head, with the cosignatures so far.
    pub head: Head,
    /// Whether those are a quorum.
    pub is_witnessed: bool,
    /// The witnesses that have cosigned it since it was offered.
    pub cosigned: Vec<PolicyWord>,
}

/// Cosignatures were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignError {
    /// The log has no witness policy.
    #[error("this log has no witness policy")]
    NoPolicy,
    /// Nobody whom the policy lists.
    #[error("no line is by a witness of the log's policy")]
    Unknown,
    /// A listed witness's line does not hold.
    #[error("the cosignature of witness `{0}` does not verify over this checkpoint, or states no time")]
    Invalid(PolicyWord),
    /// It was made before it was asked for, or is dated into the future.
    #[error(
        "the cosignature of witness `{witness}` is of {} s {} this server's clock, and only one of now is an answer: it must \
         sign anew; where it just did, set the clocks right",
        .seconds.unsigned_abs(),
        if *.seconds < 0 { "before" } else { "after" }
    )]
    NotOfNow {
        /// Whose.
        witness: PolicyWord,
        /// Its time, from the server's.
        seconds: i128,
    },
    /// Another tree.
    #[error("this size is neither that of the pending head, {size}, nor of the one that was witnessed last")]
    NotPending {
        /// The size of the pending head.
        size: u64,
    },
    /// Storage failed, or the log is behind.
    #[error("the server acknowledges nothing any more: it must be restarted")]
    Poisoned,
}

/// What one log knows of its witnesses.
pub(crate) struct LogWitnesses {
    publish: Publish,
    policy: Policy,
    state: Mutex<State>,
    pending: watch::Sender<Arc<Pending>>,
    witnessed: watch::Sender<Option<Arc<Head>>>,
    is_cleared: AtomicBool,
    /// Of those that did not cosign when they were asked last: why, in one word.
    errors: Mutex<HashMap<PolicyWord, &'static str>>,
}

struct State {
    rounds: Rounds,
    journal: WitnessJournal,
}

/// What opening found: the witnesses, where there are any, and the head that is published.
pub(crate) struct OpenedWitnesses {
    pub(crate) witnesses: Option<LogWitnesses>,
    pub(crate) published: Head,
}

/// Goes on where the log was left: with witnesses, with others, or without.
pub(crate) fn open(
    fs: Arc<dyn Fs>,
    path: PathBuf,
    meta: &LogMeta,
    keys: &LogKeys,
    settings: Option<&Witnessing>,
    signed: Head,
    clock: &dyn Clock,
) -> Result<OpenedWitnesses, OpenError> {
    let damaged = || OpenError::Damaged {
        log: meta.name.to_string(),
        what: "its witness journal is not one of this log".to_owned(),
    };
    let mut journal = WitnessJournal::open(fs, path)?.ok_or_else(damaged)?;
    let no_witnesses = Policy::without_witnesses(keys.newest()).map_err(|_| damaged())?;
    let policy = settings.map_or(&no_witnesses, |settings| &settings.policy);
    let stored = |note: &Bytes| {
        let candidate = Candidate::of_note(note, &meta.origin, keys, policy).ok_or_else(damaged)?;
        let (have, known) = (signed.size().get(), candidate.size());
        if have < known {
            let (log, part) = (meta.name.to_string(), "signer journal");
            return Err(OpenError::Behind { log, part, have, signed: known });
        }
        Ok(candidate)
    };
    let witnessed = journal.witnessed_note().map(stored).transpose()?;
    // As it was, with lines of witnesses that the policy of now does not list.
    let as_it_was = |note: &Bytes| Ok::<_, OpenError>(Head { note: note.clone(), ..stored(note)?.head() });
    let published = journal.published_note().map(as_it_was).transpose()?;
    let publish = settings.map_or(Publish::Signed, |settings| settings.publish);
    // What was published last is published still, whatever the settings say now.
    let published = match (publish, published) {
        (Publish::Witnessed, Some(published)) => published,
        _ => witnessed
            .as_ref()
            .and_then(|it| it.renewed(signed.clone()))
            .map_or(signed.clone(), |it| it.head()),
    };
    journal.publish_as(publish, &published.note)?;
    let witnesses = settings.map(|settings| {
        let round_ns = u64::try_from(settings.round.as_nanos()).unwrap_or(u64::MAX);
        // What is of the second in which this starts may be from before.
        let (now_ns, since) = (clock.monotonic_ns(), clock.wall_ns().div_ceil(1_000_000_000));
        let rounds = Rounds::start(settings.policy.clone(), round_ns, signed, witnessed, now_ns, since);
        let witnessed = rounds.witnessed().map(|it| Arc::new(it.head()));
        LogWitnesses {
            publish,
            policy: settings.policy.clone(),
            pending: watch::Sender::new(Arc::new(pending(&rounds))),
            witnessed: watch::Sender::new(witnessed),
            is_cleared: AtomicBool::new(false),
            errors: Mutex::default(),
            state: Mutex::new(State { rounds, journal }),
        }
    });
    Ok(OpenedWitnesses { witnesses, published })
}

/// The head that was witnessed last, whatever the policy is now.
pub(crate) fn last(
    fs: Arc<dyn Fs>,
    path: PathBuf,
    meta: &LogMeta,
    keys: &LogKeys,
) -> Result<Option<Checkpoint>, OpenError> {
    let damaged = || OpenError::Damaged {
        log: meta.name.to_string(),
        what: "its witness journal is not one of this log".to_owned(),
    };
    let journal = WitnessJournal::open(fs, path)?.ok_or_else(damaged)?;
    let signed = |note: &Bytes| keys.open(note, &meta.origin);
    let signed = journal.witnessed_note().map(signed).transpose().map_err(|_| damaged())?;
    Ok(signed.map(|signed| signed.checkpoint().clone()))
}

fn pending(rounds: &Rounds) -> Pending {
    let offered = rounds.offered();
    Pending {
        head: offered.head(),
        is_witnessed: offered.has_quorum(rounds.policy(), false),
        cosigned: offered.witnesses(rounds.policy(), true),
    }
}

impl LogWitnesses {
    /// Whether a head may be signed now: not before enough witnesses were heard since the start, and where readers only
    /// see witnessed heads, not while one is on its way.
    pub(crate) fn may_sign(&self, log: &Log, now_ns: u64) -> bool {
        let mut state = self.state.lock();
        let effect = state.rounds.tick(now_ns);
        self.tell(log, &state, effect);
        self.is_cleared() && (self.publish == Publish::Signed || !state.rounds.is_open(now_ns))
    }

    /// The root of the pending head, if it has this size.
    pub(crate) fn pending_root(&self, size: TreeSize) -> Option<Hash> {
        let pending = self.pending.borrow();
        (pending.head.size() == size).then(|| *pending.head.checkpoint.root())
    }

    /// Whether enough witnesses were heard since the start.
    pub(crate) fn is_cleared(&self) -> bool {
        self.is_cleared.load(Ordering::Acquire)
    }

    /// Takes a head that was signed: released or not, it is offered.
    pub(crate) fn signed(&self, log: &Log, head: Head, now_ns: u64) {
        let mut state = self.state.lock();
        let effect = state.rounds.signed(head.clone(), now_ns);
        let offered = state.rounds.offered();
        let shown = if offered.is_of(&head) { offered.head() } else { head };
        // Where it is offered it has what it had: signed anew, it is published like the one before.
        if self.publish == Publish::Signed || offered.has_quorum(&self.policy, false) {
            log.release(shown);
        }
        self.tell(log, &state, effect);
    }

    fn cosign(
        &self,
        log: &Log,
        size: u64,
        lines: &[SignatureLine],
        clock: &dyn Clock,
    ) -> Result<Result<Effect, CosignError>, std::io::Error> {
        let (now_ns, wall_seconds) = (clock.monotonic_ns(), clock.wall_ns() / 1_000_000_000);
        let mut state = self.state.lock();
        let mut next = state.rounds.clone();
        let effect = match next.cosigned(size, lines, now_ns, wall_seconds) {
            Ok(effect) => effect,
            Err(error) => return Ok(Err(error)),
        };
        if effect.is_newly_witnessed
            && let Some(head) = next.witnessed().map(Candidate::head)
        {
            state.journal.witnessed(&head.note)?;
            // From here on it is witnessed after a crash too.
        }
        // Not before: where that failed, whoever comes next finds nothing that was not made durable.
        state.rounds = next;
        self.tell(log, &state, effect);
        Ok(Ok(effect))
    }

    /// Shows readers and witnesses what has changed. Everything that is shown as witnessed is durable.
    fn tell(&self, log: &Log, state: &State, effect: Effect) {
        if !(effect.is_new || effect.is_offered || effect.is_cleared) {
            return;
        }
        if effect.is_cleared {
            self.is_cleared.store(true, Ordering::Release);
        }
        if let Some(head) = state.rounds.witnessed().map(Candidate::head) {
            let published = log.head();
            let is_of_it = published.checkpoint == head.checkpoint;
            if is_of_it || (self.publish == Publish::Witnessed && published.size() <= head.size()) {
                log.release(head.clone());
            }
            self.witnessed.send_if_modified(|shown| {
                let is_changed = shown.as_ref().is_none_or(|shown| **shown != head);
                if is_changed {
                    *shown = Some(Arc::new(head));
                }
                is_changed
            });
        }
        let offered = pending(&state.rounds);
        // Cosignatures without a quorum are worth showing too.
        if self.publish == Publish::Signed && log.head().checkpoint == offered.head.checkpoint {
            log.release(offered.head.clone());
        }
        self.pending.send_replace(Arc::new(offered));
    }
}

impl Log {
    /// The policy of its witnesses, where it has one.
    pub fn witness_policy(&self) -> Option<&Policy> {
        self.witnesses.as_ref().map(|witnesses| &witnesses.policy)
    }

    /// Follows the head that witnesses are to cosign. `None`: the log has no witnesses.
    pub fn watch_pending(&self) -> Option<watch::Receiver<Arc<Pending>>> {
        self.witnesses.as_ref().map(|witnesses| witnesses.pending.subscribe())
    }

    /// The head that was witnessed last, with all its cosignatures. `None`: there is none.
    pub fn witnessed_head(&self) -> Option<Arc<Head>> {
        self.witnesses.as_ref().and_then(|witnesses| witnesses.witnessed.borrow().clone())
    }

    /// Whether it has not heard enough of its witnesses since the start to know that it is not behind.
    pub fn is_awaiting_witnesses(&self) -> bool {
        self.witnesses.as_ref().is_some_and(|witnesses| !witnesses.is_cleared())
    }

    /// Proves that the tree of `to`, at most the pending head's, begins with that of `from`.
    pub fn pending_consistency(&self, from: TreeSize, to: TreeSize) -> Result<ConsistencyProof, ReadError> {
        let pending = self.witnesses.as_ref().map(|witnesses| witnesses.pending.borrow().head.size());
        let size = pending.unwrap_or(TreeSize::ZERO).max(self.head().size());
        if to > size {
            return Err(ReadError::OutOfRange { asked: to.get(), size: size.get() });
        }
        self.prove_consistent(from, to)
    }
}

impl Engine {
    /// Takes cosignatures over the pending head of `size`, or the one that was witnessed last. Blocks: a note with its
    /// quorum is durable before this returns. `true`: that head has its quorum.
    ///
    /// # Errors
    /// They do not verify, or are of nobody or nothing that is asked for.
    pub fn cosign(&self, log: &Log, size: u64, lines: &[SignatureLine]) -> Result<bool, CosignError> {
        let witnesses = log.witnesses.as_ref().ok_or(CosignError::NoPolicy)?;
        if self.is_poisoned() {
            return Err(CosignError::Poisoned);
        }
        match witnesses.cosign(log, size, lines, &*self.env.clock) {
            Ok(Ok(effect)) => {
                if effect.is_cleared {
                    tracing::info!(log = %log.meta().name, size, "enough witnesses know nothing newer: appends and signatures go on");
                }
                // A round may be over, and what is published may be sealed and exported.
                self.doorbells.ring_all();
                Ok(effect.is_witnessed)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => {
                self.poison(&format!("the witness journal failed: {error}"));
                Err(CosignError::Poisoned)
            }
        }
    }

    /// Waits until a witnessed checkpoint covers `size` entries, and returns it.
    ///
    /// # Errors
    /// Storage failed, or the log has no witnesses.
    pub async fn witnessed(&self, log: &Log, size: u64) -> Result<Arc<Head>, AppendError> {
        let Some(witnesses) = &log.witnesses else { return Err(AppendError::Unwitnessed) };
        let mut heads = witnesses.witnessed.subscribe();
        let covers = |head: &Option<Arc<Head>>| head.as_ref().is_some_and(|head| head.size().get() >= size);
        let mut status = self.watch_status();
        tokio::select! {
            head = heads.wait_for(covers) => match head.as_deref() {
                Ok(Some(head)) => Ok(head.clone()),
                _ => Err(AppendError::Stopping),
            },
            _ = status.wait_for(|status| status.is_over()) => Err(AppendError::Poisoned),
        }
    }
}
