//! Reaching a log on a server.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use graven_client::{
    Appender, Client, ConnectOptions, ErrorReason, FileHeadStore, LogClient, ReportedLog, alerts::AlertLog,
    events::EventLog, scopes::ScopeLog,
};

use crate::{
    credentials::{CredentialArgs, Credentials},
    exit::{Failure, Outcome},
    trust::TrustArgs,
};

/// Where the server is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// Address of the server: https://HOST:PORT, or http:// on this machine
    #[arg(long, value_name = "URL", env = "GRAVEN_SERVER", default_value = "http://127.0.0.1:4740")]
    #[arg(help_heading = "Server", hide_env_values = true)]
    pub(crate) server: String,

    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,

    /// Allow http:// beyond this machine, where everybody on the way can read and alter what is sent; never with a
    /// token
    #[arg(long, help_heading = "Server")]
    plaintext_anywhere: bool,
}

/// Which log of which server.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogAtServer {
    #[command(flatten)]
    pub(crate) server: ServerArgs,

    /// Name of the log, the last part of its origin; may be left out where the server has only one
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub(crate) log: Option<String>,
}

/// A log of a server with what is trusted about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrustedLog {
    #[command(flatten)]
    pub(crate) at: LogAtServer,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    /// Folder that keeps the last verified head, so that a log that went back since is noticed
    /// [default: it is forgotten]
    #[arg(long, value_name = "FOLDER", help_heading = "Trust")]
    state: Option<PathBuf>,

    /// Folder for evidence, should the log turn out to have signed two trees that cannot both be
    /// [default: that of --state, else where the command runs]
    #[arg(long, value_name = "FOLDER", help_heading = "Trust")]
    evidence: Option<PathBuf>,
}

impl ServerArgs {
    pub(crate) async fn connect(&self) -> Outcome<Client> {
        let Credentials { roots, identity, token } = self.credentials.for_server()?;
        let plaintext_anywhere = self.plaintext_anywhere;
        let options =
            ConnectOptions { roots, identity, token, plaintext_anywhere, ..ConnectOptions::default() };
        Ok(Client::connect(&self.server, options).await?)
    }
}

impl LogAtServer {
    /// The log as one of events, without trust.
    pub(crate) async fn events(&self) -> Outcome<EventLog> {
        Ok(self.server.connect().await?.events(self.log.clone().unwrap_or_default()))
    }

    /// The log's scopes, without trust.
    pub(crate) async fn scopes(&self) -> Outcome<ScopeLog> {
        Ok(self.server.connect().await?.scopes(self.log.clone().unwrap_or_default()))
    }

    /// The log's rules and alerts, without trust.
    pub(crate) async fn alerts(&self) -> Outcome<AlertLog> {
        Ok(self.server.connect().await?.alerts(self.log.clone().unwrap_or_default()))
    }

    /// The log for appending alone, without trust.
    pub(crate) async fn appender(&self) -> Outcome<Appender> {
        Ok(self.server.connect().await?.appender(self.log.clone().unwrap_or_default()))
    }
}

impl TrustedLog {
    /// The log, verified by what is pinned. Where nothing is, by what the server says, which is said aloud.
    pub(crate) async fn open(&self) -> Outcome<LogClient> {
        let pinned = self.trust.pinned()?;
        let client = self.at.server.connect().await?;
        let log = match pinned {
            None => {
                let reported = client.admin().get(self.name()).await?;
                client.log(reported.name.clone(), self.trust.unpinned(&reported)?)
            }
            Some(pinned) => {
                let only = if self.at.log.is_none() { only_log(&client).await? } else { None };
                let name = self.at.log.clone().or(only.map(|log| log.name));
                let trust = self.trust.trust(pinned, name.as_deref())?;
                // Several logs, and none is named: the one that is pinned is meant.
                let name = name.unwrap_or_else(|| crate::trust::log_name(trust.origin().as_str()).to_owned());
                client.log(name, trust)
            }
        };
        self.remembering(log)
    }

    /// The same, for commands that are worth nothing without pinned keys.
    pub(crate) async fn open_pinned(&self) -> Outcome<LogClient> {
        self.trust.demanded()?;
        self.open().await
    }

    /// Where evidence goes.
    pub(crate) fn evidence_folder(&self) -> PathBuf {
        self.evidence.clone().or_else(|| self.state.clone()).unwrap_or_else(|| PathBuf::from("."))
    }

    fn name(&self) -> &str {
        self.at.log.as_deref().unwrap_or_default()
    }

    fn remembering(&self, log: LogClient) -> Outcome<LogClient> {
        let Some(folder) = &self.state else { return Ok(log) };
        let store = FileHeadStore::open(folder).map_err(|error| Failure::file(folder, &error))?;
        Ok(log.with_head_store(Arc::new(store)))
    }
}

/// The server's only log; `None` where it has several, or tells its administrators alone.
async fn only_log(client: &Client) -> Outcome<Option<ReportedLog>> {
    match client.admin().get("").await {
        Ok(log) => Ok(Some(log)),
        Err(error) => match error.reason() {
            Some(ErrorReason::LogNameRequired | ErrorReason::PermissionMissing) => Ok(None),
            _ => Err(error.into()),
        },
    }
}
