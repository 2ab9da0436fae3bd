//! `graven alerts`: what rules found.

use clap::{Args, ValueEnum};
use graven_client::{
    LogClient,
    alerts::{Alert, AlertOptions, Severity},
    events::{EventLog, Query},
};
use graven_merkle::LeafIndex;
use serde_json::{Map, Value, json};

use crate::{
    exit::Outcome,
    output,
    output::shown,
    remote::TrustedLog,
    scopes::times::{brief, precise},
};

/// How many alerts stand before what is followed.
const NEWEST: u32 = 10;

const EXAMPLES: &str = "\
An alert is an entry of the log: it names the rule by its hash and the entries that fired it. Without --from the newest 10 are printed, oldest \
first; with -f, each new one as it is published, for ever. A server that goes away for a moment is asked again, and nothing is missed.

With --prove each alert is printed only after its entry was proven to be in the log, by a signed head.

To be told by a webhook instead, see `[alerts]` in the server's settings.

Examples:
  graven alerts
  graven alerts -f --min-severity high
  graven alerts --from 0 --json | jq -r .rule | sort | uniq -c";

/// Print the newest alerts, and follow
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AlertsArgs {
    /// Go on with each new alert, for ever
    #[arg(long, short)]
    follow: bool,

    /// Begin with this entry; the first one is 0 [default: the newest 10 alerts]
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,

    /// Only alerts at least as bad as this
    #[arg(long, value_name = "SEVERITY")]
    min_severity: Option<SeverityArg>,

    /// Print only alerts that are proven to be in the log
    #[arg(long)]
    prove: bool,

    /// Print one JSON object an alert
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeverityArg {
    Low,
    Medium,
    High,
    Critical,
}

impl From<SeverityArg> for Severity {
    fn from(severity: SeverityArg) -> Self {
        match severity {
            SeverityArg::Low => Self::Low,
            SeverityArg::Medium => Self::Medium,
            SeverityArg::High => Self::High,
            SeverityArg::Critical => Self::Critical,
        }
    }
}

pub(crate) async fn run(args: AlertsArgs) -> Outcome {
    let proving = if args.prove { Some(args.log.open().await?) } else { None };
    let log = match &proving {
        Some(log) => log.alerts(),
        None => args.log.at.alerts().await?,
    };
    let known = Known::of(&args.log.at.events().await?).await?;
    let from = args.from.unwrap_or(known.first);
    if !args.json {
        output::line(header())?;
    }
    let Some(last) = known.last.filter(|last| *last >= from).or(args.follow.then_some(0)) else {
        return Ok(());
    };
    let min_severity = args.min_severity.map(Severity::from);
    // Whoever waits for the last one that there is must not have it left out.
    let at_server = min_severity.filter(|_| args.follow);
    let mut watch = log.watch(AlertOptions { from: Some(from), min_severity: at_server });
    while let Some(alert) = watch.next().await? {
        let index = alert.index().map_or(0, LeafIndex::get);
        if !args.follow && index > last {
            break;
        }
        if min_severity.is_none_or(|least| alert.severity() >= least) {
            args.print(&alert, proving.as_ref()).await?;
        }
        if !args.follow && index == last {
            break;
        }
    }
    Ok(())
}

/// The alerts that there are.
struct Known {
    /// Where the newest begin.
    first: u64,
    /// The newest one.
    last: Option<u64>,
}

impl Known {
    async fn of(log: &EventLog) -> Outcome<Self> {
        let mut hits = log.query(Query::new("kind:alert").page_size(NEWEST).without_raw());
        let (mut first, mut last) = (None, None);
        for _ in 0..NEWEST {
            let Some(hit) = hits.next().await? else { break };
            first = Some(hit.index().get());
            last = last.or(first);
        }
        // Without any, what comes next is the first.
        Ok(Self { first: first.or(hits.complete_to()).unwrap_or_default(), last })
    }
}

impl AlertsArgs {
    async fn print(&self, alert: &Alert, proving: Option<&LogClient>) -> Outcome {
        let proven_in = match proving {
            Some(log) => Some(log.prove_alert(alert).await?.head().size().get()),
            None => None,
        };
        if self.json {
            let mut object = object(alert);
            if let Some(size) = proven_in {
                object.insert("proven_in_size".to_owned(), json!(size));
            }
            return output::object(object);
        }
        output::line(row(alert))
    }
}

/// What stands above the rows.
pub(crate) fn header() -> String {
    columns(["ENTRY", "TIME", "SEVERITY", "RULE", "FIRED BY", "ABOUT"].map(str::to_owned))
}

/// An alert in a line.
pub(crate) fn row(alert: &Alert) -> String {
    columns([
        alert.index().map_or_else(|| "-".to_owned(), |index| index.to_string()),
        brief(alert.log_time()),
        alert.severity().as_str().to_owned(),
        alert.rule().to_owned(),
        fired_by(alert),
        alert.about().join(", "),
    ])
}

fn fired_by(alert: &Alert) -> String {
    let leaves = alert.leaves();
    match leaves {
        [] => "-".to_owned(),
        [only] => only.to_string(),
        [first, .., last] => format!("{} from {first} to {last}", alert.count().max(leaves.len() as u64)),
    }
}

fn columns(cells: [String; 6]) -> String {
    let [index, time, severity, rule, fired, about] = cells.map(|cell| shown(&cell).into_owned());
    format!("{index:>9}  {time:<20}  {severity:<8}  {rule:<24}  {fired:<24}  {about}").trim_end().to_owned()
}

/// An alert for programs.
pub(crate) fn object(alert: &Alert) -> Map<String, Value> {
    let hash: String = alert.rule_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    Map::from_iter([
        ("index".to_owned(), json!(alert.index().map(|index| index.get()))),
        ("log_time".to_owned(), json!(precise(alert.log_time()))),
        ("rule".to_owned(), json!(alert.rule())),
        ("rule_hash".to_owned(), json!(hash)),
        ("severity".to_owned(), json!(alert.severity().as_str())),
        ("leaves".to_owned(), json!(alert.leaves())),
        ("count".to_owned(), json!(alert.count())),
        ("about".to_owned(), json!(alert.about())),
        ("state_size".to_owned(), json!(alert.state_size())),
    ])
}
