//! `graven hold`: legal holds.

use clap::{Args, Subcommand};
use graven_client::events::ReportedHold;
use serde_json::{Value, json};

use crate::{exit::Outcome, output, output::shown, remote::LogAtServer};

const PLACE_EXAMPLES: &str = "\
While a hold stands, nobody whom it covers is erased, and nothing that it covers is dropped, however old. Prints the \
number of the hold, by which it is released again.

Examples:
  graven hold place --log audit --authority case-7                       # everybody, everything
  graven hold place --log audit --authority case-8 --subject alice --class short";

/// Place, release or list legal holds
#[derive(Args, Debug)]
pub(crate) struct HoldArgs {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, Subcommand)]
enum HoldCommand {
    Place(PlaceArgs),
    Release(ReleaseArgs),
    List(ListArgs),
}

/// Forbid that people are erased and payloads dropped
#[derive(Args, Debug)]
#[command(after_help = PLACE_EXAMPLES)]
struct PlaceArgs {
    /// By what right, as one word
    #[arg(long, value_name = "WORD")]
    authority: String,

    /// Whom it covers, as events name them; repeat it for several [default: everybody]
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,

    /// Retention class that it covers; repeat it for several [default: all]
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// End a legal hold
#[derive(Args, Debug)]
struct ReleaseArgs {
    /// Its number, as `hold place` and `hold list` print it
    #[arg(value_name = "HOLD")]
    hold: String,

    /// By what right, as one word
    #[arg(long, value_name = "WORD")]
    authority: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// List the legal holds that stand
#[derive(Args, Debug)]
struct ListArgs {
    /// Print one JSON object a hold
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(crate) async fn run(args: HoldArgs) -> Outcome {
    match args.command {
        HoldCommand::Place(args) => place(args).await,
        HoldCommand::Release(args) => release(args).await,
        HoldCommand::List(args) => list(args).await,
    }
}

async fn place(args: PlaceArgs) -> Outcome {
    let log = args.log.events().await?;
    let (hold, index) = log.place_hold(&args.subjects, &args.classes, &args.authority).await?;
    if args.json {
        return output::line(json!({ "hold": hold, "index": index.get() }));
    }
    output::note(format_args!("the hold stands: entry {index} says so"));
    output::line(shown(&hold))
}

async fn release(args: ReleaseArgs) -> Outcome {
    let log = args.log.events().await?;
    let index = log.release_hold(&args.hold, &args.authority).await?;
    output::either(
        args.json,
        || json!({ "hold": args.hold, "index": index.get() }),
        || format!("the hold is released: entry {index} says so"),
    )
}

async fn list(args: ListArgs) -> Outcome {
    let holds = args.log.events().await?.retention().await?.holds;
    let of = |hold: &ReportedHold| output::either(args.json, || as_json(hold), || describe(hold));
    holds.iter().try_for_each(of)
}

fn describe(hold: &ReportedHold) -> String {
    let whom = match hold.subjects {
        0 => "everybody".to_owned(),
        1 => "1 person".to_owned(),
        people => format!("{people} people"),
    };
    let classes = if hold.classes.is_empty() { "all classes".to_owned() } else { hold.classes.join(", ") };
    format!(
        "{}  covers {whom} in {}, by {}, since entry {}",
        shown(&hold.hold),
        shown(&classes),
        shown(&hold.authority),
        hold.index
    )
}

fn as_json(hold: &ReportedHold) -> Value {
    json!({
        "hold": hold.hold,
        "subjects": hold.subjects,
        "classes": hold.classes,
        "authority": hold.authority,
        "index": hold.index,
    })
}
