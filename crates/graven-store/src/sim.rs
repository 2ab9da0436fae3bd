//! A file system in memory that forgets what was not synced, on command and by seed.
//!
//! Each file keeps its durable bytes and the writes since its last sync; each directory keeps its durable names and
//! the operations since its last sync. [`SimFs::crash`] settles both as a power cut may: of every un-synced write each
//! 512-byte sector is kept or lost on its own (so writes are lost, reordered and torn), and of a directory's
//! operations a prefix is kept (names are journalled in order by the file systems we run on). The same seed and the
//! same operations give the same outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fs::{File, Fs, Lock, Mode, Open, Tree};

/// Writes reach a disk in units of this many bytes, whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// The simulated disk. Clones share it; it outlives the "process" that crashed on it.
#[derive(Clone, Default)]
pub struct SimFs(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    /// What the running process sees.
    names: BTreeMap<PathBuf, usize>,
    /// What a power cut leaves.
    durable_names: BTreeMap<PathBuf, usize>,
    dir_ops: Vec<DirOp>,
    dirs: BTreeSet<PathBuf>,
    inodes: Vec<Inode>,
    locks: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    /// Handles opened in an earlier life fail: the process that held them is dead.
    life: u64,
}

#[derive(Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
    mode: Option<Mode>,
}

enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

enum DirOp {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl DirOp {
    fn dir(&self) -> Option<&Path> {
        match self {
            DirOp::Link(path, _) | DirOp::Unlink(path) | DirOp::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            DirOp::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            DirOp::Unlink(path) => {
                names.remove(path);
            }
            DirOp::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// A small seeded generator (SplitMix64): the simulator must not depend on anything that may change its sequence.
#[derive(Clone, Debug)]
pub struct Seed(pub u64);

impl Seed {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait)] // it never ends, so there is no `Option` to unwrap
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which must not be 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl SimFs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the disk to `bytes` of file contents (`None`: no limit).
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Cuts the power: what was not synced survives in part, as the seed decides, and every open handle is dead.
    pub fn crash(&self, seed: &mut Seed) {
        let mut disk = self.0.lock();
        let disk = &mut *disk;
        let kept = usize::try_from(seed.below(disk.dir_ops.len() as u64 + 1)).unwrap_or(0);
        for op in disk.dir_ops.drain(..).take(kept) {
            op.apply(&mut disk.durable_names);
        }
        disk.names = disk.durable_names.clone();
        for inode in &mut disk.inodes {
            inode.settle(seed);
        }
        disk.locks.clear();
        disk.life += 1;
    }

    /// Kills the process and keeps the machine: everything written is seen by the next life, synced or not.
    pub fn kill(&self) {
        let mut disk = self.0.lock();
        disk.locks.clear();
        disk.life += 1;
    }

    /// Does to the un-synced writes of a file what Linux does when their sync fails: they still read well, and no later
    /// sync will write them.
    pub fn drop_unsynced(&self, path: &Path) {
        let mut disk = self.0.lock();
        if let Ok(inode) = disk.inode_at(path) {
            inode.pending.clear();
        }
    }

    /// Flips one bit of a file, durably, as rotting media would.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.inode_at(path)?;
        let at = usize::try_from(bit / 8).map_err(io::Error::other)?;
        for bytes in [&mut inode.live, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    /// All files with their present bytes, for comparing two stores.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.0.lock();
        disk.names.iter().map(|(path, inode)| (path.clone(), disk.inodes[*inode].live.clone())).collect()
    }

    /// Puts files back as a [`snapshot`](Self::snapshot) held them, everything durable: the restore of a backup.
    pub fn restore(&self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        let mut disk = self.0.lock();
        let (dirs, life) = (std::mem::take(&mut disk.dirs), disk.life + 1);
        *disk = Disk { dirs, life, capacity: disk.capacity, ..Disk::default() };
        for (path, bytes) in files {
            let inode = Inode { live: bytes.clone(), durable: bytes.clone(), ..Inode::default() };
            disk.inodes.push(inode);
            let id = disk.inodes.len() - 1;
            disk.names.insert(path.clone(), id);
            disk.durable_names.insert(path.clone(), id);
        }
    }
}

impl Inode {
    fn settle(&mut self, seed: &mut Seed) {
        let mut bytes = std::mem::take(&mut self.durable);
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, bytes: new } => {
                    for (at, sector) in sectors(offset, &new) {
                        if seed.one_in(2) {
                            write_into(&mut bytes, at, sector);
                        }
                    }
                }
                Change::SetLen(len) => {
                    if seed.one_in(2) {
                        bytes.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
                    }
                }
            }
        }
        self.live.clone_from(&bytes);
        self.durable = bytes;
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, bytes } => write_into(&mut self.durable, offset, &bytes),
                Change::SetLen(len) => self.durable.resize(usize::try_from(len).unwrap_or(usize::MAX), 0),
            }
        }
    }
}

/// The parts of a write that reach the disk together.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).unwrap_or(1);
        let (part, tail) = rest.split_at(room.min(rest.len()));
        parts.push((at, part));
        at += part.len() as u64;
        rest = tail;
    }
    parts
}

fn write_into(target: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(bytes.len());
    if target.len() < end {
        target.resize(end, 0);
    }
    target[start..end].copy_from_slice(bytes);
}

impl Disk {
    fn inode_at(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let inode = *self.names.get(path).ok_or_else(|| missing(path))?;
        Ok(&mut self.inodes[inode])
    }

    fn check_dir(&self, dir: &Path) -> io::Result<()> {
        if self.dirs.contains(dir) { Ok(()) } else { Err(missing(dir)) }
    }

    /// A new, empty file.
    fn create(&mut self, path: &Path, mode: Mode) -> io::Result<usize> {
        self.check_dir(path.parent().unwrap_or(path))?;
        self.inodes.push(Inode { mode: Some(mode), ..Inode::default() });
        let id = self.inodes.len() - 1;
        self.names.insert(path.to_owned(), id);
        self.dir_ops.push(DirOp::Link(path.to_owned(), id));
        Ok(id)
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].live.len() as u64).sum()
    }

    fn check_room(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used().saturating_add(more) > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn sync_names(&mut self, is_synced: impl Fn(&Path) -> bool) {
        let (synced, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.dir_ops).into_iter().partition(|op| op.dir().is_some_and(&is_synced));
        for op in synced {
            op.apply(&mut self.durable_names);
        }
        self.dir_ops = left;
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl Fs for SimFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        for above in dir.ancestors() {
            disk.dirs.insert(above.to_owned());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.lock();
        disk.check_dir(dir)?;
        let paths = disk.names.keys().chain(disk.dirs.iter());
        let names: BTreeSet<String> = paths
            .filter(|path| path.parent() == Some(dir))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.0.lock();
        Ok(disk.names.contains_key(path) || disk.dirs.contains(path))
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        let mut disk = self.0.lock();
        Ok(matches!(disk.inode_at(path)?.mode, None | Some(Mode::Private)))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock();
        let inode = match (how, disk.names.get(path).copied()) {
            (Open::New(_), Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Open::New(mode), None) => disk.create(path, mode)?,
            (Open::ReadWrite, Some(id)) if disk.inodes[id].mode == Some(Mode::ReadOnly) => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            (_, Some(id)) => id,
            (_, None) => return Err(missing(path)),
        };
        let life = disk.life;
        Ok(Arc::new(SimFile { fs: self.clone(), inode, life, writable: how != Open::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.check_dir(to.parent().unwrap_or(to))?;
        let inode = disk.names.remove(from).ok_or_else(|| missing(from))?;
        disk.names.insert(to.to_owned(), inode);
        disk.dir_ops.push(DirOp::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.names.remove(path).ok_or_else(|| missing(path))?;
        disk.dir_ops.push(DirOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.check_dir(dir)?;
        disk.sync_names(|synced| synced == dir);
        Ok(())
    }

    fn open_tree(&self, dir: &Path) -> io::Result<Arc<dyn Tree>> {
        let disk = self.0.lock();
        disk.check_dir(dir)?;
        let life = disk.life;
        Ok(Arc::new(SimTree { fs: self.clone(), dir: dir.to_owned(), life }))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let disk = self.0.lock();
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.0.lock();
        if disk.locks.contains(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !disk.names.contains_key(path) {
            disk.create(path, Mode::Private)?;
        }
        disk.locks.insert(path.to_owned());
        let life = disk.life;
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned(), life }))
    }
}

struct SimFile {
    fs: SimFs,
    inode: usize,
    life: u64,
    writable: bool,
}

impl SimFile {
    fn with<T>(&self, run: impl FnOnce(&mut Disk, usize) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.fs.0.lock();
        if disk.life != self.life {
            return Err(io::Error::other("the process that opened this file is dead"));
        }
        run(&mut disk, self.inode)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|disk, inode| Ok(disk.inodes[inode].live.len() as u64))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|disk, inode| {
            if buf.is_empty() {
                return Ok(());
            }
            let live = &disk.inodes[inode].live;
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let found = start.checked_add(buf.len()).and_then(|end| live.get(start..end));
            buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.with(|disk, inode| {
            if bytes.is_empty() {
                return Ok(());
            }
            let end = offset.saturating_add(bytes.len() as u64);
            disk.check_room(end.saturating_sub(disk.inodes[inode].live.len() as u64))?;
            let inode = &mut disk.inodes[inode];
            write_into(&mut inode.live, offset, bytes);
            inode.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|disk, inode| {
            let inode = &mut disk.inodes[inode];
            inode.live.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
            inode.pending.push(Change::SetLen(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.inodes[inode].sync();
            Ok(())
        })
    }
}

struct SimTree {
    fs: SimFs,
    dir: PathBuf,
    life: u64,
}

impl Tree for SimTree {
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.fs.0.lock();
        if disk.life != self.life {
            return Err(io::Error::other("the process that opened this directory is dead"));
        }
        let below: Vec<usize> = disk
            .names
            .iter()
            .filter(|(path, _)| path.starts_with(&self.dir))
            .map(|(_, inode)| *inode)
            .collect();
        for inode in below {
            disk.inodes[inode].sync();
        }
        disk.sync_names(|dir| dir.starts_with(&self.dir));
        Ok(())
    }
}

struct SimLock {
    fs: SimFs,
    path: PathBuf,
    life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.fs.0.lock();
        if disk.life == self.life {
            disk.locks.remove(&self.path);
        }
    }
}
