//! What a server says of a log's scopes, grants and reviews, now or at an earlier point.

use std::time::Duration;

use graven_event::{Ref, Time};
use graven_proto::{convert::event::time_of, v1};
use prost_types::Timestamp;

use super::reference;
use crate::ReadError;

/// At which point of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// All that is there.
    #[default]
    Now,
    /// After so many leaves.
    Size(u64),
    /// After the leaves of up to this log time.
    Time(Time),
}

/// What is said of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedScope {
    /// The scope.
    pub scope: String,
    /// How far it reaches: 1 reads, 2 changes, 3 administers; 0: not said.
    pub tier: u8,
    /// Whether allowed decisions about it are recorded in sums.
    pub is_summed: bool,
    /// Who may approve it; nobody named: any administrator.
    pub approvers: Vec<String>,
    /// How many approvals a grant takes.
    pub approvals: u32,
    /// For how long a grant counts at most; `None`: for ever.
    pub longest: Option<Duration>,
    /// Tokens issued before this are refused; `None`: it was never rotated.
    pub issued_before: Option<Time>,
    /// The index of the entry that says so.
    pub index: u64,
}

/// The scopes that are defined, and the administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedScopes {
    /// The scopes.
    pub scopes: Vec<ReportedScope>,
    /// The administrators.
    pub administrators: Vec<String>,
    /// The number of leaves that this follows from.
    pub state_size: u64,
}

/// How it stands with a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStatus {
    /// It was asked for.
    Pending,
    /// It counts.
    Active,
    /// It was refused, or taken back.
    Denied,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedGrant {
    /// Its number.
    pub grant: Ref,
    /// How often it changed.
    pub revision: u64,
    /// How it stands.
    pub status: GrantStatus,
    /// The application.
    pub client: String,
    /// The person; empty: whoever uses the application.
    pub subject: String,
    /// The scopes, with their use.
    pub scopes: Vec<ReportedUse>,
    /// Where they count; empty: everywhere.
    pub resource: String,
    /// When it begins to count.
    pub not_before: Option<Time>,
    /// When it ends.
    pub expires: Option<Time>,
    /// Who asked.
    pub requester: String,
    /// Who approved.
    pub approvers: Vec<String>,
    /// The index of the request.
    pub requested_index: u64,
    /// The index of the entry that changed it last.
    pub changed_index: u64,
}

/// A scope of a grant, with its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedUse {
    /// The scope.
    pub scope: String,
    /// How often it was allowed because of the grant.
    pub uses: u64,
    /// When last.
    pub last_used: Option<Time>,
    /// The index of that decision; 0: none.
    pub last_used_index: u64,
}

/// Which grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GrantFilter {
    pub at: At,
    pub client: Option<String>,
    pub subject: Option<String>,
    pub scope: Option<String>,
    pub status: Option<GrantStatus>,
}

/// Grants, by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedGrants {
    /// The grants.
    pub grants: Vec<ReportedGrant>,
    /// The number of leaves that this follows from.
    pub state_size: u64,
}

/// Grants that nobody used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedUnused {
    /// Grants that count, with those of their scopes only that were not used.
    pub grants: Vec<ReportedGrant>,
    /// The number of leaves that this follows from.
    pub state_size: u64,
    /// Whether there were more than the server names.
    pub is_truncated: bool,
}

/// Reviews, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedReviews {
    /// The reviews.
    pub reviews: Vec<ReportedReview>,
    /// Whether there were more than an answer holds.
    pub is_truncated: bool,
}

/// A review of grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedReview {
    /// Its number.
    pub review: Ref,
    /// The index of the entry that opened it.
    pub index: u64,
    /// Until when it should be done.
    pub due: Option<Time>,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Grants that nobody attested yet.
    pub open: Vec<Ref>,
    /// Grants that are kept.
    pub kept: Vec<Ref>,
    /// Grants that were revoked by it.
    pub revoked: Vec<Ref>,
}

impl GrantStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Active, Self::Denied, Self::Revoked, Self::Expired];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    pub(super) fn message(self) -> v1::GrantStatus {
        match self {
            Self::Pending => v1::GrantStatus::Pending,
            Self::Active => v1::GrantStatus::Active,
            Self::Denied => v1::GrantStatus::Denied,
            Self::Revoked => v1::GrantStatus::Revoked,
            Self::Expired => v1::GrantStatus::Expired,
        }
    }
}

impl ReportedScope {
    pub(super) fn of(message: v1::ScopeDefinition) -> Result<Self, ReadError> {
        let longest = message.longest.map(Duration::try_from).transpose();
        Ok(Self {
            tier: u8::try_from(message.tier).unwrap_or_default(),
            is_summed: message.recording() == v1::ScopeRecording::Sums,
            longest: longest.map_err(|_| ReadError::WrongAnswer("a length of time that is none"))?,
            issued_before: time("issued_before", message.issued_before)?,
            scope: message.scope,
            approvers: message.approvers,
            approvals: message.approvals,
            index: message.index,
        })
    }
}

impl ReportedGrant {
    pub(super) fn of(message: v1::ScopeGrant) -> Result<Self, ReadError> {
        let status = GrantStatus::ALL.into_iter().find(|status| status.message() == message.status());
        let of_scope = |scope: v1::GrantedScope| {
            Ok(ReportedUse {
                last_used: time("last_used", scope.last_used)?,
                scope: scope.scope,
                uses: scope.uses,
                last_used_index: scope.last_used_index,
            })
        };
        Ok(Self {
            grant: number(&message.grant)?,
            revision: message.revision,
            status: status.ok_or(ReadError::WrongAnswer("a grant without a status"))?,
            client: message.client,
            subject: message.subject,
            scopes: message.scopes.into_iter().map(of_scope).collect::<Result<_, ReadError>>()?,
            resource: message.resource,
            not_before: time("not_before", message.not_before)?,
            expires: time("expires", message.expires)?,
            requester: message.requester,
            approvers: message.approvers,
            requested_index: message.requested_index,
            changed_index: message.changed_index,
        })
    }
}

impl ReportedReview {
    pub(super) fn of(message: &v1::Review) -> Result<Self, ReadError> {
        let numbers = |texts: &[String]| texts.iter().map(|text| number(text)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            review: number(&message.review)?,
            index: message.index,
            due: time("due", message.due)?,
            is_closed: message.closed,
            open: numbers(&message.open)?,
            kept: numbers(&message.kept)?,
            revoked: numbers(&message.revoked)?,
        })
    }
}

fn number(text: &str) -> Result<Ref, ReadError> {
    reference(text).ok_or(ReadError::WrongAnswer("a number of a grant or review that is none"))
}

pub(crate) fn time(field: &'static str, message: Option<Timestamp>) -> Result<Option<Time>, ReadError> {
    Ok(message.map(|message| time_of(field, message)).transpose()?)
}
