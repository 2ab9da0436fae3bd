//! `graven scopes`: who may do what, and all that was ever done about it.

mod appoint;
mod command;
mod history;
mod list;
mod number;
mod review;
pub(crate) mod show;
mod terms;
pub(crate) mod times;
mod watch;

use clap::{Args, Subcommand};

use crate::{exit::Outcome, remote::TrustedLog};

const ABOUT: &str = "\
An application asks for scopes by a grant; somebody else approves it; from then on `graven check` allows what it covers. Each step is an entry \
of a log of events, and who may do what follows from the entries alone: `graven replay` recomputes all of it.

Nobody asks for a grant of their own, approves what they asked for, or approves what they are to get. Who commands is who the credentials \
say: `alice` is the person alice, `application:billing` an application. What the rules are against is refused with exit code 2, and is an entry too.

A grant is named by its number: as many of its hex digits as tell it from others, and, after @, the revision that was looked at: 3f0c92ab@2. Where \
the grant has changed since, the command is refused. Without @, the newest revision is taken.";

const EXAMPLES: &str = "\
Examples:
  graven scopes appoint alice --recovery-key recovery-key.pem     # the first administrator
  graven scopes define payroll.read --tier read --approver bob --longest 90days
  GRANT=$(graven scopes request billing --scope payroll.read --expires 30days --because 'month end')
  graven scopes approve $GRANT                                     # as somebody else
  graven check --client billing --scope payroll.read
  graven scopes history billing payroll.read
  graven scopes at --time 2026-03-01T00:00:00Z
  graven scopes unused --since 90days";

/// Define scopes, grant them, take them away, and look back
#[derive(Args, Debug)]
#[command(long_about = format!("Define scopes, grant them, take them away, and look back\n\n{ABOUT}"), after_help = EXAMPLES)]
pub(crate) struct ScopesArgs {
    #[command(subcommand)]
    command: ScopesCommand,
}

#[derive(Debug, Subcommand)]
enum ScopesCommand {
    Define(Box<command::DefineArgs>),
    Request(Box<command::RequestArgs>),
    Approve(Box<command::ApproveArgs>),
    Deny(Box<command::DenyArgs>),
    Narrow(Box<command::NarrowArgs>),
    Renew(Box<command::RenewArgs>),
    Revoke(Box<command::RevokeArgs>),
    RevokeToken(Box<command::RevokeTokenArgs>),
    Rotate(Box<command::RotateArgs>),
    Appoint(Box<appoint::AppointArgs>),
    Dismiss(Box<command::DismissArgs>),
    List(list::ListArgs),
    Grants(list::GrantsArgs),
    At(list::AtArgs),
    Unused(list::UnusedArgs),
    History(Box<history::HistoryArgs>),
    Watch(watch::WatchArgs),
    Review(review::ReviewArgs),
}

impl ScopesArgs {
    /// The log, where evidence against it may be met.
    pub(crate) fn log(&self) -> Option<&TrustedLog> {
        Some(match &self.command {
            ScopesCommand::Define(args) => &args.terms.log,
            ScopesCommand::Request(args) => &args.terms.log,
            ScopesCommand::Approve(args) => &args.terms.log,
            ScopesCommand::Deny(args) => &args.terms.log,
            ScopesCommand::Narrow(args) => &args.terms.log,
            ScopesCommand::Renew(args) => &args.terms.log,
            ScopesCommand::Revoke(args) => &args.terms.log,
            ScopesCommand::RevokeToken(args) => &args.terms.log,
            ScopesCommand::Rotate(args) => &args.terms.log,
            ScopesCommand::Appoint(args) => &args.terms.log,
            ScopesCommand::Dismiss(args) => &args.terms.log,
            ScopesCommand::History(args) => &args.log,
            ScopesCommand::Review(args) => args.log()?,
            ScopesCommand::List(_)
            | ScopesCommand::Grants(_)
            | ScopesCommand::At(_)
            | ScopesCommand::Unused(_)
            | ScopesCommand::Watch(_) => return None,
        })
    }
}

pub(crate) async fn run(args: ScopesArgs) -> Outcome {
    match args.command {
        ScopesCommand::Define(args) => command::define(*args).await,
        ScopesCommand::Request(args) => command::request(*args).await,
        ScopesCommand::Approve(args) => command::approve(*args).await,
        ScopesCommand::Deny(args) => command::deny(*args).await,
        ScopesCommand::Narrow(args) => command::narrow(*args).await,
        ScopesCommand::Renew(args) => command::renew(*args).await,
        ScopesCommand::Revoke(args) => command::revoke(*args).await,
        ScopesCommand::RevokeToken(args) => command::revoke_token(*args).await,
        ScopesCommand::Rotate(args) => command::rotate(*args).await,
        ScopesCommand::Appoint(args) => appoint::run(*args).await,
        ScopesCommand::Dismiss(args) => command::dismiss(*args).await,
        ScopesCommand::List(args) => list::scopes(args).await,
        ScopesCommand::Grants(args) => list::grants(args).await,
        ScopesCommand::At(args) => list::at(args).await,
        ScopesCommand::Unused(args) => list::unused(args).await,
        ScopesCommand::History(args) => history::run(*args).await,
        ScopesCommand::Watch(args) => watch::run(args).await,
        ScopesCommand::Review(args) => review::run(args).await,
    }
}
