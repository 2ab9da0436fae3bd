//! How far a log was verified, on disk.
//!
//! ```text
//! <folder>/<SHA-256 of the origin, hex>.monitor
//!
//! graven-monitor@v1\n
//! <hash, 64 hex digits>\n      one for each bit set in the tree size: the frontier, largest subtree first
//! \n
//! <checkpoint: a signed note, verbatim to the end>
//! ```
//!
//! The file is believed as far as the log's own signature goes: the frontier has to lead to the signed root, and the
//! note has to be signed as demanded. It is replaced in one step, after its bytes are on the disk, by one monitor at a
//! time, which holds `<…>.monitor-lock`.

use std::{
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use graven_merkle::{Frontier, Hash};
use graven_note::{MAX_NOTE_BYTES, Origin};

use crate::{Trust, VerifiedHead, head_store::replace_durably};

const HEADER: &str = "graven-monitor@v1";

/// A frontier of at most 63 hashes, and a note.
const MAX_BYTES: usize = 8 << 10 | MAX_NOTE_BYTES;

/// A head all of whose entries were verified, and what it takes to go on from it.
pub(super) struct Position {
    pub(super) head: VerifiedHead,
    pub(super) frontier: Frontier,
}

/// Where it is kept.
pub(super) struct PositionFile {
    path: PathBuf,
    /// Released when it is closed, also by a crash.
    _lock: File,
}

impl PositionFile {
    pub(super) fn open(folder: &Path, origin: &Origin) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = origin.sha256_hex();
        let path = folder.join(format!("{name}.monitor"));
        let lock = File::create(folder.join(format!("{name}.monitor-lock")))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::other(format!("{} is in use by another monitor", path.display()))
            }
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn load(&self, trust: &Trust) -> io::Result<Option<Position>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let refuse = |why: String| {
            let advice = "remove it to verify the log from its beginning";
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}; {advice}", self.path.display()))
        };
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES);
        let parsed = text.as_deref().and_then(parse);
        let (peaks, note) = parsed.ok_or_else(|| refuse("this is no position of a monitor".to_owned()))?;
        let head = trust.verify_signed(note.as_bytes()).map_err(|error| refuse(error.to_string()))?;
        let frontier = Frontier::from_peaks(head.size(), peaks).filter(|it| it.root() == *head.root());
        let frontier =
            frontier.ok_or_else(|| refuse("its hashes do not lead to the signed root".to_owned()))?;
        Ok(Some(Position { head, frontier }))
    }

    pub(super) fn keep(&self, position: &Position) -> io::Result<()> {
        let mut text = format!("{HEADER}\n");
        for peak in position.frontier.peaks() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{peak}");
        }
        text = text + "\n" + position.head.note();
        replace_durably(&self.path, &self.path.with_extension("monitor-new"), text.as_bytes())
    }
}

fn parse(text: &str) -> Option<(Vec<Hash>, &str)> {
    let mut rest = text.strip_prefix(HEADER)?.strip_prefix('\n')?;
    let mut peaks = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n')?;
        rest = after;
        if line.is_empty() {
            return Some((peaks, rest));
        }
        peaks.push(parse_hash(line)?);
    }
}

fn parse_hash(text: &str) -> Option<Hash> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    let bytes = digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let hash = Hash::from(<[u8; 32]>::try_from(bytes.collect::<Option<Vec<_>>>()?).ok()?);
    (hash.to_string() == text).then_some(hash)
}
