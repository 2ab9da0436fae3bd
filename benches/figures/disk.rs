//! The two baselines that know no network.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use graven_merkle::{Frontier, leaf_hash};

const FILE_BYTES: usize = 64 << 20;
const LOOP_ENTRIES: usize = 4096;

/// F: the median time of one 4 KiB write with its `fdatasync`, in microseconds.
pub(crate) fn sync_p50_us(dir: &Path, time: Duration) -> f64 {
    let file = prewritten(dir);
    let page = [7; 4096];
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let at = times.len() * page.len() % FILE_BYTES;
        let one = Instant::now();
        file.write_all_at(&page, at as u64).expect("the file is written");
        file.sync_data().expect("the file is synced");
        times.push(one.elapsed());
    }
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// L: entries a second of the serial loop that hashes 4,096 entries into a tree, writes them and syncs.
pub(crate) fn serial_loop(dir: &Path, entry_bytes: usize, time: Duration) -> f64 {
    let file = prewritten(dir);
    let entries = crate::calls::random_bytes(LOOP_ENTRIES * entry_bytes);
    let mut frontier = Frontier::new();
    let (mut count, mut at) = (0_usize, 0_usize);
    let started = Instant::now();
    while started.elapsed() < time {
        if at + entries.len() > FILE_BYTES {
            at = 0;
        }
        for entry in entries.chunks(entry_bytes) {
            frontier.push(leaf_hash(entry));
        }
        file.write_all_at(&entries, at as u64).expect("the file is written");
        file.sync_data().expect("the file is synced");
        at += entries.len();
        count += LOOP_ENTRIES;
    }
    std::hint::black_box(frontier.root());
    count as f64 / started.elapsed().as_secs_f64()
}

fn prewritten(dir: &Path) -> File {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).read(true).write(true).open(dir.join("baseline"));
    let file = file.expect("the baseline's file opens");
    if file.metadata().map_or(0, |known| known.len()) < FILE_BYTES as u64 {
        file.write_all_at(&vec![1; FILE_BYTES], 0).expect("the baseline's file is written");
        file.sync_all().expect("the baseline's file is synced");
    }
    file
}
