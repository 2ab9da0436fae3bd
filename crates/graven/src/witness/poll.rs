//! Where a witness polls a log: from the command line to the log's settings, and from those to a source.

use std::{
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use clap::Args;
use graven_client::{Client, ConnectOptions, RetryPolicy, WebOptions, WebSite};
use graven_note::MAX_NOTE_BYTES;
use graven_witness::{Poll, Source};

use crate::{
    credentials::{CredentialArgs, Credentials},
    exit::{Failure, Outcome},
};

/// What comes again soon is asked for twice and no more.
const RETRIES: RetryPolicy = RetryPolicy {
    attempts: 2,
    first_delay: Duration::from_millis(250),
    longest_delay: Duration::from_secs(5),
};

/// How long one answer may take, until its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a log is polled. What is said last counts, all of it.
#[derive(Args, Debug)]
#[group(multiple = true)]
pub(super) struct PollArgs {
    /// Poll the log by its tiles: `checkpoint` and `tile` lie below this address (C2SP tlog-tiles). It need not know of
    /// witnesses
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["poll_server", "no_poll"])]
    poll: Option<String>,

    /// Poll the log over gRPC at this server, https://HOST:PORT, or http:// on this machine, and bring it the cosignatures.
    /// Needs the grant `witness` where the log has witnesses, otherwise `read`
    #[arg(long, value_name = "URL", conflicts_with = "no_poll")]
    poll_server: Option<String>,

    /// Name of the log at --poll-server, the last part of its origin; may be left out where the server has only one
    #[arg(long, value_name = "NAME", requires = "poll_server", conflicts_with_all = ["poll", "no_poll"])]
    log: Option<String>,

    /// Poll the log no more: it comes by itself
    #[arg(long)]
    no_poll: bool,

    #[command(flatten)]
    credentials: CredentialArgs,
}

impl PollArgs {
    /// What to poll from now on, or nothing any more; `None`: as before.
    pub(super) fn change(&self) -> Outcome<Option<Option<Poll>>> {
        let CredentialArgs { ca, token_file, client_cert, client_key } = &self.credentials;
        let Some(url) = self.poll.as_ref().or(self.poll_server.as_ref()) else {
            if [ca, token_file, client_cert, client_key].into_iter().any(Option::is_some) {
                return Err(Failure::trouble(
                    "credentials are for a log that is polled: give --poll or --poll-server",
                ));
            }
            return Ok(self.no_poll.then_some(None));
        };
        // It is served from anywhere.
        let whole = |path: &Option<PathBuf>| {
            let whole =
                path.as_deref().map(|path| absolute(path).map_err(|error| Failure::file(path, &error)));
            whole.transpose()
        };
        let poll = Poll {
            url: url.clone(),
            log: self.poll_server.as_ref().map(|_| self.log.clone().unwrap_or_default()),
            ca: whole(ca)?,
            token_file: whole(token_file)?,
            client_cert: whole(client_cert)?,
            client_key: whole(client_key)?,
        };
        // What cannot be used is refused now and not in the night.
        source(&poll)?;
        Ok(Some(Some(poll)))
    }
}

/// A source as settings name it: reads certificates and tokens, and connects to nothing.
pub(super) fn source(poll: &Poll) -> Outcome<Source> {
    let Poll { url, log, ca, token_file, client_cert, client_key } = poll.clone();
    let credentials = CredentialArgs { ca, token_file, client_cert, client_key };
    let Credentials { roots, identity, token } = credentials.as_given()?;
    let retries = RETRIES;
    let Some(log) = log else {
        let (attempt_timeout, longest_bytes) = (ANSWER_TIMEOUT, MAX_NOTE_BYTES);
        let web = WebOptions {
            roots,
            identity,
            token,
            retries,
            attempt_timeout,
            longest_bytes,
            ..WebOptions::default()
        };
        return Ok(Source::Site(WebSite::new(&url, web)?));
    };
    let (connections, call_timeout) = (1, ANSWER_TIMEOUT);
    let options = ConnectOptions {
        roots,
        identity,
        token,
        retries,
        connections,
        call_timeout,
        ..ConnectOptions::default()
    };
    Client::check(&url, &options)?;
    Ok(Source::Server { address: url, log, options: Box::new(options) })
}

/// How it is listed: one line.
pub(super) fn shown(poll: &Poll) -> String {
    let at = match &poll.log {
        None => format!("polled at {}", poll.url),
        Some(log) => format!("polled over gRPC at {} {log}", poll.url).trim_end().to_owned(),
    };
    let with = |what: &str, path: &Option<PathBuf>| {
        path.as_deref().map(Path::display).map_or_else(String::new, |path| format!(", {what} {path}"))
    };
    let (ca, token) = (with("CA", &poll.ca), with("token", &poll.token_file));
    format!("{at}{ca}{token}{}", with("certificate", &poll.client_cert))
}
