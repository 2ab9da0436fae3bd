//! What the figures of one run share: the options, a folder, and one big log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::ENTRY_BYTES;
use crate::calls;
use crate::load::Load;
use crate::machine;
use crate::options::Options;
use crate::peer::{Data, Peer};
use crate::rounds::Rounds;

/// Entries of a request while a log is filled: all sizes are multiples.
const FILL_BATCH: u64 = 1000;
const FILL_CALLERS: usize = 16;

pub(crate) struct World {
    options: Options,
    folder: tempfile::TempDir,
    big: OnceCell<Big>,
}

/// A log of many entries, and what its server was like when it had them.
pub(crate) struct Big {
    pub(crate) data: Data,
    pub(crate) entries: u64,
    pub(crate) fill_seconds: f64,
    pub(crate) memory_mb: f64,
    pub(crate) peak_memory_mb: f64,
    pub(crate) disk_bytes: u64,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        // Below the target directory, where nothing looks for sources if a killed run leaves it behind.
        let folder = tempfile::Builder::new().prefix("figures-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self { options, folder: folder.expect("a temporary folder"), big: OnceCell::new() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder of a new log that goes by a name. It stays until the end of the run: ext4 makes new files slowly for
    /// some minutes after many were removed, since it steps over each inode that was freed.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.options.quick
    }

    pub(crate) fn rounds(&self) -> Rounds {
        match self.options.quick {
            true => Rounds { count: 3, time: Duration::from_millis(500) },
            false => Rounds { count: 5, time: Duration::from_secs(3) },
        }
    }

    pub(crate) async fn big(&self) -> &Big {
        self.big.get_or_init(async || self.make_big().await).await
    }

    async fn make_big(&self) -> Big {
        let entries = if self.is_quick() { 1_000_000 } else { 10_000_000 };
        let data = Data::init(self.home("big"), "");
        let peer = data.serve();
        let load = Load::connect(&peer).await;
        eprintln!("filling a log with {entries} entries");
        let started = Instant::now();
        for tenth in 1..=10 {
            fill(&load, entries / 10).await;
            eprintln!("  {} entries, {:.1} s", entries / 10 * tenth, started.elapsed().as_secs_f64());
        }
        settle(&load, &data, &peer).await;
        let fill_seconds = started.elapsed().as_secs_f64();
        let [memory_mb, peak_memory_mb] = machine::memory_mb(peer.pid());
        let disk_bytes = disk_at_rest(&data).await;
        drop(peer);
        Big { data, entries, fill_seconds, memory_mb, peak_memory_mb, disk_bytes }
    }
}

/// What the data directory takes once it has stopped changing: the journal lets go of its segments a little after the last
/// of what they held was sealed.
async fn disk_at_rest(data: &Data) -> u64 {
    let mut disk_bytes = machine::disk_bytes(&data.dir());
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = std::mem::replace(&mut disk_bytes, machine::disk_bytes(&data.dir()));
        if before == disk_bytes {
            break;
        }
    }
    disk_bytes
}

/// Appends that many entries.
pub(crate) async fn fill(load: &Load, entries: u64) {
    let call = calls::append_batch(ENTRY_BYTES, FILL_BATCH as usize);
    load.times(FILL_CALLERS, entries / FILL_BATCH, call).await;
}

/// Waits until everything is published, sealed, exported and indexed.
pub(crate) async fn settle(load: &Load, data: &Data, peer: &Peer) {
    let durable = load.log_info().await.durable_size;
    let patience = Instant::now() + Duration::from_secs(120);
    while data.exported() < durable {
        assert!(Instant::now() < patience, "process {} seals no more", peer.pid());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    machine::peers_are_idle().await;
}
