//! The state's bytes in a snapshot, drawn here byte by byte.

use crate::codec::Malformed;
use crate::scopes::ScopeState;

impl ScopeState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let _ = bytes;
        unimplemented!()
    }
}
