//! A mirror on a disk in memory, asked over its real routes.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::{Router, http::Request};
use graven_client::audit::Folder;
use graven_merkle::tile::{EntryBundle, Resource, bundle_ranges, tiles};
use graven_merkle::{TreeSize, leaf_hash};
use graven_mirror::{AddLog, Mirror, MirroredLog, UpdateError, Updated, add_log, init, router};
use graven_note::{Checkpoint, Origin, SignedNote, VerifierKey};
use graven_store::fs::Fs;
use graven_store::sim::SimFs;
use tower::ServiceExt as _;

use crate::pusher::{Info, Log};
use crate::site::{ORIGIN, Site};
use crate::trees::mth;

const DIR: &str = "/m";
const NOW: u64 = 1_800_000_000;

/// What a mirror that was made said of itself.
pub(crate) struct Made {
    pub(crate) disk: SimFs,
    keys: Vec<VerifierKey>,
}

/// A mirror that runs.
pub(crate) struct Running {
    mirror: Arc<Mirror>,
    routes: Router,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Made {
    /// A new mirror that knows the log.
    pub(crate) fn new(log: &Log) -> Self {
        let disk = SimFs::new();
        let keys = init(&disk, Path::new(DIR), "m.example.com/m1").unwrap();
        let log = AddLog {
            origin: Origin::new(ORIGIN).unwrap(),
            url: "https://log.example.com".to_owned(),
            keys: vec![VerifierKey::parse(&log.vkey()).unwrap()],
            witnesses: vec![],
        };
        add_log(&disk, Path::new(DIR), log).unwrap();
        Self { disk, keys }
    }

    /// Opens what the disk has, and checks that it is all there: returns it with the sizes that it cosigned and follows.
    pub(crate) fn open(&self, log: &Log) -> (Running, usize, usize) {
        let running = Running::open(self.disk.clone());
        let status = running.log().status();
        let mirrored = self.check(&running.log(), log);
        (running, mirrored, usize::try_from(status.pending_size.get()).unwrap())
    }

    /// Every entry and tile under the mirror checkpoint can be read, and is the log's; returns how many there are.
    pub(crate) fn check(&self, mirrored: &MirroredLog, log: &Log) -> usize {
        let Some(note) = mirrored.checkpoint() else { return 0 };
        let note = SignedNote::parse(&note).unwrap().verify(&self.keys).unwrap();
        note.require_keys(&self.keys).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        let size = checkpoint.size();
        let mut leaves = Vec::new();
        for range in bundle_ranges(0..size.get(), size) {
            let bytes = mirrored.resource(Resource::Entries(range.bundle)).unwrap().unwrap();
            leaves.extend(EntryBundle::parse(&bytes, range.bundle.width()).unwrap().entries().map(leaf_hash));
        }
        assert_eq!(mth(&leaves), *checkpoint.root());
        assert_eq!(log.root(leaves.len()), *checkpoint.root(), "not the log's history");
        for path in tiles(size) {
            assert!(mirrored.resource(Resource::Tile(path)).unwrap().is_some(), "{path}");
        }
        leaves.len()
    }
}

impl Running {
    pub(crate) fn open(fs: impl Fs + 'static) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(fs);
        let mirror = Arc::new(Mirror::open(&fs, Path::new(DIR)).unwrap());
        Self { routes: router(mirror.clone(), || NOW), mirror }
    }

    pub(crate) fn log(&self) -> Arc<MirroredLog> {
        self.mirror.log(&Origin::new(ORIGIN).unwrap().sha256_hex()).unwrap().clone()
    }

    pub(crate) fn poll(&self, site: &Site) -> Result<Updated, UpdateError> {
        self.log().update(&Folder::new(site.folder()), NOW)
    }

    pub(crate) async fn post(&self, call: &str, body: Vec<u8>) -> Answer {
        let request = Request::post(format!("/{call}")).header("content-type", "application/octet-stream");
        let answer = self.routes.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        Answer { status, body: to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec() }
    }

    pub(crate) async fn pend(&self, log: &Log, old: usize, to: usize) -> u16 {
        self.post("add-checkpoint", log.add_checkpoint(old, to)).await.status
    }

    pub(crate) async fn upload(&self, log: &Log, from: usize, to: usize, packages: usize) -> Answer {
        self.post("add-entries", log.add_entries(from, to, b"", packages)).await
    }

    /// Does what a client does that knows nothing: asks, and follows the answers until everything up to `to` is cosigned.
    pub(crate) async fn push_all(&self, log: &Log, to: usize) {
        let asked = self.post("add-checkpoint", log.add_checkpoint(0, to)).await;
        if asked.status == 409 {
            let old: usize = String::from_utf8(asked.body).unwrap().trim().parse().unwrap();
            assert_eq!(self.pend(log, old, to).await, 200);
        }
        let (mut next, mut end) = (0, 0);
        for _ in 0..100 {
            let answer = self.upload(log, next, end, 1).await;
            match answer.status {
                200 if end == to => return,
                202 | 409 => {
                    let info = Info::parse(&answer.body);
                    (next, end) = (info.next, info.size);
                }
                other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
            }
        }
        panic!("it comes to no end");
    }
}

/// So large a tree.
pub(crate) fn of(size: usize) -> TreeSize {
    TreeSize::new(size as u64).unwrap()
}
