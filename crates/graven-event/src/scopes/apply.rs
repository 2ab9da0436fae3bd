//! What leaves change.

use std::collections::BTreeSet;

use crate::facts::{DecisionFacts, Facts, Genesis, Ref, ScopeCommand, Word};
use crate::scopes::book::Revoked;
use crate::scopes::grant::{Attested, Definition, Grant, Review, Status, Use};
use crate::scopes::order::{Asked, Opened, Order, Said};
use crate::scopes::{MAX_ADMINISTRATORS, MAX_REVIEW_ITEMS, MAX_REVIEWS, Reason, ScopeState};
use crate::time::Time;

impl ScopeState {
    /// Takes in the leaf at an index: a genesis, a command that was not refused, a decision, a sum of decisions. Others say nothing here.
    ///
    /// A command is judged again: one that says it counts and does not changes nothing, whoever wrote it. Its signature, if it has one, was
    /// verified by whoever wrote it or replays it.
    pub fn take(&mut self, index: u64, log_time: Time, facts: &Facts) {
        match facts {
            Facts::Genesis(genesis) if index == 0 => self.begin(genesis),
            Facts::Scope(command)
                if command.refused.is_none()
                    && self.judge(log_time, command, command.signature.is_some()).is_ok() =>
            {
                self.obey(index, log_time, command);
            }
            Facts::Decision(decision) if decision.reason.as_str() == Reason::Granted.as_str() => {
                self.use_grants(index, decision);
            }
            _ => {}
        }
    }

    fn begin(&mut self, genesis: &Genesis) {
        if genesis.signature.is_some() {
            let first = genesis.administrators.iter().take(MAX_ADMINISTRATORS);
            self.administrators = first.map(|who| (*who, 0)).collect();
        }
    }

    fn obey(&mut self, index: u64, now: Time, command: &ScopeCommand) {
        let Some(order) = Order::of(command) else { return };
        let by = command.by;
        match order {
            Order::Define(scope, said) => self.define(index, scope, said),
            Order::Request(asked) => self.request(index, now, by, asked),
            Order::Approve(on) => self.approve(index, now, by, on.grant),
            Order::Deny(on) => self.end(index, now, on.grant, Status::Denied),
            Order::Narrow(on, scopes, expires) => self.grants.change(index, on.grant, |grant| {
                grant.scopes.retain(|scope, _| scopes.is_empty() || scopes.contains(scope));
                grant.expires = expires.or(grant.expires);
            }),
            Order::Renew(on, expires) => {
                self.grants.change(index, on.grant, |grant| grant.expires = Some(expires));
            }
            Order::Revoke(grant, _) => self.end(index, now, grant, Status::Revoked),
            Order::RevokeToken { token, expires, .. } => self.tokens.add(token, Revoked { index, expires }),
            Order::Rotate(scope, before) => self.rotate(index, scope, before.unwrap_or(now)),
            Order::OpenReview(opened) => self.open(index, now, by, opened),
            Order::Attest { review, grant, verdict } => self.attest(index, now, review, grant, verdict),
            Order::CloseReview(review) => self.close(index, now, review),
            Order::Appoint { who, .. } => {
                self.administrators.insert(who, index);
                self.appointments += 1;
            }
            Order::Dismiss(who) => {
                self.administrators.remove(&who);
                self.appointments += 1;
            }
        }
    }

    fn define(&mut self, index: u64, scope: &Word, said: Said<'_>) {
        let definition = Definition {
            tier: said.tier,
            is_summed: said.is_summed,
            approvers: said.approvers.iter().copied().collect(),
            approvals: said.approvals,
            longest: said.longest,
            // What was rotated stays so.
            issued_before: self.scopes.get(scope).and_then(|before| before.issued_before),
            index,
            changed: index,
        };
        self.scopes.insert(scope.clone(), definition);
    }

    fn rotate(&mut self, index: u64, scope: &Word, before: Time) {
        if let Some(definition) = self.scopes.get_mut(scope) {
            definition.issued_before = definition.issued_before.max(Some(before));
            definition.changed = index;
        }
    }

    fn request(&mut self, index: u64, now: Time, by: Ref, asked: Asked<'_>) {
        // Many grants share the words of few scopes.
        let known = asked.scopes.iter().filter_map(|scope| self.scopes.get_key_value(scope));
        let grant = Grant {
            revision: 1,
            status: Status::Pending,
            client: asked.client,
            subject: asked.subject,
            scopes: known.map(|(scope, _)| (scope.clone(), Use::default())).collect(),
            resource: asked.resource.cloned(),
            not_before: asked.not_before,
            expires: asked.expires,
            requester: by,
            approvers: BTreeSet::new(),
            requested: index,
            activated: 0,
            active_since: Time(0),
            ended: None,
            changed: index,
        };
        self.grants.add(now, asked.grant, grant);
    }

    /// Only approvals of those who might still give them count: nobody's outlasts their office.
    fn approve(&mut self, index: u64, now: Time, by: Ref, number: Ref) {
        let Some(grant) = self.grants.get(number) else { return };
        let all = grant.approvers.iter().copied().chain([by]);
        let approvers: BTreeSet<Ref> = all.filter(|who| self.approves_all(grant, *who)).collect();
        let is_enough = approvers.len() >= self.approvals(grant);
        self.grants.change(index, number, |grant| {
            grant.approvers = approvers;
            if is_enough {
                (grant.status, grant.activated, grant.active_since) = (Status::Active, index, now);
            }
        });
    }

    fn end(&mut self, index: u64, now: Time, number: Ref, status: Status) {
        self.grants.change(index, number, |grant| (grant.status, grant.ended) = (status, Some(now)));
    }

    fn open(&mut self, index: u64, now: Time, by: Ref, opened: Opened<'_>) {
        let items = self.to_review(now, opened.scopes, opened.client).map(|number| (number, None)).collect();
        self.reviews.insert(opened.review, Review { index, by, due: opened.due, closed: None, items });
        let is_too_much = |all: &Self| {
            let items = all.reviews.values().map(|review| review.items.len()).sum::<usize>();
            all.reviews.len() > MAX_REVIEWS || items > MAX_REVIEW_ITEMS
        };
        while is_too_much(self) {
            let closed = self.reviews.iter().filter_map(|(number, review)| Some((review.closed?, *number)));
            let Some((_, oldest)) = closed.min() else { return };
            self.reviews.remove(&oldest);
        }
    }

    fn attest(&mut self, index: u64, now: Time, review: Ref, number: Ref, verdict: Attested) {
        if let Some(review) = self.reviews.get_mut(&review) {
            review.items.insert(number, Some(verdict));
        }
        if verdict == Attested::Revoked {
            self.end(index, now, number, Status::Revoked);
        }
    }

    fn close(&mut self, index: u64, now: Time, review: Ref) {
        let Some(review) = self.reviews.get_mut(&review) else { return };
        review.closed = Some(now);
        for (number, said) in review.items.iter_mut().filter(|(_, said)| said.is_none()) {
            if self.grants.get(*number).is_some_and(|grant| grant.is_active(now)) {
                *said = Some(Attested::Revoked);
                self.grants.change(index, *number, |grant| {
                    (grant.status, grant.ended) = (Status::Revoked, Some(now));
                });
            }
        }
    }

    fn use_grants(&mut self, index: u64, decision: &DecisionFacts) {
        let count = decision.count.unwrap_or(1).max(1);
        for (at, scope) in decision.scopes.iter().enumerate() {
            let used = (!decision.scopes[..at].contains(scope)).then(|| self.grant_used(decision, scope));
            if let Some(used) = used.flatten().and_then(|number| self.grants.use_of(number, scope)) {
                used.add(index, Time(decision.decided_at), count);
            }
        }
    }

    /// Which of the grants of a decision allowed a scope: the best of all is among them, so it is the best of them.
    fn grant_used(&self, decision: &DecisionFacts, scope: &Word) -> Option<Ref> {
        if let [only] = decision.grants[..] {
            return Some(only);
        }
        let known = decision.grants.iter().filter_map(|number| Some((*number, self.grants.get(*number)?)));
        let having = known.filter(|(_, grant)| grant.scopes.contains_key(scope));
        having.max_by_key(|(number, grant)| grant.preference(*number)).map(|(number, _)| number)
    }
}
