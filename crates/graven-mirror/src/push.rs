//! A copy that is pushed: C2SP tlog-mirror, `add-checkpoint` and `add-entries`, without the HTTP.

use std::sync::Arc;

use graven_merkle::TreeSize;
use graven_merkle::tile::{BundleRange, EntryBundle, ProvenBundle, TILE_HEIGHT, TILE_WIDTH, UnprovenBundle};
use graven_note::mirror::{MirrorInfo, Package, Upload, UploadError};
use graven_note::witness::{AddCheckpoint, SignSubtree};
use graven_note::{SignatureLine, VerifiedCheckpoint};

use crate::copy::Growing;
use crate::edge::full_bundle;
use crate::error::UpdateError;
use crate::log::{MAX_BUNDLE_BYTES, MirroredLog};
use crate::poll::ROUND_BUNDLES;

/// How far below the mirror's next entry an upload may begin: what a client sends in one request, as the specification has it.
const MAX_BEHIND: u64 = 32 << TILE_HEIGHT;

/// Why an upload ends without an answer that says how far the mirror is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("no such log is mirrored here")]
    UnknownLog,
    #[error("not an upload: {0}")]
    Malformed(#[from] UploadError),
    #[error("it ends before its first package does, or has none")]
    NoPackage,
    #[error("entries {first} and on: {why}")]
    Unproven { first: u64, why: UnprovenBundle },
    #[error("an upload has the content type application/octet-stream")]
    ContentType,
    #[error("an upload is packed by gzip, or not at all")]
    Encoding,
    #[error("as many uploads are under way as may be: try again")]
    Overloaded,
    #[error("it came too slowly")]
    TooSlow,
    #[error(transparent)]
    Update(#[from] UpdateError),
}

/// How an upload ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// Everything is here, and cosigned.
    All(Vec<SignatureLine>),
    /// A part is here, and durable.
    Part(MirrorInfo),
    /// Nothing of it is wanted.
    Conflict(MirrorInfo),
}

/// An upload that is being taken.
pub(crate) struct Taking {
    log: Arc<MirroredLog>,
    head: VerifiedCheckpoint,
    packages: Box<dyn Iterator<Item = BundleRange> + Send>,
    next: Option<BundleRange>,
    taken: u64,
    last: Option<ProvenBundle>,
}

impl MirroredLog {
    /// Makes the checkpoint of a request pending, where the log signed it and it follows the pending one.
    ///
    /// # Errors
    /// [`UpdateError::Refused`], with the answer of C2SP tlog-witness; or storage failed.
    pub fn add_checkpoint(&self, request: &AddCheckpoint, now_seconds: u64) -> Result<(), UpdateError> {
        let offered = self.signed_by_log(request.note.as_str().as_bytes())?;
        self.grow(|growing| self.pend(growing, request, &offered, now_seconds)).map(drop)
    }

    /// Cosigns a subtree of a tree that the mirror cosigned.
    ///
    /// # Errors
    /// [`UpdateError::Refused`], with the answer of C2SP tlog-witness.
    pub fn sign_subtree(&self, request: &SignSubtree) -> Result<SignatureLine, UpdateError> {
        self.grow(|_| Ok(()))?;
        Ok(request.cosign(&self.signers)?)
    }

    /// The size of the pending checkpoint.
    pub(crate) fn pending_size(&self) -> TreeSize {
        self.growing.lock().pending.back().map_or(TreeSize::ZERO, |pending| pending.checkpoint().size())
    }

    /// The first entries of a bundle, where the copy has so many.
    fn beginning(&self, growing: &Growing, range: &BundleRange) -> Result<Option<Vec<u8>>, UpdateError> {
        let (index, width) = (range.bundle.index(), range.first);
        if width == 0 {
            return Ok(Some(Vec::new()));
        }
        if index < growing.edge.sealed() >> TILE_HEIGHT {
            let bytes = self.objects.read(&full_bundle(index)?.to_string(), MAX_BUNDLE_BYTES)?;
            let prefix = EntryBundle::parse(&bytes, TILE_WIDTH).ok().and_then(|bundle| bundle.prefix(width));
            return Ok(prefix.map(|prefix| prefix.bytes().to_vec()));
        }
        let published = self.published();
        Ok(published.and_then(|published| published.beginning(index, width).map(<[u8]>::to_vec)))
    }

    /// How far the mirror is, with the ticket for a head that is or was pending: the given one, unless others have brought the
    /// copy beyond it, or else the newest.
    fn info(&self, growing: &Growing, head: Option<&VerifiedCheckpoint>) -> MirrorInfo {
        let next = growing.state.sealed.max(self.size().get());
        let head = head.filter(|head| head.checkpoint().size().get() >= next).or(growing.pending.back());
        let (size, ticket) =
            head.map(|head| (head.checkpoint().size(), self.tickets.of(head))).unwrap_or_default();
        MirrorInfo { size, next, ticket }
    }

    /// The head that an upload is proven under: a recent one, or one that a ticket of ours brings back.
    fn head_of(&self, growing: &Growing, upload: &Upload) -> Option<VerifiedCheckpoint> {
        let is_it = |head: &&VerifiedCheckpoint| head.checkpoint().size() == upload.end;
        let recent = growing.pending.iter().find(is_it).cloned();
        let from_ticket = || self.signed_by_log(self.tickets.note_of(&upload.ticket)?).ok();
        recent.or_else(|| from_ticket().filter(|head| is_it(&head)))
    }
}

impl Taking {
    /// Begins to take an upload, unless there is a conflict.
    pub(crate) fn begin(log: Arc<MirroredLog>, upload: &Upload) -> Result<Result<Self, Uploaded>, PushError> {
        let begun = log.grow(|growing| {
            let known = log.head_of(growing, upload);
            let next = growing.edge.sealed().max(log.size().get());
            // What is sealed may reach beyond an older head, which then cannot be committed any more.
            let head = known.filter(|head| {
                let size = head.checkpoint().size();
                size >= log.size() && size.get() >= growing.edge.sealed()
            });
            let is_near = upload.start <= next && upload.start.saturating_add(MAX_BEHIND) >= next;
            match head {
                Some(head) if is_near => Ok(Ok(head)),
                head => Ok(Err(Uploaded::Conflict(log.info(growing, head.as_ref())))),
            }
        })?;
        Ok(begun.map(|head| {
            let mut packages: Box<dyn Iterator<Item = BundleRange> + Send> = Box::new(upload.packages());
            let next = packages.next();
            Self { log, head, packages, next, taken: 0, last: None }
        }))
    }

    /// How many entries the next package has; `None` after the last one.
    pub(crate) fn next_count(&self) -> Option<u16> {
        self.next.map(|range| range.count)
    }

    /// Whether there is something to show for it already.
    pub(crate) fn has_taken(&self) -> bool {
        self.taken > 0
    }

    /// Proves the next package, and keeps what the copy has not.
    pub(crate) fn take(&mut self, package: Package) -> Result<(), PushError> {
        let Some(range) = self.next else { return Ok(()) };
        let (log, head) = (&self.log, self.head.checkpoint());
        let beginning = log.grow(|growing| log.beginning(growing, &range))?;
        // One that is not there any more is in a larger mirror checkpoint by now.
        let beginning = beginning.ok_or(UpdateError::Overtaken)?;
        let bytes = [beginning, package.entries].concat();
        let bundle = ProvenBundle::prove(range.bundle, bytes, head.size(), head.root(), &package.proof);
        let first = (range.bundle.index() << TILE_HEIGHT) + u64::from(range.first);
        let bundle = bundle.map_err(|why| PushError::Unproven { first, why })?;
        self.taken += 1;
        let is_round = self.taken.is_multiple_of(ROUND_BUNDLES);
        log.grow(|growing| {
            log.keep(growing, &bundle)?;
            if is_round { log.seal(growing) } else { Ok(()) }
        })?;
        self.last = (!bundle.path().is_full()).then_some(bundle);
        self.next = self.packages.next();
        Ok(())
    }

    /// Makes durable what was taken, and commits it where it is everything.
    pub(crate) fn finish(self, now_seconds: u64) -> Result<Uploaded, PushError> {
        let Self { log, head, next, taken, last, .. } = self;
        if next.is_some() && taken == 0 {
            return Err(PushError::NoPackage);
        }
        let uploaded = log.grow(|growing| {
            log.seal(growing)?;
            if next.is_some() {
                return Ok(Uploaded::Part(log.info(growing, Some(&head))));
            }
            if log.is_due(&head, now_seconds) {
                match log.commit(growing, &head, last.as_ref(), now_seconds) {
                    Err(UpdateError::Overtaken) => {
                        return Ok(Uploaded::Conflict(log.info(growing, None)));
                    }
                    other => other?,
                }
            } else if head.checkpoint().size() < log.size() {
                return Ok(Uploaded::Conflict(log.info(growing, None)));
            }
            Ok(Uploaded::All(log.cosignatures()))
        });
        Ok(uploaded?)
    }

    /// Makes durable what was taken of an upload that is given up.
    pub(crate) fn give_up(self) -> Result<(), UpdateError> {
        self.log.grow(|growing| self.log.seal(growing))
    }

    /// The answer to an upload that others overtook.
    pub(crate) fn overtaken(self) -> Result<Uploaded, UpdateError> {
        self.log.grow(|growing| Ok(Uploaded::Conflict(self.log.info(growing, None))))
    }
}
