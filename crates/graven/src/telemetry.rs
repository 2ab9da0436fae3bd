//! The server's log lines, on stderr: for people or one JSON object a line. They hold sizes and timings, never a
//! payload or a secret.

use std::{io, panic};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

use crate::exit::{Failure, Outcome};

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging what `level` selects: a level, or directives such as `info,graven_log=debug`.
pub(crate) fn start(format: LogFormat, level: &str) -> Outcome {
    let filter =
        EnvFilter::try_new(level).map_err(|error| Failure::trouble(format_args!("--log-level: {error}")))?;
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Human => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(Failure::trouble)?;
    log_panics();
    Ok(())
}

/// A panic is a log line like any other. Its message is not: it may quote what must not be logged.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a task panicked: this is a bug, please report it");
    }));
}
