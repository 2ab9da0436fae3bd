//! The body of an upload, piece by piece: at most one package of it is in memory.

use std::io::Write as _;
use std::mem;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use graven_note::mirror::UploadError;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::push::PushError;

/// A package has to be here after this long: 16 MiB at most, so that whoever sends slower than 280 KB/s sends less of it.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// What is unpacked at a time: gzip makes a thousand times as much of it at most.
const PACKED_BYTES: usize = 1 << 10;

/// What has arrived and was not taken yet.
pub(crate) struct Pieces {
    body: Body,
    here: BytesMut,
    gzip: Option<Unpacking>,
}

/// A body that is packed.
struct Unpacking {
    packed: Bytes,
    unpacked: MultiGzDecoder<Vec<u8>>,
}

impl Pieces {
    pub(crate) fn new(body: Body, is_gzip: bool) -> Self {
        let unpacking = || Unpacking { packed: Bytes::new(), unpacked: MultiGzDecoder::new(Vec::new()) };
        Self { body, here: BytesMut::new(), gzip: is_gzip.then(unpacking) }
    }

    /// Takes what `split` finds at the beginning; `None` where the body ends before it does.
    pub(crate) async fn take<T>(
        &mut self,
        split: impl Fn(&[u8]) -> Result<Option<(T, usize)>, UploadError>,
    ) -> Result<Option<T>, PushError> {
        let taking = async {
            loop {
                if let Some((piece, length)) = split(&self.here)? {
                    self.here.advance(length);
                    return Ok(Some(piece));
                }
                if !self.more().await {
                    return Ok(None);
                }
            }
        };
        timeout(PIECE_TIMEOUT, taking).await.map_err(|_| PushError::TooSlow)?
    }

    /// Reads what follows the last package, which is nothing, so that the connection can go on.
    pub(crate) async fn end(&mut self) {
        // Whatever it is: the packages are here.
        let _ = timeout(PIECE_TIMEOUT, self.more()).await;
    }

    /// Waits for more. A body that is cut short or cannot be unpacked ends there.
    async fn more(&mut self) -> bool {
        loop {
            if let Some(gzip) = &mut self.gzip
                && !gzip.packed.is_empty()
            {
                let Ok(unpacked) = gzip.next() else { return false };
                self.here.extend_from_slice(&unpacked);
                return true;
            }
            match self.body.frame().await.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => match &mut self.gzip {
                    Some(gzip) => gzip.packed = data,
                    None => {
                        self.here.extend_from_slice(&data);
                        return true;
                    }
                },
                // Trailers say nothing.
                Some(Ok(Err(_))) => {}
                Some(Err(_)) => return false,
                None => return self.gzip.take().is_some_and(|gzip| self.rest_of(gzip)),
            }
        }
    }

    fn rest_of(&mut self, mut gzip: Unpacking) -> bool {
        // Of one that was cut short there may be some left all the same; the proofs judge it.
        let _ = gzip.unpacked.try_finish();
        self.here.extend_from_slice(gzip.unpacked.get_ref());
        !gzip.unpacked.get_ref().is_empty()
    }
}

impl Unpacking {
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        let packed = self.packed.split_to(self.packed.len().min(PACKED_BYTES));
        self.unpacked.write_all(&packed)?;
        Ok(mem::take(self.unpacked.get_mut()))
    }
}
