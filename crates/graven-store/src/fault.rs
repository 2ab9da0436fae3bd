//! A decorator that fails, cuts short, corrupts or stops at any step of storage.
//!
//! Every operation of [`Fs`], [`File`] and [`Tree`] is a failpoint twice: [`Phase::Before`] (failed, nothing
//! happened) and [`Phase::After`] (failed, *but it happened*). A [`Script`] decides at each of them. This is how the
//! tests reach both sides of every step without the code under test knowing of any.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{File, Fs, Lock, Open, Tree};

/// Which operation is about to run or has just run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are those of the operations
pub enum Op {
    CreateDir,
    List,
    Open,
    Create,
    Rename,
    Remove,
    SyncDir,
    SyncTree,
    FreeBytes,
    Lock,
    Len,
    Read,
    Write,
    SetLen,
    SyncData,
}

impl Op {
    /// Whether the operation can change what is stored.
    pub fn mutates(self) -> bool {
        !matches!(self, Op::List | Op::Open | Op::FreeBytes | Op::Lock | Op::Len | Op::Read)
    }
}

/// The side of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has not run.
    Before,
    /// It has run with success.
    After,
}

/// One failpoint.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The operation.
    pub op: Op,
    /// Its side.
    pub phase: Phase,
    /// The file or directory.
    pub path: &'a Path,
}

/// What happens at a failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing unusual.
    Continue,
    /// The operation returns this error.
    Fail(io::ErrorKind),
    /// Before a write: only the first `n` bytes are written, then it fails.
    Short(usize),
    /// After a read: one bit of the answer is flipped (bit number modulo its length).
    FlipBit(u64),
}

/// Decides the fate at each failpoint. Called from every thread that does I/O.
pub trait Script: Send + Sync {
    /// The fate at this point.
    fn fate(&self, point: Point<'_>) -> Fate;
}

impl<F: Fn(Point<'_>) -> Fate + Send + Sync> Script for F {
    fn fate(&self, point: Point<'_>) -> Fate {
        self(point)
    }
}

/// A file system whose every step asks a [`Script`].
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    script: Arc<dyn Script>,
}

impl FaultFs {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Fs>, script: Arc<dyn Script>) -> Self {
        Self { inner, script }
    }

    fn step<T>(&self, op: Op, path: &Path, run: impl FnOnce(&dyn Fs) -> io::Result<T>) -> io::Result<T> {
        step(&*self.script, op, path, || run(&*self.inner))
    }
}

fn step<T>(script: &dyn Script, op: Op, path: &Path, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    check(script.fate(Point { op, phase: Phase::Before, path }))?;
    let value = run()?;
    check(script.fate(Point { op, phase: Phase::After, path }))?;
    Ok(value)
}

fn check(fate: Fate) -> io::Result<()> {
    match fate {
        Fate::Fail(kind) => Err(io::Error::new(kind, "injected")),
        Fate::Continue | Fate::Short(_) | Fate::FlipBit(_) => Ok(()),
    }
}

impl Fs for FaultFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.step(Op::CreateDir, dir, |fs| fs.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.step(Op::List, dir, |fs| fs.list(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.step(Op::List, path, |fs| fs.exists(path))
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        self.step(Op::List, path, |fs| fs.is_private(path))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let op = if matches!(how, Open::New(_)) { Op::Create } else { Op::Open };
        let inner = self.step(op, path, |fs| fs.open(path, how))?;
        Ok(Arc::new(FaultFile { inner, path: path.to_owned(), script: self.script.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Op::Rename, to, |fs| fs.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(Op::Remove, path, |fs| fs.remove_file(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Op::SyncDir, dir, |fs| fs.sync_dir(dir))
    }

    fn open_tree(&self, dir: &Path) -> io::Result<Arc<dyn Tree>> {
        let inner = self.step(Op::Open, dir, |fs| fs.open_tree(dir))?;
        Ok(Arc::new(FaultTree { inner, dir: dir.to_owned(), script: self.script.clone() }))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.step(Op::FreeBytes, dir, |fs| fs.free_bytes(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.step(Op::Lock, path, |fs| fs.lock(path))
    }
}

struct FaultTree {
    inner: Arc<dyn Tree>,
    dir: PathBuf,
    script: Arc<dyn Script>,
}

impl Tree for FaultTree {
    fn sync(&self) -> io::Result<()> {
        step(&*self.script, Op::SyncTree, &self.dir, || self.inner.sync())
    }
}

struct FaultFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    script: Arc<dyn Script>,
}

impl FaultFile {
    fn step<T>(&self, op: Op, run: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        step(&*self.script, op, &self.path, || run(&*self.inner))
    }
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.step(Op::Len, |file| file.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check(self.script.fate(Point { op: Op::Read, phase: Phase::Before, path: &self.path }))?;
        self.inner.read_exact_at(buf, offset)?;
        let fate = self.script.fate(Point { op: Op::Read, phase: Phase::After, path: &self.path });
        if let (Fate::FlipBit(bit), false) = (fate, buf.is_empty()) {
            let at = usize::try_from(bit / 8 % buf.len() as u64).map_err(io::Error::other)?;
            buf[at] ^= 1 << (bit % 8);
        }
        check(fate)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let before = self.script.fate(Point { op: Op::Write, phase: Phase::Before, path: &self.path });
        if let Fate::Short(n) = before {
            self.inner.write_all_at(&bytes[..n.min(bytes.len())], offset)?;
            return Err(io::Error::new(io::ErrorKind::WriteZero, "injected short write"));
        }
        check(before)?;
        self.inner.write_all_at(bytes, offset)?;
        check(self.script.fate(Point { op: Op::Write, phase: Phase::After, path: &self.path }))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Op::SetLen, |file| file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Op::SyncData, |file| file.sync_data())
    }
}
