//! Making data directories and logs: what exists is never changed, and what was interrupted does not exist.

use std::path::Path;

use graven_note::{KeyName, Origin, SignatureType};
use graven_store::fs::Mode;
use graven_store::journal::{Journal, LogId};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::env::Env;
use crate::error::{InitError, KeyError};
use crate::meta::{Kind, LogMeta, LogName, Paths, ServerMeta, Visibility};
use crate::{keys, signing};

/// What `init` made.
#[derive(Debug)]
pub struct Initialized {
    /// The first log.
    pub meta: LogMeta,
    /// Where the recovery key lies, to be taken offline.
    pub recovery_key: std::path::PathBuf,
}

/// Makes a new data directory with its first log. Nothing that exists is ever changed.
pub fn init(
    env: &Env,
    dir: &Path,
    origin: &str,
    kind: Kind,
    visibility: Visibility,
    config: &Config,
) -> Result<Initialized, InitError> {
    let bad_origin = || InitError::Origin(origin.to_owned());
    let (prefix, name) = origin.rsplit_once('/').ok_or_else(bad_origin)?;
    // An origin is the name of its keys too, and what is refused must leave nothing behind.
    if prefix.is_empty() || Origin::new(origin).is_err() || KeyName::new(origin).is_err() {
        return Err(bad_origin());
    }
    let (prefix, name) = (prefix.to_owned(), LogName::new(name)?);
    if !config.sequencers.serves(kind) {
        return Err(InitError::Kind(kind));
    }
    let paths = Paths::new(dir);
    if env.fs.exists(&paths.server())? {
        return Err(InitError::Exists(dir.to_owned()));
    }
    if env.fs.exists(dir)? && !env.fs.list(dir)?.is_empty() {
        return Err(InitError::NotEmpty(dir.to_owned()));
    }
    env.fs.create_dir_all(dir)?;
    let recovery_name = format!("{prefix}/recovery");
    let recovery = keys::create(env, &paths.recovery_key(), &recovery_name, SignatureType::Ed25519)?;
    let secret = Zeroizing::new(env.random::<32>()?);
    Journal::create(env.fs.clone(), &paths.journal(), config.segment_bytes, env.random()?)?;
    let server = ServerMeta { prefix, secret, recovery };
    let meta = create_log(env, &paths, name, &server, LogId(1), kind, visibility)?;
    // The server exists once its manifest does; until then `init` may be run again after the rest is removed.
    env.fs.create_durable(&paths.server(), server.to_text().as_bytes(), Mode::Private)?;
    Ok(Initialized { meta, recovery_key: paths.recovery_key() })
}

/// Makes the files of a log. It exists once its manifest does.
pub(crate) fn create_log(
    env: &Env,
    paths: &Paths,
    name: LogName,
    server: &ServerMeta,
    id: LogId,
    kind: Kind,
    visibility: Visibility,
) -> Result<LogMeta, KeyError> {
    let origin = format!("{}/{name}", server.prefix);
    let origin = Origin::new(origin).map_err(|e| KeyError::Name(e.to_string()))?;
    env.fs.create_dir_all(&paths.log(&name))?;
    let log_keys = keys::create_all(env, &paths.keys(&name), origin.as_str())?;
    let created_ns = env.clock.wall_ns();
    signing::create_journal(&*env.fs, &paths.signer(&name), &origin, created_ns / 1_000_000_000)?;
    let recovery = server.recovery.clone();
    let meta = LogMeta { id, name, origin, kind, visibility, created_ns, keys: log_keys, recovery };
    env.fs.create_durable(&paths.manifest(&meta.name), meta.to_text().as_bytes(), Mode::Shared)?;
    Ok(meta)
}
