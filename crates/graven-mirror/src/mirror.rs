//! A mirror's data directory: made once, logs added while it does not run, opened by the one process that serves it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_note::{
    KeyName, LocalSigner, MAX_SIGNATURES, Origin, SEED_BYTES, SignatureType, Signer as _, VerifierKey,
};
use graven_store::Fs;
use graven_store::fs::{Lock, Mode};
use graven_store::key_file;
use zeroize::Zeroizing;

use crate::alive::Alive;
use crate::error::MirrorError;
use crate::log::MirroredLog;
use crate::meta::{self, LogMeta, MAX_MANIFEST_BYTES, MIRROR_KEY_TYPES};
use crate::state::StateFile;
use crate::ticket::Tickets;

/// Logs of one mirror.
const MAX_LOGS: usize = 1024;
/// Keys of a log and its witnesses: one line of each, and the mirror's own, are a note.
const MAX_KEYS: usize = MAX_SIGNATURES - MIRROR_KEY_TYPES.len();

/// A mirror with its copies.
pub struct Mirror {
    logs: BTreeMap<String, Arc<MirroredLog>>,
    alive: Arc<Alive>,
    _lock: Box<dyn Lock>,
}

/// A log to be mirrored.
#[derive(Clone, Debug)]
pub struct AddLog {
    /// Its origin.
    pub origin: Origin,
    /// The tlog-tiles prefix that has it.
    pub url: String,
    /// Its keys, from its operator: one valid signature by any of them suffices.
    pub keys: Vec<VerifierKey>,
    /// Witnesses whose cosignatures are kept where the source has them.
    pub witnesses: Vec<VerifierKey>,
}

/// Makes a mirror of that name, and returns its keys. Nothing that exists is changed.
pub fn init(fs: &dyn Fs, dir: &Path, name: &str) -> Result<Vec<VerifierKey>, MirrorError> {
    let name = KeyName::new(name).map_err(|_| {
        MirrorError::Refused(format!("`{name}` cannot name a mirror's keys: use example.com/mirror"))
    })?;
    if fs.exists(dir)? && !fs.list(dir)?.is_empty() {
        return Err(MirrorError::NotEmpty(dir.to_owned()));
    }
    fs.create_dir_all(&dir.join("keys"))?;
    fs.create_dir_all(&dir.join("logs"))?;
    let make = |(kind, file): &(SignatureType, &str)| {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(&mut *seed).map_err(io::Error::other)?;
        let signer = LocalSigner::generate(name.clone(), *kind, &seed)?;
        let path = dir.join("keys").join(file);
        fs.create_durable(&path, signer.to_pkcs8_pem()?.as_bytes(), Mode::Private)?;
        Ok::<_, MirrorError>(signer.vkey().clone())
    };
    let keys: Vec<_> = MIRROR_KEY_TYPES.iter().map(make).collect::<Result<_, _>>()?;
    // The mirror exists once its manifest does.
    fs.create_durable(&dir.join("mirror"), meta::mirror_text(&keys).as_bytes(), Mode::Shared)?;
    Ok(keys)
}

/// Adds a log, of which nothing is copied yet; returns the name of its place below the monitoring prefix. Where it is mirrored
/// already, it gets these keys, all that it has and perhaps more, these witnesses and this address.
pub fn add_log(fs: &dyn Fs, dir: &Path, log: AddLog) -> Result<String, MirrorError> {
    let (own, _lock) = enter(fs, dir)?;
    let AddLog { origin, url, keys, witnesses } = log;
    let keys = once_each(keys, &[]);
    let witnesses = once_each(witnesses, &keys);
    let refuse = |why: &str| Err(MirrorError::Refused(why.to_owned()));
    if keys.is_empty() {
        return refuse("a log needs a verifier key: ask its operator for it");
    }
    if url.chars().any(char::is_control) || url.is_empty() {
        return refuse("that is no address of a log");
    }
    let shares_name = |key: &VerifierKey| own.iter().any(|own| own.name() == key.name());
    if keys.iter().chain(&witnesses).any(shares_name) {
        // What a mirror's cosignature says is told from a witness's by its name alone (C2SP tlog-mirror).
        return refuse("a mirror's name must be its own: neither a log nor a witness may have it");
    }
    let hash = origin.sha256_hex();
    let folder = dir.join("logs").join(&hash);
    let manifest = folder.join("log");
    let meta = LogMeta { origin, url, keys, witnesses };
    let text = meta.to_text();
    if meta.keys.len() + meta.witnesses.len() > MAX_KEYS || text.len() as u64 > MAX_MANIFEST_BYTES {
        return refuse("these are more keys than a mirror takes of one log: leave some witnesses out");
    }
    if fs.exists(&manifest)? {
        // What was taken so far is held to the keys that it was taken by.
        if !meta::read_log(fs, &folder)?.keys.iter().all(|key| meta.keys.contains(key)) {
            return Err(MirrorError::Exists(meta.origin));
        }
        fs.replace_durable(&manifest, text.as_bytes(), Mode::Shared)?;
        return Ok(hash);
    }
    if fs.list(&dir.join("logs"))?.len() >= MAX_LOGS {
        return refuse("this mirror has as many logs as it takes: start another one");
    }
    fs.create_dir_all(&folder)?;
    StateFile::create(fs, &folder.join("state"))?;
    fs.create_durable(&manifest, text.as_bytes(), Mode::Shared)?;
    Ok(hash)
}

/// Notes refuse a list that has a key twice.
fn once_each(keys: Vec<VerifierKey>, others: &[VerifierKey]) -> Vec<VerifierKey> {
    keys.into_iter().fold(Vec::new(), |mut once, key| {
        if !once.contains(&key) && !others.contains(&key) {
            once.push(key);
        }
        once
    })
}

impl Mirror {
    /// Opens a mirror and checks what it serves against what it cosigned.
    pub fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, MirrorError> {
        let (keys, lock) = enter(&**fs, dir)?;
        let signers: Arc<[_]> = keys.iter().map(|key| load(&**fs, dir, key)).collect::<Result<_, _>>()?;
        let (tickets, alive) = (Arc::new(Tickets::new()?), Arc::new(Alive::default()));
        let mut logs = BTreeMap::new();
        for hash in fs.list(&dir.join("logs"))? {
            let folder = dir.join("logs").join(&hash);
            // One whose addition was interrupted is none.
            if fs.exists(&folder.join("log"))? {
                let log = MirroredLog::open(fs, &folder, signers.clone(), tickets.clone(), alive.clone())?;
                if log.origin().sha256_hex() != hash {
                    return Err(damaged(folder, "it is the folder of another log"));
                }
                logs.insert(hash, Arc::new(log));
            }
        }
        Ok(Self { logs, alive, _lock: lock })
    }

    /// Waits until nothing may be written or signed any more, and says why. The process is to end then: what was cosigned
    /// is durable.
    pub async fn ended(&self) -> String {
        self.alive.ended().await
    }

    /// Its logs.
    pub fn logs(&self) -> impl Iterator<Item = &Arc<MirroredLog>> {
        self.logs.values()
    }

    /// A log by the hash of its origin.
    pub fn log(&self, hash: &str) -> Option<&Arc<MirroredLog>> {
        self.logs.get(hash)
    }
}

fn enter(fs: &dyn Fs, dir: &Path) -> Result<(Vec<VerifierKey>, Box<dyn Lock>), MirrorError> {
    let manifest = dir.join("mirror");
    if !fs.exists(&manifest)? {
        return Err(MirrorError::Missing(dir.to_owned()));
    }
    let lock = fs.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => MirrorError::Locked(dir.to_owned()),
        _ => MirrorError::Io(error),
    })?;
    let text = fs.read(&manifest, MAX_MANIFEST_BYTES)?;
    let keys = std::str::from_utf8(&text).ok().and_then(meta::parse_mirror);
    Ok((keys.ok_or_else(|| damaged(manifest, "it does not hold together"))?, lock))
}

fn load(fs: &dyn Fs, dir: &Path, vkey: &VerifierKey) -> Result<LocalSigner, MirrorError> {
    let file = MIRROR_KEY_TYPES.iter().find(|(kind, _)| *kind == vkey.signature_type());
    let (_, file) = file.ok_or_else(|| damaged(dir.join("mirror"), "no mirror has a key of that type"))?;
    Ok(key_file::load(fs, &dir.join("keys").join(file), vkey)?)
}

fn damaged(path: PathBuf, what: &str) -> MirrorError {
    MirrorError::Damaged { path, what: what.to_owned() }
}
