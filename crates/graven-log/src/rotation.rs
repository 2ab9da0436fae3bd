//! Rotating a log's keys: what was announced, in `DATA/logs/NAME/rotations`, and the keys that follow from it.
//!
//! Order, and what a crash leaves after each step:
//!
//! 1. new keys lie beside the old ones, and a statement about both is authorised offline — nothing has changed;
//! 2. between two signatures, and only while no head above the last size was signed, the statement goes into `rotations`,
//!    synced — from here on both sets of keys sign, and above the last size the new ones alone;
//! 3. the statement is appended as an entry of the log, byte for byte and past the log's hook, whatever the log's kind —
//!    until that is known it is appended again after a start;
//! 4. the index of the entry goes into `rotations`, synced — the rotation is told to whoever asks.
//!
//! The file is a [`ChainFile`], made with the first rotation; its payloads are
//!
//! ```text
//! rotation:  "R", statement (graven_note::rotation)
//! entry:     "E", index of the entry that holds the statement before it (8, big-endian)
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::{LeafIndex, TreeSize};
use graven_note::rotation::{MAX_ROTATIONS, RotationText};
use graven_note::{
    LocalSigner, LogKeys, Rotation, RotationError, SignError, Signer, VerifiedRotation, VerifierKey,
};
use graven_store::ChainFile;
use graven_store::fs::{Fs, Mode};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::env::Env;
use crate::error::{AppendError, KeyError, OpenError};
use crate::log::Log;
use crate::meta::{LogMeta, LogName, Paths};
use crate::{keys, recover, signing};

/// The keys of a log as of now.
pub(crate) struct KeyRing(RwLock<Arc<LogKeys>>);

impl KeyRing {
    pub(crate) fn new(keys: LogKeys) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(keys))))
    }

    pub(crate) fn now(&self) -> Arc<LogKeys> {
        self.0.read().clone()
    }
}

/// A rotation of a log.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The statement.
    pub rotation: VerifiedRotation,
    /// The entry that holds it, once it is durable.
    pub index: Option<LeafIndex>,
}

/// The rotations of a log, in order.
pub(crate) struct Rotations {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    chain: Option<ChainFile>,
    announced: Vec<Announced>,
}

/// Why keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The statement is none, or none to be followed.
    #[error("{0}")]
    Statement(#[from] RotationError),
    /// The keys that it ends are not those that sign now.
    #[error("its old keys are not all the keys that sign now: ask for a new request")]
    OldKeys,
    /// A key of a type that did not sign before, or none of a type that did.
    #[error("its new keys are not of the types of the old ones: ask for a new request")]
    Types,
    /// A larger tree was signed already.
    #[error(
        "a tree of {signed} entries is signed already, above its last size of {last_size}: ask for a new request, with a \
         longer overlap"
    )]
    Outrun {
        /// What was signed last.
        signed: TreeSize,
        /// What the statement says.
        last_size: TreeSize,
    },
    /// There were as many rotations as there may be.
    #[error("keys were rotated {MAX_ROTATIONS} times: start a new log")]
    TooMany,
    /// The log takes no entry, so none that announces new keys.
    #[error("the log is frozen: it takes no entry that could announce its new keys")]
    Frozen,
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Storage failed.
    #[error("storage failed: the server must be restarted")]
    Poisoned,
}

impl Rotations {
    /// Opens what was announced, with the keys that follow from it.
    pub(crate) fn open(fs: Arc<dyn Fs>, paths: &Paths, meta: &LogMeta) -> Result<(Self, LogKeys), OpenError> {
        let path = paths.rotations(&meta.name);
        let (chain, payloads) = match fs.exists(&path)? {
            true => {
                let (chain, payloads) = ChainFile::open(&*fs, &path)?;
                (Some(chain), payloads)
            }
            false => (None, Vec::new()),
        };
        let (announced, keys) = read(&payloads, meta).ok_or_else(|| damaged(meta))?;
        Ok((Self { fs, path, chain, announced }, keys))
    }

    /// What was announced and is durable, for those who ask.
    pub(crate) fn announced(&self) -> &[Announced] {
        &self.announced
    }

    fn record(&mut self, rotation: VerifiedRotation) -> io::Result<()> {
        let payload = [b"R", rotation.rotation().as_bytes()].concat();
        match &mut self.chain {
            Some(chain) => chain.append(&payload)?,
            None => self.chain = Some(ChainFile::create(&*self.fs, &self.path, &payload)?),
        }
        self.announced.push(Announced { rotation, index: None });
        Ok(())
    }

    fn record_entry(&mut self, index: LeafIndex) -> io::Result<()> {
        let (Some(chain), Some(last)) = (&mut self.chain, self.announced.last_mut()) else { return Ok(()) };
        chain.append(&[&b"E"[..], &index.get().to_be_bytes()].concat())?;
        last.index = Some(index);
        Ok(())
    }
}

/// The keys of a log whose files somebody else may be writing.
pub(crate) fn peek(fs: &dyn Fs, paths: &Paths, meta: &LogMeta) -> Result<LogKeys, OpenError> {
    let path = paths.rotations(&meta.name);
    let payloads = if fs.exists(&path)? { ChainFile::peek(fs, &path)? } else { Vec::new() };
    read(&payloads, meta).map(|(_, keys)| keys).ok_or_else(|| damaged(meta))
}

fn damaged(meta: &LogMeta) -> OpenError {
    OpenError::Damaged {
        log: meta.name.to_string(),
        what: "its file of rotations is not one of this log".to_owned(),
    }
}

fn read(payloads: &[Vec<u8>], meta: &LogMeta) -> Option<(Vec<Announced>, LogKeys)> {
    let mut keys = LogKeys::new(meta.keys.clone());
    let mut announced: Vec<Announced> = Vec::new();
    for payload in payloads {
        match payload.split_first()? {
            (b'R', statement) => {
                let rotation = Rotation::parse(statement).ok()?.verify(&meta.recovery).ok()?;
                keys.follow(&rotation, &meta.origin).ok().filter(|is_new| *is_new)?;
                announced.push(Announced { rotation, index: None });
            }
            (b'E', index) => {
                let index = LeafIndex::new(u64::from_be_bytes(index.try_into().ok()?))?;
                announced.last_mut()?.index = Some(index);
            }
            _ => return None,
        }
    }
    Some((announced, keys))
}

impl Log {
    /// Its keys, of which some may have ended.
    pub fn keys(&self) -> Arc<LogKeys> {
        self.keys.now()
    }

    /// The rotations of its keys whose announcement is in the published tree, in order.
    pub fn rotations(&self) -> Vec<(LeafIndex, VerifiedRotation)> {
        let size = self.head().size();
        self.durable_rotations().into_iter().filter(|(index, _)| index.is_within(size)).collect()
    }

    /// Those whose announcement is durable.
    pub fn durable_rotations(&self) -> Vec<(LeafIndex, VerifiedRotation)> {
        let rotations = self.rotations.lock();
        let of = |it: &Announced| it.index.map(|index| (index, it.rotation.clone()));
        rotations.announced().iter().filter_map(of).collect()
    }
}

impl Engine {
    /// Lets the new keys of an authorised statement sign, and returns what it says; [`announce_rotation`](Self::announce_rotation) is
    /// to follow. Whoever sends the statement again is answered the same. Storage is waited for.
    ///
    /// # Errors
    /// See [`RotateError`].
    pub fn begin_rotation(&self, log: &Log, statement: &[u8]) -> Result<RotationText, RotateError> {
        let rotation = Rotation::parse(statement)?;
        rotation.check_authorised(&log.meta.recovery)?;
        let text = rotation.text().clone();
        let mut rotations = log.rotations.lock();
        if rotations.announced().iter().any(|it| *it.rotation.text() == text) {
            return Ok(text);
        }
        let known = log.keys();
        let same =
            |a: &[VerifierKey], b: &[VerifierKey]| a.len() == b.len() && a.iter().all(|key| b.contains(key));
        if rotations.announced().len() >= MAX_ROTATIONS {
            return Err(RotateError::TooMany);
        }
        if log.is_frozen() {
            return Err(RotateError::Frozen);
        }
        if text.origin() == &log.meta.origin && !same(text.old(), known.newest()) {
            return Err(RotateError::OldKeys);
        }
        let folder = self.paths().keys(&log.meta.name);
        let load = |key| keys::load_one(&*self.env.fs, &folder, key, &log.meta);
        let new = text.new_keys().iter().map(load).collect::<Result<Vec<_>, _>>()?;
        // From here on nothing is signed but after this.
        let mut signing = log.signing.lock();
        let signers = signing.signers().iter().chain(&new).map(|signer| &**signer);
        let rotation = rotation.signed_by(signers)?.verify(&log.meta.recovery)?;
        let mut next = (*known).clone();
        next.follow(&rotation, &log.meta.origin)?;
        if !same(next.newest(), text.new_keys()) || text.new_keys().len() != text.old().len() {
            return Err(RotateError::Types);
        }
        let (signed, last_size) = (signing.size(), text.last_size());
        if signed > last_size {
            return Err(RotateError::Outrun { signed, last_size });
        }
        if self.is_poisoned() {
            return Err(RotateError::Poisoned);
        }
        if let Err(error) = rotations.record(rotation) {
            self.poison(&format!("rotating the keys of log `{}` failed: {error}", log.meta.name));
            return Err(RotateError::Poisoned);
        }
        signing.add_signers(new);
        *log.keys.0.write() = Arc::new(next);
        tracing::info!(log = %log.meta.name, last_size = last_size.get(), "new keys sign");
        Ok(text)
    }

    /// Appends the statement of the last rotation, unless that is done, and returns the index of its entry, if there is one, once
    /// that is durable.
    ///
    /// # Errors
    /// See [`AppendError`]. The new keys sign all the same: it has to be tried again, also after a restart.
    pub async fn announce_rotation(&self, log: &Arc<Log>) -> Result<Option<LeafIndex>, AppendError> {
        // Two at once would append it twice.
        let _one_at_a_time = log.announcing.lock().await;
        let rotation = match log.rotations.lock().announced().last() {
            Some(Announced { rotation, index: None }) => rotation.clone(),
            done => return Ok(done.and_then(|it| it.index)),
        };
        let entry = Bytes::copy_from_slice(rotation.rotation().as_bytes());
        let index = self.append_statement(log, entry).await?.first;
        let index = LeafIndex::new(index).ok_or(AppendError::Poisoned)?;
        let recorded = log.rotations.lock().record_entry(index);
        recorded.map(|()| Some(index)).map_err(|error| {
            self.poison(&format!("rotating the keys of log `{}` failed: {error}", log.meta.name));
            AppendError::Poisoned
        })
    }
}

/// A request to rotate a log's keys, for whoever holds the recovery key to authorise.
///
/// Makes new keys of the types of those that sign now and puts them beside these; until a statement about them is authorised and
/// sent to the server they mean nothing. The old keys' last size will be `overlap` entries above the head that was signed last. May run
/// beside the server.
///
/// # Errors
/// There is no such log, or storage fails.
pub fn request_rotation(
    env: &Env,
    dir: &std::path::Path,
    name: &LogName,
    overlap: u64,
) -> Result<RotationText, OpenError> {
    let paths = Paths::new(dir);
    let meta = recover::manifests(env, &paths)?.into_iter().find(|meta| meta.name == *name);
    let meta = meta.ok_or_else(|| OpenError::NoLog(name.clone()))?;
    let old = peek(&*env.fs, &paths, &meta)?;
    let signed = signing::bodies(&ChainFile::peek(&*env.fs, &paths.signer(name))?).last();
    let signed = signed.map_or(0, |head| head.size().get());
    let last_size = signed.checked_add(overlap).and_then(TreeSize::new).unwrap_or(TreeSize::MAX);
    let folder = paths.keys(name);
    let make = |key: &VerifierKey| -> Result<VerifierKey, KeyError> {
        let seed = Zeroizing::new(env.random::<32>()?);
        let signer = LocalSigner::generate(key.name().clone(), key.signature_type(), &seed)?;
        let path = folder.join(keys::rotated_file(signer.vkey()));
        env.fs.create_durable(&path, signer.to_pkcs8_pem()?.as_bytes(), Mode::Private)?;
        Ok(signer.vkey().clone())
    };
    let new = old.newest().iter().map(make).collect::<Result<Vec<_>, _>>()?;
    let text = RotationText::new(meta.origin, last_size, old.newest().to_vec(), new);
    text.map_err(|error| OpenError::Damaged { log: name.to_string(), what: error.to_string() })
}
