//! What every command takes, and says.

use clap::{Args, ValueEnum};
use graven_client::{
    IdempotencyKey,
    scopes::{Command, Commanded, ScopeLog},
};
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    output,
    remote::TrustedLog,
};

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Terms {
    /// Why, in your own words: sealed, and erased with you
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,

    /// What to wait for; from `published` on the proof is verified
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    wait: Wait,

    /// Name of this command, 1 to 128 visible ASCII characters, so that it can be repeated [default: a random one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    Durable,
    Published,
    Witnessed,
}

/// A command that counts.
pub(super) struct Sent {
    commanded: Commanded,
    /// The size of the head that it is proven under.
    proven_in: Option<u64>,
    json: bool,
}

impl Terms {
    /// The log's scopes, to look something up.
    pub(super) async fn scopes(&self) -> Outcome<ScopeLog> {
        self.log.at.scopes().await
    }

    pub(super) async fn send(&self, command: Command) -> Outcome<Sent> {
        let key = self.idempotency_key.clone().map(IdempotencyKey::new).transpose();
        let key = key.map_err(|error| Failure::trouble(format_args!("--idempotency-key: {error}")))?;
        let because = self.because.clone().unwrap_or_default();
        if self.wait == Wait::Durable {
            let log = self.scopes().await?;
            let sending = log.command(command).because(because);
            let sending = if let Some(key) = key { sending.idempotency_key(key) } else { sending };
            return Ok(Sent { commanded: sending.durable().await?, proven_in: None, json: self.json });
        }
        let log = self.log.open().await?;
        let sending = log.command(command).because(because);
        let sending = if let Some(key) = key { sending.idempotency_key(key) } else { sending };
        let proven = match self.wait {
            Wait::Witnessed => sending.witnessed().await?,
            Wait::Published | Wait::Durable => sending.published().await?,
        };
        let (commanded, proven_in) = (proven.commanded().clone(), Some(proven.head().size().get()));
        Ok(Sent { commanded, proven_in, json: self.json })
    }
}

impl Sent {
    /// Says what was done.
    pub(super) fn report(self, done: &str) -> Outcome {
        output::either(self.json, || self.as_json(), || self.in_words(done))
    }

    /// The same, where a number is what the next command takes.
    pub(super) fn number(self, done: &str) -> Outcome {
        if self.json {
            return output::line(self.as_json());
        }
        output::note(self.in_words(done));
        let Some(id) = self.commanded.id else { return Ok(()) };
        match self.commanded.revision {
            0 => output::line(id),
            revision => output::line(format_args!("{id}@{revision}")),
        }
    }

    fn in_words(&self, done: &str) -> String {
        let Commanded { index, revision, duplicate, .. } = &self.commanded;
        let before = if *duplicate { " had said so before" } else { " says so" };
        let revision = match revision {
            0 => String::new(),
            revision => format!(", the grant's revision is {revision}"),
        };
        let proven = self
            .proven_in
            .map_or_else(String::new, |size| format!(", proven under the head of {}", output::entries(size)));
        format!("{done}: entry {index}{before}{revision}{proven}")
    }

    fn as_json(&self) -> serde_json::Value {
        let Commanded { index, log_time, id, revision, duplicate, .. } = &self.commanded;
        json!({
            "index": index.get(),
            "log_time": output::precise_time(*log_time),
            "id": id.map(|id| id.to_string()),
            "revision": revision,
            "duplicate": duplicate,
            "proven_in_size": self.proven_in,
        })
    }
}
