//! `graven serve`: the server, until it is told to stop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use clap::Args;
use graven_log::{Config, Engine, Env, Paths, Status};
use graven_server::{Server, ServerOptions};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task,
};

use crate::{
    exit::{Exit, Failure, Outcome},
    lookup, output,
    settings::Settings,
    telemetry::{self, LogFormat},
};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4740);

const EXAMPLES: &str = "\
Prints `listening on http://HOST:PORT` once it takes calls. SIGTERM or SIGINT: calls are finished, everything is \
published and sealed, exit code 0; a second signal quits at once, which loses nothing that was acknowledged.

Refuses to start, with exit code 4, where the data directory is older than what was signed from it; with 1 where it \
was damaged or changed. Ends with 74 as soon as a write or sync fails.

Examples:
  graven serve --data-dir data --dev
  graven serve --config graven.toml --dev --log-format json 2>> graven.log";

/// Serve a data directory's logs over gRPC
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Data directory, made by `graven init`
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:4740]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Settings (TOML): listen, data_dir and a table `engine`; unknown keys are refused. What is given here as
    /// well counts more
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

pub(crate) async fn run(args: ServeArgs) -> Outcome {
    let settings = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let config = settings.engine()?;
    let listen = args.listen.or(settings.listen).unwrap_or(DEFAULT_LISTEN);
    let data_dir = args.data_dir.or(settings.data_dir);
    let data_dir = data_dir.ok_or_else(|| Failure::trouble("which logs? give --data-dir FOLDER"))?;
    check_access(args.dev, listen)?;
    telemetry::start(args.log_format, &args.log_level)?;
    let signals = Signals::listen()?;
    let engine = open(data_dir.clone(), config.clone()).await?;
    tracing::warn!("--dev: no credentials: everybody on this machine may append, read and administer");
    serve(engine, &data_dir, &config, listen, signals).await
}

/// Nobody serves to the world by mistake.
fn check_access(dev: bool, listen: SocketAddr) -> Outcome {
    if !dev {
        return Err(Failure::trouble(
            "no credentials are configured, so everybody could do everything: \
             add --dev to serve like that on the loopback interface",
        ));
    }
    if !listen.ip().is_loopback() {
        return Err(Failure::trouble(format_args!(
            "--dev serves without credentials and only on the loopback interface, not on {listen}: listen on 127.0.0.1"
        )));
    }
    Ok(())
}

/// Opening reads the whole journal, and blocks.
async fn open(data_dir: PathBuf, config: Config) -> Outcome<Arc<Engine>> {
    let opened = task::spawn_blocking(move || Engine::open(Env::system(), &data_dir, config)).await;
    Ok(opened.map_err(Failure::trouble)??)
}

async fn serve(
    engine: Arc<Engine>,
    data_dir: &Path,
    config: &Config,
    listen: SocketAddr,
    signals: Signals,
) -> Outcome {
    let listener = TcpListener::bind(listen).await;
    let listener =
        listener.map_err(|error| Failure::trouble(format_args!("cannot listen on {listen}: {error}")))?;
    let address = listener.local_addr().map_err(Failure::trouble)?;
    let running = engine.start().map_err(Failure::trouble)?;
    let (lookup, following) = lookup::start(&Env::system(), &Paths::new(data_dir), &engine).unzip();
    let options =
        ServerOptions { lookup, idempotency_window: config.window.max_age, ..ServerOptions::default() };
    output::line(format_args!("listening on http://{address}"))?;

    let mut status = engine.watch_status();
    let finish = async {
        let served = Server::new(engine.clone(), options).serve(listener, signals.first_then_guard()).await;
        let stopped = task::spawn_blocking(move || {
            drop(following);
            running.stop()
        });
        (served, stopped.await)
    };
    let (served, stopped) = tokio::select! {
        finished = finish => finished,
        // Nothing more will be acknowledged or signed, so there is nothing to wait for.
        poisoned = poisoned(&mut status) => return Err(poisoned),
    };
    served.map_err(Failure::trouble)?;
    match stopped.map_err(Failure::trouble)? {
        Status::Poisoned(why) => Err(storage_failed(&why)),
        Status::Running | Status::Stopping => Ok(()),
    }
}

async fn poisoned(status: &mut tokio::sync::watch::Receiver<Status>) -> Failure {
    loop {
        if let Status::Poisoned(why) = &*status.borrow_and_update() {
            return storage_failed(why);
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
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
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
    async fn first_then_guard(mut self) {
        self.next().await;
        task::spawn(async move {
            self.next().await;
            output::complain(&Failure::trouble("quit by a second signal: what was acknowledged is kept"));
            process::exit(i32::from(Failure::trouble("").code()));
        });
    }
}
