//! Files that are written once: full tiles and full entry bundles, at the path under which they are served.
//!
//! Objects are written in rounds. A round of many is made durable by one sync of the file system, a round of few by their
//! own, so that it does not wait for what others have written. Between the two, a crash may leave files that are short or
//! empty; so an object counts only below the watermark that the caller records *after*
//! [`Objects::sync`] returned, and what stands above it is written again, with the same bytes: a file that holds others is
//! never replaced. Below it the caller writes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fs::{File, Fs, Mode, Open, Tree};

/// Rounds of up to this many files are synced file by file (about a millisecond each).
const FEW_FILES: usize = 16;

/// A folder of write-once files.
pub struct Objects {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    tree: Arc<dyn Tree>,
    round: Mutex<Round>,
}

/// What was written since the last sync.
#[derive(Default)]
struct Round {
    /// The first few files.
    files: Vec<Arc<dyn File>>,
    dirs: BTreeSet<PathBuf>,
    count: usize,
}

impl Objects {
    /// Opens a folder, made where missing.
    pub fn open(fs: Arc<dyn Fs>, root: &Path) -> io::Result<Self> {
        fs.create_dir_all(root)?;
        let tree = fs.open_tree(root)?;
        Ok(Self { fs, root: root.to_owned(), tree, round: Mutex::default() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes an object above the watermark; durable after the next [`sync`](Self::sync).
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name)?;
        let file = match self.fs.open(&path, Open::New(Mode::ReadOnly)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.fs.create_dir_all(path.parent().unwrap_or(&self.root))?;
                self.fs.open(&path, Open::New(Mode::ReadOnly))?
            }
            // A round that a crash interrupted left a file: it is written anew even if it looks whole, so that the sync
            // covers it (what a failed write-back dropped may still look fine in the page cache).
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if self.contradicts(name, bytes)? {
                    let what = format!("{} holds other bytes: it is not replaced", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                self.fs.remove_file(&path)?;
                self.fs.open(&path, Open::New(Mode::ReadOnly))?
            }
            other => other?,
        };
        file.write_all_at(bytes, 0)?;
        let mut round = self.round.lock();
        round.count += 1;
        if round.count <= FEW_FILES {
            round.files.push(file);
            round.dirs.extend(path.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Whether there is an object of that name that can be no part of `bytes`, as a crash while they were written leaves
    /// it: cut short, or with zeros where the rest did not reach the disk.
    pub fn contradicts(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let found = match self.read(name, u64::MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let is_part = found.iter().zip(bytes).all(|(found, wanted)| found == wanted || *found == 0);
        Ok(found.len() > bytes.len() || !is_part)
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        let Round { files, dirs, count } = std::mem::take(&mut *self.round.lock());
        if count > FEW_FILES {
            return self.tree.sync();
        }
        files.iter().try_for_each(|file| file.sync_data())?;
        dirs.iter().try_for_each(|dir| self.fs.sync_dir(dir))
    }

    /// Puts a small mutable file in place, durably (`checkpoint`, partial tiles of a frozen log).
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name)?;
        self.fs.create_dir_all(path.parent().unwrap_or(&self.root))?;
        self.fs.replace_durable(&path, bytes, Mode::Shared)
    }

    /// Reads an object of at most `max_bytes`.
    pub fn read(&self, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
        self.fs.read(&self.path(name)?, max_bytes)
    }

    /// Says that nobody will read a durable object soon.
    pub fn forget(&self, name: &str) {
        if let Ok(file) = self.path(name).and_then(|path| self.fs.open(&path, Open::Read)) {
            file.forget();
        }
    }

    /// Removes a file that is no longer needed (the partial tile of an older export), if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self.fs.remove_file(&self.path(name)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Whether there is one of that name.
    pub fn exists(&self, name: &str) -> io::Result<bool> {
        self.fs.exists(&self.path(name)?)
    }

    /// A name leads to a file below the root, whoever made it up.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let below = Path::new(name);
        if name.is_empty() || !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an object's name leads outside its folder",
            ));
        }
        Ok(self.root.join(below))
    }
}
