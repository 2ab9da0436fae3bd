//! How much of the processors went to somebody else while we measured.

use std::fs;

/// Processor time in clock ticks: of everybody, and of ourselves and our peers.
pub(crate) struct Cpu {
    busy: u64,
    ours: u64,
    idle: u64,
    pids: Vec<u32>,
}

impl Cpu {
    pub(crate) fn now(pids: &[u32]) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> =
            stat.lines().next().unwrap_or("").split_whitespace().skip(1).flat_map(str::parse).collect();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        let busy = fields.iter().take(8).sum::<u64>() - idle.min(fields.iter().take(8).sum());
        let ours = pids.iter().copied().chain([std::process::id()]).map(ticks).sum();
        Self { busy, ours, idle, pids: pids.to_vec() }
    }

    /// One line about the time between two looks.
    pub(crate) fn since(&self, before: &Self) -> String {
        let (busy, ours) = (self.busy - before.busy, self.ours.saturating_sub(before.ours));
        let all = busy + self.idle - before.idle;
        let foreign = busy.saturating_sub(ours);
        let percent = 100.0 * foreign as f64 / all.max(1) as f64;
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "{cores} cores, {percent:.1} % of their time used by others ({} processes are ours)",
            self.pids.len() + 1
        )
    }
}

/// User and system time of a process.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything: fields are counted from behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum()
}
