//! One log, and the state it is in.

use std::{
    fmt,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use graven_client::{
    Fault,
    monitor::{Monitor, MonitorError, Pass},
};
use graven_note::VerifiedEvidence;
use metrics::{counter, gauge};
use serde_json::json;
use tokio::time::interval;

use super::alert::Queue;
use crate::{
    evidence,
    exit::{self, Exit, Failure},
    output,
};

/// The names of all states, of which a log has one; from `trouble` on, the worse the later.
const STATES: [&str; 7] = ["starting", "ok", "trouble", "stalled", "tampered", "rollback", "split-view"];

/// How often a look that is under way is looked after.
const OVERSEEN: Duration = Duration::from_secs(1);

/// What a log is to be watched with.
pub(crate) struct Log {
    pub(super) monitor: Monitor,
    pub(super) evidence: PathBuf,
}

/// A log that is watched.
pub(super) struct Watched {
    monitor: Monitor,
    standing: Standing,
}

/// What is known of a log.
struct Standing {
    origin: String,
    folder: PathBuf,
    queue: Queue,
    state: State,
    /// Since when there was nothing but trouble.
    troubled: Option<Instant>,
    /// Evidence that could not be kept, and is to be.
    unkept: Option<VerifiedEvidence>,
    size: Option<u64>,
}

/// What is wrong; nothing, where there is no fault and a look came to its end.
#[derive(Clone, Default)]
struct State {
    is_known: bool,
    fault: Option<Fault>,
    message: String,
    evidence: Option<PathBuf>,
}

impl Watched {
    /// What was proven against the log before stays proven, for as long as the evidence lies there.
    pub(super) fn new(Log { monitor, evidence: folder }: Log, queue: Queue) -> Self {
        let trust = monitor.trust();
        let proven = evidence::against(trust.origin(), trust.keys(), &folder);
        let origin = trust.origin().to_string();
        let mut standing = Standing {
            origin,
            folder,
            queue,
            state: State::default(),
            troubled: None,
            unkept: None,
            size: None,
        };
        if let Some((path, proof)) = proven {
            let message = format!("split view, and it is proven: {proof}; {} shows it", path.display());
            standing.turn(State { evidence: Some(path), ..State::found(Fault::SplitView, message) });
        }
        let mut watched = Self { monitor, standing };
        watched.measure();
        watched
    }

    /// Looks at the log once, and says what changed. Trouble that lasts shorter than this is not spoken of.
    pub(super) async fn look(&mut self, trouble_after: Duration) {
        let (freshness, standing, begun) = (self.monitor.freshness(), &mut self.standing, Instant::now());
        let mut overseen = interval(OVERSEEN);
        let pass = {
            let mut looking = pin!(self.monitor.poll());
            loop {
                tokio::select! {
                    pass = &mut looking => break pass,
                    // The first catching up may take its time, and is not taken for a log that is well.
                    _ = overseen.tick(), if standing.state.is_known => {
                        let (lasts, stale) = (begun.elapsed(), freshness.judge().err());
                        if let Some(error) = stale {
                            standing.judge(State::found(error.fault(), error.to_string()), trouble_after);
                        } else if lasts > trouble_after.max(OVERSEEN) {
                            let message = format!("a look at the log lasts for {} s and goes on", lasts.as_secs());
                            standing.judge(State::found(Fault::Trouble, message), Duration::ZERO);
                        }
                        standing.measure();
                    }
                }
            }
        };
        self.ended(&pass, trouble_after);
    }

    fn ended(&mut self, pass: &Pass, trouble_after: Duration) {
        let standing = &mut self.standing;
        standing.size = self.monitor.head().map(|head| head.size().get());
        counter!("graven_monitor_entries_total", "log" => standing.origin.clone()).increment(pass.entries);
        standing.keep_unkept();
        let state = match &pass.worst {
            Some(error) => standing.found(error),
            None => State { is_known: true, ..State::default() },
        };
        standing.judge(state, trouble_after);
        self.measure();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        gauge!("graven_monitor_look_timestamp_seconds", "log" => self.standing.origin.clone()).set(now);
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    fn measure(&mut self) {
        self.standing.size = self.monitor.head().map(|head| head.size().get());
        self.standing.measure();
        let Some(head) = self.monitor.head() else { return };
        let origin = || self.standing.origin.clone();
        gauge!("graven_monitor_size", "log" => origin()).set(head.size().get() as f64);
        if let Some(time) = self.monitor.trust().time_of(head) {
            gauge!("graven_monitor_head_timestamp_seconds", "log" => origin()).set(time as f64);
        }
    }

    /// How the command fails for this log, and how bad that is, where anything is wrong or nothing is known.
    pub(super) fn failure(self) -> Option<(usize, Failure)> {
        let Standing { origin, state, .. } = self.standing;
        let severity = STATES.iter().position(|name| *name == state.name())?;
        let exit = match state.fault {
            Some(fault) => exit::exit_of(fault),
            None if state.is_known => return None,
            None => Exit::Trouble,
        };
        let message = if state.is_known { state.message } else { "no look was good yet".to_owned() };
        Some((severity, Failure::new(exit, format!("{origin}: {message}"))))
    }
}

impl Standing {
    /// Takes a state over, unless it is trouble that is new, or says less than what is known.
    fn judge(&mut self, state: State, trouble_after: Duration) {
        self.troubled =
            if state.fault == Some(Fault::Trouble) { self.troubled.or(Some(Instant::now())) } else { None };
        let too_early = self.troubled.is_some_and(|since| since.elapsed() < trouble_after);
        // A log that is away is not well for that: only a look that is good, or finds something else, undoes a finding.
        let says_less =
            self.troubled.is_some() && self.state.fault.is_some_and(|fault| fault != Fault::Trouble);
        let is_proven = self.state.fault == Some(Fault::SplitView);
        if too_early || says_less {
            tracing::warn!(log = self.origin, "{}", state.message);
        } else if !is_proven {
            self.turn(state);
        }
    }

    /// Puts a finding into a state; what shows it is kept before anybody is told.
    fn found(&mut self, error: &MonitorError) -> State {
        let mut state = State::found(error.fault(), error.to_string());
        for (name, note) in error.notes() {
            match evidence::write_new(&self.folder, &name, note) {
                Ok(path) => {
                    state.message = format!("{}; its note is in {}", state.message, path.display());
                }
                Err(error) => {
                    tracing::error!(log = self.origin, %error, "a signed note cannot be kept: {note}");
                }
            }
        }
        let Some(proof) = error.evidence() else { return state };
        match evidence::keep(proof, &self.folder) {
            Ok(path) => state.evidence = Some(path),
            Err(error) if self.unkept.is_none() && self.state.evidence.is_none() => {
                tracing::error!(log = self.origin, %error, "the evidence cannot be kept; it follows, and is tried again");
                output::note(proof.evidence());
                self.unkept = Some(proof.clone());
            }
            Err(_) => {}
        }
        state
    }

    fn keep_unkept(&mut self) {
        let Some(proof) = &self.unkept else { return };
        let Ok(path) = evidence::keep(proof, &self.folder) else { return };
        tracing::info!(log = self.origin, evidence = %path.display(), "the evidence is kept now");
        (self.state.evidence, self.unkept) = (Some(path), None);
    }

    fn turn(&mut self, state: State) {
        let was = std::mem::replace(&mut self.state, state);
        let (before, name) = (was.name(), self.state.name());
        if before == name {
            return;
        }
        match self.state.fault {
            None => tracing::info!(log = self.origin, state = name, "the log is well"),
            Some(_) => tracing::error!(log = self.origin, state = name, "{}", self.state.message),
        }
        if self.state.fault.is_none() && !was.is_known {
            return; // Nobody was told otherwise.
        }
        self.queue.tell(&json!({
            "log": self.origin,
            "state": name,
            "was": before,
            "message": self.state.message,
            "exit_code": self.state.fault.map_or(0, |fault| exit::exit_of(fault) as u8),
            "size": self.size,
            "evidence": self.state.evidence.as_deref().map(Path::display).map(|path| path.to_string()),
            "time": output::time(SystemTime::now()),
        }));
    }

    fn measure(&self) {
        let name = self.state.name();
        for state in STATES {
            let is_so = if state == name { 1.0 } else { 0.0 };
            gauge!("graven_monitor_state", "log" => self.origin.clone(), "state" => state).set(is_so);
        }
    }
}

impl State {
    fn found(fault: Fault, message: String) -> Self {
        Self { is_known: true, fault: Some(fault), message, evidence: None }
    }

    fn name(&self) -> &'static str {
        match self.fault {
            None if !self.is_known => "starting",
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
        write!(f, "{} {}: ", self.standing.state.name(), self.standing.origin)?;
        match self.monitor.head() {
            Some(head) => write!(f, "{} verified, root {}", output::entries(head.size().get()), head.root())?,
            None => f.write_str("nothing verified yet")?,
        }
        self.standing
            .state
            .evidence
            .as_deref()
            .map_or(Ok(()), |path| write!(f, ", evidence {}", path.display()))
    }
}
