//! What a command says, with all that it takes and nothing else.
//!
//! ```text
//! command          fields beside command, by, rules and refused: ? may be absent, * any number
//!  1 define        scopes (one) · tier? · recording? · approvers* · approvals? · longest?
//!  2 request       grant (a new number) · client · subject? · scopes (1 to 64) · resource? · not_before? · expires?
//!  3 approve       grant · revision
//!  4 deny          grant · revision
//!  5 narrow        grant · revision · scopes* (what it keeps; none: all) · expires?
//!  6 renew         grant · revision · expires
//!  7 revoke        grant · revision?
//!  8 revoke token  token · client? (whose it is) · expires? (when it ends by itself)
//!  9 rotate        scopes (one) · issued_before? (absent: the log time)
//! 10 open review   review (a new number) · scopes* (grants with any of them; none: any) · client? (its grants alone) · expires? (due)
//! 11 attest        review · grant · verdict (1 keep, 2 revoke)
//! 12 close review  review
//! 13 appoint       subject (who) · revision? · signature? (with it, revision must be there)
//! 14 dismiss       subject (who)
//! ```

use crate::facts::{Ref, ScopeCommand, Word};
use crate::scopes::grant::Attested;
use crate::scopes::{MAX_APPROVALS, MAX_APPROVERS, MAX_GRANT_SCOPES, RULES};
use crate::time::Time;

/// A command that is whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order<'a> {
    Define(&'a Word, Said<'a>),
    Request(Asked<'a>),
    Approve(On),
    Deny(On),
    Narrow(On, &'a [Word], Option<Time>),
    Renew(On, Time),
    Revoke(Ref, Option<u64>),
    RevokeToken { token: Ref, client: Option<Ref>, expires: Option<Time> },
    Rotate(&'a Word, Option<Time>),
    OpenReview(Opened<'a>),
    Attest { review: Ref, grant: Ref, verdict: Attested },
    CloseReview(Ref),
    Appoint { who: Ref, revision: Option<u64>, is_signed: bool },
    Dismiss(Ref),
}

/// The grant and the state of it that was meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct On {
    pub(super) grant: Ref,
    pub(super) revision: u64,
}

/// What is said of a scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) tier: u8,
    pub(super) is_summed: bool,
    pub(super) approvers: &'a [Ref],
    pub(super) approvals: u8,
    pub(super) longest: Option<u64>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) grant: Ref,
    pub(super) client: Ref,
    pub(super) subject: Option<Ref>,
    pub(super) scopes: &'a [Word],
    pub(super) resource: Option<&'a Word>,
    pub(super) not_before: Option<Time>,
    pub(super) expires: Option<Time>,
}

/// What is to be reviewed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) review: Ref,
    pub(super) scopes: &'a [Word],
    pub(super) client: Option<Ref>,
    pub(super) due: Option<Time>,
}

impl<'a> Order<'a> {
    /// Reads a command. `None`: something is missing, too much or out of range.
    pub(super) fn of(command: &'a ScopeCommand) -> Option<Self> {
        let takes = TAKES.get(usize::from(command.command).checked_sub(1)?)?;
        let is_plain = command.rules == RULES && present(command) & !takes == 0;
        if !is_plain {
            return None;
        }
        let (scopes, expires) = (&command.scopes[..], command.expires.map(Time));
        let on = || Some(On { grant: command.grant?, revision: command.revision? });
        Some(match command.command {
            1 => Self::Define(one(scopes)?, said(command)?),
            2 => Self::Request(asked(command)?),
            3 => Self::Approve(on()?),
            4 => Self::Deny(on()?),
            5 => Self::Narrow(on()?, scopes, expires),
            6 => Self::Renew(on()?, expires?),
            7 => Self::Revoke(command.grant?, command.revision),
            8 => Self::RevokeToken { token: command.token?, client: command.client, expires },
            9 => Self::Rotate(one(scopes)?, command.issued_before.map(Time)),
            10 => Self::OpenReview(Opened {
                review: command.review?,
                scopes,
                client: command.client,
                due: expires,
            }),
            11 => Self::Attest {
                review: command.review?,
                grant: command.grant?,
                verdict: verdict(command.verdict?)?,
            },
            12 => Self::CloseReview(command.review?),
            13 => appoint(command)?,
            _ => Self::Dismiss(command.subject?),
        })
    }
}

const GRANT: u32 = 1 << 2;
const REVISION: u32 = 1 << 3;
const CLIENT: u32 = 1 << 5;
const SUBJECT: u32 = 1 << 6;
const SCOPES: u32 = 1 << 7;
const RESOURCE: u32 = 1 << 8;
const TIER: u32 = 1 << 9;
const RECORDING: u32 = 1 << 10;
const NOT_BEFORE: u32 = 1 << 11;
const EXPIRES: u32 = 1 << 12;
const TOKEN: u32 = 1 << 13;
const REVIEW: u32 = 1 << 14;
const VERDICT: u32 = 1 << 15;
const ISSUED_BEFORE: u32 = 1 << 17;
const APPROVERS: u32 = 1 << 18;
const APPROVALS: u32 = 1 << 19;
const LONGEST: u32 = 1 << 20;
const SIGNATURE: u32 = 1 << 22;

/// Which fields each command takes, by its number less one.
const TAKES: [u32; 14] = [
    SCOPES | TIER | RECORDING | APPROVERS | APPROVALS | LONGEST,
    GRANT | CLIENT | SUBJECT | SCOPES | RESOURCE | NOT_BEFORE | EXPIRES,
    GRANT | REVISION,
    GRANT | REVISION,
    GRANT | REVISION | SCOPES | EXPIRES,
    GRANT | REVISION | EXPIRES,
    GRANT | REVISION,
    TOKEN | CLIENT | EXPIRES,
    SCOPES | ISSUED_BEFORE,
    REVIEW | SCOPES | CLIENT | EXPIRES,
    REVIEW | GRANT | VERDICT,
    REVIEW,
    SUBJECT | REVISION | SIGNATURE,
    SUBJECT,
];

/// Which fields there are.
fn present(command: &ScopeCommand) -> u32 {
    [
        (GRANT, command.grant.is_some()),
        (REVISION, command.revision.is_some()),
        (CLIENT, command.client.is_some()),
        (SUBJECT, command.subject.is_some()),
        (SCOPES, !command.scopes.is_empty()),
        (RESOURCE, command.resource.is_some()),
        (TIER, command.tier.is_some()),
        (RECORDING, command.recording.is_some()),
        (NOT_BEFORE, command.not_before.is_some()),
        (EXPIRES, command.expires.is_some()),
        (TOKEN, command.token.is_some()),
        (REVIEW, command.review.is_some()),
        (VERDICT, command.verdict.is_some()),
        (ISSUED_BEFORE, command.issued_before.is_some()),
        (APPROVERS, !command.approvers.is_empty()),
        (APPROVALS, command.approvals.is_some()),
        (LONGEST, command.longest.is_some()),
        (SIGNATURE, command.signature.is_some()),
    ]
    .into_iter()
    .filter(|(_, is_there)| *is_there)
    .fold(0, |all, (field, _)| all | field)
}

fn one(scopes: &[Word]) -> Option<&Word> {
    if let [scope] = scopes { Some(scope) } else { None }
}

fn said(command: &ScopeCommand) -> Option<Said<'_>> {
    let (tier, recording) = (command.tier.unwrap_or(0), command.recording.unwrap_or(0));
    let (approvers, approvals) = (&command.approvers[..], command.approvals.unwrap_or(1));
    let may_be_approved = approvers.is_empty() || usize::from(approvals) <= approvers.len();
    let fits = tier <= 3 && recording <= 1 && (1..=MAX_APPROVALS).contains(&approvals);
    let fits = fits && approvers.len() <= MAX_APPROVERS && may_be_approved && are_distinct(approvers);
    fits.then_some(Said { tier, is_summed: recording == 1, approvers, approvals, longest: command.longest })
}

fn asked(command: &ScopeCommand) -> Option<Asked<'_>> {
    let (not_before, expires) = (command.not_before.map(Time), command.expires.map(Time));
    let begins_before = not_before.zip(expires).is_none_or(|(begin, end)| begin < end);
    let fits = (1..=MAX_GRANT_SCOPES).contains(&command.scopes.len()) && begins_before;
    fits.then_some(Asked {
        grant: command.grant?,
        client: command.client?,
        subject: command.subject,
        scopes: &command.scopes,
        resource: command.resource.as_ref(),
        not_before,
        expires,
    })
}

fn appoint(command: &ScopeCommand) -> Option<Order<'_>> {
    let (revision, is_signed) = (command.revision, command.signature.is_some());
    let is_whole = revision.is_some() || !is_signed;
    is_whole.then_some(Order::Appoint { who: command.subject?, revision, is_signed })
}

fn verdict(number: u8) -> Option<Attested> {
    match number {
        1 => Some(Attested::Kept),
        2 => Some(Attested::Revoked),
        _ => None,
    }
}

/// Whether nothing is there twice.
pub(super) fn are_distinct<T: PartialEq>(some: &[T]) -> bool {
    some.iter().enumerate().all(|(at, one)| !some[..at].contains(one))
}
