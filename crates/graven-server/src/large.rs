//! Large answers: what they may cost, all together.
//!
//! A bundle has up to 16 MiB, a message of entries one, and its reader decides how fast it goes. So bundles are read a
//! few at a time, and what waits for its readers shares a fixed room: whoever asks for much and takes nothing finds it
//! full, fills no memory, and keeps nobody else from the disk. A connection that takes nothing for long is ended, which
//! gives the room back.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bundles that are read at a time, at most: it is work for processors, and each takes some times its length in memory.
const MAX_READS: usize = 8;
/// Longest bundle, rounded up: what is free before one is read, whatever its length turns out to be.
const MAX_BUNDLE_BYTES: u32 = 17 << 20;
/// The longest bundles that wait for their readers, beside those that are being read. Of ordinary ones it is hundreds.
const WAITING_BUNDLES: usize = 4;
/// Ranges of entries that are being sent. Of each, two messages may wait for their reader: one that is on its way and
/// one that comes after it.
const RANGES: usize = 64;
/// A bundle goes in pieces of this length: after each it shows whether somebody takes them.
const PIECE_BYTES: usize = 64 << 10;

/// Room for large answers.
pub(crate) struct LargeAnswers {
    reads: Semaphore,
    bundles: Arc<Semaphore>,
    ranges: Arc<Semaphore>,
}

/// Room that was taken. Dropping it gives it back.
pub(crate) struct Room(OwnedSemaphorePermit);

impl LargeAnswers {
    pub(crate) fn new() -> Self {
        let reads = available_parallelism().map_or(1, usize::from).min(MAX_READS);
        Self {
            reads: Semaphore::new(reads),
            bundles: Arc::new(Semaphore::new((WAITING_BUNDLES + reads) * MAX_BUNDLE_BYTES as usize)),
            ranges: Arc::new(Semaphore::new(RANGES)),
        }
    }

    /// Reads a bundle when it is its turn, into room that was free before. `None`: there is none.
    pub(crate) async fn read<T>(&self, read: impl Future<Output = T>) -> Option<(T, Room)> {
        let _turn = self.reads.acquire().await.ok()?;
        let room = self.bundles.clone().try_acquire_many_owned(MAX_BUNDLE_BYTES).ok()?;
        Some((read.await, Room(room)))
    }

    /// Room for the answer to one call that reads a range. `None`: there is none.
    pub(crate) fn range(&self) -> Option<Room> {
        self.ranges.clone().try_acquire_owned().ok().map(Room)
    }

    /// Reads one message of a range when it is its turn.
    pub(crate) async fn page<T>(&self, read: impl Future<Output = T>) -> T {
        // It is never closed.
        let _turn = self.reads.acquire().await.ok();
        read.await
    }
}

impl Room {
    /// These bytes as a body. They keep their share of the room until the last of them has gone to the network, for the
    /// transport takes what it can from a body long before its peer does.
    pub(crate) fn body(mut self, bytes: Bytes) -> Body {
        // What is not split off is given back here.
        let share = self.0.split(bytes.len());
        Body::new(Pieces(Bytes::from_owner(Held { bytes, _share: share })))
    }
}

/// Bytes with their share of the room: both go with the last piece.
struct Held {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Pieces(Bytes);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(PIECE_BYTES);
        let piece = self.0.split_to(length);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
