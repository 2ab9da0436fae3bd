//! Bodies of requests that anybody may send: how long one may take, and what all of them hold.
//!
//! A body is in memory from its first byte to the end of its call. All of them share one room; where a piece finds it
//! full, the body that has been on its way for longest gives way: whoever sends slowly, or on many connections, keeps
//! nobody out who sends a request and has done.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;

use crate::text;

/// What all bodies of a port hold by default, in bytes; a buffer that grows may be twice as long as what is in it.
const ROOM_BYTES: usize = 32 << 20;
/// How long a body may take by default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a body counts for at least: whoever waits for it costs something as well.
const MIN_BYTES: usize = 8 << 10;

/// Room for the bodies of one port.
pub struct Bodies {
    room: Arc<Mutex<Room>>,
    timeout: Duration,
}

/// A body that is here. It keeps its share of the room until it is dropped: hold it until its call has its answer.
pub struct Received {
    bytes: Vec<u8>,
    counted: usize,
    room: Arc<Mutex<Room>>,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than this many bytes.
    #[error("the request has more than {0} bytes")]
    TooLarge(usize),
    /// It was not here in time.
    #[error("the request was not here in time")]
    TooSlow,
    /// It ended before its end.
    #[error("the request was cut short")]
    CutShort,
    /// There is no room for it, or no longer.
    #[error("too many requests are on their way: try again")]
    NoRoom,
}

struct Room {
    max_bytes: usize,
    /// By all bodies, those that are here and those that are on their way.
    held: usize,
    next: u64,
    on_their_way: BTreeMap<u64, Arriving>,
}

/// A body on its way. Whoever waits for it hears when it gives way, for the sender goes with it.
struct Arriving {
    bytes: Vec<u8>,
    counted: usize,
    _stays: oneshot::Sender<()>,
}

/// The place of a body on its way, given back when nobody waits for it any more.
struct Place {
    number: u64,
    room: Arc<Mutex<Room>>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new(ROOM_BYTES, TIMEOUT)
    }
}

impl Bodies {
    /// Room for bodies of this many bytes together, each of which has to be here after `timeout`.
    pub fn new(max_bytes: usize, timeout: Duration) -> Self {
        let room = Room { max_bytes, held: 0, next: 0, on_their_way: BTreeMap::new() };
        Self { room: Arc::new(Mutex::new(room)), timeout }
    }

    /// Reads a body of at most `max_bytes`.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn read(&self, mut body: Body, max_bytes: usize) -> Result<Received, BodyError> {
        let (place, mut gives_way) = Place::take(&self.room)?;
        let arriving = async {
            loop {
                let frame = tokio::select! {
                    _ = &mut gives_way => return Err(BodyError::NoRoom),
                    frame = next_frame(&mut body) => frame,
                };
                match frame.map(|frame| frame.map(Frame::into_data)) {
                    Some(Ok(Ok(piece))) => place.add(&piece, max_bytes)?,
                    // Trailers say nothing.
                    Some(Ok(Err(_))) => {}
                    Some(Err(_)) => return Err(BodyError::CutShort),
                    None => return place.received(),
                }
            }
        };
        tokio::time::timeout(self.timeout, arriving).await.unwrap_or(Err(BodyError::TooSlow))
    }
}

impl BodyError {
    /// Tells whoever asked: 400, 408, 413 or 503.
    pub fn answer(&self) -> Response<Body> {
        let status = match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::CutShort => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(status, format!("{self}\n"))
    }
}

impl Room {
    /// Counts this many bytes more, for which the oldest on their way give way. `false`: what is here leaves no room.
    fn grow(&mut self, bytes: usize) -> bool {
        while self.held + bytes > self.max_bytes {
            let Some((_, oldest)) = self.on_their_way.pop_first() else { return false };
            self.held -= oldest.counted;
        }
        self.held += bytes;
        true
    }
}

impl Place {
    fn take(room: &Arc<Mutex<Room>>) -> Result<(Self, oneshot::Receiver<()>), BodyError> {
        let (stays, gives_way) = oneshot::channel();
        let mut locked = lock(room);
        if !locked.grow(MIN_BYTES) {
            return Err(BodyError::NoRoom);
        }
        let number = locked.next;
        locked.next += 1;
        let arriving = Arriving { bytes: Vec::new(), counted: MIN_BYTES, _stays: stays };
        locked.on_their_way.insert(number, arriving);
        Ok((Self { number, room: room.clone() }, gives_way))
    }

    fn add(&self, piece: &Bytes, max_bytes: usize) -> Result<(), BodyError> {
        let mut room = lock(&self.room);
        let here = room.on_their_way.get(&self.number).ok_or(BodyError::NoRoom)?;
        let length = here.bytes.len() + piece.len();
        if length > max_bytes {
            return Err(BodyError::TooLarge(max_bytes));
        }
        let more = length.saturating_sub(here.counted);
        if !room.grow(more) {
            return Err(BodyError::NoRoom);
        }
        // It may have been its own turn to give way.
        let Some(here) = room.on_their_way.get_mut(&self.number) else {
            room.held -= more;
            return Err(BodyError::NoRoom);
        };
        here.counted += more;
        here.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn received(&self) -> Result<Received, BodyError> {
        let here = lock(&self.room).on_their_way.remove(&self.number).ok_or(BodyError::NoRoom)?;
        Ok(Received { bytes: here.bytes, counted: here.counted, room: self.room.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = lock(&self.room);
        if let Some(here) = room.on_their_way.remove(&self.number) {
            room.held -= here.counted;
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        lock(&self.room).held -= self.counted;
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn next_frame(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use super::*;

    /// For a body that nobody is to wait for.
    const LONG: Duration = Duration::from_secs(3600);
    const PIECE: usize = 16 << 10;

    /// Some pieces, and then nothing more.
    struct Unfinished(usize);

    impl http_body::Body for Unfinished {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(vec![7; PIECE].into()))))
        }
    }

    fn unfinished(pieces: usize) -> Body {
        Body::new(Unfinished(pieces))
    }

    fn held(bodies: &Bodies) -> usize {
        lock(&bodies.room).held
    }

    #[tokio::test]
    async fn a_body_is_read_whole_in_time_and_up_to_its_limit_or_not_at_all() {
        let bodies = Bodies::new(1 << 20, Duration::from_millis(20));
        let read = |body| bodies.read(body, 40_000);
        assert_eq!(read(Body::from(vec![1; 40_000])).await.map(|body| body.len()), Ok(40_000));
        assert_eq!(read(Body::empty()).await.map(|body| body.len()), Ok(0));
        assert_eq!(read(Body::from(vec![1; 40_001])).await.err(), Some(BodyError::TooLarge(40_000)));
        assert_eq!(read(unfinished(2)).await.err(), Some(BodyError::TooSlow));
        assert_eq!(held(&bodies), 0, "whatever became of them");
    }

    #[tokio::test]
    async fn what_is_slow_gives_way_and_what_is_here_stays() {
        let bodies = Arc::new(Bodies::new(8 * PIECE, LONG));
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let bodies = bodies.clone();
                tokio::spawn(async move { bodies.read(unfinished(3), 8 * PIECE).await.err() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(held(&bodies) > 4 * PIECE && held(&bodies) <= 8 * PIECE, "{}", held(&bodies));
        let here = bodies.read(Body::from(vec![1; 5 * PIECE]), 8 * PIECE).await.unwrap();
        assert_eq!((here.len(), held(&bodies) <= 8 * PIECE), (5 * PIECE, true));
        // All but the newest, which has place beside what is here, have heard it.
        let mut staying = Vec::new();
        for (number, slow) in slow.into_iter().enumerate() {
            tokio::task::yield_now().await;
            match slow.is_finished() {
                true => assert_eq!(slow.await.unwrap(), Some(BodyError::NoRoom), "{number}"),
                false => staying.push((number, slow)),
            }
        }
        assert!(staying.iter().all(|(number, _)| *number == 19), "{staying:?}");
        // What is here does not give way to anybody.
        assert_eq!(bodies.read(unfinished(4), 8 * PIECE).await.err(), Some(BodyError::NoRoom));
        assert_eq!((here.len(), held(&bodies)), (5 * PIECE, 5 * PIECE));
        drop(here);
        assert_eq!(held(&bodies), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_body_and_its_room_is_free() {
        let bodies = Bodies::new(8 * PIECE, LONG);
        let read = bodies.read(unfinished(3), 8 * PIECE);
        assert!(tokio::time::timeout(Duration::from_millis(5), read).await.is_err());
        assert_eq!(held(&bodies), 0);
    }
}
