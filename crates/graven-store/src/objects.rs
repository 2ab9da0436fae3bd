//! Files that are written once: full tiles and full entry bundles, at the path under which they are served.
//!
//! Many objects are written in one round and made durable by one sync of the tree. Between the two, a crash may leave
//! files that are short or empty; so an object counts only below the watermark that the caller records *after*
//! [`Objects::sync`] returned, and whatever stands above it is written again. Below it the caller writes nothing.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::fs::{Fs, Mode, Open, Tree};

/// A folder of write-once files.
pub struct Objects {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    tree: Arc<dyn Tree>,
}

impl Objects {
    /// Opens a folder, made where missing.
    pub fn open(fs: Arc<dyn Fs>, root: &Path) -> io::Result<Self> {
        fs.create_dir_all(root)?;
        let tree = fs.open_tree(root)?;
        Ok(Self { fs, root: root.to_owned(), tree })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes an object above the watermark; durable after the next [`sync`](Self::sync).
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name)?;
        match self.fs.open(&path, Open::New(Mode::ReadOnly)) {
            Ok(file) => file.write_all_at(bytes, 0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.fs.create_dir_all(path.parent().unwrap_or(&self.root))?;
                self.fs.open(&path, Open::New(Mode::ReadOnly))?.write_all_at(bytes, 0)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.write_again(&path, bytes),
            Err(e) => Err(e),
        }
    }

    /// A round that a crash interrupted left a file: write it anew even if it looks whole, so that the sync covers it
    /// (what a failed write-back dropped may still look fine in the page cache).
    fn write_again(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.fs.remove_file(path)?;
        self.fs.open(path, Open::New(Mode::ReadOnly))?.write_all_at(bytes, 0)
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        self.tree.sync()
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
