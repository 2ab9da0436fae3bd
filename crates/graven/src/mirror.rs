//! `graven mirror`: verified full copies of logs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use graven_client::{WebOptions, WebSite};
use graven_mirror::{AddLog, Mirror, MirrorError, MirroredLog, UpdateError, Updated};
use graven_net::{Limits, Port};
use graven_note::{Origin, VerifierKey};
use graven_store::{Fs, RealFs};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task,
};

use crate::{
    exit::{Exit, Failure, Outcome},
    output,
    telemetry::{self, LogFormat},
};

/// How long readers may take to finish once it is to stop.
const DRAIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
A mirror keeps a full copy of each log, verifies every entry before it keeps it, serves the copy as tlog-tiles, and \
cosigns: its cosignature says that all entries under the checkpoint are here. `graven recover` restores a log from it.

Examples:
  graven mirror init --data-dir mirror --name mirror.example.com/m1 > mirror.vkeys
  graven mirror add-log --data-dir mirror --origin example.com/audit --key VKEY --url https://log.example.com/audit
  graven mirror serve --data-dir mirror --listen 127.0.0.1:4750";

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

/// Add a log to a mirror that is not running, and print its place below the mirror's address
#[derive(Args, Debug)]
struct AddLogArgs {
    /// The mirror's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// The log's origin
    #[arg(long, value_name = "ORIGIN")]
    origin: String,

    /// A verifier key of the log, from its operator; repeat it for several
    #[arg(long = "key", value_name = "VKEY", required = true)]
    keys: Vec<String>,

    /// Address of the log: `checkpoint` and `tile` lie below it
    #[arg(long, value_name = "PREFIX")]
    url: String,

    /// A witness of the log, whose cosignatures are kept; repeat it for several
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
}

/// Copy the logs as they grow, and serve the copies
#[derive(Args, Debug)]
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
    let vkeys = |texts: &[String], option: &str| {
        let keys = texts.iter().map(|text| VerifierKey::parse(text));
        keys.collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::trouble(format_args!("{option}: {error}")))
    };
    let origin = Origin::new(args.origin).map_err(Failure::trouble)?;
    let (keys, witnesses) = (vkeys(&args.keys, "--key")?, vkeys(&args.witnesses, "--witness")?);
    // An address that cannot be used is refused now and not in the night.
    WebSite::new(&args.url, WebOptions::default())?;
    let log = AddLog { origin, url: args.url, keys, witnesses };
    output::line(graven_mirror::add_log(&RealFs, &args.data_dir, log)?)
}

async fn serve(args: ServeArgs) -> Outcome {
    telemetry::start(args.log_format, &args.log_level, None)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::trouble)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::trouble)?;
    let opening = task::spawn_blocking(move || {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        Mirror::open(&fs, &args.data_dir)
    });
    let mirror = Arc::new(opening.await.map_err(Failure::trouble)??);
    let mut copying = task::JoinSet::new();
    for log in mirror.logs() {
        let site = WebSite::new(log.url(), WebOptions::default())?;
        copying.spawn(follow(log.clone(), site, Duration::from_millis(args.poll_ms)));
    }
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .map_err(|error| Failure::trouble(format_args!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(Failure::trouble)?;
    output::line(format_args!("listening on http://{address}"))?;
    let limits = Arc::new(Limits::default());
    let port = Port { listener, tls: None, router: graven_mirror::router(mirror), limits };
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    tokio::select! {
        () = port.serve(stop, DRAIN) => Ok(()),
        // Nothing more can be written, so that nothing more may be cosigned.
        Some(failed) = copying.join_next() => Err(Failure::new(
            Exit::Poisoned,
            format_args!("{}; what was cosigned is on disk", failed.map_err(Failure::trouble)?),
        )),
    }
}

/// Copies a log for as long as its storage works.
async fn follow(log: Arc<MirroredLog>, site: WebSite, interval: Duration) -> UpdateError {
    loop {
        let (copy, source) = (log.clone(), site.clone());
        let updated = task::spawn_blocking(move || copy.update(&source, now_seconds())).await;
        match updated {
            Ok(Ok(Updated::To(size))) => tracing::info!(log = %log.origin(), %size, "mirrored and cosigned"),
            Ok(Ok(Updated::Not)) => {}
            Ok(Err(error)) if error.is_fatal() => return error,
            Ok(Err(error)) => tracing::error!(log = %log.origin(), %error, "not mirrored"),
            Err(error) => return UpdateError::Storage(std::io::Error::other(error)),
        }
        tokio::time::sleep(interval).await;
    }
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
