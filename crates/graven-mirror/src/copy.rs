//! How a copy grows: steps 1 to 5 of the crate's documentation.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use graven_client::VerifiedHead;
use graven_client::audit::{PackageReader, SiteError, TileSource};
use graven_merkle::tile::{ProvenBundle, TILE_HEIGHT};
use graven_merkle::{TreeSize, verify_consistency};
use graven_note::{SignatureLine, SignedNote, Signer as _, VerifiedCheckpoint, sign_line};

use crate::edge::{Edge, partial_bundle, partial_tiles, row_bytes};
use crate::error::UpdateError;
use crate::log::{MirroredLog, Published};
use crate::state::{State, StateFile};

/// Full bundles that are made durable by one sync.
const ROUND_BUNDLES: u64 = 256;
/// A checkpoint that stays the same is cosigned anew this often, so that a stall can be told from silence.
const COSIGN_AGAIN_SECONDS: u64 = 60;

/// What lets a copy grow.
pub(crate) struct Growing {
    pub(crate) file: StateFile,
    pub(crate) state: State,
    pub(crate) edge: Edge,
}

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
    /// Blocks; one update of a log runs at a time.
    ///
    /// # Errors
    /// See [`UpdateError`]. After one that [is fatal](UpdateError::is_fatal) the process stops.
    pub fn update(&self, source: &dyn TileSource, now_seconds: u64) -> Result<Updated, UpdateError> {
        let note = source
            .fetch("checkpoint")
            .map_err(|error| SiteError::Io { path: "checkpoint".to_owned(), source: error })?;
        let head = self.trust.verify_head(&note.ok_or(UpdateError::NoCheckpoint)?)?;
        let mut growing = self.growing.lock();
        let reader = PackageReader::new(source, head.size());
        self.make_pending(&mut growing, &reader, &head)?;
        if !self.is_due(&head, now_seconds) {
            return Ok(Updated::Not);
        }
        let last = self.copy_bundles(&mut growing, &reader, &head)?;
        self.commit(&mut growing, &head, last.as_ref(), now_seconds)?;
        Ok(Updated::To(head.size()))
    }

    /// Step 1: the mirror follows this history and no other.
    fn make_pending(
        &self,
        growing: &mut Growing,
        reader: &PackageReader<'_>,
        head: &VerifiedHead,
    ) -> Result<(), UpdateError> {
        if let Some(pending) = self.pending(&growing.state)? {
            let (from, to) = (pending.checkpoint(), head.checkpoint());
            if to.size() < from.size() {
                return Err(UpdateError::WentBack { found: to.size().get(), pending: from.size().get() });
            }
            let (first, second) = (pending.note().as_str().to_owned(), head.note().to_owned());
            if to.size() == from.size() {
                let same = to.root() == from.root();
                return if same { Ok(()) } else { Err(UpdateError::Equivocation { first, second }) };
            }
            let proof = reader.consistency(from.size())?;
            verify_consistency(from.size(), from.root(), to.size(), to.root(), &proof)
                .map_err(|why| UpdateError::Inconsistent { pending: first, found: second, why })?;
        }
        growing.state.pending = head.note().as_bytes().to_vec();
        growing.file.set(&growing.state)?;
        Ok(())
    }

    fn pending(&self, state: &State) -> Result<Option<VerifiedCheckpoint>, UpdateError> {
        if state.pending.is_empty() {
            return Ok(None);
        }
        let pending = VerifiedCheckpoint::open(&state.pending, &self.meta.origin, &self.meta.keys);
        pending.map(Some).map_err(|error| UpdateError::Storage(io::Error::other(error)))
    }

    /// Whether there is something new to say about the head.
    fn is_due(&self, head: &VerifiedHead, now_seconds: u64) -> bool {
        let Some(published) = self.published() else { return true };
        let keys: Vec<_> = self.signers.iter().map(|signer| signer.vkey().clone()).collect();
        let cosigned = SignedNote::parse(&published.note).ok().and_then(|note| note.verify(&keys).ok());
        let times = cosigned.iter().flat_map(|note| note.signatures()).filter_map(|line| line.timestamp());
        published.checkpoint.size() < head.size()
            || times.max().is_none_or(|time| time.saturating_add(COSIGN_AGAIN_SECONDS) <= now_seconds)
    }

    /// Step 2: every full bundle, and what is left of the last one.
    fn copy_bundles(
        &self,
        growing: &mut Growing,
        reader: &PackageReader<'_>,
        head: &VerifiedHead,
    ) -> Result<Option<ProvenBundle>, UpdateError> {
        let bundles = head.size().get().div_ceil(1 << TILE_HEIGHT);
        let mut next = growing.edge.sealed() >> TILE_HEIGHT;
        while next < bundles {
            let round_end = (next + ROUND_BUNDLES).min(bundles);
            let mut last = None;
            while next < round_end {
                let numbers = next..round_end.min(next.saturating_add(reader.at_a_time()));
                for package in reader.packages(numbers)? {
                    let path = package.path;
                    let (size, root) = (head.size(), head.root());
                    let bundle = ProvenBundle::prove(path, package.bytes, size, root, &package.proof)
                        .map_err(|why| UpdateError::Unproven { path, why })?;
                    if path.is_full() {
                        self.write_full(&mut growing.edge, &bundle)?;
                    } else {
                        last = Some(bundle);
                    }
                    next += 1;
                }
            }
            self.objects.sync()?;
            if growing.state.sealed < growing.edge.sealed() {
                growing.state.sealed = growing.edge.sealed();
                growing.file.set(&growing.state)?;
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }

    fn write_full(&self, edge: &mut Edge, bundle: &ProvenBundle) -> io::Result<()> {
        self.objects.write(&bundle.path().to_string(), bundle.bytes())?;
        edge.push(bundle.leaves(), |path, row| self.objects.write(&path.to_string(), &row_bytes(row)))
    }

    /// Steps 3 to 5.
    fn commit(
        &self,
        growing: &mut Growing,
        head: &VerifiedHead,
        last: Option<&ProvenBundle>,
        now_seconds: u64,
    ) -> Result<(), UpdateError> {
        let tail = last.map_or(&[][..], ProvenBundle::leaves);
        let tiles = growing.edge.partial_tiles(tail);
        let bundle = last.map(|bundle| (bundle.path(), Bytes::copy_from_slice(bundle.bytes())));
        // Those that the mirror checkpoint so far needs are durable, and must be there at every moment.
        let needed = self.published().map(|published| partial_names(published.checkpoint.size()));
        let needed = needed.unwrap_or_default();
        let bytes = tiles.iter().map(|(path, row)| (path.to_string(), row_bytes(row)));
        let bytes = bytes.chain(bundle.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())));
        for (name, bytes) in bytes.filter(|(name, _)| !needed.contains(name)) {
            self.objects.write(&name, &bytes)?;
        }
        self.objects.sync()?;
        if growing.edge.root(tail) != Some(*head.root()) {
            // Each part was proven, so it is our own arithmetic, or memory.
            return Err(io::Error::other("the copy does not hash to the root that it was proven by").into());
        }
        let note = self.cosigned(head, now_seconds)?;
        growing.state.mirrored = note.as_str().as_bytes().to_vec();
        growing.file.set(&growing.state)?;
        self.objects.replace("checkpoint", &growing.state.mirrored)?;
        let tiles = tiles.into_iter().map(|(path, row)| (path.tile(), row)).collect();
        let note = Bytes::copy_from_slice(&growing.state.mirrored);
        let published = Published { note, checkpoint: head.checkpoint().clone(), tiles, bundle };
        *self.published.write() = Some(Arc::new(published));
        let kept = partial_names(head.size());
        needed.difference(&kept).try_for_each(|stale| self.objects.remove(stale))?;
        Ok(())
    }

    /// The log's signatures, those of its witnesses that verify, and the mirror's. Nobody else's are kept: a line under the
    /// mirror's own name would otherwise make its checkpoint worthless.
    fn cosigned(&self, head: &VerifiedHead, now_seconds: u64) -> Result<SignedNote, UpdateError> {
        let note = SignedNote::parse(head.note().as_bytes()).map_err(graven_note::SignError::from)?;
        let keys: Vec<_> = self.meta.keys.iter().chain(&self.meta.witnesses).collect();
        let is_kept = |line: &&SignatureLine| {
            let verifies = |key: &graven_note::VerifierKey| {
                line.claims(key) && key.verify(note.text().as_bytes(), line.signature()).is_ok()
            };
            keys.iter().any(|key| verifies(key))
        };
        let mut lines: Vec<_> = note.signatures().iter().filter(is_kept).cloned().collect();
        for signer in &*self.signers {
            lines.push(sign_line(note.text(), signer, now_seconds)?);
        }
        Ok(SignedNote::new(note.text(), &lines).map_err(graven_note::SignError::from)?)
    }
}

fn partial_names(size: TreeSize) -> BTreeSet<String> {
    let bundle = partial_bundle(size).map(|path| path.to_string());
    partial_tiles(size).map(|path| path.to_string()).chain(bundle).collect()
}
