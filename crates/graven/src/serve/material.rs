//! Certificates, keys and credentials: read, checked, and read again when their files change.
//!
//! What cannot be used leaves what is in use in place, and is said in the log and the metrics.

use std::{
    fs, iter,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use graven_auth::{Roots, ServerUrl, Validator};
use graven_server::{ClientAuth, Credentials, IssuerEntry, Keyring, Tls};
use metrics::{counter, gauge};
use tokio::signal::unix::Signal;
use zeroize::Zeroizing;

use crate::{
    exit::{Failure, Outcome},
    settings::{AccessSettings, ClientAuthSetting, TlsSettings},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Mode bits that no key may have: writable by the group, or anything for others.
pub(super) const KEY_BITS: u32 = 0o037;
/// Mode bits that no file may have that says who may do what.
pub(super) const WRITE_BITS: u32 = 0o022;
/// No certificate, key or list of credentials is longer.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What the server proves itself by, and what it knows others by.
pub(crate) struct Material {
    tls: Option<(TlsSettings, Tls)>,
    access: Option<(AccessSettings, Arc<Keyring>)>,
    /// The files as they were before they were read.
    seen: [Vec<Print>; 2],
}

/// When a file was changed, as far as can be seen from outside.
type Print = Option<(u64, i64, i64, u64)>;

impl Material {
    pub(crate) fn load(tls: Option<TlsSettings>, access: Option<AccessSettings>) -> Outcome<Self> {
        // Before they are read. What the credentials name is not known yet: where there is such a thing, all is read once more.
        let seen = prints(tls.as_ref(), access.as_ref(), &Credentials::default());
        let tls = tls.map(|settings| load_tls(&settings).map(|tls| (settings, tls))).transpose()?;
        let keyring =
            |settings: &_| load_credentials(settings, None).map(|known| Arc::new(Keyring::new(known)));
        let access =
            access.map(|settings| keyring(&settings).map(|keyring| (settings, keyring))).transpose()?;
        Ok(Self { tls, access, seen })
    }

    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|(_, tls)| tls.clone())
    }

    pub(crate) fn keyring(&self) -> Option<Arc<Keyring>> {
        self.access.as_ref().map(|(_, keyring)| keyring.clone())
    }

    /// What a port needs that has no credentials: TLS, or the loopback interface.
    pub(crate) fn of_port(listen: SocketAddr, cert: Option<PathBuf>, key: Option<PathBuf>) -> Outcome<Self> {
        let client_auth = ClientAuthSetting::default();
        let tls = cert.zip(key).map(|(cert, key)| TlsSettings { cert, key, client_ca: None, client_auth });
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(Failure::trouble(format_args!(
                "{listen} is not on the loopback interface: give --tls-cert and --tls-key"
            )));
        }
        Self::load(tls, None)
    }

    /// The credentials in use.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        self.access.as_ref().map(|(_, keyring)| keyring.credentials()).unwrap_or_default()
    }

    /// Reads the files again whenever they change, and on the signal, for ever.
    pub(crate) async fn follow(mut self, mut hangup: Signal) {
        self.report_tls();
        for what in [self.tls.is_some().then_some("tls"), self.access.is_some().then_some("credentials")] {
            let Some(what) = what else { continue };
            counter!("graven_reload_failures_total", "what" => what).absolute(0);
            report_success(what);
        }
        loop {
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let tls = self.tls.as_ref().map(|(settings, _)| settings);
            let now = prints(tls, self.access.as_ref().map(|(settings, _)| settings), &self.credentials());
            if is_asked || now[0] != self.seen[0] {
                self.reload_tls();
            }
            if is_asked || now[1] != self.seen[1] {
                self.reload_credentials();
            }
            self.seen = now;
        }
    }

    fn reload_tls(&self) {
        let Some((settings, tls)) = &self.tls else { return };
        let loaded = load_tls(settings).map(|new| tls.replace(&new));
        told("tls", loaded);
        self.report_tls();
    }

    fn reload_credentials(&self) {
        let Some((settings, keyring)) = &self.access else { return };
        let before = keyring.credentials();
        let loaded = load_credentials(settings, before.validator()).map(|new| keyring.replace(new));
        told("credentials", loaded);
    }

    fn report_tls(&self) {
        if let Some((_, tls)) = &self.tls {
            gauge!("graven_tls_certificate_not_after_timestamp_seconds").set(seconds(tls.not_after()));
        }
    }
}

/// The files of TLS, and those of credentials, with what these name.
fn prints(
    tls: Option<&TlsSettings>,
    access: Option<&AccessSettings>,
    known: &Credentials,
) -> [Vec<Print>; 2] {
    let tls = tls.into_iter().flat_map(|settings| {
        [Some(&settings.cert), Some(&settings.key), settings.client_ca.as_ref()].into_iter().flatten()
    });
    let access = access.into_iter().flat_map(|settings| {
        let path = &settings.credentials;
        let named = known.issuers().iter().flat_map(|entry| [entry.secret_file(), entry.ca_file()]);
        iter::once(path.clone()).chain(named.flatten().map(|file| beside(path, file)))
    });
    [tls.map(|path| print(path)).collect(), access.map(|path| print(&path)).collect()]
}

fn told(what: &'static str, loaded: Outcome) {
    match loaded {
        Ok(()) => {
            tracing::info!(what, "read again");
            report_success(what);
        }
        Err(failure) => {
            tracing::error!(what, %failure, "what is in use stays: the files cannot be used");
            counter!("graven_reload_failures_total", "what" => what).increment(1);
        }
    }
}

fn report_success(what: &'static str) {
    gauge!("graven_reload_success_timestamp_seconds", "what" => what).set(seconds(SystemTime::now()));
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn print(path: &Path) -> Print {
    let known = fs::metadata(path).ok()?;
    Some((known.ino(), known.mtime(), known.mtime_nsec(), known.len()))
}

fn load_tls(settings: &TlsSettings) -> Outcome<Tls> {
    let cert = read(&settings.cert, 0)?;
    let key = read(&settings.key, KEY_BITS)?;
    let client_ca = settings.client_ca.as_ref().map(|path| read(path, WRITE_BITS)).transpose()?;
    let auth = match settings.client_auth {
        ClientAuthSetting::Optional => ClientAuth::Optional,
        ClientAuthSetting::Required if client_ca.is_none() => {
            return Err(Failure::trouble("tls.client_auth = \"required\" needs tls.client_ca to verify by"));
        }
        ClientAuthSetting::Required => ClientAuth::Required,
    };
    let client_ca = client_ca.as_deref().map(|pem| (pem, auth));
    let tls = Tls::new(&cert, &key, client_ca).map_err(|error| {
        Failure::trouble(format_args!(
            "TLS with {} and {}: {error}",
            settings.cert.display(),
            settings.key.display()
        ))
    })?;
    if tls.not_after() <= SystemTime::now() {
        let cert = settings.cert.display();
        return Err(Failure::trouble(format_args!("{cert} has expired: put a new certificate in its place")));
    }
    Ok(tls)
}

/// Reads credentials, and what they name. Issuers that are as they were `before` keep what they know.
fn load_credentials(settings: &AccessSettings, before: Option<&Validator>) -> Outcome<Credentials> {
    let path = &settings.credentials;
    let text = read(path, WRITE_BITS)?;
    let wrong = |error: &dyn std::fmt::Display| Failure::trouble(format_args!("{}: {error}", path.display()));
    let text = String::from_utf8(text).map_err(|error| wrong(&error))?;
    let credentials = Credentials::parse(&text).map_err(|error| wrong(&error))?;
    if credentials.issuers().is_empty() {
        return Ok(credentials);
    }
    let servers = settings.urls.iter().map(|url| {
        ServerUrl::parse(url).ok_or_else(|| {
            Failure::trouble(format_args!(
                "access.urls: {url:?} is no address of a server: write https://HOST:PORT"
            ))
        })
    });
    let servers = servers.collect::<Outcome<Vec<_>>>()?;
    if let Some(entry) = credentials.issuers().iter().find(|entry| entry.takes_proofs() && servers.is_empty())
    {
        let what =
            format!("issuer `{}` takes DPoP proofs: say in access.urls for which addresses", entry.name());
        return Err(wrong(&what));
    }
    let issuers = credentials.issuers().iter().map(|entry| load_issuer(entry, path));
    let issuers = issuers.collect::<Outcome<Vec<_>>>()?;
    let validator = match before {
        Some(before) => before.renewed(issuers, servers),
        None => Validator::new(issuers, servers, Arc::new(SystemTime::now)),
    };
    let validator = validator.map_err(|(name, error)| wrong(&format_args!("issuer `{name}`: {error}")))?;
    Ok(credentials.with_validator(validator))
}

fn load_issuer(entry: &IssuerEntry, credentials: &Path) -> Outcome<graven_auth::IssuerSettings> {
    let secret = entry.secret_file().map(|file| {
        let file = beside(credentials, file);
        let bytes = Zeroizing::new(read(&file, KEY_BITS)?);
        let text = str::from_utf8(&bytes).map_err(|_| ()).map(str::trim);
        let text = text.ok().filter(|text| !text.is_empty() && !text.contains(char::is_control));
        text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
            Failure::trouble(format_args!("{}: it must hold one line, the client's secret", file.display()))
        })
    });
    let roots = match entry.ca_file() {
        Some(file) => {
            let file = beside(credentials, file);
            let wrong = |error| Failure::trouble(format_args!("{}: {error}", file.display()));
            Roots::from_pem(&read(&file, WRITE_BITS)?).map_err(wrong)?
        }
        None => system_roots().or_else(|_| Roots::nobody()).map_err(Failure::trouble)?,
    };
    Ok(entry.settings(secret.transpose()?, roots))
}

/// The CAs of this machine.
pub(super) fn system_roots() -> Result<Roots, graven_auth::RootsError> {
    let found = rustls_native_certs::load_native_certs();
    Roots::new(found.certs.into_iter().map(|certificate| certificate.to_vec()))
}

/// A file that another one names.
fn beside(path: &Path, file: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(file)
}

/// A file's bytes, unless its mode has a bit that it must not have.
pub(super) fn read(path: &Path, forbidden: u32) -> Outcome<Vec<u8>> {
    let known = fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
    let shown = path.display();
    if known.mode() & forbidden != 0 {
        let mode = known.mode() & 0o777;
        return Err(Failure::trouble(format_args!(
            "{shown} has mode {mode:03o}, so others than its owner could use or change it: chmod 600 {shown}"
        )));
    }
    if known.len() > MAX_FILE_BYTES {
        return Err(Failure::trouble(format_args!(
            "{shown} has over {MAX_FILE_BYTES} bytes: it is something else"
        )));
    }
    fs::read(path).map_err(|error| Failure::file(path, &error))
}
