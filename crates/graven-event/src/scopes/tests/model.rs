//! The same answers from the leaves alone, by looking through all of them for each question. Slow, and independent of the state.

use super::*;
use crate::scopes::Reason;

/// The first leaves of a log.
#[derive(Clone, Copy)]
pub(super) struct Leaves<'a>(pub(super) &'a [(Time, Facts)]);

/// How it stands with a grant after these leaves.
pub(super) struct Standing<'a> {
    pub(super) request: &'a ScopeCommand,
    pub(super) scopes: Vec<Word>,
    pub(super) expires: Option<Time>,
    /// The index and log time of the approval that was enough.
    pub(super) approved: Option<(usize, Time)>,
    pub(super) is_denied: bool,
    pub(super) is_revoked: bool,
}

impl Standing<'_> {
    fn is_within(&self, at: Time) -> bool {
        self.expires.is_none_or(|end| at < end)
    }

    fn is_active(&self, at: Time) -> bool {
        self.approved.is_some() && !self.is_revoked && self.is_within(at)
    }

    pub(super) fn counts(&self, at: Time) -> bool {
        self.is_active(at) && self.request.not_before.is_none_or(|begin| begin <= at.0)
    }
}

impl<'a> Leaves<'a> {
    /// The commands that count, with index and log time.
    pub(super) fn commands(self) -> impl DoubleEndedIterator<Item = (usize, Time, &'a ScopeCommand)> {
        let all = self.0.iter().enumerate().filter_map(|(index, (at, facts))| match facts {
            Facts::Scope(command) if command.refused.is_none() => Some((index, *at, command)),
            _ => None,
        });
        all.collect::<Vec<_>>().into_iter()
    }

    fn of(self, kind: Command) -> impl DoubleEndedIterator<Item = (usize, Time, &'a ScopeCommand)> {
        self.commands().filter(move |(_, _, command)| command.command == kind as u8)
    }

    fn before(self, index: usize) -> Self {
        Self(&self.0[..index])
    }

    fn is_administrator(self, who: Ref) -> bool {
        let mut said =
            self.commands().filter(|(_, _, command)| command.subject == Some(who) && command.command >= 13);
        said.next_back().map_or([ADMIN, SECOND].contains(&who), |(_, _, command)| command.command == 13)
    }

    fn definition(self, scope: &Word) -> Option<&'a ScopeCommand> {
        self.of(Command::DefineScope)
            .rfind(|(_, _, command)| command.scopes[0] == *scope)
            .map(|(_, _, command)| command)
    }

    pub(super) fn may_approve(self, who: Ref, scopes: &[Word]) -> bool {
        scopes.iter().all(|scope| match &self.definition(scope).unwrap().approvers[..] {
            [] => self.is_administrator(who),
            named => named.contains(&who),
        })
    }

    fn rotated(self, scope: &Word) -> Option<Time> {
        let of_it = self.of(Command::RotateScope).filter(|(_, _, command)| command.scopes[0] == *scope);
        of_it.map(|(_, at, command)| command.issued_before.map_or(at, Time)).max()
    }

    pub(super) fn numbers(self) -> Vec<Ref> {
        let mut all: Vec<Ref> =
            self.of(Command::RequestGrant).filter_map(|(_, _, command)| command.grant).collect();
        all.sort();
        all
    }

    pub(super) fn grant(self, number: Ref) -> Standing<'a> {
        let (at, _, request) =
            self.of(Command::RequestGrant).find(|(_, _, it)| it.grant == Some(number)).unwrap();
        let mut it = Standing {
            request,
            scopes: request.scopes.clone(),
            expires: request.expires.map(Time),
            approved: None,
            is_denied: false,
            is_revoked: false,
        };
        let mut approvers = Vec::new();
        for (index, time, command) in self.commands().filter(|(index, ..)| *index > at) {
            if command.command == Command::CloseReview as u8 {
                it.is_revoked |=
                    it.is_active(time) && self.before(index).is_unattested(command.review, number);
            }
            if command.grant != Some(number) {
                continue;
            }
            match command.command {
                3 => {
                    approvers.push(command.by);
                    approvers.retain(|who| self.before(index).may_approve(*who, &it.scopes));
                    let needed = |scope| self.before(index).definition(scope).unwrap().approvals.unwrap_or(1);
                    let is_enough =
                        approvers.len() >= usize::from(it.scopes.iter().map(needed).max().unwrap());
                    it.approved = it.approved.or(is_enough.then_some((index, time)));
                }
                4 => it.is_denied = true,
                5 => {
                    it.scopes.retain(|scope| command.scopes.is_empty() || command.scopes.contains(scope));
                    it.expires = command.expires.map(Time).or(it.expires);
                }
                6 => it.expires = command.expires.map(Time),
                7 => it.is_revoked = true,
                11 => it.is_revoked |= command.verdict == Some(2),
                _ => {}
            }
        }
        it
    }

    /// Whether a grant is in a review and nobody said anything of it.
    fn is_unattested(self, review: Option<Ref>, number: Ref) -> bool {
        let (index, at, opened) =
            self.of(Command::OpenReview).find(|(_, _, it)| it.review == review).unwrap();
        let then = self.before(index);
        if !then.numbers().contains(&number) {
            return false;
        }
        let grant = then.grant(number);
        let has_any =
            opened.scopes.is_empty() || opened.scopes.iter().any(|scope| grant.scopes.contains(scope));
        let is_of_client = opened.client.is_none_or(|client| Some(client) == grant.request.client);
        let is_in = grant.is_active(at) && has_any && is_of_client;
        let mut attested = self.of(Command::AttestItem);
        is_in && !attested.any(|(_, _, it)| it.review == review && it.grant == Some(number))
    }

    /// Why, and the grant on which each scope rests.
    pub(super) fn decide(self, asked: &DecisionFacts) -> (Reason, Vec<(Word, Ref)>) {
        let any = |is_so: &dyn Fn(&Word) -> bool| asked.scopes.iter().any(is_so);
        let has_token = asked.token.or(asked.issued.or(asked.expires).map(|_| TOKEN)).is_some()
            || !asked.presented.is_empty();
        let is_revoked =
            |token| self.of(Command::RevokeToken).any(|(_, _, command)| command.token == Some(token));
        let rotated_after = |scope: &Word| {
            self.rotated(scope).is_some_and(|before| asked.issued.is_some_and(|issued| issued < before.0))
        };
        let whys = [
            (Reason::NoScope, asked.scopes.is_empty()),
            (Reason::TokenRevoked, asked.token.is_some_and(is_revoked)),
            (Reason::TokenExpired, asked.expires.is_some_and(|end| end <= asked.decided_at)),
            (Reason::ScopeUnknown, any(&|scope| self.definition(scope).is_none())),
            (Reason::ScopeNotPresented, has_token && any(&|scope| !asked.presented.contains(scope))),
            (Reason::TokenRotated, has_token && any(&rotated_after)),
            (
                Reason::TokenAgeUnknown,
                has_token && asked.issued.is_none() && any(&|scope| self.rotated(scope).is_some()),
            ),
        ];
        if let Some((why, _)) = whys.into_iter().find(|(_, is_so)| *is_so) {
            return (why, Vec::new());
        }
        self.by_grants(asked)
    }

    fn by_grants(self, asked: &DecisionFacts) -> (Reason, Vec<(Word, Ref)>) {
        let at = Time(asked.decided_at);
        let all: Vec<_> = self.numbers().into_iter().map(|number| (number, self.grant(number))).collect();
        let applies = |it: &Standing<'_>| {
            it.request.client == Some(asked.client)
                && (it.request.subject.is_none() || it.request.subject == asked.subject)
                && (it.request.resource.is_none() || it.request.resource == asked.resource)
        };
        let (mut rests, mut whys) = (Vec::new(), Vec::new());
        for scope in &asked.scopes {
            let having: Vec<_> =
                all.iter().filter(|(_, it)| applies(it) && it.scopes.contains(scope)).collect();
            let mut counting: Vec<_> = having.iter().filter(|(_, it)| it.counts(at)).collect();
            counting.sort_by_key(|(number, it)| {
                (std::cmp::Reverse(it.expires.unwrap_or(Time(u64::MAX))), *number)
            });
            match counting.first() {
                Some((number, _)) => rests.push((scope.clone(), *number)),
                None => whys.push(having.iter().map(|(_, it)| why_not(it, at)).min().unwrap_or(4)),
            }
        }
        let reasons = [
            Reason::GrantNotYet,
            Reason::GrantPending,
            Reason::GrantRevoked,
            Reason::GrantExpired,
            Reason::NoGrant,
        ];
        match whys.into_iter().min() {
            None => (Reason::Granted, rests),
            Some(why) => (reasons[why], Vec::new()),
        }
    }

    /// The grants that counted at a time and before another, with their scopes on which no allowed decision since then rests.
    pub(super) fn unused(self, now: Time, since: Time) -> Vec<(Ref, Vec<Word>)> {
        let used: Vec<(Word, Ref)> = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(index, (_, facts))| match facts {
                Facts::Decision(decision) if decision.decided_at >= since.0 => {
                    self.before(index).decide(decision).1
                }
                _ => Vec::new(),
            })
            .collect();
        let mut unused = Vec::new();
        for number in self.numbers() {
            let it = self.grant(number);
            let begun = it.approved.map(|(_, at)| at.max(Time(it.request.not_before.unwrap_or(0))));
            if !it.counts(now) || begun.is_none_or(|begun| begun >= since) {
                continue;
            }
            let mut scopes = it.scopes.clone();
            scopes.retain(|scope| !used.contains(&(scope.clone(), number)));
            scopes.sort();
            if !scopes.is_empty() {
                unused.push((number, scopes));
            }
        }
        unused
    }
}

/// By how telling it is.
fn why_not(it: &Standing<'_>, at: Time) -> usize {
    match it {
        it if it.is_denied => 4,
        it if it.is_revoked => 2,
        it if it.approved.is_some() && it.is_within(at) => 0,
        it if it.approved.is_some() => 3,
        it if it.is_within(at) => 1,
        _ => 4,
    }
}
