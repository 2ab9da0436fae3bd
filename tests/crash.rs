//! The server as a process that is killed under load, or whose system calls fail.
//!
//! Clients write down what they were told: acknowledgements, heads, answers to repeats. Each time the server is
//! back, the log is read and held against all of it. Acknowledged entries stand where they were acknowledged, no
//! entry stands twice, and every head that was ever released is the root of the entries below it.
//!
//! `GRAVEN_CRASH_SEED` repeats a run's choices. Threads and disks make their own, so a failure may take several
//! runs to come back.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // Shared with the tests of the command, which use more of it.
#[path = "cli/bench.rs"]
mod bench;
#[path = "crash/injected.rs"]
mod injected;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/piped.rs"]
mod piped;
#[path = "crash/record.rs"]
mod record;
#[path = "crash/rig.rs"]
mod rig;
#[path = "crash/seed.rs"]
mod seed;

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    injected::{Injection, NOT_MET},
    load::Load,
    piped::Piped,
    rig::Rig,
    seed::Seed,
};

const KILLS: u64 = 50;
/// Faults that a server has to meet; those that it ends before count for nothing.
const INJECTIONS: u64 = 200;
/// A directory is given up after this many faults, so that reading it all stays quick.
const INJECTIONS_PER_DIRECTORY: u64 = 20;
const WORKERS: u64 = 2;

#[test]
fn kill_9_under_load_loses_nothing() {
    let begun = Instant::now();
    let mut seed = seed();
    let mut rig = Rig::new();
    for round in 0..KILLS {
        if seed.one_in(5) {
            rig.killed_while_it_starts(Duration::from_millis(seed.below(150)));
        }
        let server = rig.serve();
        rig.settle(&server);
        let load = Load::start(&rig, server.url(), Seed(seed.next())).unwrap();
        let plain = Piped::start(&rig, &server, format!("plain-{round}"), false, Seed(seed.next()));
        let keyed = Piped::start(&rig, &server, format!("keyed-{round}"), true, Seed(seed.next()));
        thread::sleep(Duration::from_millis(20 + seed.below(260)));
        server.signal(Signal::KILL);
        assert_eq!(server.ended().code(), None, "it ended by itself");

        let (plain, keyed, unary) = (plain.end(), keyed.end(), load.end(&mut rig));
        plain.tell(&mut rig.record);
        keyed.tell(&mut rig.record);
        let server = rig.serve();
        keyed.repeat(&mut rig, &server);
        unary.repeat(&mut rig, &server);
        rig.settle(&server);
        // Half of the next rounds recover from a server that was idle, half from one that was stopped.
        if seed.one_in(2) { server.stop() } else { drop(server) }
    }
    let entries = rig.check_everything();
    let counts = rig.record.counts();
    println!("{KILLS} kills under load, {entries} entries, {counts}, {:.1?}", begun.elapsed());
    assert!(counts.acked > 20 * KILLS && counts.heads > KILLS && counts.repeats > KILLS, "hardly any load");
    assert!(counts.bytes > 8 << 20, "too little for the journal to roll");
}

#[test]
#[ignore = "needs strace"]
fn syscall_faults_break_no_promise() {
    let begun = Instant::now();
    injected::demand_strace();
    let mut seed = seed();
    let seeds: Vec<_> = (0..WORKERS).map(|_| Seed(seed.next())).collect();
    let workers: Vec<_> = seeds.into_iter().map(|seed| thread::spawn(|| inject(seed))).collect();
    let mut ends = HashMap::new();
    for (how, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
        *ends.entry(how).or_insert(0) += count;
    }
    println!("{INJECTIONS} faults met: {ends:?}, {:.1?}", begun.elapsed());
    for how in ["killed", "poisoned"] {
        let count = ends.get(how).copied().unwrap_or_default();
        assert!(count >= INJECTIONS / 20, "only {count} servers were {how}: the faults are not met");
    }
}

/// One worker's share of the injections, and how often they ended how.
fn inject(mut seed: Seed) -> HashMap<&'static str, u64> {
    let mut ends = HashMap::new();
    let mut rig = Rig::new();
    let mut met = 0;
    while met < INJECTIONS / WORKERS {
        if met > 0 && met % INJECTIONS_PER_DIRECTORY == 0 {
            rig = Rig::new();
        }
        let injection = Injection::choose(&mut seed);
        println!("{injection}");
        let end = injection.run(&mut rig, &mut seed);
        println!("{injection}: {end}");
        *ends.entry(end).or_insert(0) += 1;
        met += u64::from(end != NOT_MET);
        // Not stopped but killed: recovery never finds things tidied up.
        let server = rig.serve();
        rig.settle(&server);
        drop(server);
        rig.fsck();
    }
    ends
}

fn seed() -> Seed {
    let given = std::env::var("GRAVEN_CRASH_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("GRAVEN_CRASH_SEED={seed}");
    Seed(seed)
}
