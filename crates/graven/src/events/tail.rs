//! `graven tail`: events as they come.

use clap::Args;
use graven_client::events::{EventLog, Hit, Query, TailOptions};

use super::{query::LANGUAGE, show};
use crate::{exit::Outcome, output, remote::LogAtServer};

/// How many entries stand before what is followed.
const NEWEST: u32 = 10;

const EXAMPLES: &str = "\
Without --from the newest 10 entries that the query finds are printed, oldest first; with -f, each new one as it is \
published, for ever. A server that goes away for a moment is asked again, and nothing is missed.

Examples:
  graven tail -f 'outcome:denied'
  graven tail --from 0 --json > everything.jsonl";

/// Print the newest events, and follow
#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{LANGUAGE}"))]
pub(crate) struct TailArgs {
    /// Print only what this finds; its times are judged as each event comes
    #[arg(value_name = "QUERY", default_value = "", hide_default_value = true)]
    query: String,

    /// Go on with each new event, for ever
    #[arg(long, short)]
    follow: bool,

    /// Begin with this entry; the first one is 0 [default: the newest 10 that are found]
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,

    /// Leave out the records that events were made from
    #[arg(long)]
    no_raw: bool,

    /// Print one JSON object an event
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(crate) async fn run(args: TailArgs) -> Outcome {
    let log = args.log.events().await?;
    let from = match args.from {
        Some(from) => from,
        None => newest(&args, &log).await?,
    };
    if args.from.is_none() && !args.follow {
        return Ok(());
    }
    let options = TailOptions {
        from: Some(from),
        query: args.query.clone(),
        until_now: !args.follow,
        without_raw: args.without_raw(),
    };
    let mut tail = log.tail(options);
    while let Some(hit) = tail.next().await? {
        args.print(&hit)?;
    }
    Ok(())
}

/// Prints the newest entries, and answers where what comes after them begins.
async fn newest(args: &TailArgs, log: &EventLog) -> Outcome<u64> {
    let query = Query::new(args.query.as_str()).page_size(NEWEST);
    let mut hits = log.query(if args.without_raw() { query.without_raw() } else { query });
    let mut found = Vec::new();
    let mut end = None;
    while found.len() < 10 {
        let Some(hit) = hits.next().await? else { break };
        end = end.or(hits.complete_to());
        found.push(hit);
    }
    found.iter().rev().try_for_each(|hit| args.print(hit))?;
    // What comes next is the first that the first page knew nothing of.
    Ok(end.or(hits.complete_to()).unwrap_or_default())
}

impl TailArgs {
    fn without_raw(&self) -> bool {
        self.no_raw || !self.json
    }

    fn print(&self, hit: &Hit) -> Outcome {
        if self.json { output::object(show::object(hit)) } else { output::line(show::row(hit)) }
    }
}
