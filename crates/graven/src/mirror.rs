//! `graven mirror`: verified full copies of logs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use graven_client::{WebOptions, WebSite};
use graven_mirror::{AddLog, Mirror, MirrorError, MirroredLog, Updated};
use graven_net::{Limits, Port};
use graven_note::Origin;
use graven_store::{Fs, RealFs};
use metrics::{counter, gauge};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task,
};

use crate::{
    exit::{Exit, Failure, Outcome},
    monitor::ops,
    output,
    serve::{Material, Signals, bind},
    telemetry::{self, LogFormat, Metrics},
    trust::vkeys,
};

/// How long readers may take to finish once it is to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Resources that are fetched at once for all logs. Each takes up to twice 16 MiB, if its source is hostile.
const MAX_FETCHES: usize = 16;

/// Resources that are fetched at once for one log.
const MAX_FETCHES_OF_ONE: usize = 8;

/// The longest wait for a source that failed again and again, unless each poll waits longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest text of a failure that is logged: a source can have a say in it.
const MAX_SAID_CHARS: usize = 500;

/// How often what is said of the logs in metrics is looked up.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
A mirror keeps a full copy of each log, verifies every entry before it keeps it, serves the copy as tlog-tiles, and \
cosigns: its cosignature says that all entries under the checkpoint are here. `graven recover` restores a log from it.

Examples:
  graven mirror init --data-dir mirror --name mirror.example.com/m1 > mirror.vkeys
  graven mirror add-log --data-dir mirror --origin example.com/audit --keys audit.vkeys --url https://log.example.com/audit
  graven mirror serve --data-dir mirror --listen 127.0.0.1:4750";

const ADD_LOG_EXAMPLES: &str = "\
Of a checkpoint the lines of these keys and witnesses are kept, and no others. So give every key of the log: `graven recover` \
demands them all. For a log whose clients demand a quorum give its witnesses as well: `graven recover --policy` demands the \
same.

Where the log is mirrored already it gets the keys, witnesses and address that are given now: all keys that it has, and perhaps \
more.

Examples:
  graven mirror add-log --data-dir mirror --origin example.com/audit --keys audit.vkeys --url https://log.example.com/audit
  graven mirror add-log --data-dir mirror --origin example.com/audit --keys audit.vkeys --witness \"$(head -1 w1.vkeys)\" \
    --url https://log.example.com/audit";

const SERVE_EXAMPLES: &str = "\
Prints `listening on http://HOST:PORT` (https with TLS) once it answers: each copy as tlog-tiles below /HASH/, where HASH is \
what `graven mirror add-log` printed, and for whoever pushes POST /add-checkpoint, /add-entries and /sign-subtree. Each log \
is polled as well. Plaintext is for the loopback interface; elsewhere give a certificate.

A log that signed two trees that cannot both be is not followed any more: the evidence is in DATA/logs/HASH/evidence, for \
`graven evidence verify`, what was mirrored is served on, and the command ends with exit code 5 when it is stopped. Ends with \
74 as soon as a write or sync fails: what was cosigned is on disk.

Examples:
  graven mirror serve --data-dir mirror --listen 127.0.0.1:4750 --ops-listen 127.0.0.1:4752
  graven mirror serve --data-dir mirror --listen 0.0.0.0:443 --tls-cert m1.pem --tls-key m1.key";

/// Keep verified full copies of logs, and cosign them (C2SP tlog-mirror)
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MirrorArgs {
    #[command(subcommand)]
    command: MirrorCommand,
}

#[derive(Debug, Subcommand)]
enum MirrorCommand {
    Init(InitArgs),
    AddLog(AddLogArgs),
    Serve(ServeArgs),
}

/// Make a mirror with keys of its own, and print its vkeys
#[derive(Args, Debug)]
struct InitArgs {
    /// Folder to make; refused where it holds anything
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Name of the mirror's keys: one that no log and no witness has
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Add a log to a mirror that is not running, or keys to a log; print its place below the mirror's address
#[derive(Args, Debug)]
#[command(after_help = ADD_LOG_EXAMPLES)]
struct AddLogArgs {
    /// The mirror's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// The log's origin
    #[arg(long, value_name = "ORIGIN")]
    origin: String,

    /// A verifier key of the log, from its operator; repeat it for several
    #[arg(long = "key", value_name = "VKEY", required_unless_present = "key_files")]
    keys: Vec<String>,

    /// File with verifier keys of the log, one a line
    #[arg(long = "keys", value_name = "FILE")]
    key_files: Vec<PathBuf>,

    /// Address of the log: `checkpoint` and `tile` lie below it
    #[arg(long, value_name = "PREFIX")]
    url: String,

    /// A witness of the log, whose cosignatures are kept; repeat it for several
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
}

/// Copy the logs as they grow, and serve the copies
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
struct ServeArgs {
    /// The mirror's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Address to serve at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4750")]
    listen: SocketAddr,

    /// How often each log is looked at, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    poll_ms: u64,

    /// Address and port for metrics and the probe /healthz [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    ops_listen: Option<SocketAddr>,

    /// Certificate to serve TLS 1.3 with (PEM, followed by its chain); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PKCS#8 PEM, mode 0600)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// How to write log lines to stderr
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace, also by module
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

pub(crate) async fn run(args: MirrorArgs) -> Outcome {
    match args.command {
        MirrorCommand::Init(args) => {
            graven_mirror::init(&RealFs, &args.data_dir, &args.name)?.iter().try_for_each(output::line)
        }
        MirrorCommand::AddLog(args) => add_log(args),
        MirrorCommand::Serve(args) => serve(args).await,
    }
}

fn add_log(args: AddLogArgs) -> Outcome {
    let origin = Origin::new(args.origin).map_err(Failure::trouble)?;
    let (keys, witnesses) = (vkeys(&args.keys, &args.key_files)?, vkeys(&args.witnesses, &[])?);
    // An address that cannot be used is refused now and not in the night.
    WebSite::new(&args.url, WebOptions::default())?;
    let log = AddLog { origin, url: args.url, keys, witnesses };
    output::line(graven_mirror::add_log(&RealFs, &args.data_dir, log)?)
}

async fn serve(args: ServeArgs) -> Outcome {
    telemetry::start(args.log_format, &args.log_level, None)?;
    let metrics = Metrics::start()?;
    let (signals, hangup) = (Signals::listen()?, signal(SignalKind::hangup()).map_err(Failure::trouble)?);
    let material = Material::of_port(args.listen, args.tls_cert, args.tls_key)?;
    let opening = task::spawn_blocking(move || {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        Mirror::open(&fs, &args.data_dir)
    });
    let mirror = Arc::new(opening.await.map_err(Failure::trouble)??);
    let mut copying = task::JoinSet::new();
    let (share, fetches) = (share(mirror.logs().count()), Arc::new(Semaphore::new(MAX_FETCHES)));
    for log in mirror.logs() {
        let site = WebSite::new(log.url(), WebOptions { in_flight: share, ..WebOptions::default() })?;
        let interval = Duration::from_millis(args.poll_ms);
        copying.spawn(follow(log.clone(), site, interval, fetches.clone(), share));
    }
    let (listener, address) = bind(args.listen).await?;
    let tls = material.tls();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let router = graven_mirror::router(mirror.clone(), now_seconds);
    let port = Port { listener, tls, router, limits: Arc::new(Limits::default()) };
    let _ops = ops::serve(args.ops_listen, metrics.render()).await?;
    task::spawn(material.follow(hangup));
    task::spawn(measure(mirror.clone()));
    output::line(format_args!("listening on {scheme}://{address}"))?;
    tokio::select! {
        () = port.serve(signals.first_then_guard(), DRAIN) => {}
        why = mirror.ended() => {
            return Err(Failure::new(Exit::Poisoned, format_args!("{why}; what was cosigned is on disk")));
        }
    }
    let split: Vec<_> = mirror.logs().filter(|log| log.is_split()).map(|log| log.origin().as_str()).collect();
    match split.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(
            Exit::SplitView,
            format_args!("{} signed two trees that cannot both be: see the evidence", split.join(" and ")),
        )),
    }
}

/// How many resources are fetched at once for each of so many logs. Up to `MAX_FETCHES` of them wait for no other one's source;
/// more take turns.
fn share(logs: usize) -> usize {
    (MAX_FETCHES / logs.max(1)).clamp(1, MAX_FETCHES_OF_ONE)
}

/// Copies a log from its source, for as long as there is any use in it. Whoever keeps failing is asked less and less often, and
/// each way to fail is logged once.
async fn follow(
    log: Arc<MirroredLog>,
    site: WebSite,
    interval: Duration,
    fetches: Arc<Semaphore>,
    share: usize,
) {
    let (mut wait, mut said) = (interval, String::new());
    while !log.is_split() {
        let (copy, source) = (log.clone(), site.clone());
        // Nobody closes it. What was fetched is in memory until the update is over.
        let turn = fetches.acquire_many(u32::try_from(share).unwrap_or(1)).await;
        let updated = task::spawn_blocking(move || copy.update(&source, now_seconds())).await;
        drop(turn);
        let (result, failed) = match updated {
            Ok(Ok(Updated::To(size))) => {
                tracing::info!(log = %log.origin(), %size, "mirrored and cosigned");
                said.clear();
                ("mirrored", None)
            }
            Ok(Ok(Updated::Not)) => ("unchanged", None),
            Ok(Err(error)) if error.is_fatal() => return,
            Ok(Err(error)) => ("failed", Some(one_line(&error))),
            Err(error) => ("failed", Some(one_line(&error))),
        };
        wait = if failed.is_some() { (wait * 2).min(LONGEST_WAIT.max(interval)) } else { interval };
        if let Some(error) = failed.filter(|error| *error != said) {
            tracing::error!(log = %log.origin(), error, "not mirrored");
            said = error;
        }
        counter!("graven_mirror_polls_total", "log" => log.origin().to_string(), "result" => result)
            .increment(1);
        tokio::time::sleep(wait).await;
    }
}

fn one_line(error: &dyn std::error::Error) -> String {
    let printed = error.to_string();
    printed.chars().take(MAX_SAID_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Says in metrics how far the copies are, again and again.
async fn measure(mirror: Arc<Mirror>) {
    loop {
        let measured = mirror.clone();
        // A copy that waits for its disk keeps its state to itself.
        let looked = task::spawn_blocking(move || measured.logs().for_each(|log| measure_log(log))).await;
        if let Err(error) = looked {
            tracing::error!(%error, "metrics of the copies are not kept up");
        }
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53
fn measure_log(log: &MirroredLog) {
    let (status, labels) = (log.status(), [("log", log.origin().to_string())]);
    gauge!("graven_mirror_size", &labels).set(status.size.get() as f64);
    gauge!("graven_mirror_pending_size", &labels).set(status.pending_size.get() as f64);
    gauge!("graven_mirror_cosigned_timestamp_seconds", &labels).set(status.time_seconds as f64);
    gauge!("graven_mirror_split_view", &labels).set(f64::from(u8::from(status.is_split)));
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        match error {
            MirrorError::Damaged { .. } => Self::check_failed(error),
            _ => Self::trouble(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sources_can_fill_memory_with_does_not_grow_with_the_logs() {
        for logs in 1..=1024 {
            let share = share(logs);
            assert!((1..=MAX_FETCHES_OF_ONE).contains(&share), "{logs}");
            assert!(share * logs.min(MAX_FETCHES) <= MAX_FETCHES, "{logs}");
        }
    }
}
