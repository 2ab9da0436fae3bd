//! Reading a log of events into an index, behind what is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use graven_merkle::Hash;

use super::index::{Entry, EventIndex};
use crate::follower::give_way;

/// Pause once everything is read: what an event may wait for to be found.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Most leaves that are asked for at once.
const BATCH: u64 = 4096;

/// What cannot be read, in words without anything of an event.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A log of events, opened as far as keys allow.
pub trait Source: Send + Sync {
    /// Leaves that may be found.
    fn size(&self) -> u64;

    /// Some of the leaves from `from` on and below `to`, in order and at least one, with what is readable of their payloads
    /// *now*: what an erased person's groups said is not among the terms.
    ///
    /// # Errors
    /// They cannot be read.
    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, SourceError>;

    /// The hash of a leaf; `None`: there is no such leaf, or it cannot be read.
    fn leaf_hash(&self, index: u64) -> Option<Hash>;

    /// `true`: nothing is to be written, for want of room. The last of a disk belongs to what cannot be made again.
    fn is_disk_full(&self) -> bool {
        false
    }
}

/// Fills an index from its source.
pub struct EventFollower<S> {
    index: Arc<EventIndex>,
    source: S,
}

/// The threads that do so. They end when this is dropped.
pub struct EventFollowing {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: Source + 'static> EventFollower<S> {
    /// For this index and its source.
    pub fn new(index: Arc<EventIndex>, source: S) -> Arc<Self> {
        Arc::new(Self { index, source })
    }

    /// Reads on. `true`: there is more to read.
    ///
    /// # Errors
    /// The source cannot be read, or the index not be written.
    pub fn step(&self) -> Result<bool, SourceError> {
        let (position, size) = (self.index.position(), self.source.size());
        if position >= size {
            return Ok(false);
        }
        self.index.add(self.source.entries(position, size.min(position + BATCH))?)?;
        Ok(self.index.position() < size)
    }

    /// Reads all there is, telling of each step: leaves that were read, and how many there are.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn catch_up(&self, mut progress: impl FnMut(u64, u64)) -> Result<(), SourceError> {
        loop {
            let has_more = self.step()?;
            while self.index.tidy()? {}
            progress(self.index.position(), self.source.size());
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Follows on two threads of low priority: one takes in, the other writes and merges behind it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        self: &Arc<Self>,
        progress: impl Fn(u64, u64) + Send + 'static,
    ) -> std::io::Result<EventFollowing> {
        let mut following = EventFollowing { stop: Arc::default(), threads: Vec::new() };
        let follower = self.clone();
        following.run("event-index", move || {
            let read = follower.step();
            progress(follower.index.position(), follower.source.size());
            read
        })?;
        let follower = self.clone();
        following.run("event-index-tidy", move || match follower.source.is_disk_full() {
            true => Ok(false),
            false => Ok(follower.index.tidy()?),
        })?;
        Ok(following)
    }
}

impl EventFollowing {
    /// Ends the threads and waits for them: as long as the run takes that is being written.
    pub fn stop(self) {}

    fn run(
        &mut self,
        name: &str,
        step: impl Fn() -> Result<bool, SourceError> + Send + 'static,
    ) -> std::io::Result<()> {
        let stop = self.stop.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            give_way();
            while !stop.load(Ordering::Acquire) {
                match step() {
                    Ok(true) => {}
                    Ok(false) => std::thread::park_timeout(PAUSE),
                    Err(error) => {
                        tracing::warn!(%error, "the event index stands still");
                        std::thread::park_timeout(PAUSE_AFTER_ERROR);
                    }
                }
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for EventFollowing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the event index panicked");
            }
        }
    }
}
