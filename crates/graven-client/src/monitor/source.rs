//! Where a log is watched: its server over gRPC, or its tiles on the web.

use std::{fmt, panic::resume_unwind, thread, time::Duration};

use graven_merkle::{
    ConsistencyProof, Frontier, Hash, TreeSize, leaf_hash, prove_consistency, root,
    tile::{BundleRange, EntryBundle, TILE_HEIGHT, bundle_ranges},
};
use graven_proto::{convert::required, v1};
use tokio::{sync::Mutex, time::timeout};

use super::MonitorError;
use crate::{
    Appender, Client, ConnectError, ConnectOptions, WebOptions, WebSite,
    audit::{Finding, SiteError, StoredTree, TileSource as _, bad_position, fetch_bundle},
    call::call_log,
    follow::fetch_consistency,
    range::{RangeReader, frontier_before},
};

/// How long a server may take from one run of entries to the next.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

/// Entries that are asked of a server at once.
const PAGE_ENTRIES: u64 = 16_384;

/// A place that shows a log.
pub struct Source {
    shown: String,
    kind: Kind,
}

enum Kind {
    Server { address: String, name: String, options: Box<ConnectOptions>, log: Mutex<Option<Appender>> },
    Site(WebSite),
}

impl Source {
    /// The log with this name of a server, over gRPC. Connections are opened when they are needed. An empty name means
    /// the server's only log.
    #[must_use]
    pub fn server(address: &str, name: &str, options: ConnectOptions) -> Self {
        let (address, name) = (address.to_owned(), name.to_owned());
        let shown = format!("{address} {name}").trim_end().to_owned();
        Self {
            shown,
            kind: Kind::Server { address, name, options: Box::new(options), log: Mutex::new(None) },
        }
    }

    /// The log whose tiles lie below `prefix` (C2SP tlog-tiles).
    ///
    /// # Errors
    /// See [`WebSite::new`].
    pub fn site(prefix: &str, options: WebOptions) -> Result<Self, ConnectError> {
        Ok(Self { shown: prefix.to_owned(), kind: Kind::Site(WebSite::new(prefix, options)?) })
    }

    pub(super) fn trouble(&self, reason: impl fmt::Display) -> MonitorError {
        MonitorError::Trouble { at: self.shown.clone(), reason: reason.to_string() }
    }

    /// The newest checkpoint note, not verified.
    pub(super) async fn checkpoint(&self) -> Result<Vec<u8>, MonitorError> {
        match &self.kind {
            Kind::Server { name, .. } => {
                let log = self.log().await?;
                let request = v1::GetTreeHeadRequest { log: name.clone() };
                let answer =
                    call_log(log.pool(), log.pool().retries(), &request, |mut log, request| async move {
                        log.get_tree_head(request).await
                    });
                let head = required("head", answer.await.map_err(|error| self.trouble(error))?.head);
                Ok(head.map_err(|error| self.trouble(error))?.checkpoint.to_vec())
            }
            Kind::Site(site) => {
                let note = self.blocking(site, |site| site.fetch("checkpoint")).await?;
                let note = note.map_err(|error| self.trouble(error))?;
                note.ok_or_else(|| self.trouble("there is no checkpoint: is this where a log lies?"))
            }
        }
    }

    /// The frontier of the tree of `to` entries, by hashing all that come after `frontier`. What it leads to is for the
    /// caller to compare.
    pub(super) async fn grow(&self, frontier: Frontier, to: TreeSize) -> Result<Frontier, MonitorError> {
        match &self.kind {
            Kind::Server { .. } => self.grow_by_pages(&self.log().await?, frontier, to).await,
            Kind::Site(site) => {
                // What is withheld may come yet, and what is no bundle comes from a proxy as often as not: only entries that
                // can be read, and do not lead to the signed root, say something about the log.
                let grown = self.blocking(site, move |site| grow_by_bundles(site, frontier, to)).await?;
                grown.map_err(|error| self.trouble(error))
            }
        }
    }

    /// What the tree of `to` entries has as its first `from` entries, by this source: their root, and the proof from
    /// there. Not verified; `None` where the source does not say.
    pub(super) async fn beginning(&self, from: TreeSize, to: TreeSize) -> Option<(Hash, ConsistencyProof)> {
        match &self.kind {
            Kind::Server { .. } => {
                let log = self.log().await.ok()?;
                let root = frontier_before(&log, from, to).await.ok()?.root();
                Some((root, fetch_consistency(&log, from, to).await.ok()?))
            }
            Kind::Site(site) => {
                let prove = move |site: &WebSite| {
                    let tree = StoredTree { source: site, size: to };
                    Some((root(&tree, from).ok()?, prove_consistency(&tree, from, to).ok()?))
                };
                self.blocking(site, prove).await.ok()?
            }
        }
    }

    async fn log(&self) -> Result<Appender, MonitorError> {
        let Kind::Server { address, name, options, log } = &self.kind else {
            return Err(self.trouble("not a server"));
        };
        let mut log = log.lock().await;
        if let Some(log) = &*log {
            return Ok(log.clone());
        }
        let client = Client::connect(address, (**options).clone()).await;
        Ok(log.insert(client.map_err(|error| self.trouble(error))?.appender(name.as_str())).clone())
    }

    async fn grow_by_pages(
        &self,
        log: &Appender,
        mut frontier: Frontier,
        to: TreeSize,
    ) -> Result<Frontier, MonitorError> {
        while frontier.size() < to {
            let first = frontier.size().get();
            let end = to.get().min(first + PAGE_ENTRIES);
            let reader = RangeReader::open(log, first, end).await;
            let mut reader = reader.map_err(|error| self.trouble(error))?;
            loop {
                let run = timeout(RUN_TIMEOUT, reader.next()).await;
                let run = run.map_err(|_| self.trouble("the server stopped in the middle of an answer"))?;
                let Some(run) = run.map_err(|error| self.trouble(error))? else { break };
                frontier.append(run.into_iter().map(|(_, hash)| hash));
            }
        }
        Ok(frontier)
    }

    /// Fetching blocks, so it has a thread of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        site: &WebSite,
        work: impl FnOnce(&WebSite) -> T + Send + 'static,
    ) -> Result<T, MonitorError> {
        let site = site.clone();
        tokio::task::spawn_blocking(move || work(&site)).await.map_err(|error| self.trouble(error))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// As many bundles at once as the site wants, each hashed where it was fetched.
fn grow_by_bundles(site: &WebSite, mut frontier: Frontier, to: TreeSize) -> Result<Frontier, SiteError> {
    let mut ranges = bundle_ranges(frontier.size().get()..to.get(), to);
    loop {
        let batch: Vec<_> = ranges.by_ref().take(site.readers()).collect();
        if batch.is_empty() {
            return Ok(frontier);
        }
        let hashed = thread::scope(|scope| {
            let threads: Vec<_> =
                batch.iter().map(|range| scope.spawn(move || hashes_of(site, *range))).collect();
            let joined = threads.into_iter().map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        frontier.append(hashed.into_iter().flatten());
    }
}

fn hashes_of(site: &WebSite, range: BundleRange) -> Result<Vec<Hash>, SiteError> {
    let (bytes, path) = fetch_bundle(site, range.bundle)?;
    let first = range.bundle.index() << TILE_HEIGHT;
    let bundle = EntryBundle::parse(&bytes, path.width()).map_err(|problem| {
        let index = first + u64::from(bad_position(problem, path.width()));
        Finding::Bundle { path, index, problem }
    })?;
    let run = bundle.entries().skip(range.first.into()).take(range.count.into());
    Ok(run.map(leaf_hash).collect())
}
