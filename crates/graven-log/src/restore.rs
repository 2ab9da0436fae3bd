//! Getting back entries that a data directory has lost, from a copy of the log.
//!
//! A log that is behind what was signed never signs again by itself: it would sign a fork. But what was signed is known, and so
//! a copy can be held against it. Nothing new is signed here, and nothing of the copy is believed:
//!
//! 1. the copy's checkpoint must be signed by every key of the log, and be no older than anything that this directory knows
//!    of: its entries, its signer journal, its exported checkpoint, its sealed objects;
//! 2. the tree under it must begin with the tree that is here, and with the one that was signed last — nothing is written so far;
//! 3. the checkpoint goes into the signer journal — after a crash the log is still behind, and refuses to start until it is
//!    restored;
//! 4. bundle by bundle, the entries are proven to be in the tree, journalled, integrated and sealed, on the path that
//!    every entry takes — after a crash it is repeated from where it came to;
//! 5. the computed root must be the signed one.
//!
//! The next start checks all of it again. Where everything but the log's keys is gone, the journals are made anew
//! ([`Missing::Anew`]), and the log is promoted from its copy: whoever asks for that vouches that nothing newer than the copy's
//! checkpoint was ever signed. The signer journal is made in step 3, in one step and with that checkpoint in it; an empty
//! journal after it. So the log that never signed, which would start again from nothing, is there at no moment.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::tile::{BundlePath, ProvenBundle, TILE_HEIGHT};
use graven_merkle::{ConsistencyProof, TreeSize, VerifyError, verify_consistency};
use graven_note::{Checkpoint, SignatureLine, SignedNote, VerifiedCheckpoint};
use graven_store::ChainFile;
use graven_store::fs::Fs;
use graven_store::journal::RecordBuilder;

use crate::config::Config;
use crate::env::Env;
use crate::error::RestoreError;
use crate::log::Log;
use crate::meta::{LogMeta, LogName, Paths};
use crate::recover::{self, Opened};
use crate::signing::Signed;
use crate::writer::Writer;
use crate::{rotation, seal, signing};

/// Entries of one journal record.
const RECORD_BYTES: usize = 1 << 20;

/// A copy of a log. Nothing that it hands out is believed.
pub trait LogCopy {
    /// Its checkpoint, signed.
    fn checkpoint(&self) -> &[u8];

    /// What is to prove that the copy's tree begins with the tree of `from` entries.
    fn consistency(&mut self, from: TreeSize) -> io::Result<ConsistencyProof>;

    /// The bundles from number `first` on, each with what is to prove it part of the copy's tree: one or more, in order.
    fn bundles(&mut self, first: u64) -> io::Result<Vec<(BundlePath, Vec<u8>, ConsistencyProof)>>;
}

/// What to do where journal and signer journal are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Refuse, as every start does.
    Refused,
    /// Make them anew: the copy's checkpoint counts as the last that was signed.
    Anew,
}

/// What a restored log has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Entries that were there before.
    pub before: u64,
    /// The checkpoint that it goes on from.
    pub checkpoint: Checkpoint,
}

/// The checkpoint to restore to: signed by every key of the log.
pub(crate) struct Target {
    pub(crate) name: LogName,
    note: Bytes,
    verified: VerifiedCheckpoint,
}

impl Target {
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        self.verified.checkpoint()
    }

    /// Step 3: from here on nothing but this tree, or one that begins with it, will ever be signed. `memory` is the signer
    /// journal so far, where there is one.
    pub(crate) fn adopt(
        &self,
        fs: &dyn Fs,
        path: &Path,
        memory: Option<(ChainFile, Signed)>,
    ) -> io::Result<(ChainFile, Signed)> {
        let time_seconds = self.verified.time().unwrap_or(0);
        let signed =
            Signed { checkpoint: self.checkpoint().clone(), time_seconds, note: Some(self.note.clone()) };
        match memory {
            None => Ok((signing::create_journal_after(fs, path, &self.note)?, signed)),
            // It was signed here, so the very same bytes are released again.
            Some((chain, last)) if last.checkpoint == signed.checkpoint => Ok((chain, last)),
            Some((mut chain, last)) => {
                let signed = Signed { time_seconds: time_seconds.max(last.time_seconds), ..signed };
                signing::journal(&mut chain, &signed)?;
                Ok((chain, signed))
            }
        }
    }

    /// Step 1, for one of the sizes that are known.
    pub(crate) fn reaches(&self, what: &'static str, size: TreeSize) -> Result<(), RestoreError> {
        let (size, copy) = (size.get(), self.checkpoint().size().get());
        if size <= copy { Ok(()) } else { Err(RestoreError::Older { what, size, copy }) }
    }

    /// Step 2, for one of the trees that are known.
    pub(crate) fn begins_with(
        &self,
        copy: &mut dyn LogCopy,
        earlier: &Checkpoint,
    ) -> Result<(), RestoreError> {
        let (from, to) = (earlier.size(), self.checkpoint());
        if from.is_empty() {
            return Ok(());
        }
        let proof = copy.consistency(from).map_err(RestoreError::Copy)?;
        verify_consistency(from, earlier.root(), to.size(), to.root(), &proof)
            .map_err(|why| RestoreError::Differs { size: from.get(), why })
    }
}

/// Restores log `name` in the data directory `dir`, which no process serves, to the checkpoint of `copy`.
///
/// `progress` is told how many of how many entries are there.
pub fn restore(
    env: &Env,
    dir: &Path,
    name: &LogName,
    config: &Config,
    copy: &mut dyn LogCopy,
    missing: Missing,
    mut progress: impl FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let paths = Paths::new(dir);
    let target = target(env, &paths, name, copy.checkpoint())?;
    let Opened { logs, mut writer, lock: _lock, .. } =
        recover::open_to_restore(env, dir, config, &target, copy, missing)?;
    let log = logs.get(name).ok_or_else(|| RestoreError::NoLog(name.clone()))?;
    let before = log.durable_size();
    let size = target.checkpoint().size().get();
    while log.durable_size() < size {
        let first = log.durable_size() >> TILE_HEIGHT;
        let fetched = copy.bundles(first).map_err(RestoreError::Copy)?;
        if fetched.is_empty() {
            return Err(RestoreError::Copy(io::Error::other(format!("bundle {first} is missing"))));
        }
        for (path, bytes, proof) in fetched {
            let to = target.checkpoint();
            let bundle = ProvenBundle::prove(path, bytes, to.size(), to.root(), &proof)
                .map_err(|why| RestoreError::Unproven { path, why })?;
            append(&mut writer, log, &bundle)?;
        }
        while let Some(sealed) = seal::round(log)? {
            writer.sealed(log, sealed)?;
        }
        progress(log.durable_size(), size);
    }
    let computed = log.tree.frontier(target.checkpoint().size())?;
    if !signing::agrees(&computed, target.checkpoint()) {
        let (expected, computed) = (*target.checkpoint().root(), computed.root());
        return Err(RestoreError::Differs { size, why: VerifyError::RootMismatch { expected, computed } });
    }
    Ok(Restored { before, checkpoint: target.checkpoint().clone() })
}

fn target(env: &Env, paths: &Paths, name: &LogName, note: &[u8]) -> Result<Target, RestoreError> {
    let meta = manifest(env, paths, name)?;
    let keys = rotation::peek(&*env.fs, paths, &meta)?;
    let verified = keys.open(note, &meta.origin).map_err(|why| RestoreError::Unsigned(why.to_string()))?;
    // What others added to it is theirs to serve: only what the log signed is released again.
    let due = keys.due_at(verified.checkpoint().size());
    verified.note().require_keys(due).map_err(|why| RestoreError::Unsigned(why.to_string()))?;
    let signed = verified.note().note();
    let by_log = |line: &&SignatureLine| keys.all().iter().any(|key| line.claims(key));
    let own: Vec<_> = signed.signatures().iter().filter(by_log).cloned().collect();
    let own = SignedNote::new(signed.text(), &own).map_err(|why| RestoreError::Unsigned(why.to_string()))?;
    Ok(Target { name: name.clone(), note: Bytes::copy_from_slice(own.as_str().as_bytes()), verified })
}

fn manifest(env: &Env, paths: &Paths, name: &LogName) -> Result<LogMeta, RestoreError> {
    let found = recover::manifests(env, paths)?.into_iter().find(|meta| meta.name == *name);
    found.ok_or_else(|| RestoreError::NoLog(name.clone()))
}

/// Journals what the log does not have of a bundle, and takes it in.
fn append(writer: &mut Writer, log: &Arc<Log>, bundle: &ProvenBundle) -> Result<(), RestoreError> {
    let mut first = log.durable_size();
    let skip = first.checked_sub(bundle.first()).and_then(|known| usize::try_from(known).ok());
    let skip = skip.ok_or_else(|| RestoreError::Copy(io::Error::other("its bundles come in no order")))?;
    let mut rest = bundle.entries().skip(skip).peekable();
    while rest.peek().is_some() {
        let mut record = RecordBuilder::default();
        record.begin_entries(log.meta.id, first, false);
        let mut leaves = Vec::new();
        while record.body_len() < RECORD_BYTES
            && let Some((entry, leaf)) = rest.next()
        {
            record.entry(entry, leaf);
            leaves.push(*leaf);
        }
        first += leaves.len() as u64;
        writer.restore(log, record, leaves)?;
    }
    Ok(())
}
