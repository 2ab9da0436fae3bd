//! `graven serve`: the server, until it is told to stop.

pub(crate) mod alerting;
mod material;
mod prepare;

use std::{net::SocketAddr, path::PathBuf, process, sync::Arc};

use clap::Args;
use graven_audit::{Audit, Hooks};
use graven_log::{Config, Engine, Env, Paths, Status};
use graven_server::{Ops, Server};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task,
};

use crate::{
    exit::{Exit, Failure, Outcome},
    lookup, output,
    telemetry::{self, LogFormat, Metrics, Traces},
    vault,
};

pub(crate) use material::Material;
pub(crate) use prepare::{OpsPort, Prepared};

const EXAMPLES: &str = "\
Prints `listening on http://HOST:PORT` (https with TLS) once it takes calls: gRPC, gRPC-Web, and every log as C2SP \
tlog-tiles under /LOG/. Metrics and probes are on a port of their own. SIGHUP: certificates and credentials are read \
again, which also happens by itself when their files change. SIGTERM or SIGINT: calls are finished, everything is \
published and sealed, exit code 0; a second signal quits at once, which loses nothing that was acknowledged.

Refuses to start, with exit code 4, where the data directory is older than what was signed from it, and ends with 4 \
where a log's witnesses have seen more of it; with 1 where it was damaged or changed. Ends with 74 as soon as a write or sync fails.

Examples:
  graven serve --data-dir data --dev
  graven config check --config graven.toml && graven serve --config graven.toml --log-format json";

/// Serve a data directory's logs over gRPC and HTTP
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Data directory, made by `graven init`
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:4740]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Address and port for metrics and probes, or `off` [default: 127.0.0.1:4741, if that is free]
    #[arg(long, value_name = "ADDRESS:PORT")]
    ops_listen: Option<String>,

    /// Settings (TOML): what is given here as well counts more; unknown keys are refused
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Serve without credentials, on the loopback interface only: everybody on this machine may do everything
    #[arg(long)]
    dev: bool,

    /// How to write log lines to stderr
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace, also by module: info,graven_log=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

impl ServeArgs {
    /// The arguments of a server that has its settings from this file.
    pub(crate) fn of_file(config: PathBuf) -> Self {
        Self {
            data_dir: None,
            listen: None,
            ops_listen: None,
            config: Some(config),
            dev: false,
            log_format: LogFormat::Human,
            log_level: String::new(),
        }
    }
}

pub(crate) async fn run(args: ServeArgs) -> Outcome {
    let mut prepared = Prepared::new(&args)?;
    let traces = telemetry::start(args.log_format, &args.log_level, prepared.traces.as_ref())?;
    let metrics = Metrics::start()?;
    let signals = Signals::listen()?;
    // From here on it asks for files to be read again, and ends nothing, however long the data directory takes to open.
    let hangup = signal(SignalKind::hangup()).map_err(Failure::trouble)?;
    let (config, hooks) = vault::hooked(prepared.config.clone());
    let engine = open(prepared.data_dir.clone(), config).await?;
    refuse_unknown_logs(&engine)?;
    if prepared.dev {
        tracing::warn!("--dev: no credentials: everybody on this machine may append, read and administer");
    }
    prepared.options.on_call = traces.as_ref().map(Traces::on_call);
    let audit = open_events(&engine, hooks, &prepared).await?;
    prepared.options.audit = Some(audit);
    let served = serve(engine, prepared, metrics, signals, hangup).await;
    if let Some(traces) = traces {
        // It waits for the collector, if only for seconds.
        let _ = task::spawn_blocking(move || traces.stop()).await;
    }
    served
}

/// Opening reads the whole journal, and blocks.
async fn open(data_dir: PathBuf, config: Config) -> Outcome<Arc<Engine>> {
    let opened = task::spawn_blocking(move || Engine::open(Env::system(), &data_dir, config)).await;
    Ok(opened.map_err(Failure::trouble)??)
}

/// Opens logs of events, and completes what an erasure began, before anything is served.
async fn open_events(engine: &Arc<Engine>, hooks: Arc<Hooks>, prepared: &Prepared) -> Outcome<Arc<Audit>> {
    let options = prepared.vault.options(&Env::system(), &prepared.data_dir);
    Audit::open(engine.clone(), hooks, options).await.map_err(Failure::trouble)
}

/// A log whose name is misspelled would go without witnesses.
fn refuse_unknown_logs(engine: &Engine) -> Outcome {
    for name in engine.config().witnessing.keys() {
        if engine.log(name.as_str()).is_none() {
            return Err(Failure::trouble(format_args!(
                "witnessing.{name}: this server has no log of that name: create it first, then give it witnesses"
            )));
        }
    }
    Ok(())
}

async fn serve(
    engine: Arc<Engine>,
    prepared: Prepared,
    metrics: Metrics,
    signals: Signals,
    hangup: Signal,
) -> Outcome {
    let Prepared { data_dir, mut options, listen, ops, material, alerts, .. } = prepared;
    let (listener, address) = bind(listen).await?;
    let ops = bind_ops(ops).await?;
    let running = engine.start().map_err(Failure::trouble)?;
    let (lookup, following) = lookup::start(&Env::system(), &Paths::new(&data_dir), &engine).unzip();
    options.lookup = lookup;
    let audit = options.audit.clone();
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let telling =
        alerts.map(|alerts| alerts.start(engine.clone(), Env::system().fs, &data_dir)).transpose()?;
    let following_files = task::spawn(material.follow(hangup));
    let mut server = Server::new(engine.clone(), options);
    if let Some(listener) = ops {
        let address = listener.local_addr().map_err(Failure::trouble)?;
        tracing::info!(%address, "metrics and probes: /metrics, /healthz, /readyz");
        server = server.with_ops(Ops { listener, render: metrics.render() });
    }
    output::line(format_args!("listening on {scheme}://{address}"))?;

    let mut status = engine.watch_status();
    let finish = async {
        let served = server.serve(listener, signals.first_then_guard()).await;
        following_files.abort();
        telling.iter().for_each(task::JoinHandle::abort);
        let stopped = task::spawn_blocking(move || {
            drop(following);
            audit.iter().for_each(|audit| audit.stop());
            running.stop()
        });
        (served, stopped.await)
    };
    let (served, stopped) = tokio::select! {
        finished = finish => finished,
        // Nothing more will be acknowledged or signed, so there is nothing to wait for.
        ended = ended(&mut status) => return Err(ended),
    };
    served.map_err(Failure::trouble)?;
    match stopped.map_err(Failure::trouble)? {
        Status::Poisoned(why) => Err(storage_failed(&why)),
        Status::RolledBack(why) => Err(Failure::new(Exit::Rollback, why)),
        Status::Running | Status::Stopping => Ok(()),
    }
}

pub(crate) async fn bind(address: SocketAddr) -> Outcome<(TcpListener, SocketAddr)> {
    let cannot = |error| Failure::trouble(format_args!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(Failure::trouble)?;
    Ok((listener, address))
}

async fn bind_ops(port: OpsPort) -> Outcome<Option<TcpListener>> {
    match port {
        OpsPort::Off => Ok(None),
        OpsPort::At(address) => Ok(Some(bind(address).await?.0)),
        OpsPort::Default(address) => match bind(address).await {
            Ok((listener, _)) => Ok(Some(listener)),
            Err(failure) => {
                tracing::warn!(%failure, "no metrics: name another port with --ops-listen, or \"off\"");
                Ok(None)
            }
        },
    }
}

async fn ended(status: &mut tokio::sync::watch::Receiver<Status>) -> Failure {
    loop {
        match &*status.borrow_and_update() {
            Status::Poisoned(why) => return storage_failed(why),
            Status::RolledBack(why) => return Failure::new(Exit::Rollback, why),
            Status::Running | Status::Stopping => {}
        }
        if status.changed().await.is_err() {
            // The engine is gone, and so is the question.
            std::future::pending::<()>().await;
        }
    }
}

fn storage_failed(why: &str) -> Failure {
    Failure::new(
        Exit::Poisoned,
        format_args!(
            "storage failed: {why}; look after the disk, then start again: what was acknowledged is kept"
        ),
    )
}

/// The signals that ask a server to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(Failure::trouble);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends with the first signal; from then on a second one quits at once.
    pub(crate) async fn first_then_guard(mut self) {
        self.next().await;
        task::spawn(async move {
            self.next().await;
            output::complain(&Failure::trouble("quit by a second signal: what was acknowledged is kept"));
            process::exit(i32::from(Failure::trouble("").code()));
        });
    }
}
