//! What to watch, from the command line or a settings file: TOML, unknown keys refused, paths relative to the file.
//!
//! ```toml
//! state = "monitor"                 # how far each log was verified
//! evidence = "evidence"             # default: the folder of `state`
//! interval_s = 10                   # between two looks at a log
//! trouble_after_s = 300             # trouble that lasts longer is an alarm
//! webhook = "https://hooks.example.com/audit"
//! ops_listen = "127.0.0.1:4742"     # or "off"
//!
//! [[log]]
//! policy = "audit.policy"           # or keys = ["VKEY", …]
//! origin = "example.com/audit"      # needed where the policy has several logs
//! urls = ["https://log.example.com/audit", "https://mirror.example.org/audit"]
//! server = "https://log.example.com:4740"
//! name = "audit"                    # at the server
//! token_file = "audit.token"        # shown to `server` alone, and without one to the first of `urls`
//! client_cert = "client.pem"        # likewise, with client_key
//! client_key = "client.key"
//! fresh_within_s = 600
//! ```

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use graven_client::{
    ConnectOptions, RetryPolicy, Trust, TrustError, WebOptions, Webhook,
    monitor::{Monitor, MonitorError, Source},
};
use graven_note::{Origin, VerifierKey};
use serde::Deserialize;

use super::{MonitorArgs, watch::Log};
use crate::{
    credentials::{CredentialArgs, Credentials},
    exit::{self, Failure, Outcome},
    trust::{self, Pinned},
};

const STATE: &str = "monitor";
const OPS_LISTEN: &str = "127.0.0.1:4742";
const INTERVAL: Duration = Duration::from_secs(10);
const TROUBLE_AFTER: Duration = Duration::from_secs(300);

/// What a look that comes again soon is worth: a source is asked twice and no more.
const RETRIES: RetryPolicy = RetryPolicy {
    attempts: 2,
    first_delay: Duration::from_millis(250),
    longest_delay: Duration::from_secs(5),
};

/// Bundles of one log that are fetched at once: a quarter of a GiB, were they as long as can be.
const IN_FLIGHT: usize = 8;

/// A hook that is away for a while is told all the same.
const HOOK_RETRIES: RetryPolicy = RetryPolicy {
    attempts: 8,
    first_delay: Duration::from_millis(500),
    longest_delay: Duration::from_secs(60),
};

/// Everything that is known before the first look.
pub(super) struct Plan {
    pub(super) logs: Vec<Log>,
    pub(super) interval: Duration,
    pub(super) trouble_after: Duration,
    pub(super) webhook: Option<Webhook>,
    pub(super) ops: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    state: Option<PathBuf>,
    evidence: Option<PathBuf>,
    interval_s: Option<u64>,
    trouble_after_s: Option<u64>,
    webhook: Option<String>,
    ops_listen: Option<String>,
    log: Vec<LogEntry>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogEntry {
    policy: Option<PathBuf>,
    keys: Vec<String>,
    origin: Option<String>,
    urls: Vec<String>,
    server: Option<String>,
    name: Option<String>,
    token_file: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    fresh_within_s: Option<u64>,
}

impl Plan {
    pub(super) fn new(args: &MonitorArgs) -> Outcome<Self> {
        let file = args.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let credentials = args.credentials.as_given()?;
        let state = args.state.clone().or(file.state).unwrap_or_else(|| STATE.into());
        let evidence = args.evidence.clone().or(file.evidence).unwrap_or_else(|| state.clone());
        let open = |(trust, sources, limit): (Trust, Vec<Source>, Option<Duration>)| {
            let limit = args.trust.fresh_within.or(limit);
            let monitor = Monitor::open(trust, sources, &state, limit).map_err(failure)?;
            Ok(Log { monitor, evidence: evidence.clone() })
        };
        let watched: Vec<_> = match args.config {
            Some(_) => file.log.iter().map(|log| log.watched(args, &credentials)).collect::<Outcome<_>>()?,
            None => vec![from_arguments(args, &credentials)?],
        };
        if watched.is_empty() {
            return Err(Failure::trouble("the settings name no log: add a [[log]]"));
        }
        let hook = args.webhook.as_ref().or(file.webhook.as_ref());
        let hook = hook.map(|url| Webhook::new(url, &credentials.roots, HOOK_RETRIES)).transpose()?;
        let seconds = |given: Option<u64>| given.map(Duration::from_secs);
        Ok(Self {
            logs: watched.into_iter().map(open).collect::<Outcome<_>>()?,
            interval: args.interval.or(seconds(file.interval_s)).unwrap_or(INTERVAL),
            trouble_after: args.trouble_after.or(seconds(file.trouble_after_s)).unwrap_or(TROUBLE_AFTER),
            webhook: hook,
            ops: ops(args.ops_listen.as_deref().or(file.ops_listen.as_deref()).unwrap_or(OPS_LISTEN))?,
        })
    }
}

impl File {
    fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let parsed = toml::from_str(&text);
        let mut file: Self =
            parsed.map_err(|error| Failure::trouble(format_args!("{}: {error}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let paths = [&mut file.state, &mut file.evidence].into_iter().flatten();
        let of_logs = file.log.iter_mut().flat_map(|log| {
            [&mut log.policy, &mut log.token_file, &mut log.client_cert, &mut log.client_key]
                .into_iter()
                .flatten()
        });
        for relative in paths.chain(of_logs) {
            *relative = folder.join(&relative);
        }
        Ok(file)
    }
}

impl LogEntry {
    fn watched(
        &self,
        args: &MonitorArgs,
        credentials: &Credentials,
    ) -> Outcome<(Trust, Vec<Source>, Option<Duration>)> {
        let pinned = match &self.policy {
            Some(_) if !self.keys.is_empty() => {
                return Err(Failure::trouble("a [[log]] has a policy or keys, not both"));
            }
            Some(policy) => Pinned::Policy(trust::read_policy(policy)?),
            None => {
                let keys: Result<Vec<_>, _> = self.keys.iter().map(|vkey| VerifierKey::parse(vkey)).collect();
                Pinned::Keys(keys.map_err(TrustError::from)?)
            }
        };
        let trust = match &self.origin {
            Some(origin) => args.trust.trust_in(pinned, Origin::new(origin).map_err(TrustError::from)?)?,
            None => args.trust.trust(pinned, None)?,
        };
        let (token_file, cert, key) =
            (self.token_file.clone(), self.client_cert.clone(), self.client_key.clone());
        let own = CredentialArgs::of_files(token_file, cert, key).as_given()?;
        let credentials = Credentials { roots: credentials.roots.clone(), ..own };
        let sources = sources(&self.urls, self.server.as_deref(), self.name.as_deref(), &credentials)?;
        Ok((trust, sources, self.fresh_within_s.map(Duration::from_secs)))
    }
}

fn from_arguments(
    args: &MonitorArgs,
    credentials: &Credentials,
) -> Outcome<(Trust, Vec<Source>, Option<Duration>)> {
    let trust = args.trust.trust(args.trust.demanded()?, args.log.as_deref())?;
    let sources = sources(&args.log_urls, args.server.as_deref(), args.log.as_deref(), credentials)?;
    Ok((trust, sources, None))
}

/// The credentials are for one place alone: the server, or the first URL where there is none. Other places of the same log
/// are other people's.
fn sources(
    urls: &[String],
    server: Option<&str>,
    name: Option<&str>,
    Credentials { roots, identity, token }: &Credentials,
) -> Outcome<Vec<Source>> {
    let open =
        WebOptions { roots: roots.clone(), retries: RETRIES, in_flight: IN_FLIGHT, ..WebOptions::default() };
    let (mut sources, mut own) = (Vec::new(), Some((identity.clone(), token.clone())));
    let mut options = |is_server: bool| {
        let shown = if is_server || server.is_none() { own.take() } else { None };
        let (identity, token) = shown.unwrap_or_default();
        WebOptions { identity, token, ..open.clone() }
    };
    for url in urls {
        sources.push(Source::site(url, options(false))?);
    }
    if let Some(server) = server {
        let WebOptions { roots, identity, token, retries, .. } = options(true);
        let options = ConnectOptions { roots, identity, token, retries, ..ConnectOptions::default() };
        sources.push(Source::server(server, name.unwrap_or_default(), options));
    }
    if sources.is_empty() {
        return Err(Failure::trouble("nothing says where the log is: give --log-url PREFIX or --server URL"));
    }
    Ok(sources)
}

fn ops(listen: &str) -> Outcome<Option<SocketAddr>> {
    if listen == "off" {
        return Ok(None);
    }
    let address: Option<SocketAddr> = listen.parse().ok();
    let address = address.filter(|address| address.ip().is_loopback());
    address.map(Some).ok_or_else(|| {
        Failure::trouble(format_args!(
            "--ops-listen: {listen:?} is no address and port of this machine alone, nor off"
        ))
    })
}

fn failure(error: MonitorError) -> Failure {
    Failure::new(exit::exit_of(error.fault()), error)
}
