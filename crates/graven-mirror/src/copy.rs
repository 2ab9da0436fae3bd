//! How a copy grows: the steps of the crate's documentation, whoever brings the entries.
//!
//! Each step holds the copy for as long as it writes, and no longer: between two of them others may have taken it further, so
//! every step looks again at what there is.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use graven_merkle::tile::{EntryBundle, ProvenBundle, TILE_HEIGHT, TileId};
use graven_merkle::{Hash, TreeSize};
use graven_note::evidence::Asked;
use graven_note::witness::{AddCheckpoint, Refused, WireError};
use graven_note::{
    MAX_NOTE_BYTES, SignatureLine, SignedNote, Signer as _, VerifiedCheckpoint, VerifiedEvidence, sign_line,
};
use graven_store::evidence;

use crate::edge::{Edge, partial_bundle, partial_tiles, row_bytes};
use crate::error::UpdateError;
use crate::log::{MirroredLog, Published};
use crate::state::{State, StateFile};

/// A checkpoint that stays the same is cosigned anew this often, so that a stall can be told from silence.
pub(crate) const COSIGN_AGAIN_SECONDS: u64 = 60;
/// Longest checkpoint that is taken, with those of its lines that count: the mirror's own lines, of 4 KiB at most, still go into
/// the note, and the pending and the mirror checkpoint into one record of the state.
const MAX_TAKEN_BYTES: usize = MAX_NOTE_BYTES - (8 << 10);
/// Checkpoints that were pending and whose entries are still taken.
const RECENT: usize = 8;

/// What lets a copy grow.
pub(crate) struct Growing {
    pub(crate) file: StateFile,
    pub(crate) state: State,
    pub(crate) edge: Edge,
    /// The pending checkpoint, after those before it.
    pub(crate) pending: VecDeque<VerifiedCheckpoint>,
}

impl MirroredLog {
    /// Lets one work on the copy. After what [is fatal](UpdateError::is_fatal) nobody does any more, on any copy.
    pub(crate) fn grow<T>(
        &self,
        work: impl FnOnce(&mut Growing) -> Result<T, UpdateError>,
    ) -> Result<T, UpdateError> {
        let mut growing = self.growing.lock();
        self.alive.check()?;
        if self.is_split() {
            return Err(Refused::SplitView.into());
        }
        let done = work(&mut growing);
        if let Err(error) = &done
            && error.is_fatal()
        {
            self.alive.end(error);
        }
        done
    }

    /// Step 1: from here on the mirror follows this history and no other. Returns the pending checkpoint.
    pub(crate) fn pend(
        &self,
        growing: &mut Growing,
        request: &AddCheckpoint,
        offered: &VerifiedCheckpoint,
        now_seconds: u64,
    ) -> Result<VerifiedCheckpoint, UpdateError> {
        let known = growing.pending.back();
        if let Err(refused) = request.follows(known.map(VerifiedCheckpoint::checkpoint)) {
            if let Refused::Inconsistent(why) = &refused {
                let evidence = VerifiedEvidence::of_refusal(known, offered, &request.proof, why);
                self.accuse(evidence, now_seconds)?;
            }
            return Err(refused.into());
        }
        let note = offered.only_verified(&self.meta.witnesses);
        let note = note.map_err(|error| Refused::Malformed(error.into()))?;
        if note.as_str().len() > MAX_TAKEN_BYTES {
            return Err(Refused::Malformed(WireError::TooLarge(MAX_TAKEN_BYTES)).into());
        }
        let known = growing.pending.back().filter(|known| {
            let known = known.note().note();
            // One that stays the same is replaced by itself with as many signatures, so that newer ones count.
            known == &note
                || known.text() == note.text() && known.signatures().len() > note.signatures().len()
        });
        if let Some(known) = known {
            return Ok(known.clone());
        }
        growing.state.pending = note.as_str().as_bytes().to_vec();
        growing.file.set(&growing.state)?;
        let pending = VerifiedCheckpoint::open(&growing.state.pending, &self.meta.origin, &self.meta.keys);
        let pending = pending.map_err(io::Error::other)?;
        growing.pending.retain(|known| known.checkpoint().size() != pending.checkpoint().size());
        growing.pending.push_back(pending.clone());
        if growing.pending.len() > RECENT {
            growing.pending.pop_front();
        }
        Ok(pending)
    }

    /// Leaves behind, durably, what proves that the log shows two histories, and goes on with neither.
    pub(crate) fn accuse(
        &self,
        evidence: Option<VerifiedEvidence>,
        now_seconds: u64,
    ) -> Result<(), UpdateError> {
        let Some(evidence) = evidence else { return Ok(()) };
        let asked = Asked::new(now_seconds, "what the mirror was shown as the log's checkpoint");
        let path = evidence::keep(&*self.fs, &self.dir.join("evidence"), &evidence.asking([asked]))?;
        self.split.store(true, Ordering::Release);
        let path = path.display().to_string();
        tracing::error!(log = %self.origin(), path, "SPLIT VIEW: the log signed what cannot both be true");
        Err(Refused::SplitView.into())
    }

    /// Step 2, for one bundle: it is written where it is the next full one. What the copy has is not written again, and the
    /// one that is not full is for [`commit`](Self::commit).
    pub(crate) fn keep(&self, growing: &mut Growing, bundle: &ProvenBundle) -> Result<(), UpdateError> {
        if bundle.path().is_full() && bundle.first() == growing.edge.sealed() {
            self.objects.write(&bundle.path().to_string(), bundle.bytes())?;
            growing
                .edge
                .push(bundle.leaves(), |path, row| self.objects.write(&path.to_string(), &row_bytes(row)))?;
        }
        Ok(())
    }

    /// The end of a round of step 2: what was written is durable, and then the state says so.
    pub(crate) fn seal(&self, growing: &mut Growing) -> Result<(), UpdateError> {
        if growing.state.sealed < growing.edge.sealed() {
            self.objects.sync()?;
            growing.state.sealed = growing.edge.sealed();
            growing.file.set(&growing.state)?;
        }
        Ok(())
    }

    /// Whether there is something new to say about the head, or its witnesses have.
    pub(crate) fn is_due(&self, head: &VerifiedCheckpoint, now_seconds: u64) -> bool {
        let lines = head.note().note().signatures().len() + self.signers.len();
        self.published().is_none_or(|published| {
            published.checkpoint != *head.checkpoint()
                || published.time_seconds.saturating_add(COSIGN_AGAIN_SECONDS) <= now_seconds
                || SignedNote::parse(&published.note).is_ok_and(|note| note.signatures().len() < lines)
        })
    }

    /// Steps 3 to 5, under a head that is or was pending. `last` is its bundle that is not full, if it has one that is not the
    /// mirror checkpoint's.
    ///
    /// # Errors
    /// [`UpdateError::Overtaken`]: the copy is beyond that head, or not there yet.
    pub(crate) fn commit(
        &self,
        growing: &mut Growing,
        head: &VerifiedCheckpoint,
        last: Option<&ProvenBundle>,
        now_seconds: u64,
    ) -> Result<(), UpdateError> {
        let size = head.checkpoint().size();
        let published = self.published();
        let same = published.as_ref().filter(|published| published.checkpoint.size() == size);
        let (tail, bundle) = match (last, same) {
            (Some(last), _) => {
                (last.leaves().to_vec(), Some((last.path(), Bytes::copy_from_slice(last.bytes()))))
            }
            (None, Some(same)) => (same.tail(), same.bundle.clone()),
            (None, None) => (Vec::new(), None),
        };
        let is_behind = published.as_ref().is_some_and(|published| size < published.checkpoint.size());
        if is_behind || growing.edge.sealed() + tail.len() as u64 != size.get() {
            return Err(UpdateError::Overtaken);
        }
        self.seal(growing)?;
        let tiles = growing.edge.partial_tiles(&tail);
        // Those that the mirror checkpoint so far needs are durable, and must be there at every moment.
        let needed = published.as_ref().map(|published| partial_names(published.checkpoint.size()));
        let needed = needed.unwrap_or_default();
        let bytes = tiles.iter().map(|(path, row)| (path.to_string(), row_bytes(row)));
        let bytes = bytes.chain(bundle.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())));
        for (name, bytes) in bytes.filter(|(name, _)| !needed.contains(name)) {
            self.objects.write(&name, &bytes)?;
        }
        self.objects.sync()?;
        if growing.edge.root(&tail) != Some(*head.checkpoint().root()) {
            // Each part was proven, so it is our own arithmetic, or memory.
            return Err(io::Error::other("the copy does not hash to the root that it was proven by").into());
        }
        // A clock that went back does not take the cosignature with it.
        let time_seconds = published.map_or(0, |published| published.time_seconds).max(now_seconds);
        let note = self.cosigned(head.note().note(), time_seconds)?;
        growing.state.mirrored = note.as_str().as_bytes().to_vec();
        growing.file.set(&growing.state)?;
        self.objects.replace("checkpoint", &growing.state.mirrored)?;
        let tiles = tiles.into_iter().map(|(path, row)| (path.tile(), row)).collect();
        let note = Bytes::copy_from_slice(&growing.state.mirrored);
        let checkpoint = head.checkpoint().clone();
        *self.published.write() = Some(Arc::new(Published { note, checkpoint, time_seconds, tiles, bundle }));
        let kept = partial_names(size);
        needed.difference(&kept).try_for_each(|stale| self.objects.remove(stale))?;
        Ok(())
    }

    /// The head as it was pending, with the mirror's cosignatures.
    fn cosigned(&self, head: &SignedNote, time_seconds: u64) -> Result<SignedNote, UpdateError> {
        let own = self.signers.iter().map(|signer| sign_line(head.text(), signer, time_seconds));
        let lines = head.signatures().iter().cloned().map(Ok).chain(own);
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        Ok(SignedNote::new(head.text(), &lines).map_err(graven_note::SignError::from)?)
    }

    /// The mirror's own lines of the mirror checkpoint.
    pub(crate) fn cosignatures(&self) -> Vec<SignatureLine> {
        let note = self.published().and_then(|published| SignedNote::parse(&published.note).ok());
        let is_own = |line: &&SignatureLine| self.signers.iter().any(|own| line.claims(own.vkey()));
        note.iter().flat_map(SignedNote::signatures).filter(is_own).cloned().collect()
    }
}

impl Published {
    /// The leaf hashes after the last full bundle.
    fn tail(&self) -> Vec<Hash> {
        let tile = TileId::new(0, self.checkpoint.size().get() >> TILE_HEIGHT);
        tile.and_then(|tile| self.tiles.get(&tile)).cloned().unwrap_or_default()
    }

    /// The first entries of the bundle that is not full.
    pub(crate) fn beginning(&self, index: u64, width: u16) -> Option<&[u8]> {
        let (path, bytes) = self.bundle.as_ref().filter(|(path, _)| path.index() == index)?;
        let bundle = EntryBundle::parse(bytes, path.width()).ok()?;
        bundle.prefix(width).map(|prefix| prefix.bytes())
    }
}

fn partial_names(size: TreeSize) -> BTreeSet<String> {
    let bundle = partial_bundle(size).map(|path| path.to_string());
    partial_tiles(size).map(|path| path.to_string()).chain(bundle).collect()
}
