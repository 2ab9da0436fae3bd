//! What the built-in rules remember, and how each is stepped. What they find is said in their [texts](Builtin::source).

use sha2::{Digest, Sha256};

use super::builtin::{
    BASELINE, BURST_QUIET, Builtin, DENIALS, DENIALS_WITHIN, ESCALATIONS, ESCALATIONS_WITHIN, MAX_ACTORS,
    MAX_PLACES, MAX_QUIET, MAX_SUSPECTS, MAX_TOKENS, MAX_USES, QUIET, STALE_AFTER,
};
use super::recent::Recent;
use crate::facts::{Command, DecisionFacts, EventFacts, Facts, GapFacts, Ref, ScopeCommand, Word};
use crate::frame::Frame;
use crate::model::Outcome;
use crate::time::Time;

/// Why commands of whoever wants to give themselves something are refused.
pub(super) const FOR_ONESELF: [&str; 3] = ["self-grant", "self-approval", "beneficiary-approves"];
/// Why decisions about a revoked token are denied.
pub(super) const TOKEN_REVOKED: &str = "token-revoked";
/// What an event that revokes a token is called: it does not use it.
const REVOKES_TOKEN: &str = "oauth.token.revoke";

pub(super) type Hits = Vec<(u64, Time)>;

/// The tables of all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Hashes of a client and a scope.
    pub(super) used: Recent<[u8; 32], (), MAX_USES>,
    /// Leaves that were denied lately, by whom they are about.
    pub(super) denials: Recent<Ref, Hits, MAX_SUSPECTS>,
    pub(super) escalations: Recent<Ref, Hits, MAX_SUSPECTS>,
    /// When the log took in that a token was revoked.
    pub(super) revoked: Recent<Ref, Time, MAX_TOKENS>,
    /// Until when a rule says nothing more about somebody.
    pub(super) quiet: Recent<(Builtin, Ref), Time, MAX_QUIET>,
    pub(super) places: Recent<Ref, Places, MAX_ACTORS>,
}

/// Where somebody acts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// In how many leaves they did so, up to [`BASELINE`].
    pub(super) leaves: u32,
    /// The places, each with the newest of these leaves, rising by it.
    pub(super) known: Vec<(Ref, u64)>,
}

/// A leaf, with what the rules need to know beside it.
pub(super) struct Leaf<'a> {
    pub(super) index: u64,
    pub(super) frame: &'a Frame,
    pub(super) administers: &'a dyn Fn(&Word) -> bool,
    pub(super) is_applied: &'a dyn Fn(Builtin) -> bool,
}

/// A rule fired.
pub(super) struct Found {
    pub(super) rule: Builtin,
    pub(super) leaves: Vec<u64>,
    pub(super) about: Vec<Ref>,
}

/// What an event and a decision have in common.
struct Act<'a> {
    /// The application, or the actor where none is named.
    client: Ref,
    /// The actor, or the subject of a decision.
    person: Option<Ref>,
    outcome: Outcome,
    used: &'a [Word],
    place: Option<Ref>,
}

impl Memory {
    /// Steps the rules that are applied. Each finds at most one thing in a leaf.
    pub(super) fn look(&mut self, leaf: &Leaf) -> Vec<Found> {
        let mut found = Vec::new();
        match &leaf.frame.facts {
            Facts::Event(event) => {
                let Some(outcome) = leaf.frame.outcome else { return found };
                let client = event.client.unwrap_or(event.actor);
                let person = Some(event.actor).filter(|actor| *actor != client);
                let act = Act { client, person, outcome, used: &event.used, place: event.place };
                let is_escalation = || event.requested.iter().any(|scope| !event.granted.contains(scope));
                self.act(leaf, &act, is_escalation, &mut found);
                self.event(leaf, &act, event, &mut found);
            }
            Facts::Decision(decision) => {
                let Some(outcome) = leaf.frame.outcome else { return found };
                let (client, person) = (decision.client, decision.subject);
                let act = Act { client, person, outcome, used: &decision.scopes, place: decision.place };
                self.act(leaf, &act, || decision.scopes.iter().any(leaf.administers), &mut found);
                self.decision(leaf, &act, decision, &mut found);
            }
            Facts::Scope(command) => self.command(leaf, command, &mut found),
            Facts::Gap(gap) => self.gap(leaf, gap, &mut found),
            _ => {}
        }
        found
    }

    /// Forgets what a rule remembers.
    pub(super) fn forget(&mut self, rule: Builtin) {
        self.quiet.remove_where(|(of, _)| *of == rule);
        match rule {
            Builtin::FirstUse => self.used = Recent::default(),
            Builtin::DenialBurst => self.denials = Recent::default(),
            Builtin::EscalationBurst => self.escalations = Recent::default(),
            Builtin::NewPlace => self.places = Recent::default(),
            Builtin::RevokedToken | Builtin::SelfGrant | Builtin::ProducerGap | Builtin::StaleAllow => {}
        }
    }

    fn act(&mut self, leaf: &Leaf, act: &Act, is_escalation: impl Fn() -> bool, found: &mut Vec<Found>) {
        match act.outcome {
            Outcome::Success => {
                if (leaf.is_applied)(Builtin::FirstUse) && self.is_first_use(leaf.index, act) {
                    found.push(leaf.found(Builtin::FirstUse, act.about()));
                }
                if (leaf.is_applied)(Builtin::NewPlace) {
                    self.new_place(leaf, act, found);
                }
            }
            Outcome::Denied => {
                if (leaf.is_applied)(Builtin::DenialBurst) {
                    self.burst(leaf, Builtin::DenialBurst, &act.about(), found);
                }
                if (leaf.is_applied)(Builtin::EscalationBurst) && is_escalation() {
                    self.burst(leaf, Builtin::EscalationBurst, &act.about(), found);
                }
            }
            Outcome::Failure | Outcome::Unknown => {}
        }
    }

    fn event(&mut self, leaf: &Leaf, act: &Act, event: &EventFacts, found: &mut Vec<Found>) {
        let Some(token) = event.token else { return };
        if event.action.as_str() == REVOKES_TOKEN {
            if act.outcome == Outcome::Success {
                self.revoke(leaf, token);
            }
            return;
        }
        let happened = event.event_time.map_or(leaf.frame.log_time, Time);
        if self.revoked.get(token).is_none_or(|revoked| happened < *revoked) {
            return;
        }
        self.once(leaf, Builtin::RevokedToken, token, act.about(), found);
        if act.outcome == Outcome::Success {
            self.once(leaf, Builtin::StaleAllow, token, act.about(), found);
        }
    }

    fn decision(&mut self, leaf: &Leaf, act: &Act, decision: &DecisionFacts, found: &mut Vec<Found>) {
        if act.outcome == Outcome::Denied && decision.reason.as_str() == TOKEN_REVOKED {
            let token = decision.token.unwrap_or(decision.client);
            self.once(leaf, Builtin::RevokedToken, token, act.about(), found);
        }
        let age = leaf.frame.log_time.0.saturating_sub(decision.decided_at);
        if act.outcome == Outcome::Success && age > STALE_AFTER.0 {
            self.once(leaf, Builtin::StaleAllow, decision.client, act.about(), found);
        }
    }

    fn command(&mut self, leaf: &Leaf, command: &ScopeCommand, found: &mut Vec<Found>) {
        match (&command.refused, command.token) {
            (None, Some(token)) if command.command == Command::RevokeToken as u8 => self.revoke(leaf, token),
            (Some(why), _) if FOR_ONESELF.contains(&why.as_str()) => {
                self.once(leaf, Builtin::SelfGrant, command.by, vec![command.by], found);
                if (leaf.is_applied)(Builtin::EscalationBurst) {
                    self.burst(leaf, Builtin::EscalationBurst, &[command.by], found);
                }
            }
            _ => {}
        }
    }

    fn gap(&mut self, leaf: &Leaf, gap: &GapFacts, found: &mut Vec<Found>) {
        self.once(leaf, Builtin::ProducerGap, gap.producer, vec![gap.producer], found);
    }

    fn revoke(&mut self, leaf: &Leaf, token: Ref) {
        let (since, is_known) = self.revoked.touch(leaf.index, token);
        if !is_known {
            *since = leaf.frame.log_time;
        }
    }

    fn is_first_use(&mut self, index: u64, act: &Act) -> bool {
        let mut is_first = false;
        for scope in act.used {
            let pair = Sha256::new().chain_update(act.client.0).chain_update(scope.as_str());
            is_first |= !self.used.touch(index, pair.finalize().into()).1;
        }
        is_first
    }

    fn new_place(&mut self, leaf: &Leaf, act: &Act, found: &mut Vec<Found>) {
        let (Some(place), who) = (act.place, act.person.unwrap_or(act.client)) else { return };
        let is_quiet = self.is_quiet(leaf, Builtin::NewPlace, who);
        let (places, _) = self.places.touch(leaf.index, who);
        let is_known = places.known.iter().any(|(known, _)| *known == place);
        let is_new = !is_known && places.leaves >= BASELINE;
        if is_new && is_quiet {
            return;
        }
        places.add(place, leaf.index);
        if is_new {
            self.silence(leaf, Builtin::NewPlace, who, QUIET);
            found.push(leaf.found(Builtin::NewPlace, vec![who]));
        }
    }

    /// Counts a leaf for each of those whom it is about.
    fn burst(&mut self, leaf: &Leaf, rule: Builtin, about: &[Ref], found: &mut Vec<Found>) {
        let (mut leaves, mut bursting) = (Vec::new(), Vec::new());
        for who in about.iter().copied() {
            if self.is_quiet(leaf, rule, who) {
                continue;
            }
            let (table, most, within) = match rule {
                Builtin::DenialBurst => (&mut self.denials, DENIALS, DENIALS_WITHIN),
                _ => (&mut self.escalations, ESCALATIONS, ESCALATIONS_WITHIN),
            };
            let (hits, _) = table.touch(leaf.index, who);
            hits.retain(|(_, time)| leaf.frame.log_time.0.saturating_sub(time.0) <= within.0);
            hits.push((leaf.index, leaf.frame.log_time));
            if hits.len() >= most {
                leaves.extend(std::mem::take(hits).into_iter().map(|(index, _)| index));
                bursting.push(who);
                self.silence(leaf, rule, who, BURST_QUIET);
            }
        }
        if !bursting.is_empty() {
            leaves.sort_unstable();
            leaves.dedup();
            found.push(Found { rule, leaves, about: bursting });
        }
    }

    /// Says that a rule fired, unless it did so about the same not long ago.
    fn once(&mut self, leaf: &Leaf, rule: Builtin, key: Ref, about: Vec<Ref>, found: &mut Vec<Found>) {
        if (leaf.is_applied)(rule) && !self.is_quiet(leaf, rule, key) {
            self.silence(leaf, rule, key, QUIET);
            found.push(leaf.found(rule, about));
        }
    }

    fn is_quiet(&self, leaf: &Leaf, rule: Builtin, about: Ref) -> bool {
        self.quiet.get((rule, about)).is_some_and(|until| leaf.frame.log_time < *until)
    }

    fn silence(&mut self, leaf: &Leaf, rule: Builtin, about: Ref, quiet: Time) {
        let until = Time(leaf.frame.log_time.0.saturating_add(quiet.0));
        *self.quiet.touch(leaf.index, (rule, about)).0 = until;
    }
}

impl Places {
    fn add(&mut self, place: Ref, index: u64) {
        self.leaves = (self.leaves + 1).min(BASELINE);
        self.known.retain(|(known, _)| *known != place);
        if self.known.len() >= MAX_PLACES {
            self.known.remove(0);
        }
        self.known.push((place, index));
    }
}

impl Leaf<'_> {
    fn found(&self, rule: Builtin, about: Vec<Ref>) -> Found {
        Found { rule, leaves: vec![self.index], about }
    }
}

impl Act<'_> {
    /// Whom an alert names: the application, and the person.
    fn about(&self) -> Vec<Ref> {
        [self.client].into_iter().chain(self.person).collect()
    }
}
