//! `graven check`: whether something is allowed, decided and recorded in one step.

use std::time::Duration;

use clap::{Args, ValueEnum};
use graven_client::scopes::{Check, Decided, Freshness, ShownToken};
use graven_event::{Context, Time};
use graven_merkle::TreeSize;
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    indices, output,
    output::shown,
    remote::TrustedLog,
    scopes::times,
};

const EXAMPLES: &str = "\
The decision is an entry of the log, durable before it is printed, whichever way it goes. Ends with exit code 0 where it is allowed, 1 where \
it is denied, and 2 where it could not be decided or recorded: then nothing is allowed. Why, as one word: granted, or no-scope, scope-unknown, \
scope-not-presented, token-revoked, token-expired, token-rotated, token-age-unknown, no-grant, grant-pending, grant-expired, grant-revoked, \
grant-not-yet.

With --wait published the decision is proven to be in the log before it is printed.

Examples:
  graven check --client billing --scope payroll.read && run-payroll
  graven check --client console --subject carol --scope users.read --resource https://api.example.com/users --json
  graven check --client billing --scope payroll.read --jti 7f1e --issuer https://id.example.com \\
    --issued 2026-03-01T09:30:00Z --presented payroll.read";

/// Decide whether an application may use scopes, and record it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// The application that wants to do it: its OAuth client id
    #[arg(long, value_name = "CLIENT")]
    client: String,

    /// A scope that it takes; repeat it for several
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,

    /// The person in whose name
    #[arg(long, value_name = "WHO")]
    subject: Option<String>,

    /// What it wants to do: a word of the catalogue, or x. and more [default: scope.check]
    #[arg(long, value_name = "ACTION", default_value = "", hide_default_value = true)]
    action: String,

    /// Where: a resource indicator (RFC 8707)
    #[arg(long, value_name = "URI")]
    resource: Option<String>,

    /// Identifier of the token that was shown (jti), which you validated
    #[arg(long, value_name = "JTI", requires = "issuer", help_heading = "Token")]
    jti: Option<String>,

    /// Who issued it (iss)
    #[arg(long, value_name = "URL", requires = "jti", help_heading = "Token")]
    issuer: Option<String>,

    /// When it was issued (iat); without, it is refused for scopes that were ever rotated
    #[arg(long, value_name = "TIME", requires = "jti", value_parser = times::ago, help_heading = "Token")]
    issued: Option<Time>,

    /// When it ends (exp)
    #[arg(long, value_name = "TIME", requires = "jti", value_parser = times::ahead, help_heading = "Token")]
    expires: Option<Time>,

    /// A scope that it has; repeat it for several. With none it is good for nothing
    #[arg(long = "presented", value_name = "SCOPE", requires = "jti", help_heading = "Token")]
    presented: Vec<String>,

    /// Address of whom it is asked for; sealed with the entry
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,

    /// Identifier of the request that it is part of; sealed with the entry
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// Take at least so many entries into account, such as a command's index and one
    #[arg(long, value_name = "ENTRIES", value_parser = indices::size, help_heading = "Freshness")]
    at_least: Option<TreeSize>,

    /// Decide from exactly so many entries; refused where anything that matters came since
    #[arg(long, value_name = "ENTRIES", value_parser = indices::size, conflicts_with = "at_least")]
    #[arg(help_heading = "Freshness")]
    exactly: Option<TreeSize>,

    /// Take a state that was the newest at most so long ago [default: all that was acknowledged before]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[arg(conflicts_with_all = ["at_least", "exactly"], help_heading = "Freshness")]
    at_most_old: Option<Duration>,

    /// What to wait for
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    wait: Wait,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    Durable,
    Published,
}

pub(crate) async fn run(args: CheckArgs) -> Outcome {
    let asked = args.asked();
    let (decided, proven_in) = match args.wait {
        Wait::Durable => (args.log.at.scopes().await?.check(&asked).await?, None),
        Wait::Published => {
            let proven = args.log.open().await?.check(&asked).await?;
            (proven.decided().clone(), Some(proven.proof().head().size().get()))
        }
    };
    report(&decided, proven_in, args.json)?;
    if decided.is_allowed() { Ok(()) } else { Err(Failure::check_failed(denied(&decided))) }
}

fn report(decided: &Decided, proven_in: Option<u64>, as_json: bool) -> Outcome {
    let grants: Vec<_> = decided.grants().iter().map(ToString::to_string).collect();
    if as_json {
        return output::line(json!({
            "allowed": decided.is_allowed(),
            "reason": decided.reason(),
            "grants": grants,
            "missing": decided.missing(),
            "index": decided.index().map(|index| index.get()),
            "aggregated": decided.index().is_none(),
            "state_size": decided.state_size(),
            "decided_at": decided.decided_at().to_string(),
            "proven_in_size": proven_in,
        }));
    }
    if !decided.is_allowed() {
        // Whoever asked is told on standard error, as of every failure.
        return Ok(());
    }
    let recorded = match (decided.index(), proven_in) {
        (Some(index), None) => format!("entry {index}"),
        (Some(index), Some(size)) => {
            format!("entry {index}, proven under the head of {}", output::entries(size))
        }
        (None, _) => "recorded in a sum".to_owned(),
    };
    output::line(format_args!("allowed by grant {}: {recorded}", grants.join(", ")))
}

fn denied(decided: &Decided) -> String {
    let missing = match decided.missing() {
        [] => String::new(),
        missing => format!(" for {}", shown(&missing.join(", "))),
    };
    let index = decided.index().map_or_else(String::new, |index| format!(": entry {index}"));
    format!("denied: {}{missing}{index}", shown(decided.reason()))
}

impl CheckArgs {
    fn asked(&self) -> Check {
        let freshness = match (self.at_least, self.exactly, self.at_most_old) {
            (Some(size), _, _) => Freshness::AtLeast(size.get()),
            (_, Some(size), _) => Freshness::Exactly(size.get()),
            (_, _, Some(age)) => Freshness::AtMostOld(age),
            (None, None, None) => Freshness::Latest,
        };
        let token = self.jti.clone().map(|id| ShownToken {
            id,
            issuer: self.issuer.clone().unwrap_or_default(),
            issued: self.issued,
            expires: self.expires,
            scopes: self.presented.clone(),
        });
        Check {
            client: self.client.clone(),
            subject: self.subject.clone(),
            action: self.action.clone(),
            scopes: self.scopes.clone(),
            resource: self.resource.clone(),
            token,
            context: Context {
                ip: self.ip.clone(),
                request_id: self.request_id.clone(),
                ..Context::default()
            },
            freshness,
        }
    }
}
