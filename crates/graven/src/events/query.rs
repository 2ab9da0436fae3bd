//! `graven query`: events, found.

use clap::Args;
use graven_client::events::{Hit, Query};
use graven_merkle::TreeSize;
use serde_json::json;

use super::show;
use crate::{exit::Outcome, indices, output, remote::TrustedLog};

/// What a query says, for the manuals of all commands that take one.
pub(super) const LANGUAGE: &str = "\
A query is a list of clauses, all of which must hold:

  actor:alice                who did it or for whom: an id, kind:id or a name; also client: and target:
  action:auth.login          what was done; action:oauth.* for whatever begins so
  outcome:denied,failure     one of these; also product:, kind:, class: and producer:
  scope:payroll.read         an OAuth scope that was asked for, given or used
  token: request: session: ip:     by jti, request id, session and address
  label:KEY=VALUE            a label
  since:24h until:2026-03-01T00:00:00Z      log time; happened-since: and happened-until: by the producer's clock
  \"quarterly report\"         words of actions, products, services, scopes, labels, kinds of targets and policies
  action:auth.login -outcome:success     a minus before a clause: it must not hold";

const EXAMPLES: &str = "\
All hits are printed, newest first, over as many pages as it takes. What the caller may not read is (hidden), what \
nobody can read any more (erased); what was not kept for longer (dropped), and what is gone and no entry says why \
(missing). For how many leaves the answer is complete is said on standard error.

With --prove each hit is printed only after its leaf was proven to be in the log, by a signed head, and found to hold \
what the query asks for in clear: actions, outcomes, scopes, kinds and times. Who, to whom and from where is \
sealed, and the server's word: `graven reveal` proves it. No proof shows that nothing was left out.

Examples:
  graven query 'actor:alice outcome:denied since:24h'
  graven query --json 'action:ConsoleLogin -outcome:success' | jq -r .context.ip | sort | uniq -c
  graven query --prove --policy audit.policy 'scope:payroll.admin since:7d'";

/// Find events
#[derive(Args, Debug)]
#[command(after_help = format!("{LANGUAGE}\n\n{EXAMPLES}"))]
pub(crate) struct QueryArgs {
    /// What to find; nothing finds everything
    #[arg(value_name = "QUERY", default_value = "", hide_default_value = true)]
    query: String,

    /// Print at most this many hits [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Oldest first
    #[arg(long)]
    ascending: bool,

    /// Demand an answer that is complete for at least this many leaves
    #[arg(long, value_name = "LEAVES", value_parser = indices::size)]
    min_size: Option<TreeSize>,

    /// Print only hits that are proven to be in the log
    #[arg(long)]
    prove: bool,

    /// Leave out the records that events were made from
    #[arg(long)]
    no_raw: bool,

    /// Print one JSON object a hit
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: QueryArgs) -> Outcome {
    if args.prove { proven(&args).await } else { told(&args).await }
}

/// Hits as the server tells them.
async fn told(args: &QueryArgs) -> Outcome {
    let log = args.log.at.events().await?;
    let mut hits = log.query(args.query());
    let mut printed = 0;
    while args.limit.is_none_or(|limit| printed < limit) {
        let Some(hit) = hits.next().await? else { break };
        args.print(&hit, printed, None)?;
        printed += 1;
    }
    complete(printed, hits.complete_to(), "");
    Ok(())
}

/// Hits that were verified.
async fn proven(args: &QueryArgs) -> Outcome {
    let mut hits = args.log.open().await?.query(args.query());
    let (mut printed, mut size) = (0, None);
    while args.limit.is_none_or(|limit| printed < limit) {
        let Some(hit) = hits.next().await? else { break };
        size = size.max(Some(hit.head().size().get()));
        args.print(hit.hit(), printed, Some(hit.head().size().get()))?;
        printed += 1;
    }
    let under = size.map(|size| format!(", proven under the signed head of {}", output::entries(size)));
    complete(printed, hits.complete_to(), &under.unwrap_or_default());
    Ok(())
}

fn complete(printed: u64, complete_to: Option<u64>, proven: &str) {
    let hits = if printed == 1 { "1 hit".to_owned() } else { format!("{printed} hits") };
    let complete =
        complete_to.map(|leaves| format!("; the answer is complete for the first {leaves} leaves"));
    output::note(format_args!("{hits}{proven}{}", complete.unwrap_or_default()));
}

impl QueryArgs {
    fn query(&self) -> Query {
        let query = Query::new(self.query.as_str()).min_size(self.min_size.map_or(0, TreeSize::get));
        let query = if self.ascending { query.ascending() } else { query };
        // As few pages as the server allows, unless fewer hits are wanted.
        let page = self.limit.unwrap_or(MAX_PAGE_HITS).clamp(1, MAX_PAGE_HITS);
        let query = query.page_size(u32::try_from(page).unwrap_or_default());
        if self.no_raw || !self.json { query.without_raw() } else { query }
    }

    fn print(&self, hit: &Hit, printed: u64, proven_in: Option<u64>) -> Outcome {
        if self.json {
            let mut object = show::object(hit);
            if let Some(size) = proven_in {
                object.insert("proven_in_size".to_owned(), json!(size));
            }
            return output::object(object);
        }
        if printed == 0 {
            output::line(show::header())?;
        }
        output::line(show::row(hit))
    }
}

/// The most hits that a server puts on a page.
const MAX_PAGE_HITS: u64 = 1_000;
