//! What tells that a part of a data directory went back in time: the signer journal tells about the journal, the exported
//! checkpoint about the signer journal, and the objects about both. That all of it went back, only somebody outside can
//! tell.

use std::io;

use graven_merkle::ProveError;
use graven_merkle::tile::{BundlePath, TILE_WIDTH};
use graven_note::{Checkpoint, LogKeys};
use graven_store::Objects;

use crate::env::Env;
use crate::error::OpenError;
use crate::meta::{LogMeta, Paths};
use crate::recover::unread_tile;
use crate::replay::Replayed;
use crate::signing::Signed;
use crate::tail::Tail;
use crate::tree::{FromTiles, Tree};

/// A store that is older than what was signed or exported must not sign again.
pub(crate) fn refuse_behind(
    meta: &LogMeta,
    replayed: &Replayed,
    signed: &Signed,
    exported: Option<&Checkpoint>,
) -> Result<(), OpenError> {
    let signed_size = signed.checkpoint.size().get();
    let behind =
        |part, have, signed| Err(OpenError::Behind { log: meta.name.to_string(), part, have, signed });
    // Only what was published is sealed, and only what was signed is exported.
    let known = exported.map_or(0, |exported| exported.size().get()).max(replayed.sealed);
    if replayed.sequenced < signed_size.max(known) {
        return behind("journal", replayed.sequenced, signed_size.max(known));
    }
    if signed_size < known {
        return behind("signer journal", signed_size, known);
    }
    Ok(())
}

/// Objects beyond what the journal says is sealed are those of a round that a crash interrupted: parts of what the log
/// has. Anything else was written by a later life than this one.
pub(crate) fn refuse_overtaken(
    meta: &LogMeta,
    objects: &Objects,
    tail: &Tail,
    sealed: u64,
    size: u64,
) -> Result<(), OpenError> {
    let width = u64::from(TILE_WIDTH);
    for number in sealed / width.. {
        let path = BundlePath::new(number, TILE_WIDTH).map(|path| path.to_string()).unwrap_or_default();
        if !objects.exists(&path)? {
            break;
        }
        let (first, end) = (number * width, (number + 1) * width);
        if end > size {
            let (log, part) = (meta.name.to_string(), "journal");
            return Err(OpenError::Behind { log, part, have: size, signed: end });
        }
        let bundle = tail.bundles(first..end).and_then(|mut bundles| bundles.next(TILE_WIDTH));
        let bundle = bundle.ok_or_else(|| io::Error::other("an unsealed entry is missing"))?;
        if objects.contradicts(&path, &bundle)? {
            let what = format!("{path} holds other entries than the journal");
            return Err(OpenError::Damaged { log: meta.name.to_string(), what });
        }
    }
    Ok(())
}

/// The checkpoint of the static site, where there is one that this log signed.
pub(crate) fn exported(
    env: &Env,
    paths: &Paths,
    meta: &LogMeta,
    keys: &LogKeys,
) -> Result<Option<Checkpoint>, OpenError> {
    let path = paths.site(&meta.name).join("checkpoint");
    if !env.fs.exists(&path)? {
        return Ok(None);
    }
    let bytes = env.fs.read(&path, graven_note::MAX_NOTE_BYTES as u64)?;
    // It is replaced in one step: one that this log did not sign is no trace of a crash.
    let signed = keys.open(&bytes, &meta.origin).map_err(|_| OpenError::Damaged {
        log: meta.name.to_string(),
        what: "site/checkpoint is none that it signed".to_owned(),
    })?;
    Ok(Some(signed.checkpoint().clone()))
}

/// Whether the tree, read from its tiles alone, has the root of a checkpoint at its size.
pub(crate) fn has_root(
    tree: &Tree,
    checkpoint: &Checkpoint,
    damaged: impl Fn(String) -> OpenError,
) -> Result<bool, OpenError> {
    match graven_merkle::root(&FromTiles(tree), checkpoint.size()) {
        Ok(root) => Ok(root == *checkpoint.root()),
        Err(ProveError::Read(error)) => Err(unread_tile(error, damaged)),
        Err(other) => Err(damaged(other.to_string())),
    }
}
