//! `graven erase`: a person, out of a log of events.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use serde_json::json;

use super::show::hex;
use crate::{
    exit::{Failure, Outcome},
    output,
    output::shown,
    remote::LogAtServer,
};

const EXAMPLES: &str = "\
The key of the person is destroyed, so that nothing sealed under it is ever read again: by nobody, from no copy of the \
data. The index forgets them. What others did together with them stays readable where it is not about them. Every \
entry and every proof stays valid. By what right it was done stands in the log for ever.

This cannot be undone. On a terminal it is asked for; elsewhere --yes is needed. A person whom a legal hold covers is \
not erased (`graven hold release`).

Examples:
  graven erase --log audit alice --authority gdpr-17
  graven erase --log audit service:ci --authority contract-end --yes";

/// Erase a person from a log of events, for ever
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EraseArgs {
    /// Whom: alice, or KIND:ID, as events name them
    #[arg(value_name = "SUBJECT")]
    subject: String,

    /// By what right, as one word
    #[arg(long, value_name = "WORD")]
    authority: String,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(crate) async fn run(args: EraseArgs) -> Outcome {
    if !args.yes {
        confirm(&args.subject)?;
    }
    let log = args.log.events().await?;
    let erased = log.erase_subject(&args.subject, &args.authority).await?;
    output::either(
        args.json,
        || {
            json!({
                "index": erased.index.get(),
                "reference": hex(&erased.reference.0),
                "epoch": erased.epoch,
            })
        },
        || format!("erased: the key is destroyed, and entry {} says so", erased.index),
    )
}

/// Asks whoever sits before the terminal to say the name again.
fn confirm(subject: &str) -> Outcome {
    if !io::stdin().is_terminal() {
        return Err(Failure::trouble("this cannot be undone, and there is nobody to ask: add --yes"));
    }
    output::note(format_args!(
        "What is sealed under the key of {} will never be read again, by anybody. Type the name again to go on:",
        shown(subject)
    ));
    let mut typed = String::new();
    io::stdin()
        .lock()
        .read_line(&mut typed)
        .map_err(|error| Failure::trouble(format_args!("standard input: {error}")))?;
    if typed.trim() == subject { Ok(()) } else { Err(Failure::trouble("not confirmed: nothing was erased")) }
}
