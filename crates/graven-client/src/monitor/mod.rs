//! Watching a log over years: every new entry hashed, every head held to the one before, across restarts.
//!
//! ```text
//! a source's head against the position         what must hold                               otherwise
//! none yet, or larger   its new entries, hashed here, lead from the frontier to its root    SplitView, Tampered
//! same size             same root                                                           SplitView
//! smaller               it begins the position's tree, as some source shows                 SplitView, Rollback, Trouble
//! ```
//!
//! A source that falls below the largest head that it showed itself went back: a rollback. One that never was further
//! may only lag: that it cannot be checked is trouble.
//!
//! A log may be watched at several sources: its server, its tiles, mirrors of them. All are held to one position, so
//! that what one of them shows is compared with what the others do.
//!
//! Heads are compared as soon as the log's own key signed them. The position moves only to heads that the [`Trust`]
//! accepts with its quorum: a key that was stolen may sign another history, and does not get it believed.
//!
//! A split view needs evidence, and that needs a source whose answers hold together: see
//! [`graven_note::evidence`]. Entries that do not lead to the signed root are [`MonitorError::Tampered`]; an answer that is
//! missing, broken or malformed says nothing about the log, and is [`MonitorError::Trouble`].

mod position;
mod source;

use std::{
    cmp::Ordering,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use graven_merkle::{Frontier, Hash, TreeSize, verify_consistency};
use graven_note::{OpenError, PolicyCheckError, VerifiedCheckpoint, VerifiedEvidence, VerifyCheckpointError};
use thiserror::Error;

use crate::{
    Fault, StaleHead, Trust, UntrustedHead, VerifiedHead,
    audit::{Finding, RootSource},
    trust::{asked_now, fresh},
};
use position::{Position, PositionFile, Shown};
pub use source::Source;

/// How fresh a head must be where the signatures that count state a time, and nothing else is demanded.
const FRESH_WITHIN: Duration = Duration::from_secs(600);

/// Watches one log.
pub struct Monitor {
    trust: Trust,
    sources: Vec<Source>,
    fresh_within: Option<Duration>,
    file: PositionFile,
    position: Option<Position>,
    /// The largest head that each source showed.
    shown: Shown,
    /// What leads to the newest head of each source, where that is without its quorum: not to be read again.
    ahead: Vec<Option<Frontier>>,
    answered: Arc<AtomicBool>,
}

/// Judges, beside a look that is under way, whether the log stands still.
pub struct Freshness {
    trust: Trust,
    fresh_within: Option<Duration>,
    position: Option<(VerifiedHead, SystemTime)>,
    answered: Arc<AtomicBool>,
}

/// What one look at every source came to.
#[derive(Debug)]
pub struct Pass {
    /// How many entries were new and verified.
    pub entries: u64,
    /// The worst that was met, if anything was.
    pub worst: Option<MonitorError>,
}

/// Why a log is not known to be well.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// Nothing is known, or not enough: a source cannot be reached, refuses, or answers what no log would.
    #[error("{at}: {reason}")]
    Trouble {
        /// Which source.
        at: String,
        /// What happened.
        reason: String,
    },
    /// The log stands still, or is shown as it was.
    #[error(transparent)]
    Stale(#[from] StaleHead),
    /// The log, whose signatures state no time, did not grow.
    #[error(
        "stalled: no signature that counts states a time, and the log did not grow for {} s, where {} s is the limit",
        .since.as_secs(), .limit.as_secs()
    )]
    Still {
        /// For how long it was seen not to grow.
        since: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// The newest heads are without their quorum.
    #[error("{at}: no head of the log is witnessed as demanded: {reason}")]
    Unwitnessed {
        /// Which source.
        at: String,
        /// What is missing.
        reason: UntrustedHead,
    },
    /// A head is not signed by the log.
    #[error("{at}: the head is not to be trusted: {reason}")]
    Untrusted {
        /// Which source.
        at: String,
        /// What is wrong with it.
        reason: UntrustedHead,
    },
    /// What is served is not what was signed.
    #[error("{at}: {finding}")]
    Tampered {
        /// Which source.
        at: String,
        /// What is wrong.
        finding: Box<Finding>,
    },
    /// The log went back behind what it signed, and no source shows that it is still the same one.
    #[error("{at}: rollback: the log offers {} entries, but signed a head of {} before", .offered.checkpoint().size(), .kept.size())]
    Rollback {
        /// Which source.
        at: String,
        /// The head that was verified before.
        kept: Box<VerifiedHead>,
        /// The head that is offered now.
        offered: Box<VerifiedCheckpoint>,
    },
    /// The log signed two trees that cannot both be.
    #[error("split view, and it is proven: {0}")]
    SplitView(Box<VerifiedEvidence>),
    /// The position cannot be kept.
    #[error("the monitor's position cannot be kept: {0}")]
    State(#[from] io::Error),
}

impl MonitorError {
    /// What it says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Trouble { .. } | Self::State(_) => Fault::Trouble,
            Self::Stale(_) | Self::Still { .. } | Self::Unwitnessed { .. } => Fault::Stalled,
            Self::Untrusted { .. } | Self::Tampered { .. } => Fault::CheckFailed,
            Self::Rollback { .. } => Fault::Rollback,
            Self::SplitView(_) => Fault::SplitView,
        }
    }

    /// The notes of both heads, each with a name for its file, where the log went back: no evidence, but what its operator
    /// is to be asked about.
    pub fn notes(&self) -> impl Iterator<Item = (String, &str)> {
        let heads = match self {
            Self::Rollback { kept, offered, .. } => vec![kept.verified(), &**offered],
            _ => Vec::new(),
        };
        heads.into_iter().map(|head| (note_file_name(head), head.note().as_str()))
    }

    /// The evidence, where the log signed two trees that cannot both be.
    #[must_use]
    pub fn evidence(&self) -> Option<&VerifiedEvidence> {
        match self {
            Self::SplitView(evidence) => Some(evidence),
            _ => None,
        }
    }
}

fn note_file_name(head: &VerifiedCheckpoint) -> String {
    let checkpoint = head.checkpoint();
    let root = &checkpoint.root().to_string()[..8];
    format!("{}-{}-{root}.checkpoint", checkpoint.origin().sha256_hex(), checkpoint.size())
}

/// The worse of two faults is the greater number.
fn severity(fault: Fault) -> u8 {
    match fault {
        Fault::Trouble => 0,
        Fault::Stalled => 1,
        Fault::CheckFailed => 2,
        Fault::Rollback => 3,
        Fault::SplitView => 4,
    }
}

impl Monitor {
    /// Watches the log that `trust` pins, at `sources`, from where its position in `folder` was left. The newest head must
    /// be as fresh as `fresh_within`, by the times of the signatures that count, or the log has to grow as often where they
    /// state none; without it ten minutes are the limit for logs whose signatures state a time.
    ///
    /// # Errors
    /// The position cannot be read, is not of these keys, or another monitor moves it.
    pub fn open(
        trust: Trust,
        sources: Vec<Source>,
        folder: impl Into<PathBuf>,
        fresh_within: Option<Duration>,
    ) -> Result<Self, MonitorError> {
        let file = PositionFile::open(&folder.into(), trust.origin())?;
        let (position, shown) = (file.load(&trust)?, file.load_shown()?);
        let ahead = sources.iter().map(|_| None).collect();
        Ok(Self { trust, sources, fresh_within, file, position, shown, ahead, answered: Arc::default() })
    }

    /// Whose signatures count.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The newest head all of whose entries were verified; `None` before the first.
    #[must_use]
    pub fn head(&self) -> Option<&VerifiedHead> {
        self.position.as_ref().map(|position| &position.head)
    }

    /// What judges the log's freshness while a look is under way: a source that is slow must not hide a stall.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        let position = self.position.as_ref().map(|position| (position.head.clone(), position.grown));
        let answered = Arc::clone(&self.answered);
        Freshness { trust: self.trust.clone(), fresh_within: self.fresh_within, position, answered }
    }

    /// Looks at every source once.
    pub async fn poll(&mut self) -> Pass {
        let mut pass = Pass { entries: 0, worst: None };
        self.answered.store(false, Relaxed);
        for at in 0..self.sources.len() {
            match self.look(at).await {
                Ok(entries) => pass.entries += entries,
                // Whether it stalls for that is a matter of time, unless nothing was ever witnessed as demanded.
                Err(MonitorError::Unwitnessed { .. })
                    if self.position.as_ref().is_some_and(|it| it.is_believed) => {}
                Err(error) => pass.take(error),
            }
        }
        self.freshness().judge().unwrap_or_else(|stale| pass.take(stale));
        pass
    }

    /// Looks at one source, and answers how many entries were new.
    async fn look(&mut self, at: usize) -> Result<u64, MonitorError> {
        let source = &self.sources[at];
        let note = source.checkpoint().await?;
        let signed = VerifiedCheckpoint::open(&note, self.trust.origin(), self.trust.keys());
        let signed = signed.map_err(|error| not_signed(source, error))?;
        if let Some(evidence) = VerifiedEvidence::of_empty(&signed) {
            return Err(split_view(source, evidence));
        }
        let size = signed.checkpoint().size();
        let start = self.position.as_ref().map(|position| position.frontier.clone()).unwrap_or_default();
        let known = start.size();
        let frontier = match size.cmp(&known) {
            Ordering::Less => {
                self.hold_to_later(source, &signed).await?;
                self.showed(at, size)?;
                return Ok(0);
            }
            Ordering::Equal => self.hold_to_same(source, &signed).map(|()| start)?,
            Ordering::Greater => {
                let ahead = self.ahead[at].take();
                let ahead = ahead.filter(|ahead| known < ahead.size() && ahead.size() <= size);
                self.grow(source, start, ahead, &signed).await?
            }
        };
        self.showed(at, size)?;
        let source = &self.sources[at];
        let head = match self.trust.verify_signed(&note) {
            Ok(head) => head,
            Err(reason) => {
                let refused = not_believed(source, reason);
                self.ahead[at] = Some(frontier);
                return Err(refused);
            }
        };
        self.advance(Position { head, frontier, is_believed: true, grown: SystemTime::now() })?;
        Ok(size.get() - known.get())
    }

    /// The source answered with a head that holds against all that is known.
    fn showed(&mut self, at: usize, size: TreeSize) -> Result<(), MonitorError> {
        self.answered.store(true, Relaxed);
        if self.shown.raise(&self.sources[at].to_string(), size) {
            self.file.keep_shown(&self.shown)?;
        }
        Ok(())
    }

    /// Reads and hashes the entries that are new, up to the signed root.
    async fn grow(
        &self,
        source: &Source,
        start: Frontier,
        ahead: Option<Frontier>,
        signed: &VerifiedCheckpoint,
    ) -> Result<Frontier, MonitorError> {
        let (size, root) = (signed.checkpoint().size(), *signed.checkpoint().root());
        // A head that was not believed need not be of this tree: then all is read from the position on.
        if let Some(ahead) = ahead {
            let frontier = source.grow(ahead, size).await?;
            if frontier.root() == root {
                return Ok(frontier);
            }
        }
        let frontier = source.grow(start, size).await?;
        let computed = frontier.root();
        if computed == root {
            return Ok(frontier);
        }
        // Either what the position knows is not in this tree, and then it has another beginning, or what is served is
        // not what was signed.
        if let Some(position) = &self.position
            && let Some(evidence) = other_beginning(source, position.head.verified(), signed).await
        {
            return Err(split_view(source, evidence));
        }
        let finding = Finding::Root { size, signed: root, computed, from: RootSource::Entries };
        Err(MonitorError::Tampered { at: source.to_string(), finding: Box::new(finding) })
    }

    fn hold_to_same(&self, source: &Source, signed: &VerifiedCheckpoint) -> Result<(), MonitorError> {
        let position = self.position.as_ref();
        let evidence = position.and_then(|it| VerifiedEvidence::of_heads(it.head.verified(), signed));
        evidence.map_or(Ok(()), |evidence| Err(split_view(source, evidence)))
    }

    /// A smaller head is fine where it begins the tree that is known: then a source is behind, or a cache. Any source
    /// may show it.
    async fn hold_to_later(&self, source: &Source, signed: &VerifiedCheckpoint) -> Result<(), MonitorError> {
        let Some(position) = &self.position else { return Ok(()) };
        let (from, to) = (signed.checkpoint().size(), &position.head);
        for other in std::iter::once(source).chain(&self.sources).filter(|_| !from.is_empty()) {
            let Some((root, proof)) = other.beginning(from, to.size()).await else { continue };
            if root == *signed.checkpoint().root()
                && verify_consistency(from, &root, to.size(), to.root(), &proof).is_ok()
            {
                return Ok(());
            }
            if let Some(evidence) = VerifiedEvidence::of_beginning(signed, to.verified(), root, proof) {
                return Err(split_view(source, evidence));
            }
        }
        if self.shown.of(&source.to_string()) <= from {
            let (behind, known) = (from.get(), to.size().get());
            return Err(source.trouble(format_args!(
                "its head of {behind} entries is behind the {known} that were verified, and no source shows that it is their \
                 beginning"
            )));
        }
        let (kept, offered) = (Box::new(to.clone()), Box::new(signed.clone()));
        Err(MonitorError::Rollback { at: source.to_string(), kept, offered })
    }

    /// Keeps a position that is further, or has fresher signatures.
    fn advance(&mut self, mut new: Position) -> Result<(), MonitorError> {
        let rank = |position: &Position| {
            (position.head.size(), position.is_believed, self.trust.time_of(&position.head))
        };
        if self.position.as_ref().is_none_or(|old| rank(old) < rank(&new)) {
            if let Some(old) = self.position.as_ref().filter(|old| old.head.size() == new.head.size()) {
                new.grown = old.grown;
            }
            self.file.keep(&new)?;
            self.position = Some(new);
        }
        Ok(())
    }
}

impl Freshness {
    /// Of a log that cannot be reached it is not known that it stands still.
    ///
    /// # Errors
    /// It stands still: [`MonitorError::Stale`], [`MonitorError::Still`].
    pub fn judge(&self) -> Result<(), MonitorError> {
        let Some((head, grown)) = self.position.as_ref().filter(|_| self.answered.load(Relaxed)) else {
            return Ok(());
        };
        match (self.trust.time_of(head), self.fresh_within) {
            (None, None) => Ok(()),
            (None, Some(limit)) => {
                let since = grown.elapsed().unwrap_or_default();
                if since <= limit { Ok(()) } else { Err(MonitorError::Still { since, limit }) }
            }
            (time, limit) => Ok(fresh(time, limit.unwrap_or(FRESH_WITHIN))?),
        }
    }
}

impl Pass {
    fn take(&mut self, error: MonitorError) {
        let is_worse = |known: &MonitorError| severity(known.fault()) < severity(error.fault());
        if self.worst.as_ref().is_none_or(is_worse) {
            self.worst = Some(error);
        }
    }
}

async fn other_beginning(
    source: &Source,
    earlier: &VerifiedCheckpoint,
    later: &VerifiedCheckpoint,
) -> Option<VerifiedEvidence> {
    let size = |head: &VerifiedCheckpoint| -> TreeSize { head.checkpoint().size() };
    let (root, proof): (Hash, _) = source.beginning(size(earlier), size(later)).await?;
    VerifiedEvidence::of_beginning(earlier, later, root, proof)
}

fn split_view(source: &Source, evidence: VerifiedEvidence) -> MonitorError {
    MonitorError::SplitView(Box::new(evidence.asking([asked_now(&format!("{source}: its newest head"))])))
}

/// What is no note comes from a portal or a proxy, as often as not; what others signed does not.
fn not_signed(source: &Source, error: VerifyCheckpointError) -> MonitorError {
    match error {
        VerifyCheckpointError::Note(OpenError::Malformed(error)) => source.trouble(error),
        error => MonitorError::Untrusted {
            at: source.to_string(),
            reason: UntrustedHead::Checkpoint(PolicyCheckError::Checkpoint(error)),
        },
    }
}

fn not_believed(source: &Source, reason: UntrustedHead) -> MonitorError {
    let at = source.to_string();
    match reason {
        UntrustedHead::Checkpoint(PolicyCheckError::Quorum(_)) => MonitorError::Unwitnessed { at, reason },
        reason => MonitorError::Untrusted { at, reason },
    }
}
