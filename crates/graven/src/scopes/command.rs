//! Commands that change who may do what.

use std::time::Duration;

use clap::{Args, ValueEnum};
use graven_client::scopes::Command;
use graven_event::Time;

use super::{number::GrantNumber, terms::Terms, times};
use crate::exit::Outcome;

const DEFINE_EXAMPLES: &str = "\
A scope that exists is given what is said here, all of it. Administrators may.

Examples:
  graven scopes define payroll.read --tier read
  graven scopes define payroll.admin --tier admin --approver bob --approver carol --approvals 2 --longest 7days
  graven scopes define metrics.write --sums      # allowed decisions are counted, and recorded once a second";

/// Define a scope, or change what is said of it
#[derive(Args, Debug)]
#[command(after_help = DEFINE_EXAMPLES)]
pub(super) struct DefineArgs {
    /// The scope: one scope token (RFC 6749 §3.3)
    #[arg(value_name = "SCOPE")]
    scope: String,

    /// How far it reaches
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,

    /// Who may approve it; repeat it for several [default: any administrator]
    #[arg(long = "approver", value_name = "WHO")]
    approvers: Vec<String>,

    /// How many approvals a grant takes, of different people
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    approvals: u8,

    /// For how long a grant counts at most: 90days [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    longest: Option<Duration>,

    /// Record allowed decisions that are alike as one entry a second, with their number
    #[arg(long)]
    sums: bool,

    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tier {
    Read = 1,
    Modify,
    Admin,
}

const REQUEST_EXAMPLES: &str = "\
Prints the number of the grant, with its revision, for `graven scopes approve`. Nobody asks for themselves.

Examples:
  graven scopes request billing --scope payroll.read --scope payroll.list --expires 30days --because 'month end'
  graven scopes request console --subject carol --scope users.read --resource https://api.example.com/users";

/// Ask that an application gets scopes
#[derive(Args, Debug)]
#[command(after_help = REQUEST_EXAMPLES)]
pub(super) struct RequestArgs {
    /// The application that is to get them: its OAuth client id
    #[arg(value_name = "CLIENT")]
    client: String,

    /// A scope; repeat it for several
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,

    /// The person in whose name alone [default: whoever uses the application]
    #[arg(long, value_name = "WHO")]
    subject: Option<String>,

    /// Where they count: a resource indicator (RFC 8707) [default: everywhere]
    #[arg(long, value_name = "URI")]
    resource: Option<String>,

    /// When it begins to count: a time, or how long from now [default: when it is approved]
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    not_before: Option<Time>,

    /// When it ends: a time, or how long from now [default: never, if its scopes allow that]
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    expires: Option<Time>,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Approve a request
#[derive(Args, Debug)]
pub(super) struct ApproveArgs {
    /// The grant, as `scopes request` and `scopes grants` print it: NUMBER or NUMBER@REVISION
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Refuse a request, or take your own back
#[derive(Args, Debug)]
pub(super) struct DenyArgs {
    /// The grant: NUMBER or NUMBER@REVISION
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Take scopes or time from a grant
#[derive(Args, Debug)]
pub(super) struct NarrowArgs {
    /// The grant: NUMBER or NUMBER@REVISION
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    /// A scope that it keeps; repeat it for several
    #[arg(long = "keep", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,

    /// When it ends, earlier than before: a time, or how long from now [default: as before]
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    expires: Option<Time>,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Let a grant count for longer
#[derive(Args, Debug)]
pub(super) struct RenewArgs {
    /// The grant: NUMBER or NUMBER@REVISION
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    /// When it ends, later than before: a time, or how long from now
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    expires: Time,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// End a grant
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// The grant: NUMBER, or NUMBER@REVISION to end it only if it did not change since
    #[arg(value_name = "GRANT")]
    grant: GrantNumber,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Make one token worthless
#[derive(Args, Debug)]
pub(super) struct RevokeTokenArgs {
    /// Its identifier (`jti`)
    #[arg(value_name = "JTI")]
    token: String,

    /// Who issued it (`iss`)
    #[arg(long, value_name = "URL")]
    issuer: String,

    /// When it ends by itself (`exp`), so that it need not be remembered for longer
    #[arg(long, value_name = "TIME", value_parser = times::ahead)]
    expires: Option<Time>,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// Make all tokens worthless for a scope that were issued before a time
#[derive(Args, Debug)]
pub(super) struct RotateArgs {
    /// The scope
    #[arg(value_name = "SCOPE")]
    scope: String,

    /// Tokens issued before this are refused: a time, or how long ago [default: those issued before now]
    #[arg(long, value_name = "TIME", value_parser = times::ago)]
    issued_before: Option<Time>,

    #[command(flatten)]
    pub(super) terms: Terms,
}

/// End that somebody is an administrator; the last one stays
#[derive(Args, Debug)]
pub(super) struct DismissArgs {
    /// Who
    #[arg(value_name = "WHO")]
    administrator: String,

    #[command(flatten)]
    pub(super) terms: Terms,
}

pub(super) async fn define(args: DefineArgs) -> Outcome {
    let command = Command::Define {
        scope: args.scope,
        tier: args.tier.map_or(0, |tier| tier as u8),
        is_summed: args.sums,
        approvers: args.approvers,
        approvals: args.approvals,
        longest: args.longest,
    };
    args.terms.send(command).await?.report("defined")
}

pub(super) async fn request(args: RequestArgs) -> Outcome {
    let RequestArgs { client, scopes, subject, resource, not_before, expires, terms } = args;
    let sent =
        terms.send(Command::Request { client, subject, scopes, resource, not_before, expires }).await?;
    sent.number("asked for, and waiting for approval")
}

pub(super) async fn approve(args: ApproveArgs) -> Outcome {
    let (grant, revision) = args.grant.grant(&args.terms.scopes().await?).await?;
    args.terms.send(Command::Approve { grant, revision }).await?.report("approved")
}

pub(super) async fn deny(args: DenyArgs) -> Outcome {
    let (grant, revision) = args.grant.grant(&args.terms.scopes().await?).await?;
    args.terms.send(Command::Deny { grant, revision }).await?.report("denied")
}

pub(super) async fn narrow(args: NarrowArgs) -> Outcome {
    let (grant, revision) = args.grant.grant(&args.terms.scopes().await?).await?;
    let (scopes, expires) = (args.scopes, args.expires);
    args.terms.send(Command::Narrow { grant, revision, scopes, expires }).await?.report("narrowed")
}

pub(super) async fn renew(args: RenewArgs) -> Outcome {
    let (grant, revision) = args.grant.grant(&args.terms.scopes().await?).await?;
    args.terms.send(Command::Renew { grant, revision, expires: args.expires }).await?.report("renewed")
}

pub(super) async fn revoke(args: RevokeArgs) -> Outcome {
    let (grant, revision) = args.grant.any_revision(&args.terms.scopes().await?).await?;
    args.terms.send(Command::Revoke { grant, revision }).await?.report("revoked")
}

pub(super) async fn revoke_token(args: RevokeTokenArgs) -> Outcome {
    let (issuer, id, expires) = (args.issuer, args.token, args.expires);
    args.terms.send(Command::RevokeToken { issuer, id, expires }).await?.report("revoked")
}

pub(super) async fn rotate(args: RotateArgs) -> Outcome {
    let (scope, issued_before) = (args.scope, args.issued_before);
    args.terms.send(Command::Rotate { scope, issued_before }).await?.report("rotated")
}

pub(super) async fn dismiss(args: DismissArgs) -> Outcome {
    args.terms.send(Command::Dismiss { administrator: args.administrator }).await?.report("dismissed")
}
