//! `graven monitor`: logs followed over years, and an alarm that says what is wrong.

mod alert;
pub(crate) mod ops;
mod settings;
mod watch;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::sleep,
};

use crate::{
    credentials::CredentialArgs,
    exit::{Failure, Outcome},
    output,
    telemetry::{self, LogFormat, Metrics},
    trust::TrustArgs,
};
use alert::Alerts;
use settings::Plan;
use watch::Watched;

const EXAMPLES: &str = "\
Reads and hashes every new entry, holds every head to the one before, and keeps its position in --state, so that it goes \
on after a restart where it was. --log-url takes any log that is laid out as C2SP tlog-tiles; several sources of one log \
are compared with one another. --token-file and --client-cert are shown to --server alone, and without one to the first \
--log-url. It runs on, and says on stderr, in its metrics and to the webhook what state a log is in:

  starting    no look was good yet (2)
  ok          all entries lead to a fresh head that is signed as demanded
  trouble     unreachable, or not answering as a log would, for longer than --trouble-after (exit code 2)
  stalled     no head that is as fresh as --fresh-within, or none with its quorum (3)
  tampered    what is served is not what was signed (1)
  rollback    a source shows a smaller log than it did before, and nothing shows that it is still the same one (4)
  split-view  the log signed two trees that cannot both be; the evidence is in --evidence (5). This state is for \
good, across restarts too, for as long as the evidence lies there

Trouble does not end a worse state: only a look that is good does. A source that is behind the others, and never was \
further, is trouble where it cannot be checked, and no rollback.

With --once it looks once and ends with the exit code of the worst state. Otherwise SIGTERM or SIGINT ends it, with the \
exit code of the worst state at that time.

Examples:
  graven monitor --policy audit.policy --log-url https://log.example.com/audit --state monitor
  graven monitor --key VKEY --server https://log.example.com:4740 --log audit --state monitor --once
  graven monitor --config monitor.toml --webhook https://hooks.example.com/audit";

/// Follow logs, verify every new entry, and raise the right alarm
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MonitorArgs {
    /// Settings (TOML): one or many logs, with their keys and tokens; of what may be given here as well, that counts more.
    /// Unknown keys are refused
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keys", "policy", "token_file", "client_cert"])]
    config: Option<PathBuf>,

    /// Address of a log's tiles on the web: `checkpoint` and `tile` lie below it; repeat it for several places that show
    /// the same log
    #[arg(long = "log-url", value_name = "PREFIX", conflicts_with = "config")]
    log_urls: Vec<String>,

    /// Address of a server that shows the log over gRPC: https://HOST:PORT, or http:// on this machine
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    server: Option<String>,

    /// Name of the log at --server, the last part of its origin
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    log: Option<String>,

    /// Folder that keeps how far each log was verified [default: monitor]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Folder for evidence [default: that of --state]
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,

    /// How long to wait between two looks at a log [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    interval: Option<Duration>,

    /// How long trouble may last before it is an alarm [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    trouble_after: Option<Duration>,

    /// Address to tell each change of a log's state, as JSON by POST: https://, or http:// on this machine
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,

    /// Address and port for metrics and the probe /healthz, or `off` [default: off with --once, else 127.0.0.1:4742]
    #[arg(long, value_name = "ADDRESS:PORT")]
    ops_listen: Option<String>,

    /// Look once at every log, and end
    #[arg(long)]
    once: bool,

    /// How to write log lines to stderr
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    credentials: CredentialArgs,
}

pub(crate) async fn run(args: MonitorArgs) -> Outcome {
    // From here on a signal ends it well. One look needs no such care: what it has not kept is read again.
    let signals = (!args.once).then(Signals::listen).transpose()?;
    let plan = Plan::new(&args)?;
    telemetry::start(args.log_format, &args.log_level, None)?;
    let metrics = Metrics::start()?;
    let alerts = Alerts::start(plan.webhook);
    let mut logs: Vec<_> = plan.logs.into_iter().map(|log| Watched::new(log, alerts.queue())).collect();
    if let Some(signals) = signals {
        let ops = ops::serve(plan.ops, metrics.render()).await?;
        logs = follow(logs, plan.interval, plan.trouble_after, signals).await;
        drop(ops);
    } else {
        for log in &mut logs {
            log.look(Duration::ZERO).await;
        }
    }
    alerts.finish().await;
    for log in &logs {
        output::line(log)?;
    }
    logs.into_iter()
        .filter_map(Watched::failure)
        .max_by_key(|(severity, _)| *severity)
        .map_or(Ok(()), |worst| Err(worst.1))
}

/// Looks at every log, again and again, until a signal ends it.
async fn follow(
    logs: Vec<Watched>,
    interval: Duration,
    trouble_after: Duration,
    mut signals: Signals,
) -> Vec<Watched> {
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let mut following = JoinSet::new();
    for mut log in logs {
        let mut stopping = stopping.clone();
        following.spawn(async move {
            loop {
                // A look that is under way is cut off: what it verified so far was not kept, and will be read again.
                let turn = async {
                    log.look(trouble_after).await;
                    sleep(interval).await;
                };
                tokio::select! {
                    () = turn => {}
                    _ = stopping.wait_for(|stop| *stop) => return log,
                }
            }
        });
    }
    tokio::select! {
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    stop.send_replace(true);
    following.join_all().await
}

/// The signals that end a monitor.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(Failure::trouble);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }
}
