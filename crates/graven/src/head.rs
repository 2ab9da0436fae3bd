//! `graven head`: the newest tree head, verified.

use std::time::{Duration, SystemTime};

use clap::Args;
use graven_client::{VerifiedHead, WitnessLag, WitnessState};
use serde_json::{Value, json};

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
    let log = args.log.open().await?;
    let head = log.tree_head().await?;
    if args.note {
        output::bytes(head.note().as_bytes())?;
    } else {
        let witnesses = log.witness_state().await?;
        let object = || with_witnesses(output::head_json(&head), witnesses.as_ref());
        output::either(args.json, object, || describe(&head))?;
        if let Some(state) = witnesses.filter(|_| !args.json) {
            stands(&state)?;
        }
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

/// How a log stands with its witnesses, a line each.
fn stands(state: &WitnessState) -> Outcome {
    let awaited = if state.awaited { ", and the server awaits them since its start" } else { "" };
    output::line(format_args!(
        "says its server: {} signed, {} with their quorum{awaited}",
        output::entries(state.signed_size),
        state.witnessed_size
    ))?;
    state.witnesses.iter().try_for_each(|witness| {
        let behind = match state.signed_size.saturating_sub(witness.size) {
            0 => "is not behind".to_owned(),
            entries => format!("is {} behind", output::entries(entries)),
        };
        let silent = humantime::format_duration(Duration::from_secs(witness.silent_seconds));
        let error = if witness.error.is_empty() { String::new() } else { format!(": {}", witness.error) };
        let cosigned = if witness.size == 0 {
            "cosigned nothing yet".to_owned()
        } else {
            format!("cosigned {silent} ago")
        };
        output::line(format_args!("  {} {behind}, {cosigned}{error}", witness.name))
    })
}

fn with_witnesses(mut head: Value, state: Option<&WitnessState>) -> Value {
    let witness = |it: &WitnessLag| json!({ "name": it.name, "size": it.size, "silent_seconds": it.silent_seconds, "error": it.error });
    if let Some(state) = state {
        head["server_says"] = json!({
            "signed_size": state.signed_size,
            "witnessed_size": state.witnessed_size,
            "witnesses_awaited": state.awaited,
            "witnesses": state.witnesses.iter().map(witness).collect::<Vec<_>>(),
        });
    }
    head
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
