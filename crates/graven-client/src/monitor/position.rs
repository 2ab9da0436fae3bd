//! How far a log was verified, on disk.
//!
//! ```text
//! <folder>/<SHA-256 of the origin, hex>.monitor
//!
//! graven-monitor@v1\n
//! <hash, 64 hex digits>\n      one for each bit set in the tree size: the frontier, largest subtree first
//! \n
//! <checkpoint: a signed note, verbatim to the end>
//!
//! <folder>/<SHA-256 of the origin, hex>.monitor-grown      empty; modified when the log was last seen to grow
//!
//! <folder>/<SHA-256 of the origin, hex>.monitor-sources
//!
//! graven-monitor-sources@v1\n
//! <decimal size> <source>\n    for each source, by name: the largest head that it showed
//! ```
//!
//! The position is believed as far as the log's own signature goes: the frontier has to lead to the signed root, and one
//! of the log's keys has to have signed the note. Witnesses are not asked for again, so that a policy may change.
//! Each file is replaced in one step, after its bytes are on the disk, by one monitor at a time, which holds
//! `<…>.monitor-lock`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use graven_merkle::{Frontier, Hash, TreeSize};
use graven_note::{MAX_NOTE_BYTES, Origin};

use crate::{Trust, VerifiedHead, head_store::replace_durably};

const HEADER: &str = "graven-monitor@v1";
const SOURCES_HEADER: &str = "graven-monitor-sources@v1";

/// A frontier of at most 63 hashes, and a note.
const MAX_BYTES: usize = 8 << 10 | MAX_NOTE_BYTES;

/// A head all of whose entries were verified, and what it takes to go on from it.
pub(super) struct Position {
    pub(super) head: VerifiedHead,
    pub(super) frontier: Frontier,
    /// Whether the head has the quorum that is demanded now.
    pub(super) is_believed: bool,
    /// When the log was seen to grow to this size.
    pub(super) grown: SystemTime,
}

/// The largest head that each source showed.
#[derive(Default)]
pub(super) struct Shown(BTreeMap<String, TreeSize>);

impl Shown {
    pub(super) fn of(&self, source: &str) -> TreeSize {
        self.0.get(source).copied().unwrap_or_default()
    }

    /// Whether that is larger than what it showed before.
    pub(super) fn raise(&mut self, source: &str, size: TreeSize) -> bool {
        let is_larger = self.of(source) < size;
        if is_larger {
            self.0.insert(source.to_owned(), size);
        }
        is_larger
    }
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
        let (own, note) = (Trust::new(trust.origin().clone(), trust.keys().to_vec()), note.as_bytes());
        let own = own.map_err(|error| refuse(error.to_string()))?;
        let believed = trust.verify_signed(note);
        let is_believed = believed.is_ok();
        let head =
            believed.or_else(|_| own.verify_signed(note)).map_err(|error| refuse(error.to_string()))?;
        let frontier = Frontier::from_peaks(head.size(), peaks).filter(|it| it.root() == *head.root());
        let frontier =
            frontier.ok_or_else(|| refuse("its hashes do not lead to the signed root".to_owned()))?;
        let grown = fs::metadata(self.grown()).or_else(|_| fs::metadata(&self.path))?.modified()?;
        Ok(Some(Position { head, frontier, is_believed, grown }))
    }

    pub(super) fn keep(&self, position: &Position) -> io::Result<()> {
        let mut text = format!("{HEADER}\n");
        for peak in position.frontier.peaks() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{peak}");
        }
        text = text + "\n" + position.head.note();
        replace_durably(&self.path, &self.path.with_extension("monitor-new"), text.as_bytes())?;
        File::create(self.grown())?.set_modified(position.grown)
    }

    fn grown(&self) -> PathBuf {
        self.path.with_extension("monitor-grown")
    }

    pub(super) fn load_shown(&self) -> io::Result<Shown> {
        let path = self.path.with_extension("monitor-sources");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Shown::default()),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        parse_shown(&text).ok_or_else(|| {
            let why = format!("{}: this is no list of sources; remove it", path.display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }

    pub(super) fn keep_shown(&self, shown: &Shown) -> io::Result<()> {
        let mut text = format!("{SOURCES_HEADER}\n");
        for (source, size) in &shown.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{size} {source}");
        }
        let path = self.path.with_extension("monitor-sources");
        replace_durably(&path, &path.with_extension("monitor-new"), text.as_bytes())
    }
}

fn parse_shown(text: &str) -> Option<Shown> {
    let lines = text.strip_prefix(SOURCES_HEADER)?.strip_prefix('\n')?.lines();
    let parse = |line: &str| {
        let (size, source) = line.split_once(' ')?;
        Some((source.to_owned(), TreeSize::new(size.parse().ok()?)?))
    };
    lines.map(parse).collect::<Option<_>>().map(Shown)
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
