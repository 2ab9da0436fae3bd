//! `graven retention`: how long a log keeps what was sealed.

use std::time::Duration;

use clap::{Args, Subcommand};
use graven_client::events::ReportedClass;
use serde_json::{Value, json};

use crate::{exit::Outcome, output, output::shown, remote::LogAtServer};

const DEFINE_EXAMPLES: &str = "\
What a class keeps is the sealed part of events; their leaves and all proofs stay for ever. A class that exists is \
given a new time. Each change is an entry of the log.

It is looked once a minute what is over. Payloads go by the 256 entries of a full bundle, once the newest of them is over: \
what was recorded last stays until the log has grown past it. `graven erase` waits for nothing.

Examples:
  graven retention define --log audit short --keep 90days
  graven retention define --log audit accounts --keep forever";

/// Say how long events are kept, or list it
#[derive(Args, Debug)]
pub(crate) struct RetentionArgs {
    #[command(subcommand)]
    command: RetentionCommand,
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    Define(DefineArgs),
    List(ListArgs),
}

/// Make a retention class, or give it another time
#[derive(Args, Debug)]
#[command(after_help = DEFINE_EXAMPLES)]
struct DefineArgs {
    /// Name of the class: 1 to 63 of a-z, 0-9 and -
    #[arg(value_name = "CLASS")]
    name: String,

    /// How long it keeps: 90days, 6months, 7years, or forever
    #[arg(long, value_name = "TIME", value_parser = keep)]
    keep: Keep,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// List the retention classes of a log
#[derive(Args, Debug)]
struct ListArgs {
    /// Print one JSON object a class
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// How long; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keep(Option<Duration>);

fn keep(text: &str) -> Result<Keep, humantime::DurationError> {
    match text {
        "forever" => Ok(Keep(None)),
        time => humantime::parse_duration(time).map(|time| Keep(Some(time))),
    }
}

pub(crate) async fn run(args: RetentionArgs) -> Outcome {
    match args.command {
        RetentionCommand::Define(args) => define(args).await,
        RetentionCommand::List(args) => list(args).await,
    }
}

async fn define(args: DefineArgs) -> Outcome {
    let log = args.log.events().await?;
    let index = log.define_retention(&args.name, args.keep.0).await?;
    let keep = time(args.keep.0);
    output::either(
        args.json,
        || json!({ "index": index.get(), "class": args.name, "keep_seconds": args.keep.0.map(|keep| keep.as_secs()) }),
        || format!("{} keeps {keep}: entry {index} says so", shown(&args.name)),
    )
}

async fn list(args: ListArgs) -> Outcome {
    let classes = args.log.events().await?.retention().await?.classes;
    let of = |class: &ReportedClass| output::either(args.json, || as_json(class), || describe(class));
    classes.iter().try_for_each(of)
}

fn time(keep: Option<Duration>) -> String {
    keep.map_or_else(|| "for ever".to_owned(), |keep| format!("for {}", humantime::format_duration(keep)))
}

fn describe(class: &ReportedClass) -> String {
    let dropped = match class.dropped_before {
        0 => String::new(),
        before => format!(", payloads before entry {before} are dropped"),
    };
    format!("{}  keeps {}{dropped}", shown(&class.name), time(class.keep))
}

fn as_json(class: &ReportedClass) -> Value {
    json!({
        "class": class.name,
        "keep_seconds": class.keep.map(|keep| keep.as_secs()),
        "dropped_before": class.dropped_before,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_for_ever_is_one() {
        assert_eq!(keep("forever"), Ok(Keep(None)));
        assert_eq!(keep("90days"), Ok(Keep(Some(Duration::from_secs(90 * 86_400)))));
        assert!(keep("soon").is_err());
    }
}
