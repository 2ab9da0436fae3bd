//! How far a copy has got: a [`ChainFile`] in which each record is the whole state, so that the newest one counts.
//!
//! ```text
//! sealed    8, big-endian      entries in full bundles that are durable, with their tiles
//! length    4, big-endian      of the pending note, 0 where there is none
//! pending   that many bytes    the pending checkpoint, as the log signed it
//! mirrored  the rest           the mirror checkpoint with the mirror's cosignatures, empty where there is none
//! ```
//!
//! When the file has grown past 1 MiB, a new one with the newest record takes its place.

use std::path::PathBuf;
use std::sync::Arc;

use graven_store::{ChainFile, Fs, chain::ChainError};

const ROTATE_BYTES: u64 = 1 << 20;

/// The state of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) sealed: u64,
    pub(crate) pending: Vec<u8>,
    pub(crate) mirrored: Vec<u8>,
}

/// The file that remembers it.
pub(crate) struct StateFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    chain: ChainFile,
}

impl StateFile {
    /// Begins with nothing copied.
    pub(crate) fn create(fs: &dyn Fs, path: &std::path::Path) -> std::io::Result<()> {
        ChainFile::create(fs, path, &State::default().to_bytes()).map(drop)
    }

    /// The file and what it says; `None` where that cannot have been written here.
    pub(crate) fn open(fs: Arc<dyn Fs>, path: PathBuf) -> Result<(Self, Option<State>), ChainError> {
        let (chain, payloads) = ChainFile::open(&*fs, &path)?;
        let state = payloads.last().and_then(|payload| State::parse(payload));
        Ok((Self { fs, path, chain }, state))
    }

    /// Makes a state durable. After an error nothing more is written or signed.
    pub(crate) fn set(&mut self, state: &State) -> std::io::Result<()> {
        if self.chain.len() > ROTATE_BYTES {
            self.chain = ChainFile::create(&*self.fs, &self.path, &state.to_bytes())?;
            return Ok(());
        }
        self.chain.append(&state.to_bytes())
    }
}

impl State {
    fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        [&self.sealed.to_be_bytes()[..], &length.to_be_bytes(), &self.pending, &self.mirrored].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (sealed, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (pending, mirrored) = rest.split_at_checked(length)?;
        let sealed = u64::from_be_bytes(*sealed);
        sealed.is_multiple_of(256).then(|| Self {
            sealed,
            pending: pending.to_vec(),
            mirrored: mirrored.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_as_it_was_written() {
        let state = State { sealed: 512, pending: b"pending".to_vec(), mirrored: b"mirrored".to_vec() };
        assert_eq!(State::parse(&state.to_bytes()), Some(state.clone()));
        assert_eq!(State::parse(&State::default().to_bytes()), Some(State::default()));
        let whole = state.to_bytes();
        for end in 0..8 + 4 + state.pending.len() {
            assert_eq!(State::parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(State::parse(&State { sealed: 300, ..state }.to_bytes()), None);
    }
}
