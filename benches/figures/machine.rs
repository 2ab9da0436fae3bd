//! What Linux tells about the processors, the processes and the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Clock ticks a second, as `/proc` counts processor time.
const TICKS_PER_SECOND: f64 = 100.0;
/// Over this long, idle peers use no more than one tick.
const IDLE_WINDOW: Duration = Duration::from_millis(200);
/// Nobody waits longer for them.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// Processor time in clock ticks: of everybody, and of ourselves and our peers.
pub(crate) struct Cpu {
    busy: u64,
    idle: u64,
    ours: u64,
}

/// Processor time of each of a process's threads, in seconds, by their names. Of equal names it is the sum.
pub(crate) struct Threads(BTreeMap<String, f64>);

impl Threads {
    pub(crate) fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let on_cpu = read("schedstat").split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
            *threads.entry(read("comm").trim().to_owned()).or_default() += on_cpu.unwrap_or_default() / 1e9;
        }
        Self(threads)
    }

    /// What each has used since then. Threads that have ended are not in it.
    pub(crate) fn since(self, before: &Self) -> impl Iterator<Item = (String, f64)> + '_ {
        let used = |(name, now): (String, f64)| {
            let then = before.0.get(&name).copied().unwrap_or_default();
            (name, now - then)
        };
        self.0.into_iter().map(used)
    }
}

impl Cpu {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let all = stat.lines().next().unwrap_or("").split_whitespace().skip(1);
        let all: Vec<u64> = all.take(8).flat_map(str::parse).collect();
        let idle = all.iter().skip(3).take(2).sum();
        // With the children that have ended: those are fields of our own.
        let ours = own_ticks() + children().map(ticks).sum::<u64>();
        Self { busy: all.iter().sum::<u64>() - idle, idle, ours }
    }

    /// The share of all processors that went to others since then. The kernel's own threads are others, also where
    /// they write back what we wrote.
    pub(crate) fn foreign_percent_since(&self, before: &Self) -> f64 {
        let busy = self.busy - before.busy;
        let all = busy + self.idle - before.idle;
        let foreign = busy.saturating_sub(self.ours.saturating_sub(before.ours));
        100.0 * foreign as f64 / all.max(1) as f64
    }
}

/// Waits until no peer has anything left to do.
pub(crate) async fn peers_are_idle() {
    let started = Instant::now();
    let used = || children().map(ticks).sum::<u64>();
    let mut before = used();
    loop {
        tokio::time::sleep(IDLE_WINDOW).await;
        let now = used();
        if now.saturating_sub(before) <= 1 {
            return;
        }
        if started.elapsed() > IDLE_PATIENCE {
            return eprintln!("the peers are busy for {IDLE_PATIENCE:?} with nothing to do: going on");
        }
        before = now;
    }
}

/// Processor time that a process has used.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    ticks(pid) as f64 / TICKS_PER_SECOND
}

/// A process's resident memory and its peak, in MB.
pub(crate) fn memory_mb(pid: u32) -> [f64; 2] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.expect("the process lives") * 1024.0 / 1e6
    };
    [field("VmRSS:"), field("VmHWM:")]
}

/// What a folder, with all that is in it, takes on the disk: allocated blocks, not lengths.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    let known = fs::symlink_metadata(path).expect("the folder can be read");
    let entries = known.is_dir().then(|| fs::read_dir(path).expect("the folder can be read"));
    let inside = entries.into_iter().flatten().map(|entry| disk_bytes(&entry.unwrap().path()));
    known.blocks() * 512 + inside.sum::<u64>()
}

/// One line: processors, memory, kernel.
pub(crate) fn description() -> String {
    let line = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = line("/proc/meminfo", "MemTotal");
    let gib = memory.split_once(' ').and_then(|(kib, _)| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1048576.0;
    let (model, kernel) = (line("/proc/cpuinfo", "model name"), line("/proc/sys/kernel/osrelease", ""));
    format!("{cores} cores, {model}, {gib:.0} GiB, Linux {kernel}")
}

/// The processes that we started and that live.
fn children() -> impl Iterator<Item = u32> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| stat(*pid).get(1) == Some(&own))
}

/// User and system time of a process.
fn ticks(pid: u32) -> u64 {
    stat(pid).iter().skip(11).take(2).flat_map(|field| field.parse::<u64>()).sum()
}

/// Our own, and that of children that have ended.
fn own_ticks() -> u64 {
    stat(std::process::id()).iter().skip(11).take(4).flat_map(|field| field.parse::<u64>()).sum()
}

/// The fields of `/proc/PID/stat` from the state on. The name before them, in parentheses, may hold anything.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}
