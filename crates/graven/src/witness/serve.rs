//! `graven witness serve`: the witness at work.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use graven_net::{Limits, Port};
use graven_store::RealFs;
use graven_witness::{Poll, Witness, follow_logs, router};
use tokio::{
    signal::unix::{SignalKind, signal},
    task,
};

use super::poll;
use crate::{
    exit::{Exit, Failure, Outcome},
    output,
    serve::{Material, Signals, bind},
    telemetry::{self, LogFormat, Metrics},
};

/// How long requests may go on once the witness is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// No log is looked at more often than that.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Requests that one connection may have under way: a log has one at a time, and whoever passes on for many opens more.
const MAX_STREAMS: u32 = 16;
/// A connection that asks for nothing for this long is ended: logs come once in some seconds, or connect anew.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Prints `listening on http://HOST:PORT` (https with TLS) once it answers: POST /add-checkpoint and /sign-subtree for logs, \
GET /HEX/checkpoint for monitors, where HEX is the SHA-256 of a log's origin. Logs that are polled (`add-log --poll`) are followed \
all the while. Plaintext is for the loopback interface; \
elsewhere give a certificate, or put the witness behind something that has one.

Refuses to start, with exit code 4, where its state is missing. Ends with 74 as soon as a write or sync fails: what it \
cosigned is remembered.

Examples:
  graven witness serve --data-dir w1 --listen 127.0.0.1:4750
  graven witness serve --data-dir w1 --listen 0.0.0.0:443 --tls-cert w1.pem --tls-key w1.key";

/// Cosign checkpoints for the logs that a witness knows
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Data directory, made by `graven witness init`
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4750")]
    listen: SocketAddr,

    /// Address and port for metrics [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    ops_listen: Option<SocketAddr>,

    /// How long to wait between two looks at the tiles of a log that is polled; over gRPC heads come by themselves
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = poll_interval)]
    poll_interval: Duration,

    /// Certificate to serve TLS 1.3 with (PEM, followed by its chain); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PKCS#8 PEM, mode 0600)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// How to write log lines to stderr
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

pub(super) async fn run(args: ServeArgs) -> Outcome {
    telemetry::start(args.log_format, &args.log_level, None)?;
    let metrics = Metrics::start()?;
    let (signals, hangup) = (Signals::listen()?, signal(SignalKind::hangup()).map_err(Failure::trouble)?);
    let material = Material::of_port(args.listen, args.tls_cert, args.tls_key)?;
    let (witness, writer) = Witness::open(Arc::new(RealFs), &args.data_dir, now)?;
    let (listener, address) = bind(args.listen).await?;
    let limits = Limits { max_streams: MAX_STREAMS, idle_timeout: IDLE_TIMEOUT, ..Limits::default() };
    let limits = Arc::new(limits);
    let tls = material.tls();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let port = Port { listener, tls, router: router(witness.clone()), limits: limits.clone() };
    if let Some(address) = args.ops_listen {
        let render = metrics.render();
        let page = axum::Router::new().route(
            "/metrics",
            axum::routing::get(async move || graven_net::text(http::StatusCode::OK, render())),
        );
        let port = Port { listener: bind(address).await?.0, tls: None, router: page, limits };
        task::spawn(port.serve(std::future::pending(), DRAIN));
    }
    task::spawn(material.follow(hangup));
    output::line(format_args!("listening on {scheme}://{address}"))?;
    let reach = Arc::new(|poll: &Poll| poll::source(poll).map_err(|failure| failure.to_string()));
    let polling = task::spawn(follow_logs(witness.clone(), reach, args.poll_interval));

    let mut ended = task::spawn_blocking(move || finished(writer));
    tokio::select! {
        () = port.serve(signals.first_then_guard(), DRAIN) => {
            polling.abort();
            witness.close();
            ended.await.map_err(Failure::trouble)?
        }
        ended = &mut ended => ended.map_err(Failure::trouble)?,
    }
}

/// A time to wait, long enough to be no attack on anybody.
fn poll_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < MIN_POLL_INTERVAL {
        return Err(format!("at least {}", humantime::format_duration(MIN_POLL_INTERVAL)));
    }
    Ok(interval)
}

/// Waits for the writer's end.
fn finished(writer: JoinHandle<io::Result<()>>) -> Outcome {
    let ended = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
    ended.map_err(|error| {
        Failure::new(
            Exit::Poisoned,
            format_args!(
                "storage failed: {error}; look after the disk, then start again: what was cosigned is remembered"
            ),
        )
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
