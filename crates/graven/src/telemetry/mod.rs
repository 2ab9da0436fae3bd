//! What a server tells of itself: log lines on stderr, metrics, and traces where somebody collects them. They hold sizes
//! and timings, never a payload or a secret.

mod metrics;
mod traces;

use std::{io, panic};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    exit::{Failure, Outcome},
    settings::TraceSettings,
};

pub(crate) use metrics::Metrics;
pub(crate) use traces::Traces;

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging what `level` selects, a level or directives such as `info,graven_log=debug`; and tracing, where that is
/// configured.
pub(crate) fn start(
    format: LogFormat,
    level: &str,
    traces: Option<&TraceSettings>,
) -> Outcome<Option<Traces>> {
    let filter =
        EnvFilter::try_new(level).map_err(|error| Failure::trouble(format_args!("--log-level: {error}")))?;
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let started = match traces {
        // One filter for everything is looked at before a span is made at all.
        None => tracing_subscriber::registry().with(lines).with(filter).try_init().map(|()| None),
        Some(settings) => {
            let traces = Traces::new(settings)?;
            let registry =
                tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.layer());
            registry.try_init().map(|()| Some(traces))
        }
    };
    let traces = started.map_err(Failure::trouble)?;
    log_panics();
    Ok(traces)
}

/// A panic is a log line like any other. Its message is not: it may quote what must not be logged.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a task panicked: this is a bug, please report it");
    }));
}
