//! A copy that is taken from a tlog-tiles prefix: what a client of `add-checkpoint` and `add-entries` would push, fetched.

use std::io;

use graven_client::audit::{PackageReader, SiteError, TileSource};
use graven_merkle::tile::{ProvenBundle, TILE_HEIGHT};
use graven_merkle::{ConsistencyProof, TreeSize, prove_consistency, root};
use graven_note::witness::{AddCheckpoint, Refused};
use graven_note::{VerifiedCheckpoint, VerifiedEvidence};

use crate::edge::Stored;
use crate::error::UpdateError;
use crate::log::MirroredLog;

/// Full bundles that are made durable by one sync.
pub(crate) const ROUND_BUNDLES: u64 = 256;

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The mirror checkpoint has this size now.
    To(TreeSize),
    /// There was nothing new.
    Not,
}

impl MirroredLog {
    /// Copies what `source` has beyond the mirror checkpoint, verifies it, and cosigns at `now_seconds`.
    ///
    /// Blocks; entries that are pushed meanwhile are taken as well.
    ///
    /// # Errors
    /// See [`UpdateError`]. After one that [is fatal](UpdateError::is_fatal) the process stops.
    pub fn update(&self, source: &dyn TileSource, now_seconds: u64) -> Result<Updated, UpdateError> {
        let note = source
            .fetch("checkpoint")
            .map_err(|error| SiteError::Io { path: "checkpoint".to_owned(), source: error })?;
        let offered = self.signed_by_log(&note.ok_or(UpdateError::NoCheckpoint)?)?;
        let reader = PackageReader::new(source, offered.checkpoint().size());
        match self.follow(&reader, &offered, now_seconds) {
            // Somebody pushed something newer: the source will have it soon.
            Err(UpdateError::Overtaken | UpdateError::Refused(Refused::Conflict(_))) => Ok(Updated::Not),
            other => other,
        }
    }

    /// A checkpoint that one of the log's keys signed.
    pub(crate) fn signed_by_log(&self, note: &[u8]) -> Result<VerifiedCheckpoint, Refused> {
        VerifiedCheckpoint::open(note, &self.meta.origin, &self.meta.keys).map_err(Refused::NotSigned)
    }

    fn follow(
        &self,
        reader: &PackageReader<'_>,
        offered: &VerifiedCheckpoint,
        now_seconds: u64,
    ) -> Result<Updated, UpdateError> {
        let (size, known) = (offered.checkpoint().size(), self.pending_size());
        if size < known {
            self.compare_older(offered, now_seconds)?;
            return Err(UpdateError::WentBack { found: size.get(), pending: known.get() });
        }
        let proof = match known.is_empty() || known == size {
            true => ConsistencyProof::from_hashes(Vec::new()).map_err(io::Error::other)?,
            false => reader.consistency(known)?,
        };
        let request = AddCheckpoint::new(known, proof, offered.note().note().clone());
        let request = request.map_err(Refused::Malformed)?;
        let head = self.grow(|growing| self.pend(growing, &request, offered, now_seconds))?;
        if !self.is_due(&head, now_seconds) {
            return Ok(Updated::Not);
        }
        let last = if self.size() < size { self.copy_bundles(reader, &head)? } else { None };
        self.grow(|growing| self.commit(growing, &head, last.as_ref(), now_seconds))?;
        Ok(Updated::To(size))
    }

    /// Step 2: every full bundle; returns what is left of the last one.
    fn copy_bundles(
        &self,
        reader: &PackageReader<'_>,
        head: &VerifiedCheckpoint,
    ) -> Result<Option<ProvenBundle>, UpdateError> {
        let (size, root) = (head.checkpoint().size(), head.checkpoint().root());
        let bundles = size.get().div_ceil(1 << TILE_HEIGHT);
        let mut unsynced = 0;
        loop {
            let next = self.growing.lock().edge.sealed() >> TILE_HEIGHT;
            if next >= bundles {
                return Ok(None);
            }
            let packages = reader.packages(next..next.saturating_add(reader.at_a_time()))?;
            let prove = |package: graven_client::audit::Package| {
                let path = package.path;
                ProvenBundle::prove(path, package.bytes, size, root, &package.proof)
                    .map_err(|why| UpdateError::Unproven { path, why })
            };
            for bundle in packages.into_iter().map(prove) {
                let bundle = bundle?;
                self.grow(|growing| self.keep(growing, &bundle))?;
                if !bundle.path().is_full() {
                    return Ok(Some(bundle));
                }
                unsynced += 1;
            }
            if unsynced >= ROUND_BUNDLES {
                self.grow(|growing| self.seal(growing))?;
                unsynced = 0;
            }
        }
    }

    /// A head that is older than the mirror checkpoint is the beginning of its tree, or evidence.
    fn compare_older(&self, offered: &VerifiedCheckpoint, now_seconds: u64) -> Result<(), UpdateError> {
        self.grow(|_| {
            let Some(published) = self.published() else { return Ok(()) };
            let (from, to) = (offered.checkpoint().size(), published.checkpoint.size());
            if from.is_empty() || from >= to {
                return Ok(());
            }
            let stored = Stored { objects: &self.objects, size: to };
            let other = |error: graven_merkle::ProveError<io::Error>| io::Error::other(error.to_string());
            let known = root(&stored, from).map_err(other)?;
            if known == *offered.checkpoint().root() {
                return Ok(());
            }
            let proof = prove_consistency(&stored, from, to).map_err(other)?;
            let later = self.signed_by_log(&published.note)?;
            let evidence = VerifiedEvidence::of_beginning(offered, &later, known, proof);
            self.accuse(evidence, now_seconds)
        })
    }
}
