//! The one seam through which every byte reaches storage.
//!
//! Everything above this module speaks [`Fs`] and [`File`]; nothing else in the workspace opens a file that must
//! survive. Three implementations exist: [`RealFs`](crate::RealFs), the lossy simulator and the fault decorator (both
//! behind the `testing` feature). The contract is POSIX's, stated as the simulator enforces it:
//!
//! * bytes written are durable only after [`File::sync_data`] on the same inode returned `Ok`;
//! * a name is durable only after [`Fs::sync_dir`] on its directory, or [`Tree::sync`] on one above, returned `Ok`;
//! * after any error of a write or a sync nothing is known about what is durable: the caller must stop acknowledging
//!   (a later sync may report success for bytes that were already dropped).

use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file, for reading and writing; an existing one is an error.
    New(Mode),
}

/// Permissions of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0644: ordinary state.
    Shared,
    /// 0600: secrets.
    Private,
    /// 0444: write-once objects.
    ReadOnly,
}

/// An open file. Reads and writes name their offset, so a handle is shared freely between threads.
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`; a file that ends before is `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, extending the file where needed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes every byte written so far durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Says that nobody will read the file soon: what is durable of it may leave the system's cache.
    fn forget(&self) {}

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A directory with everything below it. Open it *before* the writes that it is to make durable: an error of
/// write-back that happened earlier is reported to handles that were open at the time, and to no others.
pub trait Tree: Send + Sync {
    /// Makes everything below the directory durable, bytes and names, in one round.
    fn sync(&self) -> io::Result<()>;
}

/// Held while a data directory has its one writer; dropping it lets go.
pub trait Lock: Send + Sync {}

/// A file system.
pub trait Fs: Send + Sync {
    /// Creates a directory and those above it, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Whether the path names a file or a directory.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Whether nobody but the owner of a file may read or write it (mode 0600 or stricter).
    fn is_private(&self, path: &Path) -> io::Result<bool>;

    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Moves a file, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens a directory for [`Tree::sync`].
    fn open_tree(&self, dir: &Path) -> io::Result<Arc<dyn Tree>>;

    /// Bytes that may still be written to the file system that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the exclusive lock of a file, created where missing; held by someone else is `WouldBlock`.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// Whole-file conveniences over the seam.
impl dyn Fs + '_ {
    /// Reads a whole file, refusing one that is longer than `max_bytes`.
    pub fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > max_bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{} has {len} bytes; at most {max_bytes} are expected", path.display()),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Creates a file that did not exist, with all its bytes, durably: after a crash it is there whole or not at all
    /// (temporary name, sync, rename, directory sync).
    pub fn create_durable(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        if self.exists(path)? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} exists already", path.display()),
            ));
        }
        self.replace_durable(path, bytes, mode)
    }

    /// As `create_durable`, replacing an older file in one step.
    pub fn replace_durable(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let mut staged = path.as_os_str().to_owned();
        staged.push(".tmp");
        let staged = Path::new(&staged);
        if self.exists(staged)? {
            self.remove_file(staged)?;
        }
        let file = self.open(staged, Open::New(mode))?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        self.rename(staged, path)?;
        match path.parent() {
            Some(dir) if dir == Path::new("") => self.sync_dir(Path::new(".")),
            Some(dir) => self.sync_dir(dir),
            None => Ok(()),
        }
    }
}
