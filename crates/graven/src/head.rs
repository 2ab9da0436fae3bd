//! `graven head`: the newest tree head, verified.

use std::time::{Duration, SystemTime};

use clap::Args;
use graven_client::VerifiedHead;

use crate::{
    exit::{Exit, Failure, Outcome},
    output,
    remote::TrustedLog,
};

const EXAMPLES: &str = "\
Examples:
  graven head --policy audit.policy
  graven head --policy audit.policy --state heads --max-age 5m    # exit 3: stalled, 4: went back
  graven head --key VKEY --json";

/// Print a log's newest signed head
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HeadArgs {
    /// Fail with exit code 3 where the head was signed longer ago than this (30s, 5m, 1h)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,

    /// Print the signed checkpoint note, byte for byte
    #[arg(long, conflicts_with = "json")]
    note: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: HeadArgs) -> Outcome {
    let head = args.log.open().await?.tree_head().await?;
    if args.note {
        output::bytes(head.note().as_bytes())?;
    } else {
        output::either(args.json, || output::head_json(&head), || describe(&head))?;
    }
    args.max_age.map_or(Ok(()), |max_age| refuse_stale(&head, max_age))
}

/// A head in a line.
pub(crate) fn describe(head: &VerifiedHead) -> String {
    let names: Vec<_> = head.witnesses().iter().map(|witness| witness.name.to_string()).collect();
    let witnesses =
        if names.is_empty() { String::new() } else { format!(", cosigned by {}", names.join(", ")) };
    format!(
        "{} has {}, root {}, signed {}{witnesses}",
        head.origin(),
        output::entries(head.size().get()),
        head.root(),
        output::signed_at(head)
    )
}

fn refuse_stale(head: &VerifiedHead, max_age: Duration) -> Outcome {
    let signed = head.time_seconds().and_then(output::time_of).ok_or_else(|| {
        Failure::trouble(
            "no trusted signature of the head states a time: pin the log's ML-DSA-44 key as well",
        )
    })?;
    let age = SystemTime::now().duration_since(signed).unwrap_or_default();
    if age <= max_age {
        return Ok(());
    }
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    Err(Failure::new(Exit::Stalled, format_args!("stalled: the newest head was signed {age} ago")))
}
