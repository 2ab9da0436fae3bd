//! A data directory whose server comes and goes, and what its clients were told.

use std::{
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use graven_client::{
    Client, ConnectError, ConnectOptions, HeadStore, LogClient, MemoryHeadStore, RetryPolicy, Trust,
};
use graven_note::Policy;
use tokio::runtime::Runtime;

use crate::{
    bench::{Bench, Server},
    record::Record,
};

/// Short segments, so that the journal rolls and segments are released and used again; heads in quick succession.
const SETTINGS: &str = "\
data_dir = \"data\"
[engine]
segment_mib = 1
max_commit_kib = 64
checkpoint_interval_ms = 20
export_interval_s = 1
reserve_mib = 16
";
pub(crate) const SERVE: &str = "serve --config graven.toml --dev --listen 127.0.0.1:0";

/// How long a recovered server may take to publish what it promised.
const PATIENCE: Duration = Duration::from_secs(20);

/// Entries that are read at a time.
const CHUNK: u64 = 4096;

pub(crate) struct Rig {
    pub(crate) bench: Bench,
    pub(crate) record: Record,
    pub(crate) runtime: Runtime,
    pub(crate) trust: Trust,
    /// Holds the log to its heads across its restarts.
    heads: Arc<dyn HeadStore>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let bench = Bench::with_log();
        bench.write("graven.toml", SETTINGS);
        let policy = Policy::parse(&bench.read("data/audit.policy")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self {
            bench,
            record: Record::default(),
            runtime: runtime.unwrap(),
            trust: Trust::of_policy(policy).unwrap(),
            heads: Arc::new(MemoryHeadStore::default()),
        }
    }

    pub(crate) fn serve(&self) -> Server {
        self.bench.serve_with(SERVE)
    }

    /// Recovery is killed too, and has to go on from there.
    pub(crate) fn killed_while_it_starts(&self, after: Duration) {
        let mut command = self.bench.command(SERVE);
        let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(after);
        server.kill().unwrap();
        assert_eq!(server.wait().unwrap().code(), None, "it ended by itself");
    }

    /// A connection that reports what breaks, and repeats nothing by itself.
    pub(crate) fn connect(&self, url: &str) -> Result<Client, ConnectError> {
        let options =
            ConnectOptions { connections: 1, retries: RetryPolicy::NEVER, ..ConnectOptions::default() };
        self.runtime.block_on(Client::connect(url, options))
    }

    /// Reads what is new in the log and holds everything that was told against it.
    pub(crate) fn settle(&mut self, server: &Server) {
        let log = self.log(server);
        let size = self.published(&log);
        let known = self.record.size();
        for (_, entry) in self.runtime.block_on(entries(&log, known, size)) {
            self.record.read(entry);
        }
        self.record.check_from(known);
    }

    /// The size of the log once all that was promised is published.
    fn published(&mut self, log: &LogClient) -> u64 {
        let begun = Instant::now();
        loop {
            let head = self.runtime.block_on(log.tree_head()).unwrap();
            self.record.released(&head);
            if head.size().get() >= self.record.promised() {
                return head.size().get();
            }
            let promised = self.record.promised();
            assert!(begun.elapsed() < PATIENCE, "{} entries instead of {promised}", head.size());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn log(&self, server: &Server) -> LogClient {
        let client = self.connect(server.url()).unwrap();
        client.log("audit", self.trust.clone()).with_head_store(Arc::clone(&self.heads))
    }

    /// Reads and checks all there is by every means. Answers the number of entries.
    pub(crate) fn check_everything(&mut self) -> u64 {
        let server = self.serve();
        self.settle(&server);
        let (log, size) = (self.log(&server), self.record.size());
        for (index, entry) in self.runtime.block_on(entries(&log, 0, size)) {
            self.record.read_again(index, &entry);
        }
        self.record.check_from(0);
        let audited = self.bench.at(&server, "audit --json").ok().object();
        assert_eq!((&audited["ok"], &audited["entries"]), (&true.into(), &size.into()));
        drop(server);
        self.fsck();
        // What was cut short is completed by a server that may stop well.
        self.serve().stop();
        self.fsck();
        self.bench.run("audit --policy data/audit.policy --dir data/logs/audit/site").ok();
        size
    }

    /// The directory is whole, and has all entries that were read.
    pub(crate) fn fsck(&self) {
        let checked = self.bench.run("fsck --data-dir data --json").ok().object();
        assert_eq!((&checked["ok"], &checked["entries"]), (&true.into(), &self.record.size().into()));
    }
}

/// Entries with their indices, verified.
async fn entries(log: &LogClient, from: u64, to: u64) -> Vec<(u64, bytes::Bytes)> {
    let mut all = Vec::new();
    let mut next = from;
    while next < to {
        let end = to.min(next + CHUNK);
        let read = log.entries(next..end).await.unwrap();
        all.extend(read.iter().map(|(index, entry)| (index.get(), entry.clone())));
        next = end;
    }
    all
}
