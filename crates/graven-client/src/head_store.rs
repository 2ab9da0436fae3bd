//! Where the last verified tree head is kept, so that a log that goes back is noticed.
//!
//! A head store moves by compare-and-swap: two programs that follow one log cannot overwrite each other's
//! progress unseen. What it keeps is the checkpoint note as it was signed; it is verified again when read.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use graven_note::{MAX_NOTE_BYTES, Origin, rotation::MAX_HISTORY_BYTES};

/// Keeps the last verified checkpoint note of each log.
pub trait HeadStore: Send + Sync {
    /// The note kept for `origin`, if there is one.
    ///
    /// # Errors
    /// The store cannot be read. Not having a note is none.
    fn load(&self, origin: &Origin) -> io::Result<Option<Vec<u8>>>;

    /// Keeps `note` instead of `expected`, durably, and answers `true`; or leaves everything as it is and
    /// answers `false` where something else than `expected` is kept by now.
    ///
    /// # Errors
    /// The store cannot be written.
    fn replace(&self, origin: &Origin, expected: Option<&[u8]>, note: &[u8]) -> io::Result<bool>;

    /// The history of the log's key rotations that is kept (see [`graven_note::rotation`]), empty if there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load_rotations(&self, origin: &Origin) -> io::Result<Vec<u8>>;

    /// Keeps `history` durably, unless what is kept is longer: histories only grow.
    ///
    /// # Errors
    /// The store cannot be written.
    fn keep_rotations(&self, origin: &Origin, history: &[u8]) -> io::Result<()>;
}

/// Forgets everything when the program ends.
#[derive(Debug, Default)]
pub struct MemoryHeadStore {
    heads: Mutex<HashMap<Origin, Vec<u8>>>,
    rotations: Mutex<HashMap<Origin, Vec<u8>>>,
}

impl HeadStore for MemoryHeadStore {
    fn load(&self, origin: &Origin) -> io::Result<Option<Vec<u8>>> {
        Ok(self.heads.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned())
    }

    fn replace(&self, origin: &Origin, expected: Option<&[u8]>, note: &[u8]) -> io::Result<bool> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let as_expected = heads.get(origin).map(Vec::as_slice) == expected;
        if as_expected {
            heads.insert(origin.clone(), note.to_vec());
        }
        Ok(as_expected)
    }

    fn load_rotations(&self, origin: &Origin) -> io::Result<Vec<u8>> {
        let rotations = self.rotations.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rotations.get(origin).cloned().unwrap_or_default())
    }

    fn keep_rotations(&self, origin: &Origin, history: &[u8]) -> io::Result<()> {
        let mut rotations = self.rotations.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = rotations.entry(origin.clone()).or_default();
        if kept.len() < history.len() {
            *kept = history.to_vec();
        }
        Ok(())
    }
}

/// Keeps each head in a file of its own.
///
/// ```text
/// <folder>/<SHA-256 of the origin, hex>.checkpoint    the note, verbatim
/// <folder>/<SHA-256 of the origin, hex>.rotations     how its keys changed, once they did
/// <folder>/<SHA-256 of the origin, hex>.lock          empty; locked while one of these is replaced
/// ```
#[derive(Debug, Clone)]
pub struct FileHeadStore {
    folder: PathBuf,
}

impl FileHeadStore {
    /// Keeps heads in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The file that keeps the head of `origin`.
    #[must_use]
    pub fn path(&self, origin: &Origin) -> PathBuf {
        self.file(origin, "checkpoint")
    }

    fn file(&self, origin: &Origin, kind: &str) -> PathBuf {
        let name = origin.sha256_hex();
        self.folder.join(format!("{name}.{kind}"))
    }

    /// Held while a file of the log is replaced: until it is closed, also by a crash.
    fn lock(&self, origin: &Origin) -> io::Result<File> {
        let lock = File::create(self.file(origin, "lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

impl HeadStore for FileHeadStore {
    fn load(&self, origin: &Origin) -> io::Result<Option<Vec<u8>>> {
        read_bounded(&self.path(origin), MAX_NOTE_BYTES, "too large to be a checkpoint")
    }

    fn replace(&self, origin: &Origin, expected: Option<&[u8]>, note: &[u8]) -> io::Result<bool> {
        let _lock = self.lock(origin)?;
        if self.load(origin)?.as_deref() != expected {
            return Ok(false);
        }
        let (path, new) = (self.path(origin), self.file(origin, "new"));
        replace_durably(&path, &new, note)?;
        Ok(true)
    }

    fn load_rotations(&self, origin: &Origin) -> io::Result<Vec<u8>> {
        let path = self.file(origin, "rotations");
        Ok(read_bounded(&path, MAX_HISTORY_BYTES, "too large to be a history of rotations")?
            .unwrap_or_default())
    }

    fn keep_rotations(&self, origin: &Origin, history: &[u8]) -> io::Result<()> {
        let _lock = self.lock(origin)?;
        if self.load_rotations(origin)?.len() >= history.len() {
            return Ok(());
        }
        replace_durably(&self.file(origin, "rotations"), &self.file(origin, "new"), history)
    }
}

/// The bytes of a file that may not be there.
fn read_bounded(path: &Path, limit: usize, too_large: &str) -> io::Result<Option<Vec<u8>>> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path, &error)),
    };
    if usize::try_from(length).is_ok_and(|length| length <= limit) {
        return fs::read(path).map(Some).map_err(|error| at(path, &error));
    }
    Err(at(path, &io::Error::new(io::ErrorKind::InvalidData, too_large)))
}

/// Puts `bytes` in the place of what is at `path`, by way of the file `new` beside it: a crash leaves the old or the new.
pub(crate) fn replace_durably(path: &Path, new: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create(new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| at(new, &error))?;
    fs::rename(new, path).map_err(|error| at(path, &error))?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
