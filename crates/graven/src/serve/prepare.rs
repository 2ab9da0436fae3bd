//! What a server is to serve with, from its arguments and files: everything that can be wrong is found here, before a
//! socket or a data directory is touched. `graven config check` does this and no more.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use graven_log::{Config, LogName};
use graven_note::policy::PolicyWord;
use graven_server::{Open, ServerOptions, WitnessRoots};

use super::{
    ServeArgs,
    alerting::{AlertSettings, Alerting},
    material::{Material, WRITE_BITS, read, system_roots},
};
use crate::{
    exit::{Failure, Outcome},
    settings::{Settings, TraceSettings},
    vault::VaultSettings,
};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4740);
const DEFAULT_OPS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4741);

/// Everything that is known before a server starts.
pub(crate) struct Prepared {
    pub(crate) data_dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) options: ServerOptions,
    pub(crate) listen: SocketAddr,
    pub(crate) ops: OpsPort,
    pub(crate) material: Material,
    pub(crate) traces: Option<TraceSettings>,
    pub(crate) dev: bool,
    pub(crate) vault: VaultSettings,
    pub(crate) alerts: Option<Alerting>,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpsPort {
    /// Nowhere.
    Off,
    /// Here, if it is free: nobody asked for it.
    Default(SocketAddr),
    /// Here.
    At(SocketAddr),
}

impl Prepared {
    pub(crate) fn new(args: &ServeArgs) -> Outcome<Self> {
        let settings = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let listen = args.listen.or(settings.listen).unwrap_or(DEFAULT_LISTEN);
        let ops = ops_port(args.ops_listen.as_deref().or(settings.ops.listen.as_deref()))?;
        let data_dir = args.data_dir.clone().or(settings.data_dir.clone());
        let data_dir = data_dir.ok_or_else(|| Failure::trouble("which logs? give --data-dir FOLDER"))?;
        check_access(args.dev, &settings, listen)?;
        check_ports(&settings, listen, ops)?;
        let traces = settings.traces()?;
        let material = Material::load(settings.tls.clone(), settings.access.clone())?;
        let config = Config { witnessing: settings.witnessing()?, ..settings.engine()? };
        let mut options = settings.server()?;
        options.idempotency_window = config.window.max_age;
        options.tls = material.tls();
        options.witness_roots = witness_roots(&config, &settings)?;
        options.access = match material.keyring() {
            Some(keyring) => keyring,
            None => Arc::new(Open),
        };
        Ok(Self {
            data_dir,
            config,
            options,
            listen,
            ops,
            material,
            traces,
            dev: args.dev,
            alerts: settings.alerts.as_ref().map(AlertSettings::prepare).transpose()?,
            vault: settings.vault,
        })
    }
}

/// Whom to believe where witnesses are pushed to over TLS: a log's own CAs, or else the system's.
fn witness_roots(config: &Config, settings: &Settings) -> Outcome<BTreeMap<LogName, WitnessRoots>> {
    let mut roots = BTreeMap::new();
    for (log, witnessing) in &config.witnessing {
        let is_https = |url: &PolicyWord| url.as_bytes().starts_with(b"https://");
        let found = match settings.witness_ca(log) {
            Some(path) => {
                let pem = read(path, WRITE_BITS)?;
                let wrong = |error| Failure::trouble(format_args!("{}: {error}", path.display()));
                WitnessRoots::from_pem(&pem).map_err(wrong)?
            }
            None if witnessing.policy().witnesses().any(|it| it.url.as_ref().is_some_and(is_https)) => {
                system_roots().map_err(|error| {
                    Failure::trouble(format_args!("witnessing.{log}: the system's CA certificates: {error}"))
                })?
            }
            None => continue,
        };
        roots.insert(log.clone(), found);
    }
    Ok(roots)
}

/// Nobody serves to the world by mistake.
fn check_access(dev: bool, settings: &Settings, listen: SocketAddr) -> Outcome {
    match (dev, &settings.access) {
        (true, Some(_)) => Err(Failure::trouble(
            "--dev serves without credentials, and the settings name some: leave out one of them",
        )),
        (false, None) => Err(Failure::trouble(
            "no credentials are configured, so everybody could do everything: name a file in the settings \
             (`[access]`, `credentials`; see `graven token new --help`), or add --dev to serve like that on the \
             loopback interface",
        )),
        (true, None) if !listen.ip().is_loopback() => Err(Failure::trouble(format_args!(
            "--dev serves without credentials and only on the loopback interface, not on {listen}: listen on 127.0.0.1"
        ))),
        _ => Ok(()),
    }
}

/// Nothing goes unencrypted beyond this machine.
fn check_ports(settings: &Settings, listen: SocketAddr, ops: OpsPort) -> Outcome {
    let ops = match ops {
        OpsPort::At(address) => Some(("ops.listen", address)),
        OpsPort::Off | OpsPort::Default(_) => None,
    };
    for (what, address) in [Some(("listen", listen)), ops].into_iter().flatten() {
        if settings.tls.is_none() && !address.ip().is_loopback() {
            return Err(Failure::trouble(format_args!(
                "{what} = {address} is not the loopback interface, and without TLS everybody on the way could read and \
                 alter what is sent: configure `[tls]`"
            )));
        }
    }
    Ok(())
}

fn ops_port(given: Option<&str>) -> Outcome<OpsPort> {
    match given {
        None => Ok(OpsPort::Default(DEFAULT_OPS_LISTEN)),
        Some("off") => Ok(OpsPort::Off),
        Some(text) => text.parse().map(OpsPort::At).map_err(|_| {
            Failure::trouble(format_args!("ops.listen: {text:?} is neither ADDRESS:PORT nor \"off\""))
        }),
    }
}
