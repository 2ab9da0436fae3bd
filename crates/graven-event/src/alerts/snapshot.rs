//! The watcher's bytes in a snapshot, drawn here byte by byte.

use crate::alerts::Watcher;
use crate::codec::Malformed;

impl Watcher {
    pub(crate) fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let _ = bytes;
        unimplemented!()
    }
}
