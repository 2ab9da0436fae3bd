//! The rules of witnessing, without I/O: which head is offered to witnesses, and what their cosignatures make of it.
//!
//! ```text
//!              signed             quorum, or time over and a newer head
//! (nothing) ──────────▶ offered ───────────────────────────────────────▶ the newest signed head is offered
//!                          │ quorum
//!                          ▼
//!                      witnessed      later cosignatures are still added to it
//! ```
//!
//! One head at a time: if every head were offered, each witness would cosign another one and no head would ever have
//! a quorum. A head that was signed anew over the same tree keeps its cosignatures, and asks for fresh ones: their times
//! are what clients judge freshness by.
//!
//! After a start the last stored head is offered, and nothing may be signed before the witnesses that have *not*
//! cosigned it contain no quorum: of any quorum that saw a newer head, one at least has answered then.
//!
//! **What is an answer.** A cosignature says that, *at the time it states*, its tree is the largest that the witness has
//! seen (C2SP tlog-cosignature). Older ones over the same tree are public, so anybody can bring them, and a cache may; what
//! they say was true, and says nothing of now. After a start, and where a head is signed anew, a line is therefore
//! refused, and nothing that came with it is taken, unless its time lies
//!
//! ```text
//! after a start           [ start, in whole seconds, rounded up   ..=   now + MAX_SKEW ]
//! a head signed anew      [ its own time - MAX_SKEW               ..=   now + MAX_SKEW ]
//! ```
//!
//! - A witness's clock that lags costs time and no safety: it is asked again, and counts once its clock has passed the start.
//!   So there is no tolerance in that direction. (Heartbeats, on which no safety depends, have one.)
//! - A clock that is ahead dates lines into a later life of the log. `MAX_SKEW` is the tolerance: lines from further ahead
//!   do not count, and those of a clock that is right were made after the start.
//! - A line without a time is no answer. A witness that repeats an earlier line, itself or out of a cache, does not
//!   answer, and is never heard after a start.
//! - The machine's own clock must be right when the server starts. One that lags makes answers seem to come from the future:
//!   then the start waits, and says so.
//! - What was stored with the head is shown, and is no answer.

use std::sync::Arc;

use graven_note::policy::PolicyWord;
use graven_note::{Policy, SignatureLine};

use super::CosignError;
use super::candidate::{Candidate, Checked};
use crate::log::Head;

/// The state of one log's witnessing. Time is an argument.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    policy: Arc<Policy>,
    round_ns: u64,
    offered: Candidate,
    deadline_ns: u64,
    /// The newest signed head, where it is not the one that is offered.
    waiting: Option<Head>,
    witnessed: Option<Candidate>,
    /// Witnesses that have cosigned the last stored head since the start; `None` once enough have.
    heard: Option<Vec<PolicyWord>>,
    /// Witnesses that said since the start that they have seen something else, and did not show it.
    disputing: Vec<PolicyWord>,
    /// What each witness of the policy, in its order, cosigned last.
    seen: Vec<Seen>,
    /// When a quorum of fresh cosignatures was there last, or the start.
    met_ns: u64,
}

/// The last cosignature of a witness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Over so many entries; 0 where none is known.
    pub(super) size: u64,
    /// When it came, or the start.
    pub(super) at_ns: u64,
}

/// What an event changed, for the caller to make durable and to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Cosignatures were added to the offered or the witnessed head.
    pub(super) is_new: bool,
    /// This head is witnessed now and was not before: journal it before anybody is told.
    pub(super) is_newly_witnessed: bool,
    /// The head that was cosigned has its quorum.
    pub(super) is_witnessed: bool,
    /// Another head is offered now.
    pub(super) is_offered: bool,
    /// The start is over: signing may go on.
    pub(super) is_cleared: bool,
}

impl Rounds {
    /// Begins with the last stored head, and what is stored of the one that was witnessed last. Only cosignatures of
    /// `since_seconds` or later are answers.
    pub(super) fn start(
        policy: Policy,
        round_ns: u64,
        last: Head,
        stored: Option<Candidate>,
        now_ns: u64,
        since_seconds: u64,
    ) -> Self {
        let offered = stored.as_ref().and_then(|it| it.renewed(last.clone()));
        let offered = offered.unwrap_or_else(|| Candidate::new(last)).since(since_seconds);
        let seen = policy.witnesses().map(|witness| {
            let cosigned = stored.as_ref().filter(|it| it.witnesses(&policy, false).contains(&witness.name));
            Seen { size: cosigned.map_or(0, Candidate::size), at_ns: now_ns }
        });
        let seen = seen.collect();
        let witnessed = stored.filter(|it| it.has_quorum(&policy, false));
        let deadline_ns = now_ns.saturating_add(round_ns);
        Self {
            policy: policy.into(),
            round_ns,
            offered,
            deadline_ns,
            waiting: None,
            witnessed,
            heard: Some(Vec::new()),
            disputing: Vec::new(),
            seen,
            met_ns: now_ns,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn offered(&self) -> &Candidate {
        &self.offered
    }

    pub(super) fn witnessed(&self) -> Option<&Candidate> {
        self.witnessed.as_ref()
    }

    pub(super) fn met_ns(&self) -> u64 {
        self.met_ns
    }

    /// Whether enough witnesses have been heard since the start.
    pub(super) fn is_cleared(&self) -> bool {
        self.heard.is_none()
    }

    /// The size of the newest signed head.
    pub(super) fn newest_size(&self) -> u64 {
        self.waiting.as_ref().map_or(self.offered.size(), |head| head.size().get())
    }

    /// Whether witnesses still have time for the offered head.
    pub(super) fn is_open(&self, now_ns: u64) -> bool {
        now_ns < self.deadline_ns && !self.offered.has_quorum(&self.policy, true)
    }

    /// A head was signed: it is offered now, or once the round is over.
    pub(super) fn signed(&mut self, head: Head, now_ns: u64) -> Effect {
        self.waiting = Some(head);
        self.tick(now_ns)
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now_ns: u64) -> Effect {
        if !self.is_cleared() || self.is_open(now_ns) {
            return Effect::default();
        }
        match self.waiting.take() {
            Some(head) => self.offer(head, now_ns),
            None => Effect::default(),
        }
    }

    fn offer(&mut self, head: Head, now_ns: u64) -> Effect {
        let known = [Some(&self.offered), self.witnessed.as_ref()];
        let renewed = known.into_iter().flatten().find_map(|it| it.renewed(head.clone()));
        self.offered = renewed.unwrap_or_else(|| Candidate::new(head));
        self.deadline_ns = now_ns.saturating_add(self.round_ns);
        // Signed anew with a quorum of old cosignatures, it is witnessed as it was.
        if self.witnessed.as_ref().is_some_and(|it| it.size() == self.offered.size()) {
            self.witnessed = Some(self.offered.clone());
        }
        Effect { is_offered: true, ..Effect::default() }
    }

    /// Cosignatures over the tree of `size` came in. `wall_seconds`: what the machine's clock says, since 1970.
    pub(super) fn cosigned(
        &mut self,
        size: u64,
        lines: &[SignatureLine],
        now_ns: u64,
        wall_seconds: u64,
    ) -> Result<Effect, CosignError> {
        let mut effect = Effect::default();
        if size == self.offered.size() {
            let checked = self.offered.check(lines, &self.policy, wall_seconds)?;
            see(&mut self.seen, &checked, size, now_ns);
            let was_witnessed = self.offered.has_quorum(&self.policy, false);
            effect.is_new = self.offered.take_in(checked);
            effect.is_cleared = self.hear();
            if self.offered.has_quorum(&self.policy, true) {
                self.met_ns = now_ns;
            }
            if self.offered.has_quorum(&self.policy, false) {
                effect.is_witnessed = true;
                effect.is_newly_witnessed = !was_witnessed || self.witnessed.is_none();
                self.witnessed = Some(self.offered.clone());
            }
            effect.is_offered = self.tick(now_ns).is_offered;
            return Ok(effect);
        }
        match &mut self.witnessed {
            // It came too late for its round, and is added all the same.
            Some(witnessed) if size == witnessed.size() => {
                let checked = witnessed.check(lines, &self.policy, wall_seconds)?;
                see(&mut self.seen, &checked, size, now_ns);
                effect.is_new = witnessed.take_in(checked);
                effect.is_witnessed = true;
                Ok(effect)
            }
            _ => Err(CosignError::NotPending { size: self.offered.size() }),
        }
    }

    /// A witness says that it has seen what is not here. `true`: those that said so are a quorum, and the start is not over.
    pub(super) fn disputed(&mut self, names: &[PolicyWord]) -> bool {
        if self.is_cleared() {
            return false;
        }
        let new: Vec<_> = names.iter().filter(|name| !self.disputing.contains(name)).cloned().collect();
        self.disputing.extend(new);
        self.policy.quorum_is_met(|name| self.disputing.contains(name))
    }

    /// The witnesses of the policy, with what each cosigned last.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&PolicyWord, Seen)> {
        self.policy.witnesses().map(|witness| &witness.name).zip(self.seen.iter().copied())
    }

    /// Those that say so.
    pub(super) fn disputing(&self) -> &[PolicyWord] {
        &self.disputing
    }

    /// Counts who has cosigned the last stored head since the start. `true`: now they are enough.
    fn hear(&mut self) -> bool {
        let fresh = self.offered.witnesses(&self.policy, true);
        let Some(heard) = &mut self.heard else { return false };
        self.disputing.retain(|name| !fresh.contains(name));
        *heard = fresh;
        if self.policy.quorum_is_met(|name| !heard.contains(name)) {
            return false;
        }
        self.heard = None;
        true
    }
}

fn see(seen: &mut [Seen], checked: &Checked, size: u64, now_ns: u64) {
    for witness in checked.witnesses() {
        if let Some(seen) = seen.get_mut(witness) {
            *seen = Seen { size: size.max(seen.size), at_ns: now_ns };
        }
    }
}
