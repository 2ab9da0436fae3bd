//! The threads of a running engine.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use graven_store::journal::LogId;
use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, Status};
use crate::log::Log;

/// How long a thread sleeps when nobody rings.
const IDLE: Duration = Duration::from_millis(250);
/// A log whose head has not moved for this long is exported at once.
const QUIET: Duration = Duration::from_millis(500);
/// After this long without anything to seal the journal shrinks.
const RESTING: Duration = Duration::from_secs(2);

/// Wakes one thread; a ring while it works is not lost.
#[derive(Default)]
pub(crate) struct Doorbell {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Doorbell {
    pub(crate) fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.bell.notify_one();
        }
    }

    fn wait(&self, patience: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.bell.wait_for(&mut rung, patience);
        }
        *rung = false;
    }
}

/// The doorbells of an engine's threads.
#[derive(Default)]
pub(crate) struct Doorbells {
    pub(crate) publisher: Doorbell,
    pub(crate) sealer: Doorbell,
}

impl Doorbells {
    pub(crate) fn ring_all(&self) {
        self.publisher.ring();
        self.sealer.ring();
    }
}

/// A running engine.
pub struct Running {
    engine: Arc<Engine>,
    writer: JoinHandle<()>,
    publisher: JoinHandle<()>,
    sealer: JoinHandle<()>,
}

impl Running {
    /// Finishes what was accepted, publishes and seals it, completes the static sites, and returns the status it
    /// ended in. Blocks.
    pub fn stop(self) -> Status {
        self.engine.close();
        for thread in [self.writer, self.publisher, self.sealer] {
            self.engine.doorbells.ring_all();
            if thread.join().is_err() {
                self.engine.poison("a thread of the engine panicked");
            }
        }
        self.engine.status()
    }
}

pub(crate) fn start(engine: &Arc<Engine>) -> io::Result<Running> {
    // What one thread leaves for the next is finished before that one ends: each waits for the one before.
    let (committed, all_committed) = std::sync::mpsc::channel::<()>();
    let (published, all_published) = std::sync::mpsc::channel::<()>();
    let writer = spawn(engine, "graven-writer", move |engine| {
        let _committed = committed;
        while engine.commit_step(IDLE) {}
    })?;
    let publisher = spawn(engine, "graven-publisher", move |engine| {
        let _published = published;
        publish_until(engine, &all_committed);
    })?;
    let sealer = spawn(engine, "graven-sealer", move |engine| seal_until(engine, &all_published))?;
    Ok(Running { engine: engine.clone(), writer, publisher, sealer })
}

fn spawn(
    engine: &Arc<Engine>,
    name: &str,
    run: impl FnOnce(&Engine) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let engine = engine.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let guard = PoisonOnPanic(&engine);
        run(&engine);
        drop(guard);
    })
}

/// A thread that panics leaves promises that nobody keeps: the engine must not go on without it.
struct PoisonOnPanic<'a>(&'a Engine);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("a thread of the engine panicked");
        }
    }
}

/// Whether the thread at the other end has finished.
fn is_over(other: &std::sync::mpsc::Receiver<()>) -> bool {
    other.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
}

fn publish_until(engine: &Engine, all_committed: &std::sync::mpsc::Receiver<()>) {
    let mut due: HashMap<LogId, Instant> = HashMap::new();
    while !engine.is_poisoned() {
        let is_last = is_over(all_committed);
        let mut patience = IDLE;
        for log in engine.logs() {
            let next = due.entry(log.meta().id).or_insert_with(Instant::now);
            let now = Instant::now();
            if !is_last && now < *next {
                patience = patience.min(*next - now);
                continue;
            }
            if engine.publish_step(&log) {
                *next = now + engine.config.checkpoint_interval;
                engine.doorbells.sealer.ring();
            }
        }
        if is_last {
            break;
        }
        engine.doorbells.publisher.wait(patience);
    }
    engine.doorbells.sealer.ring();
}

/// What the sealer remembers of a log.
struct Exported {
    note: Bytes,
    seen: Bytes,
    seen_since: Instant,
    exported_at: Instant,
}

fn seal_until(engine: &Engine, all_published: &std::sync::mpsc::Receiver<()>) {
    let mut exports: HashMap<LogId, Exported> = HashMap::new();
    let mut worked_at = Instant::now();
    while !engine.is_poisoned() {
        let is_last = is_over(all_published);
        engine.upkeep_step();
        for log in engine.logs() {
            while engine.seal_step(&log) {
                engine.upkeep_step();
                worked_at = Instant::now();
            }
            export_if_due(engine, &log, &mut exports, is_last);
            engine.snapshot_step(&log, is_last);
        }
        if is_last || worked_at.elapsed() >= RESTING {
            engine.rest_step();
        }
        if is_last {
            break;
        }
        engine.doorbells.sealer.wait(IDLE);
    }
}

fn export_if_due(engine: &Engine, log: &Log, exports: &mut HashMap<LogId, Exported>, is_last: bool) {
    let now = Instant::now();
    let head = log.head();
    let known = exports.entry(log.meta().id).or_insert_with(|| Exported {
        note: Bytes::new(),
        seen: head.note.clone(),
        seen_since: now,
        exported_at: now,
    });
    if known.seen != head.note {
        (known.seen, known.seen_since) = (head.note.clone(), now);
    }
    let is_quiet = now - known.seen_since >= QUIET;
    let is_old = now - known.exported_at >= engine.config.export_interval;
    if known.note == head.note || !(is_last || is_quiet || is_old || log.is_frozen()) {
        return;
    }
    // A newer head may have come while this one was sealed, or there is no room: then the next time.
    if let Some(head) = engine.export_step(log) {
        known.note = head.note.clone();
        known.exported_at = now;
    }
}
