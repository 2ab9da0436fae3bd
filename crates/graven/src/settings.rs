//! The server's settings file: TOML, every key optional, unknown keys refused. Paths in it are relative to the file.
//!
//! ```toml
//! listen = "127.0.0.1:4740"
//! data_dir = "data"
//!
//! [tls]                            # TLS 1.3; needed as soon as `listen` is not loopback
//! cert = "server.pem"              # certificate chain, PEM
//! key = "server.key"               # PKCS#8, PEM; nobody else may read it
//! client_ca = "clients.pem"        # client certificates are verified by it; without it none are asked for
//! client_auth = "optional"         # or "required": no connection without a client certificate
//!
//! [access]
//! credentials = "credentials.toml" # who may do what
//! urls = ["https://log.example.com:4740"] # where callers reach this server: DPoP proofs must be for one of these
//!
//! [ops]
//! listen = "127.0.0.1:4741"        # metrics and probes; "off" for none
//!
//! [limits]
//! max_connections = 1024
//! handshake_s = 10                 # for TLS
//! first_request_s = 30             # from then to the head of the first request
//! idle_s = 600                     # without a call under way
//! connection_age_s = 3600          # after this a connection takes no new calls
//! request_s = 60                   # until an answer begins
//! drain_s = 10                     # for calls that go on when the server stops
//!
//! [web]
//! origins = []                     # other origins whose pages may call over gRPC-Web
//!
//! [traces]
//! otlp_endpoint = "http://127.0.0.1:4317"
//! sample_ratio = 0.01              # share of calls, 0 to 1
//!
//! [engine]
//! checkpoint_interval_ms = 100     # least time between two heads of a log
//! heartbeat_s = 60                 # an unchanged head is signed anew this often
//! export_interval_s = 60           # a busy log's static site is completed this often
//! reserve_mib = 256                # appends are refused while the disk has less room
//! segment_mib = 64                 # length of a journal segment
//! max_commit_kib = 1024            # bytes that one sync makes durable
//! max_pending_mib = 32             # bytes of requests that wait
//! max_unsealed_mib = 128           # bytes that are durable and not yet in tiles
//! idempotency_window_s = 600       # how long idempotency keys are remembered
//! idempotency_max_keys = 524288    # and how many of them at most
//!
//! [witnessing.audit]               # by the log's name; a log without a table has no witnesses
//! policy = "audit.witness-policy"  # C2SP tlog-policy: its witnesses, with the URLs to push to, and its quorum
//! publish = "signed"               # or "witnessed": readers see a head once it has its quorum, and not before
//! timeout_ms = 5000                # how long one head is offered before a newer one takes its place
//! ca = "witness-ca.pem"            # CAs of witnesses on https://; without it the system's
//!
//! [vault]                          # keys of the people in logs of events; see `vault`
//! folder = "vault"
//! master_key = "vault-key"
//!
//! [alerts]                         # alerts of logs of events, told to a web server; see `serve::alerting`
//! webhook = "https://hooks.example.com/audit"
//! secret_file = "webhook-secret"   # requests are signed with it
//! log = "audit"                    # of this log alone
//! min_severity = "low"             # or "medium", "high", "critical"
//! ca = "hook-ca.pem"               # CAs of the web server; without it the system's
//! ```

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use graven_log::{Config, LogName, Publish, Witnessing};
use graven_note::Policy;
use graven_server::ServerOptions;
use http::{HeaderValue, Uri};
use serde::Deserialize;

use crate::exit::{Failure, Outcome};
use crate::serve::alerting::AlertSettings;
use crate::vault::VaultSettings;

/// The longest time of a limit: a day.
const MAX_LIMIT_S: u64 = 24 * 3600;
/// More connections than a process has file descriptors for.
const MAX_CONNECTIONS: usize = 1_000_000;
/// An incomplete bundle is not sealed: with less room than the longest one, a log could be full for ever.
const MIN_UNSEALED_BYTES: usize = 17 << 20;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: Option<SocketAddr>,
    /// The data directory.
    pub(crate) data_dir: Option<PathBuf>,
    /// How to encrypt.
    pub(crate) tls: Option<TlsSettings>,
    /// Who may do what.
    pub(crate) access: Option<AccessSettings>,
    /// The operators' port.
    pub(crate) ops: OpsSettings,
    /// Traces, where somebody collects them.
    traces: Option<TraceSettings>,
    limits: LimitSettings,
    web: WebSettings,
    engine: EngineSettings,
    witnessing: BTreeMap<String, WitnessSettings>,
    /// The key store of logs of events.
    pub(crate) vault: VaultSettings,
    /// Whom to tell of alerts.
    pub(crate) alerts: Option<AlertSettings>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
    #[serde(default)]
    pub(crate) client_auth: ClientAuthSetting,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuthSetting {
    #[default]
    Optional,
    Required,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessSettings {
    pub(crate) credentials: PathBuf,
    #[serde(default)]
    pub(crate) urls: Vec<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpsSettings {
    /// An address with a port, or `off`.
    pub(crate) listen: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceSettings {
    pub(crate) otlp_endpoint: String,
    #[serde(default = "default_sample_ratio")]
    pub(crate) sample_ratio: f64,
}

fn default_sample_ratio() -> f64 {
    0.01
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct LimitSettings {
    max_connections: Option<usize>,
    handshake_s: Option<u64>,
    first_request_s: Option<u64>,
    idle_s: Option<u64>,
    connection_age_s: Option<u64>,
    request_s: Option<u64>,
    drain_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct WebSettings {
    origins: Vec<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct EngineSettings {
    checkpoint_interval_ms: Option<u64>,
    heartbeat_s: Option<u64>,
    export_interval_s: Option<u64>,
    reserve_mib: Option<u64>,
    segment_mib: Option<u64>,
    max_commit_kib: Option<u64>,
    max_pending_mib: Option<u64>,
    max_unsealed_mib: Option<u64>,
    idempotency_window_s: Option<u64>,
    idempotency_max_keys: Option<u64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct WitnessSettings {
    policy: PathBuf,
    #[serde(default)]
    publish: PublishSetting,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum PublishSetting {
    #[default]
    Signed,
    Witnessed,
}

fn default_timeout_ms() -> u64 {
    5_000
}

impl WitnessSettings {
    fn read(&self, log: &str) -> Outcome<Witnessing> {
        let wrong = |what: &dyn fmt::Display| {
            Failure::trouble(format_args!("witnessing.{log}: {}: {what}", self.policy.display()))
        };
        if !(1..=MAX_LIMIT_S * 1000).contains(&self.timeout_ms) {
            let most = MAX_LIMIT_S * 1000;
            return Err(Failure::trouble(format_args!("witnessing.{log}.timeout_ms is not 1 to {most}")));
        }
        let bytes = fs::read(&self.policy).map_err(|error| Failure::file(&self.policy, &error))?;
        let policy = Policy::parse(&bytes).map_err(|error| wrong(&error))?;
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let at: Option<Uri> = url.to_string().parse().ok();
            let is_web = at.is_some_and(|at| {
                matches!(at.scheme_str(), Some("http" | "https")) && at.authority().is_some()
            });
            if !is_web {
                return Err(wrong(&format_args!("{url} is no URL of http or https to push to")));
            }
        }
        let publish = match self.publish {
            PublishSetting::Signed => Publish::Signed,
            PublishSetting::Witnessed => Publish::Witnessed,
        };
        let round = Duration::from_millis(self.timeout_ms);
        Witnessing::new(policy, publish, round).map_err(|error| wrong(&error))
    }
}

impl Settings {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let wrong = |error| Failure::trouble(format_args!("{}: {error}", path.display()));
        let mut settings: Self = toml::from_str(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        settings.data_dir = settings.data_dir.map(|data_dir| folder.join(data_dir));
        if let Some(tls) = &mut settings.tls {
            for path in [&mut tls.cert, &mut tls.key].into_iter().chain(&mut tls.client_ca) {
                *path = folder.join(&*path);
            }
        }
        if let Some(access) = &mut settings.access {
            access.credentials = folder.join(&access.credentials);
        }
        settings.vault.relative_to(folder);
        if let Some(alerts) = &mut settings.alerts {
            alerts.relative_to(folder);
        }
        settings.vault.check()?;
        for witnessing in settings.witnessing.values_mut() {
            witnessing.policy = folder.join(&witnessing.policy);
            witnessing.ca = witnessing.ca.take().map(|ca| folder.join(ca));
        }
        Ok(settings)
    }

    /// The server's settings, but for what is read from other files.
    pub(crate) fn server(&self) -> Outcome<ServerOptions> {
        let (given, default) = (&self.limits, ServerOptions::default());
        let times = [
            ("handshake_s", given.handshake_s),
            ("first_request_s", given.first_request_s),
            ("idle_s", given.idle_s),
            ("connection_age_s", given.connection_age_s),
            ("request_s", given.request_s),
        ];
        for (name, seconds) in times.into_iter().filter_map(|(name, given)| Some((name, given?))) {
            if !(1..=MAX_LIMIT_S).contains(&seconds) {
                return Err(Failure::trouble(format_args!(
                    "limits.{name} = {seconds} is not 1 to {MAX_LIMIT_S}"
                )));
            }
        }
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        let origins = self.web.origins.iter().map(|given| origin(given));
        let max_connections = given.max_connections.unwrap_or(default.max_connections);
        if !(1..=MAX_CONNECTIONS).contains(&max_connections) {
            return Err(Failure::trouble(format_args!(
                "limits.max_connections = {max_connections} is not 1 to {MAX_CONNECTIONS}"
            )));
        }
        Ok(ServerOptions {
            web_origins: origins.collect::<Outcome<_>>()?,
            max_connections,
            handshake_timeout: seconds(given.handshake_s, default.handshake_timeout),
            first_request_timeout: seconds(given.first_request_s, default.first_request_timeout),
            idle_timeout: seconds(given.idle_s, default.idle_timeout),
            max_connection_age: seconds(given.connection_age_s, default.max_connection_age),
            request_timeout: seconds(given.request_s, default.request_timeout),
            drain_timeout: seconds(given.drain_s, default.drain_timeout)
                .min(Duration::from_secs(MAX_LIMIT_S)),
            ..default
        })
    }

    /// The witnesses of logs, out of the policy files.
    pub(crate) fn witnessing(&self) -> Outcome<BTreeMap<LogName, Witnessing>> {
        let read = |(log, settings): (&String, &WitnessSettings)| {
            let name = LogName::new(log)
                .map_err(|error| Failure::trouble(format_args!("witnessing.{log}: {error}")))?;
            Ok((name, settings.read(log)?))
        };
        self.witnessing.iter().map(read).collect()
    }

    /// The CAs of a log's witnesses, where they are not the system's.
    pub(crate) fn witness_ca(&self, log: &LogName) -> Option<&Path> {
        self.witnessing.get(log.as_str()).and_then(|settings| settings.ca.as_deref())
    }

    /// Where traces go.
    pub(crate) fn traces(&self) -> Outcome<Option<TraceSettings>> {
        let Some(traces) = &self.traces else { return Ok(None) };
        let at: Option<Uri> = traces.otlp_endpoint.parse().ok();
        if !at.is_some_and(|at| at.scheme_str() == Some("http") && at.authority().is_some()) {
            return Err(Failure::trouble(
                "traces.otlp_endpoint: only http://HOST:PORT is spoken: run a collector beside the server, which passes \
                 them on",
            ));
        }
        if !(0.0..=1.0).contains(&traces.sample_ratio) {
            return Err(Failure::trouble("traces.sample_ratio is not 0 to 1"));
        }
        Ok(Some(traces.clone()))
    }

    /// The engine's settings.
    pub(crate) fn engine(&self) -> Outcome<Config> {
        let (given, default) = (&self.engine, Config::default());
        let mut config = Config {
            segment_bytes: scaled("segment_mib", given.segment_mib, MIB, default.segment_bytes)?,
            reserve_bytes: scaled("reserve_mib", given.reserve_mib, MIB, default.reserve_bytes)?,
            max_commit_bytes: length("max_commit_kib", given.max_commit_kib, KIB, default.max_commit_bytes)?,
            max_pending_bytes: length(
                "max_pending_mib",
                given.max_pending_mib,
                MIB,
                default.max_pending_bytes,
            )?,
            max_unsealed_bytes: length(
                "max_unsealed_mib",
                given.max_unsealed_mib,
                MIB,
                default.max_unsealed_bytes,
            )?,
            checkpoint_interval: given
                .checkpoint_interval_ms
                .map_or(default.checkpoint_interval, Duration::from_millis),
            heartbeat: given.heartbeat_s.map_or(default.heartbeat, Duration::from_secs),
            export_interval: given.export_interval_s.map_or(default.export_interval, Duration::from_secs),
            ..default
        };
        if config.max_unsealed_bytes < MIN_UNSEALED_BYTES {
            return Err(Failure::trouble(
                "engine.max_unsealed_mib is less than 17: the longest bundle would not fit",
            ));
        }
        config.window.max_age = given.idempotency_window_s.map_or(config.window.max_age, Duration::from_secs);
        config.window.max_keys =
            length("idempotency_max_keys", given.idempotency_max_keys, 1, config.window.max_keys)?;
        Ok(config)
    }
}

/// An origin as browsers send it (RFC 6454 §6.2): scheme, host and perhaps port, and nothing else.
fn origin(text: &str) -> Outcome<HeaderValue> {
    let uri: Option<Uri> = text.parse().ok();
    let is_origin = uri.is_some_and(|uri| {
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        is_web
            && uri
                .authority()
                .is_some_and(|at| format!("{}://{at}", uri.scheme_str().unwrap_or_default()) == text)
    });
    let value = text.parse().ok().filter(|_| is_origin);
    value.ok_or_else(|| {
        Failure::trouble(format_args!(
            "web.origins: {text:?} is no origin: write https://explorer.example.com"
        ))
    })
}

fn scaled(name: &str, given: Option<u64>, unit: u64, default: u64) -> Outcome<u64> {
    let Some(given) = given else { return Ok(default) };
    given.checked_mul(unit).ok_or_else(|| Failure::trouble(format_args!("{name} = {given} is too large")))
}

/// A setting that may not be nothing.
fn length(name: &str, given: Option<u64>, unit: u64, default: usize) -> Outcome<usize> {
    let Some(given) = given else { return Ok(default) };
    let bytes =
        given.checked_mul(unit).and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| Failure::trouble(format_args!("{name} = {given} is too small or too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_files_state_the_defaults() {
        let here: String = include_str!("settings.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .fold(String::new(), |text, line| text + line + "\n");
        let reference = include_str!("../../../deploy/CONFIGURATION.md");
        let files = [&here[..], reference].map(|text| {
            let (_, rest) = text.split_once("```toml\n").unwrap();
            toml::from_str::<Settings>(rest.split_once("```").unwrap().0).unwrap()
        });
        assert_eq!(files[0], files[1]);
        let (settings, default) = (&files[0], Settings::default());
        assert_eq!(format!("{:?}", settings.engine().unwrap()), format!("{:?}", default.engine().unwrap()));
        assert_eq!(format!("{:?}", settings.server().unwrap()), format!("{:?}", default.server().unwrap()));
        assert_eq!(format!("{:?}", settings.engine().unwrap()), format!("{:?}", Config::default()));
        let witnessing = &settings.witnessing["audit"];
        assert_eq!(
            (witnessing.publish, witnessing.timeout_ms),
            (PublishSetting::default(), default_timeout_ms())
        );
        let traces = settings.traces.as_ref().unwrap();
        assert!((traces.sample_ratio - default_sample_ratio()).abs() < f64::EPSILON);
    }

    #[test]
    fn the_whole_file_is_documented() {
        // A key that is in neither list is not in the files above, and its default is not checked.
        let documented: toml::Table = toml::from_str(
            include_str!("../../../deploy/CONFIGURATION.md")
                .split("```")
                .nth(1)
                .unwrap()
                .trim_start_matches("toml"),
        )
        .unwrap();
        for (table, keys) in [
            ("limits", 7),
            ("engine", 10),
            ("tls", 4),
            ("web", 1),
            ("traces", 2),
            ("witnessing", 1),
            ("vault", 2),
            ("alerts", 5),
        ] {
            assert_eq!(documented[table].as_table().unwrap().len(), keys, "{table}");
        }
    }

    #[test]
    fn witnesses_are_read_from_their_policy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("graven.toml");
        let key = "w+7e4b3f0c+BAFyqGk8";
        let read = |settings: &str, policy: &str| {
            fs::write(folder.path().join("p"), policy).unwrap();
            fs::write(&file, settings).unwrap();
            Settings::read(&file)?.witnessing()
        };
        let refused = |settings: &str, policy: &str| read(settings, policy).unwrap_err().to_string();
        let table = "[witnessing.audit]\npolicy = \"p\"\n";
        assert!(read("", "").unwrap().is_empty());
        assert!(refused(table, "quorum none\n").contains("without any witness"));
        assert!(refused(table, &format!("witness w {key}\n")).contains("line 1"));
        assert!(refused(&table.replace("audit", "Audit"), "quorum none\n").contains("Audit"));
        assert!(refused(&format!("{table}timeout_ms = 0\n"), "quorum none\n").contains("timeout_ms"));
        assert!(refused(&format!("{table}publish = \"never\"\n"), "quorum none\n").contains("never"));
        assert!(refused(&table.replace("\"p\"", "\"q\""), "").contains("/q: "));
        fs::write(&file, format!("{table}ca = \"ca.pem\"\n")).unwrap();
        let settings = Settings::read(&file).unwrap();
        let ca = |log| settings.witness_ca(&LogName::new(log).unwrap()).map(Path::to_owned);
        assert_eq!((ca("audit"), ca("other")), (Some(folder.path().join("ca.pem")), None));
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        assert!(toml::from_str::<Settings>("listne = 1").unwrap_err().to_string().contains("listne"));
        assert!(toml::from_str::<Settings>("[engine]\nheartbeat = 1").is_err());
        let huge: Settings = toml::from_str("[engine]\nsegment_mib = 9223372036854775807").unwrap();
        assert!(huge.engine().unwrap_err().to_string().contains("segment_mib"));
        let nothing: Settings = toml::from_str("[engine]\nmax_commit_kib = 0").unwrap();
        assert!(nothing.engine().unwrap_err().to_string().contains("max_commit_kib"));
    }
}
