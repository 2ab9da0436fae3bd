//! A witness's data directory.
//!
//! ```text
//! DATA/witness             this witness, written once
//! DATA/lock                held by the one process that cosigns
//! DATA/logs.lock           held while a log is made known
//! DATA/keys/TYPE.pem       its keys, mode 0600
//! DATA/state               what it remembers (see `memory`); never made anew
//! DATA/logs/HEX            a log that it knows, by the SHA-256 of its origin
//! DATA/logs/HEX.rotations  how that log's keys changed, once they did: a history (graven_note::rotation)
//! DATA/evidence/…          what logs signed that cannot both be true, for `graven evidence verify`
//! ```
//!
//! `witness` and the files of logs are text, one `key value` a line, each line ended by a newline, in this order:
//!
//! ```text
//! graven-witness/v1        graven-witness-log/v1
//! name example.com/w       origin <the log's origin>
//! key <vkey>  (once or     key <vkey>  (once or more: the log's keys)
//!              twice)      recovery <vkey>  (or not: the log's recovery key)
//!                          poll <URL>  (or not: where it is polled)
//!                          log <NAME>  (by gRPC, with this name; otherwise by its tiles)
//!                          ca <FILE>   (each of the last four at most once)
//!                          token-file <FILE>
//!                          client-cert <FILE>
//!                          client-key <FILE>
//! ```

use std::io;
use std::path::{Path, PathBuf};

use graven_note::{
    InvalidKeyName, InvalidOrigin, KeyName, LocalSigner, LogKeys, Origin, RotationError, SignatureType,
    SigningKeyError, VerifierKey,
    rotation::{MAX_HISTORY_BYTES, parse_history},
};
use graven_store::chain::ChainError;
use graven_store::fs::{Fs, Lock, Mode};
use graven_store::key_file::KeyFileError;

use crate::keys::{self, KEY_TYPES, KeyType};
use crate::memory::{self, Memory};

const MANIFEST: &str = "graven-witness/v1\n";
const LOG_MANIFEST: &str = "graven-witness-log/v1\n";
/// Keys that a witness knows of one log.
pub const MAX_KEYS_PER_LOG: usize = 16;
/// Logs that a witness may know: what it remembers of each must fit its state twice (see `memory`).
pub(crate) const MAX_LOGS: usize = 10_000;
/// Longest manifest: [`MAX_KEYS_PER_LOG`] keys of about 1.8 kB, and an origin.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Why a data directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Storage failed.
    #[error("storage: {0}")]
    Io(#[from] io::Error),
    /// The folder is not empty.
    #[error("{} is not empty: name a new folder for the witness", .0.display())]
    NotEmpty(PathBuf),
    /// There is no witness.
    #[error("{} holds no witness: make one with `graven witness init`", .0.display())]
    Missing(PathBuf),
    /// It has forgotten.
    #[error(
        "{} is missing: a witness that forgot what it cosigned must never cosign again. Restore the newest copy of \
         this file, or make a new witness with new keys",
        .0.display()
    )]
    Forgot(PathBuf),
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A file is not what it should be.
    #[error("{} does not hold together: restore it from a copy", .0.display())]
    Damaged(PathBuf),
    /// The state does not hold together.
    #[error(transparent)]
    State(#[from] ChainError),
    /// A key's file: others can read it, or it is not the key that the manifest names.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key cannot be made or read.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The witness's name cannot be that of a key.
    #[error("the name of a witness names its keys: {0}")]
    Name(#[from] InvalidKeyName),
    /// Not the origin of a log.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// No history of rotations of this log, or none that its recovery key authorised.
    #[error("the log's new keys: {0}")]
    Rotation(#[from] RotationError),
    /// No key, or too many of something.
    #[error("{0}")]
    Refused(&'static str),
}

/// What `init` made.
#[derive(Debug)]
pub struct Initialized {
    /// The witness's keys.
    pub keys: Vec<VerifierKey>,
}

/// A log that a witness knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLog {
    /// The log.
    pub origin: Origin,
    /// The keys that the operator gave.
    pub keys: Vec<VerifierKey>,
    /// The key that may hand the log over to new keys.
    pub recovery: Option<VerifierKey>,
    /// The keys of which one has to have signed its checkpoints: those that were given, and those that followed.
    pub current: LogKeys,
    /// Where it is polled; `None`: it comes by itself.
    pub poll: Option<Poll>,
}

/// Where a log is polled, and with what. Secrets are named by their files and never kept here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// The prefix of its tiles (C2SP tlog-tiles), or its server's address.
    pub url: String,
    /// Its name at the server, by gRPC; empty for the server's only log. `None`: it is polled by its tiles.
    pub log: Option<String>,
    /// Certificates of CAs to believe instead of the system's (PEM).
    pub ca: Option<PathBuf>,
    /// The token to show.
    pub token_file: Option<PathBuf>,
    /// The certificate to show (PEM).
    pub client_cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub client_key: Option<PathBuf>,
}

/// A witness's data directory, opened and locked.
pub(crate) struct Home {
    pub(crate) signers: Vec<LocalSigner>,
    pub(crate) memory: Memory,
    pub(crate) lock: Box<dyn Lock>,
}

/// Makes a new witness with keys of these types. Nothing that exists is ever changed.
///
/// # Errors
/// See [`HomeError`].
pub fn init(fs: &dyn Fs, dir: &Path, name: &str, types: &[KeyType]) -> Result<Initialized, HomeError> {
    let name = KeyName::new(name)?;
    // A type that is named twice is one key.
    let types: Vec<_> = KEY_TYPES.into_iter().filter(|kind| types.contains(kind)).collect();
    if types.is_empty() {
        return Err(HomeError::Refused("a witness has at least one key"));
    }
    if fs.exists(dir)? && !fs.list(dir)?.is_empty() {
        return Err(HomeError::NotEmpty(dir.to_owned()));
    }
    let key_dir = key_dir(dir);
    fs.create_dir_all(dir)?;
    fs.create_dir_all(&key_dir)?;
    fs.create_dir_all(&dir.join("logs"))?;
    let made = types.into_iter().map(|kind| keys::create(fs, &key_dir, &name, kind));
    let keys = made.collect::<Result<Vec<_>, _>>()?;
    memory::create(fs, &state(dir))?;
    // The witness exists once its manifest does.
    let lines: String = keys.iter().map(|key| format!("key {key}\n")).collect();
    let manifest = format!("{MANIFEST}name {name}\n{lines}");
    fs.create_durable(&dir.join("witness"), manifest.as_bytes(), Mode::Shared)?;
    Ok(Initialized { keys })
}

/// Makes a log known, or known by one more key. A running witness notices.
///
/// # Errors
/// See [`HomeError`].
pub fn add_log(fs: &dyn Fs, dir: &Path, origin: &str, keys: &[VerifierKey]) -> Result<KnownLog, HomeError> {
    if keys.iter().any(|key| key.signature_type() == SignatureType::CosignatureV1) {
        return Err(HomeError::Refused(
            "a key of type 0x04 is a witness's: give the log's own verifier keys",
        ));
    }
    change_log(fs, dir, origin, b"", |log| {
        for key in keys {
            if !log.keys.contains(key) {
                log.keys.push(key.clone());
            }
        }
    })
}

/// Follows a known log to new keys: by its recovery key, which is remembered, and a history of its rotations. From then on no
/// checkpoint above the old keys' last size is cosigned that these alone signed. A running witness notices.
///
/// # Errors
/// See [`HomeError`].
pub fn follow_log(
    fs: &dyn Fs,
    dir: &Path,
    origin: &str,
    recovery: Option<VerifierKey>,
    history: &[u8],
) -> Result<KnownLog, HomeError> {
    change_log(fs, dir, origin, history, |log| log.recovery = recovery.or(log.recovery.take()))
}

/// The keys of a log after a history.
fn followed(log: &KnownLog, history: &[u8]) -> Result<LogKeys, HomeError> {
    let (pinned, history) = (LogKeys::new(log.keys.clone()), parse_history(history)?);
    if history.is_empty() {
        return Ok(pinned);
    }
    let recovery = log.recovery.as_ref();
    let recovery =
        recovery.ok_or(HomeError::Refused("give the log's recovery key as well: --recovery VKEY"))?;
    Ok(pinned.after(history.into_iter().map(|(_, rotation)| rotation), recovery, &log.origin)?.0)
}

/// Says where a known log is polled from now on, or that it is not. A running witness notices.
///
/// # Errors
/// See [`HomeError`].
pub fn poll_log(fs: &dyn Fs, dir: &Path, origin: &str, poll: Option<Poll>) -> Result<KnownLog, HomeError> {
    change_log(fs, dir, origin, b"", |log| log.poll = poll)
}

/// Changes what is known of a log, and takes in a longer history of its keys than is known. Nothing is written of what does not
/// hold together.
fn change_log(
    fs: &dyn Fs,
    dir: &Path,
    origin: &str,
    history: &[u8],
    change: impl FnOnce(&mut KnownLog),
) -> Result<KnownLog, HomeError> {
    require(fs, dir)?;
    let origin = Origin::new(origin)?;
    // Of two at once for one log neither takes away what the other said.
    let _lock = fs.lock(&dir.join("logs.lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => HomeError::Locked(dir.join("logs")),
        _ => HomeError::Io(error),
    })?;
    let file = log_file(dir, &origin);
    if !fs.exists(&file)? && fs.list(&dir.join("logs"))?.len() >= MAX_LOGS {
        return Err(HomeError::Refused("this witness knows as many logs as it may: start another one"));
    }
    let mut log = known_log(fs, dir, &origin)?.unwrap_or(KnownLog {
        origin,
        keys: Vec::new(),
        recovery: None,
        current: LogKeys::new(Vec::new()),
        poll: None,
    });
    change(&mut log);
    if log.keys.is_empty() || log.keys.len() > MAX_KEYS_PER_LOG {
        return Err(HomeError::Refused("a log has 1 to 16 keys"));
    }
    let text = log_text(&log);
    if parse_log(&text).is_none_or(|parsed| parsed.poll != log.poll) || text.len() as u64 > MAX_MANIFEST_BYTES
    {
        return Err(HomeError::Refused(
            "addresses and names of files are UTF-8 text of one line, and not too long",
        ));
    }
    log.current = followed(&log, &read_history(fs, &file)?)?;
    let current = followed(&log, history)?;
    fs.replace_durable(&file, text.as_bytes(), Mode::Shared)?;
    // Histories only grow: an older one takes nothing back.
    if current.all().len() > log.current.all().len() {
        fs.replace_durable(&file.with_extension("rotations"), history, Mode::Shared)?;
        log.current = current;
    }
    Ok(log)
}

/// The logs that a witness knows.
///
/// # Errors
/// See [`HomeError`].
pub fn known_logs(fs: &dyn Fs, dir: &Path) -> Result<Vec<KnownLog>, HomeError> {
    require(fs, dir)?;
    let folder = dir.join("logs");
    let names = fs.list(&folder)?.into_iter().filter(|name| name.len() == 64);
    names.map(|name| read_log(fs, &folder.join(name))).collect()
}

/// One log, if the witness knows it.
pub(crate) fn known_log(fs: &dyn Fs, dir: &Path, origin: &Origin) -> Result<Option<KnownLog>, HomeError> {
    let path = log_file(dir, origin);
    if !fs.exists(&path)? {
        return Ok(None);
    }
    let log = read_log(fs, &path)?;
    (log.origin == *origin).then_some(Some(log)).ok_or(HomeError::Damaged(path))
}

/// Opens a witness to cosign with it.
pub(crate) fn open(fs: &std::sync::Arc<dyn Fs>, dir: &Path) -> Result<Home, HomeError> {
    let keys = require(&**fs, dir)?;
    let lock = fs.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => HomeError::Locked(dir.to_owned()),
        _ => HomeError::Io(error),
    })?;
    let state = state(dir);
    if !fs.exists(&state)? {
        return Err(HomeError::Forgot(state));
    }
    // A process that was killed may leave names that were never synced.
    fs.sync_dir(dir)?;
    fs.sync_dir(&dir.join("logs"))?;
    let memory = Memory::open(fs.clone(), &state)?;
    let signers = keys.iter().map(|key| keys::load(&**fs, &key_dir(dir), key));
    Ok(Home { signers: signers.collect::<Result<_, _>>()?, memory, lock })
}

/// The keys of the witness that must be here.
fn require(fs: &dyn Fs, dir: &Path) -> Result<Vec<VerifierKey>, HomeError> {
    let path = dir.join("witness");
    if !fs.exists(&path)? {
        return Err(HomeError::Missing(dir.to_owned()));
    }
    let text = read_text(fs, &path)?;
    let parsed = text.strip_prefix(MANIFEST).and_then(|rest| rest.strip_prefix("name "));
    let keys = parsed.and_then(|rest| rest.split_once('\n')).and_then(|(_, keys)| parse_keys(keys));
    keys.filter(|keys| !keys.is_empty()).ok_or(HomeError::Damaged(path))
}

fn read_log(fs: &dyn Fs, path: &Path) -> Result<KnownLog, HomeError> {
    let damaged = || HomeError::Damaged(path.to_owned());
    let mut log = parse_log(&read_text(fs, path)?).ok_or_else(damaged)?;
    log.current = followed(&log, &read_history(fs, path)?).map_err(|_| damaged())?;
    Ok(log)
}

/// How the keys of the log in this file changed: nothing, as long as they did not.
fn read_history(fs: &dyn Fs, file: &Path) -> io::Result<Vec<u8>> {
    let history = file.with_extension("rotations");
    if fs.exists(&history)? { fs.read(&history, MAX_HISTORY_BYTES as u64) } else { Ok(Vec::new()) }
}

fn log_text(log: &KnownLog) -> String {
    let mut text = format!("{LOG_MANIFEST}origin {}\n", log.origin);
    text.extend(log.keys.iter().map(|key| format!("key {key}\n")));
    text.extend(log.recovery.as_ref().map(|key| format!("recovery {key}\n")));
    if let Some(poll) = &log.poll {
        text += &format!("poll {}\n", poll.url);
        text.extend(poll.log.as_ref().map(|name| format!("log {name}\n")));
        let files = [
            ("ca", &poll.ca),
            ("token-file", &poll.token_file),
            ("client-cert", &poll.client_cert),
            ("client-key", &poll.client_key),
        ];
        let named =
            files.iter().filter_map(|(word, file)| Some(format!("{word} {}\n", file.as_ref()?.display())));
        text.extend(named);
    }
    text
}

/// Takes exactly what [`log_text`] writes.
fn parse_log(text: &str) -> Option<KnownLog> {
    let (origin, rest) = text.strip_prefix(LOG_MANIFEST)?.strip_prefix("origin ")?.split_once('\n')?;
    let at = |word: &str| rest.find(word).map(|at| at + 1);
    let (keys, rest) = rest.split_at(at("\nrecovery ").or(at("\npoll ")).unwrap_or(rest.len()));
    let (recovery, poll) = match rest.strip_prefix("recovery ").and_then(|rest| rest.split_once('\n')) {
        Some((vkey, poll)) => (Some(VerifierKey::parse(vkey).ok()?), poll),
        None => (None, rest),
    };
    let (keys, poll) = (parse_keys(keys)?, parse_poll(poll)?);
    let current = LogKeys::new(keys.clone());
    let log = KnownLog { origin: Origin::new(origin).ok()?, keys, recovery, current, poll };
    (log_text(&log) == text).then_some(log)
}

fn parse_poll(lines: &str) -> Option<Option<Poll>> {
    let (mut poll, mut is_polled) = (Poll::default(), false);
    for (word, value) in lines.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        match word {
            "poll" => (poll.url, is_polled) = (value.to_owned(), true),
            "log" => poll.log = Some(value.to_owned()),
            "ca" => poll.ca = Some(value.into()),
            "token-file" => poll.token_file = Some(value.into()),
            "client-cert" => poll.client_cert = Some(value.into()),
            "client-key" => poll.client_key = Some(value.into()),
            _ => return None,
        }
    }
    Some(is_polled.then_some(poll))
}

fn parse_keys(lines: &str) -> Option<Vec<VerifierKey>> {
    lines.lines().map(|line| VerifierKey::parse(line.strip_prefix("key ")?).ok()).collect()
}

fn read_text(fs: &dyn Fs, path: &Path) -> Result<String, HomeError> {
    let bytes = fs.read(path, MAX_MANIFEST_BYTES)?;
    String::from_utf8(bytes).map_err(|_| HomeError::Damaged(path.to_owned()))
}

fn log_file(dir: &Path, origin: &Origin) -> PathBuf {
    dir.join("logs").join(origin.sha256_hex())
}

fn key_dir(dir: &Path) -> PathBuf {
    dir.join("keys")
}

fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

#[cfg(test)]
mod tests {
    use graven_note::Signer as _;
    use graven_store::sim::SimFs;

    use super::*;

    #[test]
    fn where_a_log_is_polled_is_read_as_it_was_written_and_only_so() {
        let (fs, dir) = (SimFs::new(), Path::new("/w"));
        init(&fs, dir, "example.com/w", &KEY_TYPES[..1]).unwrap();
        let origin = "example.com/audit";
        let named =
            |name: &str| LocalSigner::generate(name.parse().unwrap(), SignatureType::Ed25519, &[1; 32]);
        let key = named(origin).unwrap().vkey().clone();
        let poll = |url: &str| Poll { url: url.to_owned(), ..Poll::default() };
        assert!(poll_log(&fs, dir, origin, Some(poll("http://a"))).is_err(), "a log that nobody knows");
        // As it was before logs were polled.
        let old = format!("{LOG_MANIFEST}origin {origin}\nkey {key}\n");
        assert_eq!(add_log(&fs, dir, origin, &[key]).unwrap().poll, None);
        let file = log_file(dir, &Origin::new(origin).unwrap());
        assert_eq!(read_text(&fs, &file).unwrap(), old);

        let all = Poll {
            log: Some(String::new()),
            ca: Some("/ca of mine.pem".into()),
            token_file: Some("/token".into()),
            client_cert: Some("/cert".into()),
            client_key: Some("/key".into()),
            ..poll("https://log.example.com:4740")
        };
        for poll in [Some(poll("http://a/b")), Some(all), None] {
            poll_log(&fs, dir, origin, poll.clone()).unwrap();
            assert_eq!(known_logs(&fs, dir).unwrap()[0].poll, poll);
        }
        assert_eq!(read_text(&fs, &file).unwrap(), old);
        for bad in ["http://a\nkey x", "http://a\n", "http://a\rb\n"] {
            assert!(poll_log(&fs, dir, origin, Some(poll(bad))).is_err(), "{bad:?}");
        }
        for lines in [
            "poll http://a\npoll http://b\n",
            "poll http://a\nca /x",
            "log audit\n",
            "poll http://a\nlog x\nlog y\n",
        ] {
            assert_eq!(parse_log(&format!("{old}{lines}")), None, "{lines:?}");
        }
    }
}
