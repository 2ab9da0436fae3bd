//! One log, and the state it is in.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use graven_client::{
    Fault,
    monitor::{Monitor, MonitorError},
};
use metrics::{counter, gauge};
use serde_json::json;

use super::alert::Queue;
use crate::{
    evidence,
    exit::{self, Failure},
    output,
};

/// The names of all states, of which a log has one.
const STATES: [&str; 6] = ["ok", "trouble", "stalled", "tampered", "rollback", "split-view"];

/// What a log is to be watched with.
pub(crate) struct Log {
    pub(super) monitor: Monitor,
    pub(super) evidence: PathBuf,
}

/// A log that is watched.
pub(super) struct Watched {
    log: Log,
    queue: Queue,
    state: State,
    /// Since when there was nothing but trouble.
    troubled: Option<Instant>,
}

/// What is wrong; nothing, where there is no fault.
#[derive(Clone, Default)]
struct State {
    fault: Option<Fault>,
    message: String,
    evidence: Option<PathBuf>,
}

impl Watched {
    pub(super) fn new(log: Log, queue: Queue) -> Self {
        let watched = Self { log, queue, state: State::default(), troubled: None };
        watched.measure();
        watched
    }

    /// Looks at the log once, and says what changed. Trouble that lasts shorter than this is not spoken of.
    pub(super) async fn look(&mut self, trouble_after: Duration) {
        let pass = self.log.monitor.poll().await;
        counter!("graven_monitor_entries_total", "log" => self.origin()).increment(pass.entries);
        let state = pass.worst.as_ref().map(|error| self.found(error)).unwrap_or_default();
        self.troubled =
            if state.fault == Some(Fault::Trouble) { self.troubled.or(Some(Instant::now())) } else { None };
        let too_early = self.troubled.is_some_and(|since| since.elapsed() < trouble_after);
        let is_proven = self.state.fault == Some(Fault::SplitView);
        if too_early {
            tracing::warn!(log = self.origin(), "{}", state.message);
        } else if !is_proven {
            self.turn(state);
        }
        self.measure();
    }

    /// Puts a finding into a state; evidence is kept before anybody is told.
    fn found(&self, error: &MonitorError) -> State {
        let kept = error.evidence().map(|proof| evidence::keep(proof, &self.log.evidence));
        let evidence = match kept {
            Some(Ok(path)) => Some(path),
            Some(Err(error)) => {
                tracing::error!(log = self.origin(), %error, "the evidence cannot be kept");
                None
            }
            None => None,
        };
        State { fault: Some(error.fault()), message: error.to_string(), evidence }
    }

    fn turn(&mut self, state: State) {
        let was = std::mem::replace(&mut self.state, state);
        if was.fault == self.state.fault {
            return;
        }
        let (log, name) = (self.origin(), self.state.name());
        match self.state.fault {
            None => tracing::info!(log, state = name, "the log is well again"),
            Some(_) => tracing::error!(log, state = name, "{}", self.state.message),
        }
        self.queue.tell(&json!({
            "log": log,
            "state": name,
            "was": was.name(),
            "message": self.state.message,
            "exit_code": self.state.fault.map_or(0, |fault| exit::exit_of(fault) as u8),
            "size": self.log.monitor.head().map(|head| head.size().get()),
            "evidence": self.state.evidence.as_deref().map(Path::display).map(|path| path.to_string()),
            "time": output::time(SystemTime::now()),
        }));
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    fn measure(&self) {
        let name = self.state.name();
        for state in STATES {
            let is_so = if state == name { 1.0 } else { 0.0 };
            gauge!("graven_monitor_state", "log" => self.origin(), "state" => state).set(is_so);
        }
        let Some(head) = self.log.monitor.head() else { return };
        gauge!("graven_monitor_size", "log" => self.origin()).set(head.size().get() as f64);
        if let Some(time) = self.log.monitor.trust().time_of(head) {
            gauge!("graven_monitor_head_timestamp_seconds", "log" => self.origin()).set(time as f64);
        }
    }

    fn origin(&self) -> String {
        self.log.monitor.trust().origin().to_string()
    }

    /// How the command fails for this log, and how bad that is, where anything is wrong.
    pub(super) fn failure(self) -> Option<(usize, Failure)> {
        let severity = STATES.iter().position(|name| *name == self.state.name())?;
        let message = format!("{}: {}", self.origin(), self.state.message);
        Some((severity, Failure::new(exit::exit_of(self.state.fault?), message)))
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self.fault {
            None => "ok",
            Some(Fault::Trouble) => "trouble",
            Some(Fault::Stalled) => "stalled",
            Some(Fault::CheckFailed) => "tampered",
            Some(Fault::Rollback) => "rollback",
            Some(Fault::SplitView) => "split-view",
        }
    }
}

impl fmt::Display for Watched {
    /// The log in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.state.name(), self.origin())?;
        match self.log.monitor.head() {
            Some(head) => write!(f, "{} verified, root {}", output::entries(head.size().get()), head.root())?,
            None => f.write_str("nothing verified yet")?,
        }
        self.state.evidence.as_deref().map_or(Ok(()), |path| write!(f, ", evidence {}", path.display()))
    }
}
