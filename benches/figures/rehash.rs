//! What a mirror does to each entry that it copies, beside bare hashing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_client::audit::{Folder, Package, PackageReader};
use graven_merkle::tile::{ProvenBundle, TILE_WIDTH};
use graven_mirror::{AddLog, Mirror, Updated, add_log, init};
use graven_note::{Checkpoint, Policy, SignedNote};
use graven_store::{Fs, RealFs};
use sha2::{Digest as _, Sha256};

use crate::calls;
use crate::load::Load;
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::world::{World, settle};

/// Of each length: more than a processor caches.
const BYTES: u64 = 64 << 20;
const BATCH: u64 = 100;

pub(crate) async fn mirrors(world: &World, table: &mut Table) {
    for entry_bytes in [300, 1000, 4000] {
        let data = Data::init(world.home(&format!("mirrored-{entry_bytes}")), "");
        let peer = data.serve();
        let load = Load::connect(&peer).await;
        let calls = BYTES / entry_bytes as u64 / BATCH;
        load.times(16, calls, calls::append_batch(entry_bytes, BATCH as usize)).await;
        settle(&load, &data, &peer).await;
        drop(peer);
        compare(world, table, &data, entry_bytes).await;
    }
}

async fn compare(world: &World, table: &mut Table, data: &Data, entry_bytes: usize) {
    let source = Folder::new(data.site());
    let note = std::fs::read(data.site().join("checkpoint")).expect("the log is exported");
    let head = Checkpoint::parse(SignedNote::parse(&note).expect("a note").text()).expect("a checkpoint");
    let reader = PackageReader::new(&source, head.size());
    let (count, mut packages) = (head.size().get() / u64::from(TILE_WIDTH), Vec::new());
    while (packages.len() as u64) < count {
        let from = packages.len() as u64;
        packages.extend(
            reader.packages(from..count.min(from + reader.at_a_time())).expect("the files are there"),
        );
    }
    let bare = async |time| bare(&packages, time);
    let found = world.rounds().compare(bare, async |time| rehash(&packages, &head, time)).await;
    let at = format!("{entry_bytes} B");
    table.add(format!("bare SHA-256, one thread, {at}"), "MB/s", found.baseline.series(|rate| rate / 1e6));
    let name = format!("mirror re-hash ÷ bare SHA-256, {at}");
    let ratio = found.ratio(|rate| *rate);
    // Padding and the nodes above take seven blocks an entry of 300 B, which has fewer than five of its own.
    match entry_bytes {
        300 => table.add(name, "ratio", ratio),
        _ => table.judge(name, "ratio", Target::AtLeast(0.7), ratio),
    }
    let mut round = 0;
    let copied = async |_| {
        round += 1;
        copy(world, data, &source, &head, &format!("mirror-{entry_bytes}-{round}"))
    };
    let found = world.rounds().repeat(copied).await;
    table.add(format!("mirror: from files onto disk, {at}"), "entries/s", found.series(|rate| *rate));
}

/// Bytes a second, a bundle at a time.
fn bare(packages: &[Package], time: Duration) -> f64 {
    let (started, mut bytes) = (Instant::now(), 0);
    while started.elapsed() < time {
        for package in packages {
            std::hint::black_box(Sha256::digest(&package.bytes));
            bytes += package.bytes.len();
        }
    }
    bytes as f64 / started.elapsed().as_secs_f64()
}

/// Bytes a second that are proven to be of the log.
fn rehash(packages: &[Package], head: &Checkpoint, time: Duration) -> f64 {
    let (started, mut took, mut bytes) = (Instant::now(), Duration::ZERO, 0);
    while started.elapsed() < time {
        for package in packages {
            let copy = package.bytes.clone();
            let begun = Instant::now();
            let proven = ProvenBundle::prove(package.path, copy, head.size(), head.root(), &package.proof);
            took += begun.elapsed();
            bytes += std::hint::black_box(proven).expect("the log is sound").bytes().len();
        }
    }
    bytes as f64 / took.as_secs_f64()
}

/// Entries a second of a mirror's first update: read, proven, written, synced and cosigned.
fn copy(world: &World, data: &Data, source: &Folder, head: &Checkpoint, name: &str) -> f64 {
    let dir = world.home(name);
    let files: Arc<dyn Fs> = Arc::new(RealFs);
    init(&*files, &dir, "mirror.example").expect("a mirror is made");
    let policy = std::fs::read(data.policy()).expect("the policy is there");
    let policy = Policy::parse(&policy).expect("a policy");
    let keys = policy.logs().iter().map(|log| log.key.clone()).collect();
    let url = "http://127.0.0.1:1/".to_owned();
    let log = AddLog { origin: head.origin().clone(), url, keys, witnesses: Vec::new() };
    add_log(&*files, &dir, log).expect("the log is added");
    let mirror = Mirror::open(&files, &dir).expect("the mirror opens");
    let log = mirror.logs().next().expect("it has a log");
    let started = Instant::now();
    let updated = log.update(source, 1).expect("the log is sound");
    assert_eq!(updated, Updated::To(head.size()));
    head.size().get() as f64 / started.elapsed().as_secs_f64()
}
