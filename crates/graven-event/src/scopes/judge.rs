//! Whether a command counts.
//!
//! Who may command it is looked at first, so that an attempt that nobody could be allowed says so in its leaf whatever else is wrong with
//! it; then whether what it is about is as whoever commands believes.

use crate::facts::{Ref, ScopeCommand, Word};
use crate::scopes::grant::{Attested, Grant, Review};
use crate::scopes::order::{Asked, On, Opened, Order, are_distinct};
use crate::scopes::words::words;
use crate::scopes::{MAX_ADMINISTRATORS, MAX_REVIEW_ITEMS, MAX_REVIEWS, MAX_SCOPES, ScopeState};
use crate::time::Time;

/// Why a command does not count: the word that stands in its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Refused {
    AdministratorsOnly,
    ApproversOnly,
    SelfGrant,
    SelfApproval,
    BeneficiaryApproves,
    ApprovedBefore,
    StaleRevision,
    ScopeUnknown,
    ScopeTwice,
    GrantUnknown,
    GrantNotPending,
    GrantNotActive,
    TooLong,
    NotNarrower,
    NotLonger,
    NeedsNewRequest,
    ReviewUnknown,
    NotInReview,
    LastAdministrator,
    SignatureInvalid,
    Full,
    Invalid,
}

words! { Refused {
    AdministratorsOnly "administrators-only",
    ApproversOnly "approvers-only",
    SelfGrant "self-grant",
    SelfApproval "self-approval",
    BeneficiaryApproves "beneficiary-approves",
    ApprovedBefore "approved-before",
    StaleRevision "stale-revision",
    ScopeUnknown "scope-unknown",
    ScopeTwice "scope-twice",
    GrantUnknown "grant-unknown",
    GrantNotPending "grant-not-pending",
    GrantNotActive "grant-not-active",
    TooLong "too-long",
    NotNarrower "not-narrower",
    NotLonger "not-longer",
    NeedsNewRequest "needs-new-request",
    ReviewUnknown "review-unknown",
    NotInReview "not-in-review",
    LastAdministrator "last-administrator",
    SignatureInvalid "signature-invalid",
    Full "full",
    Invalid "invalid",
} }

type Judged = Result<(), Refused>;

fn unless(is_so: bool, refused: Refused) -> Judged {
    if is_so { Ok(()) } else { Err(refused) }
}

impl ScopeState {
    /// Judges a command that would be the next leaf, at this log time. `by_recovery`: its signature by the log's recovery key over
    /// [`statement`](ScopeCommand::statement) was verified; a command with a signature that was not is `signature-invalid`.
    ///
    /// # Errors
    /// It does not count.
    pub fn judge(&self, log_time: Time, command: &ScopeCommand, by_recovery: bool) -> Result<(), Refused> {
        unless(by_recovery || command.signature.is_none(), Refused::SignatureInvalid)?;
        let order = Order::of(command).ok_or(Refused::Invalid)?;
        let (by, now) = (command.by, log_time);
        match order {
            Order::Define(scope, _) => self.may_define(by, scope),
            Order::Request(asked) => self.may_request(now, by, asked),
            Order::Approve(on) => self.may_approve(now, by, on),
            Order::Deny(on) => self.may_deny(now, by, on),
            Order::Narrow(on, scopes, expires) => self.may_narrow(now, by, on, scopes, expires),
            Order::Renew(on, expires) => self.may_renew(now, by, on, expires),
            Order::Revoke(grant, revision) => self.may_revoke(now, by, grant, revision),
            Order::RevokeToken { token, client, .. } => self.may_revoke_token(now, by, token, client),
            Order::Rotate(scope, issued_before) => self.may_rotate(now, by, scope, issued_before),
            Order::OpenReview(opened) => self.may_open(now, by, opened),
            Order::Attest { review, grant, verdict } => self.may_attest(now, by, review, grant, verdict),
            Order::CloseReview(review) => self.may_close(by, review),
            Order::Appoint { who, revision, is_signed } => self.may_appoint(by, who, revision, is_signed),
            Order::Dismiss(who) => self.may_dismiss(by, who),
        }
    }

    fn may_define(&self, by: Ref, scope: &Word) -> Judged {
        self.is_administrator(by)?;
        unless(self.scopes.len() < MAX_SCOPES || self.scopes.contains_key(scope), Refused::Full)
    }

    fn may_request(&self, now: Time, by: Ref, asked: Asked<'_>) -> Judged {
        unless(by != asked.client && Some(by) != asked.subject, Refused::SelfGrant)?;
        unless(are_distinct(asked.scopes), Refused::ScopeTwice)?;
        unless(asked.scopes.iter().all(|scope| self.scopes.contains_key(scope)), Refused::ScopeUnknown)?;
        let is_new = self.grants.get(asked.grant).is_none();
        unless(is_new && asked.expires.is_none_or(|end| end > now), Refused::Invalid)?;
        self.is_short(asked.scopes, now, asked.not_before, asked.expires)?;
        let has_room = self.grants.has_room(now, asked.client, asked.subject, asked.resource);
        unless(has_room, Refused::Full)
    }

    fn may_approve(&self, now: Time, by: Ref, on: On) -> Judged {
        let grant = self.approvable(by, on)?;
        unless(grant.is_pending(now), Refused::GrantNotPending)?;
        unless(!grant.approvers.contains(&by), Refused::ApprovedBefore)?;
        self.is_short(grant.scopes.keys(), now, grant.not_before, grant.expires)
    }

    fn may_deny(&self, now: Time, by: Ref, on: On) -> Judged {
        let grant = self.grants.get(on.grant).ok_or(Refused::GrantUnknown)?;
        if by != grant.requester {
            self.approvable(by, on)?;
        }
        unless(grant.revision == on.revision, Refused::StaleRevision)?;
        unless(grant.is_pending(now), Refused::GrantNotPending)
    }

    fn may_narrow(&self, now: Time, by: Ref, on: On, scopes: &[Word], expires: Option<Time>) -> Judged {
        let grant = self.reducible(by, on.grant)?;
        unless(grant.revision == on.revision, Refused::StaleRevision)?;
        unless(grant.is_active(now), Refused::GrantNotActive)?;
        unless(are_distinct(scopes), Refused::ScopeTwice)?;
        let keeps_some = scopes.iter().all(|scope| grant.scopes.contains_key(scope));
        let drops_some = !scopes.is_empty() && scopes.len() < grant.scopes.len();
        let ends_earlier = expires.is_some_and(|new| grant.expires.is_none_or(|old| new < old));
        let is_narrower = keeps_some && (drops_some || ends_earlier) && (ends_earlier || expires.is_none());
        unless(is_narrower && expires.is_none_or(|end| end > now), Refused::NotNarrower)
    }

    fn may_renew(&self, now: Time, by: Ref, on: On, expires: Time) -> Judged {
        let grant = self.approvable(by, on)?;
        unless(grant.is_active(now), Refused::GrantNotActive)?;
        unless(self.approvals(grant) == 1, Refused::NeedsNewRequest)?;
        unless(grant.expires.is_some_and(|old| old < expires), Refused::NotLonger)?;
        self.is_short(grant.scopes.keys(), now, grant.not_before, Some(expires))
    }

    fn may_revoke(&self, now: Time, by: Ref, grant: Ref, revision: Option<u64>) -> Judged {
        let grant = self.reducible(by, grant)?;
        unless(revision.is_none_or(|meant| meant == grant.revision), Refused::StaleRevision)?;
        unless(grant.is_active(now), Refused::GrantNotActive)
    }

    fn may_revoke_token(&self, now: Time, by: Ref, token: Ref, client: Option<Ref>) -> Judged {
        let is_approver = || self.scopes.values().any(|scope| scope.approvers.contains(&by));
        let may = client == Some(by) || self.administrators.contains_key(&by) || is_approver();
        unless(may, Refused::ApproversOnly)?;
        unless(self.tokens.has_room(now, token), Refused::Full)
    }

    fn may_rotate(&self, now: Time, by: Ref, scope: &Word, issued_before: Option<Time>) -> Judged {
        let definition = self.scopes.get(scope).ok_or(Refused::ScopeUnknown)?;
        let is_administrator = self.administrators.contains_key(&by);
        unless(definition.is_approved_by(by, is_administrator), Refused::ApproversOnly)?;
        // A time to come would refuse tokens that nobody has issued yet, and could not be taken back.
        unless(issued_before.is_none_or(|before| before <= now), Refused::Invalid)
    }

    fn may_open(&self, now: Time, by: Ref, opened: Opened<'_>) -> Judged {
        self.is_administrator(by)?;
        unless(are_distinct(opened.scopes), Refused::ScopeTwice)?;
        unless(opened.scopes.iter().all(|scope| self.scopes.contains_key(scope)), Refused::ScopeUnknown)?;
        let is_new = !self.reviews.contains_key(&opened.review);
        unless(is_new && opened.due.is_none_or(|due| due > now), Refused::Invalid)?;
        let open = || self.reviews.values().filter(|review| review.closed.is_none());
        let items = open().map(|review| review.items.len()).sum::<usize>();
        let more = self.to_review(now, opened.scopes, opened.client).count();
        unless(open().count() < MAX_REVIEWS && items + more <= MAX_REVIEW_ITEMS, Refused::Full)
    }

    fn may_attest(&self, now: Time, by: Ref, review: Ref, number: Ref, verdict: Attested) -> Judged {
        let review = self.open_review(review)?;
        unless(review.items.contains_key(&number), Refused::NotInReview)?;
        let grant = self.grants.get(number).ok_or(Refused::GrantUnknown)?;
        concerns(grant, by)?;
        let may = self.administrators.contains_key(&by)
            || self.approves_all(grant, by)
            || (verdict == Attested::Revoked && self.approves_any(grant, by));
        unless(may, Refused::ApproversOnly)?;
        unless(grant.is_active(now), Refused::GrantNotActive)
    }

    fn may_close(&self, by: Ref, review: Ref) -> Judged {
        self.is_administrator(by)?;
        self.open_review(review).map(|_| ())
    }

    fn may_appoint(&self, by: Ref, who: Ref, revision: Option<u64>, is_signed: bool) -> Judged {
        if !is_signed {
            unless(by != who, Refused::SelfGrant)?;
            self.is_administrator(by)?;
        }
        unless(revision.is_none_or(|meant| meant == self.appointments), Refused::StaleRevision)?;
        unless(!self.administrators.contains_key(&who), Refused::Invalid)?;
        unless(self.administrators.len() < MAX_ADMINISTRATORS, Refused::Full)
    }

    fn may_dismiss(&self, by: Ref, who: Ref) -> Judged {
        self.is_administrator(by)?;
        unless(self.administrators.contains_key(&who), Refused::Invalid)?;
        unless(self.administrators.len() > 1, Refused::LastAdministrator)
    }
}

/// What several commands ask.
impl ScopeState {
    fn is_administrator(&self, by: Ref) -> Judged {
        unless(self.administrators.contains_key(&by), Refused::AdministratorsOnly)
    }

    /// A grant that somebody may give or lengthen, in the state that they mean.
    fn approvable(&self, by: Ref, on: On) -> Result<&Grant, Refused> {
        let grant = self.grants.get(on.grant).ok_or(Refused::GrantUnknown)?;
        concerns(grant, by)?;
        unless(self.approves_all(grant, by), Refused::ApproversOnly)?;
        unless(grant.revision == on.revision, Refused::StaleRevision)?;
        Ok(grant)
    }

    /// A grant of which somebody may take something.
    fn reducible(&self, by: Ref, number: Ref) -> Result<&Grant, Refused> {
        let grant = self.grants.get(number).ok_or(Refused::GrantUnknown)?;
        let is_theirs = grant.is_for(by) || grant.requester == by;
        let may = is_theirs || self.administrators.contains_key(&by) || self.approves_any(grant, by);
        unless(may, Refused::ApproversOnly)?;
        Ok(grant)
    }

    fn open_review(&self, number: Ref) -> Result<&Review, Refused> {
        let review = self.reviews.get(&number).filter(|review| review.closed.is_none());
        review.ok_or(Refused::ReviewUnknown)
    }

    /// Whether a grant of these scopes would end in time, if it counted from now or later on.
    fn is_short<'a>(
        &self,
        scopes: impl IntoIterator<Item = &'a Word>,
        now: Time,
        not_before: Option<Time>,
        expires: Option<Time>,
    ) -> Judged {
        let from = not_before.map_or(now, |begin| begin.max(now));
        let mut definitions = scopes.into_iter().filter_map(|scope| self.scopes.get(scope));
        unless(definitions.all(|definition| definition.allows(from, expires)), Refused::TooLong)
    }

    fn approves_any(&self, grant: &Grant, by: Ref) -> bool {
        let is_administrator = self.administrators.contains_key(&by);
        let mut definitions = grant.scopes.keys().filter_map(|scope| self.scopes.get(scope));
        definitions.any(|definition| definition.is_approved_by(by, is_administrator))
    }

    pub(super) fn approves_all(&self, grant: &Grant, by: Ref) -> bool {
        let is_administrator = self.administrators.contains_key(&by);
        let approves = |scope| Some(self.scopes.get(scope)?.is_approved_by(by, is_administrator));
        grant.scopes.keys().all(|scope| approves(scope) == Some(true))
    }

    /// How many approvals a grant takes.
    pub(super) fn approvals(&self, grant: &Grant) -> usize {
        let definitions = grant.scopes.keys().filter_map(|scope| self.scopes.get(scope));
        definitions.map(|definition| usize::from(definition.approvals)).max().unwrap_or(1)
    }

    /// The grants that a review would be about, in any order.
    pub(super) fn to_review<'a>(
        &'a self,
        now: Time,
        scopes: &'a [Word],
        client: Option<Ref>,
    ) -> impl Iterator<Item = Ref> + 'a {
        let has_any = |grant: &Grant| scopes.iter().any(|scope| grant.scopes.contains_key(scope));
        let of_client = move |grant: &Grant| client.is_none_or(|client| grant.client == client);
        let active = self.grants.each().filter(move |(_, grant)| grant.is_active(now) && of_client(grant));
        active.filter(move |(_, grant)| scopes.is_empty() || has_any(grant)).map(|(number, _)| number)
    }
}

/// Nobody approves what they asked for or are to get.
fn concerns(grant: &Grant, by: Ref) -> Judged {
    unless(by != grant.requester, Refused::SelfApproval)?;
    unless(!grant.is_for(by), Refused::BeneficiaryApproves)
}
