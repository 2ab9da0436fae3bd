//! Where the server's key store is, and the key that opens it.
//!
//! ```toml
//! [vault]                          # keys of the people in logs of events; without this, DATA/vault and DATA/vault-key
//! folder = "vault"                 # the key store: on another disk than the data, if backups take the data
//! master_key = "vault-key"         # 32 random bytes that all of it is wrapped by, mode 0600; keep a copy elsewhere
//! # or, for a key that never leaves a hardware token (PKCS#11):
//! # pkcs11 = { module = "/usr/lib/softhsm/libsofthsm2.so", token = "graven", key = "vault", pin_file = "pin" }
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use graven_audit::{Audit, AuditOptions, Hooks, Master};
use graven_log::{Config, Env, Paths};
use graven_vault::{Entropy, FileMaster, MasterError, MasterKey, Pkcs11Config, Pkcs11Master, Sight, Vault};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};

/// What the settings say of it. Paths are complete.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VaultSettings {
    folder: Option<PathBuf>,
    master_key: Option<PathBuf>,
    pkcs11: Option<Pkcs11Settings>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Pkcs11Settings {
    module: PathBuf,
    token: String,
    key: String,
    pin_file: PathBuf,
}

impl VaultSettings {
    /// Completes paths that are relative to the settings' folder.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        let of_pkcs11 = self.pkcs11.iter_mut().map(|pkcs11| &mut pkcs11.pin_file);
        for path in self.folder.iter_mut().chain(&mut self.master_key).chain(of_pkcs11) {
            *path = folder.join(&*path);
        }
    }

    /// Whether it says one thing.
    pub(crate) fn check(&self) -> Outcome {
        if self.master_key.is_some() && self.pkcs11.is_some() {
            return Err(Failure::trouble("[vault] names master_key and pkcs11: leave out one of them"));
        }
        Ok(())
    }

    /// The same, but for these places.
    pub(crate) fn at(self, folder: Option<PathBuf>, master_key: Option<PathBuf>) -> Self {
        let pkcs11 = self.pkcs11.filter(|_| master_key.is_none());
        Self { folder: folder.or(self.folder), master_key: master_key.or(self.master_key), pkcs11 }
    }

    /// Looks into the key store and changes nothing; `None` where there is none, or no key in its usual place to open it with.
    pub(crate) fn look(&self, env: &Env, data_dir: &Path) -> Outcome<Option<Sight>> {
        let folder = self.folder(data_dir);
        if !env.fs.exists(&folder).map_err(Failure::trouble)? {
            return Ok(None);
        }
        let is_named = self.master_key.is_some() || self.pkcs11.is_some();
        let master = match self.master(env, data_dir).open() {
            Ok(master) => master,
            Err(error) if is_named => {
                return Err(Failure::trouble(format_args!("the master key of the key store: {error}")));
            }
            Err(_) => return Ok(None),
        };
        Sight::of(&*env.fs, &folder, &*master).map(Some).map_err(Failure::check_failed)
    }

    fn folder(&self, data_dir: &Path) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| data_dir.join("vault"))
    }

    fn master(&self, env: &Env, data_dir: &Path) -> Arc<dyn Master> {
        let key_file = self.master_key.clone().unwrap_or_else(|| data_dir.join("vault-key"));
        Arc::new(MasterPlace { env: env.clone(), key_file, pkcs11: self.pkcs11.clone() })
    }

    /// What the logs of events of a data directory are opened with.
    pub(crate) fn options(&self, env: &Env, data_dir: &Path) -> AuditOptions {
        AuditOptions {
            env: env.clone(),
            vault: self.folder(data_dir),
            master: self.master(env, data_dir),
            index: Paths::new(data_dir).index().join("events"),
        }
    }
}

/// Makes the key store of a data directory that gets its first log. Returns it with the place of its key.
pub(crate) fn create(env: &Env, data_dir: &Path) -> Outcome<(Vault, PathBuf)> {
    let settings = VaultSettings::default();
    let master = settings.master(env, data_dir);
    let vault = Audit::create_vault(env, &settings.folder(data_dir), &*master).map_err(Failure::trouble)?;
    Ok((vault, data_dir.join("vault-key")))
}

/// The engine's settings with the hooks of logs of every kind.
pub(crate) fn hooked(config: Config) -> (Config, Arc<Hooks>) {
    let hooks = Arc::new(Hooks::default());
    (Config { sequencers: hooks.clone(), ..config }, hooks)
}

struct MasterPlace {
    env: Env,
    key_file: PathBuf,
    pkcs11: Option<Pkcs11Settings>,
}

impl MasterPlace {
    fn entropy(&self) -> Entropy {
        let source = self.env.entropy.clone();
        Arc::new(move |bytes: &mut [u8]| source.fill(bytes))
    }

    fn token(settings: &Pkcs11Settings) -> Result<Pkcs11Config, MasterError> {
        let unread = |error| MasterError::Unavailable(format!("{}: {error}", settings.pin_file.display()));
        let pin = Zeroizing::new(fs::read_to_string(&settings.pin_file).map_err(unread)?);
        Ok(Pkcs11Config {
            module: settings.module.clone(),
            token: settings.token.clone(),
            key: settings.key.clone(),
            pin: Zeroizing::new(pin.trim_end().to_owned()),
        })
    }
}

impl Master for MasterPlace {
    fn open(&self) -> Result<Arc<dyn MasterKey>, MasterError> {
        Ok(match &self.pkcs11 {
            Some(settings) => Arc::new(Pkcs11Master::open(&Self::token(settings)?, self.entropy())?),
            None => Arc::new(FileMaster::open(&*self.env.fs, &self.key_file, self.entropy())?),
        })
    }

    fn create(&self) -> Result<Arc<dyn MasterKey>, MasterError> {
        // A key that was brought is taken, not replaced.
        if let Some(settings) = &self.pkcs11 {
            let config = Self::token(settings)?;
            if let Ok(master) = Pkcs11Master::open(&config, self.entropy()) {
                return Ok(Arc::new(master));
            }
            return Ok(Arc::new(Pkcs11Master::create(&config, self.entropy())?));
        }
        let unmade = |error| MasterError::Unavailable(format!("{}: {error}", self.key_file.display()));
        if self.env.fs.exists(&self.key_file).map_err(unmade)? {
            return self.open();
        }
        let made = FileMaster::create(&*self.env.fs, &self.key_file, self.entropy()).map_err(unmade)?;
        Ok(Arc::new(made))
    }
}
