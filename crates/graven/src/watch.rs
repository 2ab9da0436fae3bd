//! `graven watch`: each new head of a log, verified against the one before.

use std::time::Duration;

use clap::Args;
use graven_client::{HeadError, LogClient, VerifiedHead, Watch};
use tokio::time::{sleep, timeout};

use crate::{
    exit::{Exit, Failure, Outcome},
    head, output,
    remote::TrustedLog,
};

/// How long to wait before a server that went away is asked again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Each head must be signed and must extend the one before it, also across restarts if --state is given. A server \
that goes away is asked again until it is back. Renewals of the same head (heartbeats) are printed as well.

Examples:
  graven watch --policy audit.policy --state heads
  graven watch --policy audit.policy --max-gap 3m --json    # exit 3 if no head comes for three minutes";

/// Print each new head of a log as it is signed
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// Fail with exit code 3 where no head comes for this long (30s, 5m, 1h) [default: wait for ever]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_gap: Option<Duration>,

    /// End after this many heads [default: never]
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Print one JSON object a head
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: WatchArgs) -> Outcome {
    let log = args.log.open().await?;
    let mut watch = None;
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let head = within(args.max_gap, next(&log, &mut watch)).await?;
        output::either(args.json, || output::head_json(&head), || head::describe(&head))?;
        seen += 1;
    }
    Ok(())
}

async fn within<T>(max_gap: Option<Duration>, next: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let Some(max_gap) = max_gap else { return next.await };
    let stalled = |_| {
        let gap = humantime::format_duration(max_gap);
        Failure::new(Exit::Stalled, format_args!("stalled: no new head came for {gap}"))
    };
    timeout(max_gap, next).await.map_err(stalled)?
}

/// The next head, from a server that may have to be asked again.
async fn next(log: &LogClient, watch: &mut Option<Watch>) -> Outcome<VerifiedHead> {
    loop {
        match attempt(log, watch).await {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => output::note("the server ended the stream of heads; asking again"),
            Err(HeadError::Call(error)) if error.outcome_unknown() => {
                output::note(format_args!("{error}; asking again"));
            }
            Err(error) => return Err(error.into()),
        }
        *watch = None;
        sleep(RETRY_DELAY).await;
    }
}

/// The next head of the stream that is open, or of a new one; `None` where it ended.
async fn attempt(log: &LogClient, watch: &mut Option<Watch>) -> Result<Option<VerifiedHead>, HeadError> {
    let open = match watch {
        Some(open) => open,
        None => watch.insert(log.watch().await?),
    };
    open.next().await.transpose()
}
