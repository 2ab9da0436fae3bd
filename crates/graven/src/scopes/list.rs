//! Scopes and grants as they stand, now or at an earlier point.

use clap::{Args, ValueEnum};
use graven_client::scopes::{At, GrantFilter, GrantStatus, ReportedScopes};
use graven_event::Time;
use graven_merkle::TreeSize;
use serde_json::{Value, json};

use super::{show, times};
use crate::{exit::Outcome, indices, output, remote::LogAtServer};

/// List the scopes that are defined, and the administrators
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

const GRANTS_EXAMPLES: &str = "\
Examples:
  graven scopes grants --status pending
  graven scopes grants --client billing --json | jq -r '.grants[].grant'";

/// List the grants that there are
#[derive(Args, Debug)]
#[command(after_help = GRANTS_EXAMPLES)]
pub(super) struct GrantsArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// Which grants.
#[derive(Args, Debug)]
struct FilterArgs {
    /// Of this application
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// Of this person
    #[arg(long, value_name = "WHO")]
    subject: Option<String>,

    /// With this scope
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,

    /// Of this status
    #[arg(long, value_name = "STATUS")]
    status: Option<StatusArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusArg {
    Pending,
    Active,
    Denied,
    Revoked,
    Expired,
}

const AT_EXAMPLES: &str = "\
The state at a size is what the first so many entries say, and nothing else; the state at a time is that of the entries up to it.

Examples:
  graven scopes at --time 2026-03-01T00:00:00Z
  graven scopes at --time 30days --client billing
  graven scopes at --size 1000 --json";

/// List scopes and grants as they stood at an earlier point
#[derive(Args, Debug)]
#[command(after_help = AT_EXAMPLES)]
pub(super) struct AtArgs {
    /// After so many entries
    #[arg(long, value_name = "ENTRIES", value_parser = indices::size, required_unless_present = "time")]
    size: Option<TreeSize>,

    /// At this log time: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = times::ago, conflicts_with = "size")]
    time: Option<Time>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

const UNUSED_EXAMPLES: &str = "\
Those that began to count since are not among them. What was used only as part of a sum counts as used.

Examples:
  graven scopes unused --since 90days
  graven scopes unused --since 90days --json | jq -r '.grants[].grant' | xargs -n1 graven scopes revoke";

/// List grants with scopes that nobody used since a time
#[derive(Args, Debug)]
#[command(after_help = UNUSED_EXAMPLES)]
pub(super) struct UnusedArgs {
    /// A time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = times::ago)]
    since: Time,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(super) async fn scopes(args: ListArgs) -> Outcome {
    let reported = args.log.scopes().await?.scopes(At::Now).await?;
    if args.json {
        return output::line(scopes_json(&reported));
    }
    show::scopes(&reported.scopes).print()?;
    note_scopes(&reported);
    Ok(())
}

pub(super) async fn grants(args: GrantsArgs) -> Outcome {
    let found = args.log.scopes().await?.grants(&args.filter.at(At::Now)).await?;
    if args.json {
        return output::line(grants_json(&found.grants, found.state_size));
    }
    show::grants(&found.grants).print()?;
    note_grants(found.grants.len(), found.state_size);
    Ok(())
}

pub(super) async fn at(args: AtArgs) -> Outcome {
    let at = match (args.size, args.time) {
        (Some(size), _) => At::Size(size.get()),
        (None, Some(time)) => At::Time(time),
        (None, None) => At::Now,
    };
    let log = args.log.scopes().await?;
    let scopes = log.scopes(at).await?;
    // The same state, also where the time is now.
    let found = log.grants(&args.filter.at(At::Size(scopes.state_size))).await?;
    if args.json {
        let mut object = scopes_json(&scopes);
        object["grants"] = found.grants.iter().map(show::grant_json).collect();
        return output::line(object);
    }
    show::scopes(&scopes.scopes).print()?;
    if !scopes.scopes.is_empty() && !found.grants.is_empty() {
        output::line("")?;
    }
    show::grants(&found.grants).print()?;
    note_scopes(&scopes);
    note_grants(found.grants.len(), found.state_size);
    Ok(())
}

pub(super) async fn unused(args: UnusedArgs) -> Outcome {
    let found = args.log.scopes().await?.unused(args.since).await?;
    if args.json {
        let mut object = grants_json(&found.grants, found.state_size);
        object["truncated"] = json!(found.is_truncated);
        return output::line(object);
    }
    show::grants(&found.grants).print()?;
    note_grants(found.grants.len(), found.state_size);
    if found.is_truncated {
        output::note("there are more: revoke some of these first, then ask again");
    }
    Ok(())
}

impl FilterArgs {
    fn at(&self, at: At) -> GrantFilter {
        let status = self.status.map(|status| match status {
            StatusArg::Pending => GrantStatus::Pending,
            StatusArg::Active => GrantStatus::Active,
            StatusArg::Denied => GrantStatus::Denied,
            StatusArg::Revoked => GrantStatus::Revoked,
            StatusArg::Expired => GrantStatus::Expired,
        });
        let (client, subject, scope) = (self.client.clone(), self.subject.clone(), self.scope.clone());
        GrantFilter { at, client, subject, scope, status }
    }
}

fn note_scopes(reported: &ReportedScopes) {
    let administrators = match reported.administrators.as_slice() {
        [] => "nobody: appoint the first one with the recovery key".to_owned(),
        some => output::shown(&some.join(", ")).into_owned(),
    };
    output::note(format_args!(
        "{} scopes as of {}; administrators: {administrators}",
        reported.scopes.len(),
        output::entries(reported.state_size)
    ));
}

fn note_grants(count: usize, state_size: u64) {
    output::note(format_args!("{count} grants as of {}", output::entries(state_size)));
}

fn scopes_json(reported: &ReportedScopes) -> Value {
    json!({
        "state_size": reported.state_size,
        "administrators": reported.administrators,
        "scopes": reported.scopes.iter().map(show::scope_json).collect::<Vec<_>>(),
    })
}

fn grants_json(grants: &[graven_client::scopes::ReportedGrant], state_size: u64) -> Value {
    json!({
        "state_size": state_size,
        "grants": grants.iter().map(show::grant_json).collect::<Vec<_>>(),
    })
}
