//! Alerts of logs of events, told to a web server: each at least once.
//!
//! ```toml
//! [alerts]                         # without this nobody is told
//! webhook = "https://hooks.example.com/audit"    # takes each alert as JSON, by POST; http:// only on this machine
//! secret_file = "webhook-secret"   # 16 bytes at least, mode 0600: what requests are signed with; without it they are not
//! log = "audit"                    # its alerts alone; without it those of every log of events
//! min_severity = "low"             # or "medium", "high", "critical": what is less bad is not told
//! ca = "hook-ca.pem"               # CAs of the web server; without it the system's
//! ```
//!
//! An alert counts as told when the web server answers with a status from 200 to 299. Only then the place in the log is written down, so what was under
//! way when the server stopped is told again: the receiver knows by `id`. What is not taken is tried again until it is, after 1 s,
//! 2 s, 4 s … and at most 5 minutes; nothing overtakes it.
//!
//! ```json
//! {"id": "example.com/audit#4711", "log": "example.com/audit", "index": 4711, "log_time": "2026-03-01T09:30:00Z", "rule": "denial-burst",
//!  "rule_hash": "9f2c…", "severity": "high", "leaves": [4700, 4705, 4710], "count": 3, "about": ["3f0c92ab…"], "state_size": 4711,
//!  "leaf": "R1JWRQE…"}
//! ```
//!
//! Whom it is about is said by the references that stand in the entry: names do not leave the key store this way. `leaf` is the entry in base64, which can
//! be proven to be in the log. With a secret the header `graven-signature: t=SECONDS,v1=HEX` has the HMAC-SHA256, keyed with the
//! secret, of the seconds' digits, a full stop, and the body.
//!
//! ```text
//! DATA/alerts/LOG   the index of the first entry that was not looked at yet, decimal, and a newline
//! ```
//!
//! A log that has no such file when the server starts is told about from then on.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use graven_client::{RetryPolicy, Roots, Webhook, WebhookSecret, alerts::Severity};
use graven_event::{Facts, Frame, Ref, facts::AlertFacts};
use graven_log::{Engine, Kind, Log, LogName};
use graven_store::{Fs, fs::Mode};
use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    task::{self, JoinHandle},
    time::sleep,
};
use zeroize::Zeroizing;

use super::material::{KEY_BITS, read};
use crate::{
    credentials,
    exit::{Failure, Outcome},
    output,
};

/// Pause once all logs were looked at: what an alert may wait for before it is told.
const PAUSE: Duration = Duration::from_millis(100);
/// Pauses before what was not taken is tried again.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// Bytes of entries that are looked at together.
const PART_BYTES: usize = 4 << 20;
/// Entries after which the place is written down, though none of them was an alert.
const NOTED_EVERY: u64 = 65_536;
/// The folder within the data directory.
const FOLDER: &str = "alerts";
/// A place is a number and a newline.
const MAX_PLACE_BYTES: u64 = 32;

/// What the settings say of it. Paths are complete.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertSettings {
    webhook: String,
    secret_file: Option<PathBuf>,
    log: Option<String>,
    #[serde(default)]
    min_severity: SeveritySetting,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum SeveritySetting {
    #[default]
    Low = 1,
    Medium,
    High,
    Critical,
}

impl AlertSettings {
    /// Completes paths that are relative to the settings' folder.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for path in self.secret_file.iter_mut().chain(&mut self.ca) {
            *path = folder.join(&*path);
        }
    }

    /// Reads the files that it names.
    pub(crate) fn prepare(&self) -> Outcome<Alerting> {
        let wrong = |what: &dyn std::fmt::Display| Failure::trouble(format_args!("alerts: {what}"));
        let roots = self.ca.as_deref().map(credentials::roots).transpose()?.unwrap_or_else(Roots::default);
        let webhook =
            Webhook::new(&self.webhook, &roots, RetryPolicy::NEVER).map_err(|error| wrong(&error))?;
        let webhook = match &self.secret_file {
            None => webhook,
            Some(file) => {
                let bytes = Zeroizing::new(read(file, KEY_BITS)?);
                let secret = WebhookSecret::new(bytes.trim_ascii_end());
                webhook.signed_by(secret.ok_or_else(|| {
                    wrong(&format_args!("{}: a secret has at least 16 bytes", file.display()))
                })?)
            }
        };
        let log = self.log.as_deref().map(LogName::new).transpose();
        Ok(Alerting {
            webhook: Arc::new(webhook),
            log: log.map_err(|error| wrong(&format_args!("log: {error}")))?,
            min_severity: self.min_severity as u8,
        })
    }
}

/// Whom to tell of what.
#[derive(Clone)]
pub(crate) struct Alerting {
    webhook: Arc<Webhook>,
    log: Option<LogName>,
    min_severity: u8,
}

impl Alerting {
    /// Begins to tell. It ends when the handle is aborted: what is under way then is told again after the next start.
    pub(super) fn start(
        self,
        engine: Arc<Engine>,
        fs: Arc<dyn Fs>,
        data_dir: &Path,
    ) -> Outcome<JoinHandle<()>> {
        if let Some(log) = &self.log
            && engine.log(log.as_str()).is_none_or(|log| log.meta().kind == Kind::Bytes)
        {
            return Err(Failure::trouble(format_args!("alerts.log: this server has no log of events {log}")));
        }
        let folder = data_dir.join(FOLDER);
        fs.create_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
        let places = Places { fs, folder };
        let mut next = BTreeMap::new();
        for log in engine.logs().into_iter().filter(|log| self.is_told_of(log)) {
            let name = &log.meta().name;
            let place = places.read(name).map_err(|error| Failure::file(&places.path(name), &error))?;
            let from = place.unwrap_or_else(|| log.head().size().get());
            places.write(name, from).map_err(|error| Failure::file(&places.path(name), &error))?;
            next.insert(name.clone(), Place { next: from, noted: from });
        }
        Ok(task::spawn(Telling { alerting: self, engine, places, next }.run()))
    }

    fn is_told_of(&self, log: &Log) -> bool {
        let meta = log.meta();
        meta.kind != Kind::Bytes && self.log.as_ref().is_none_or(|only| *only == meta.name)
    }
}

/// Where each log was looked at up to, on disk.
struct Places {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
}

impl Places {
    fn path(&self, log: &LogName) -> PathBuf {
        self.folder.join(log.as_str())
    }

    fn read(&self, log: &LogName) -> io::Result<Option<u64>> {
        let path = self.path(log);
        if !self.fs.exists(&path)? {
            return Ok(None);
        }
        let bytes = self.fs.read(&path, MAX_PLACE_BYTES)?;
        let place = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        place.map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "no place in a log: remove it to be told of what is new",
            )
        })
    }

    fn write(&self, log: &LogName, next: u64) -> io::Result<()> {
        self.fs.replace_durable(&self.path(log), format!("{next}\n").as_bytes(), Mode::Shared)
    }
}

#[derive(Clone, Copy)]
struct Place {
    next: u64,
    noted: u64,
}

struct Telling {
    alerting: Alerting,
    engine: Arc<Engine>,
    places: Places,
    next: BTreeMap<LogName, Place>,
}

impl Telling {
    async fn run(mut self) {
        loop {
            let mut has_more = false;
            let mut logs = self.engine.logs();
            logs.retain(|log| self.alerting.is_told_of(log));
            for log in logs {
                match self.look(log.clone()).await {
                    Ok(more) => has_more |= more,
                    Err(error) => {
                        tracing::error!(log = %log.meta().name, %error, "alerts cannot be told");
                        sleep(LONGEST_DELAY).await;
                    }
                }
            }
            if !has_more {
                sleep(PAUSE).await;
            }
        }
    }

    /// Looks at a part of what is published. `true`: there is more.
    async fn look(&mut self, log: Arc<Log>) -> io::Result<bool> {
        let name = log.meta().name.clone();
        // One that was made since the start begins with its first entry.
        let mut place = self.next.get(&name).copied().unwrap_or(Place { next: 0, noted: 0 });
        let end = log.head().size().get();
        if place.next >= end {
            return Ok(false);
        }
        let reading = log.clone();
        let leaves = task::spawn_blocking(move || reading.entries(place.next..end, PART_BYTES)).await;
        for leaf in leaves.map_err(io::Error::other)?.map_err(io::Error::other)? {
            if let Some((frame, facts)) =
                alert(&leaf).filter(|(_, it)| it.severity >= self.alerting.min_severity)
            {
                self.tell(&body(&log, place.next, &frame, &facts, &leaf)).await;
                place.noted = 0;
            }
            place.next += 1;
            if place.noted == 0 || place.next - place.noted >= NOTED_EVERY {
                self.places.write(&name, place.next)?;
                place.noted = place.next;
            }
            self.next.insert(name.clone(), place);
        }
        Ok(place.next < end)
    }

    /// Tells until it is taken.
    async fn tell(&self, alert: &Value) {
        let mut delay = FIRST_DELAY;
        while let Err(error) = self.alerting.webhook.post(alert.to_string()).await {
            counter!("graven_alert_deliveries_total", "outcome" => "failed").increment(1);
            tracing::error!(%error, id = %alert["id"], delay_s = delay.as_secs(), "the webhook did not take an alert");
            sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
        counter!("graven_alert_deliveries_total", "outcome" => "told").increment(1);
    }
}

fn alert(leaf: &[u8]) -> Option<(Frame, AlertFacts)> {
    let frame = Frame::decode(leaf).ok()?;
    let Facts::Alert(facts) = frame.facts.clone() else { return None };
    Some((frame, facts))
}

fn body(log: &Log, index: u64, frame: &Frame, facts: &AlertFacts, leaf: &[u8]) -> Value {
    let origin = log.meta().origin.as_str();
    json!({
        "id": format!("{origin}#{index}"),
        "log": origin,
        "index": index,
        "log_time": frame.log_time.to_string(),
        "rule": facts.name.as_str(),
        "rule_hash": facts.rule.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "severity": Severity::of(facts.severity).map_or("low", Severity::as_str),
        "leaves": facts.leaves,
        "count": facts.count.unwrap_or(u64::try_from(facts.leaves.len()).unwrap_or(u64::MAX)),
        "about": facts.about.iter().map(Ref::to_string).collect::<Vec<_>>(),
        "state_size": facts.state_size,
        "leaf": output::base64(leaf),
    })
}
