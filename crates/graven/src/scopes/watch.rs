//! `graven scopes watch`: commands as they come.

use clap::Args;

use super::show;
use crate::{exit::Outcome, output, remote::LogAtServer};

const EXAMPLES: &str = "\
Refused commands are among them. A server that goes away for a moment is asked again, and nothing is missed.

Examples:
  graven scopes watch
  graven scopes watch --from 0 --json";

/// Print commands about scopes as they come, for ever
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct WatchArgs {
    /// Begin with this entry; the first one is 0 [default: the next new one]
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,

    /// Print one JSON object a command
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(super) async fn run(args: WatchArgs) -> Outcome {
    let mut watch = args.log.scopes().await?.watch(args.from);
    if !args.json {
        output::line(show::step_header())?;
    }
    while let Some(step) = watch.next().await? {
        if args.json {
            output::object(show::step_json(&step))?;
        } else {
            output::line(show::step(&step))?;
        }
    }
    Ok(())
}
