//! Attachments of sealed entries: write-once files outside the static site, one for each full bundle and class, so that a
//! class can be dropped without touching another, or a proof.
//!
//! Until its entry is sealed an attachment lies in the journal, in the record of its entry, and goes wherever that goes.
//! Sealing writes these files in the round of the bundle and its tiles, made durable before the journal says that the
//! entries are sealed: a crash before that leaves files above the watermark, and the next round writes them again, with the
//! same bytes. [`Engine::drop_blobs`](crate::Engine::drop_blobs) removes them below it, and nothing else does.
//!
//! `DATA/logs/NAME/blobs/CLASS/N`: CLASS in three decimal digits, N the number of the bundle as in the path of its entries
//! (C2SP tlog-tiles), `x001/x234/067`. [`format`] draws what is in them.

mod format;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::tile::{BundlePath, Resource, TILE_WIDTH};
use graven_store::Objects;
use graven_store::fs::{Fs, Open};
use graven_store::journal::LogId;
use parking_lot::{Mutex, RwLock};

use self::format::{BlobFile, Name};
use crate::error::ReadError;

/// Where the paths of bundles begin.
const ENTRIES: &str = "tile/entries/";

/// The attachments of one log's sealed entries.
pub(crate) struct Blobs {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    log: LogId,
    /// Opened with the first file that is written: most logs have none.
    objects: Mutex<Option<Arc<Objects>>>,
    /// Classes that may have files.
    classes: RwLock<BTreeSet<u8>>,
}

/// What a folder of blobs holds that it should not.
pub(crate) struct Foreign {
    /// Which file, from the log's folder on.
    pub(crate) path: String,
    /// The bundle that it is of, where its name says so.
    pub(crate) number: Option<u64>,
    /// What is wrong with it.
    pub(crate) what: String,
}

impl Blobs {
    /// Those in the folder `root`, which need not be there.
    pub(crate) fn open(fs: Arc<dyn Fs>, root: PathBuf, log: LogId) -> io::Result<Self> {
        let names = if fs.exists(&root)? { fs.list(&root)? } else { Vec::new() };
        let classes = RwLock::new(names.iter().filter_map(|name| class_of(name)).collect());
        Ok(Self { fs, root, log, objects: Mutex::default(), classes })
    }

    /// How many classes may have files.
    pub(crate) fn classes(&self) -> usize {
        self.classes.read().len()
    }

    /// Writes the attachments of a full bundle, in the order of its entries; durable after [`sync`](Self::sync).
    pub(crate) fn write(&self, number: u64, attachments: &[(u64, Bytes)]) -> io::Result<()> {
        let classes: BTreeSet<u8> =
            attachments.iter().filter_map(|(_, bytes)| bytes.first().copied()).collect();
        for class in classes {
            let of_class = attachments.iter().filter(|(_, bytes)| bytes.first() == Some(&class));
            let name = Name { log: self.log, class, first: number * u64::from(TILE_WIDTH) };
            let path = file_name(class, number)?;
            self.objects()?.write(&path, &format::encode(&name, of_class))?;
            self.classes.write().insert(class);
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let objects = self.objects.lock().clone();
        objects.map_or(Ok(()), |objects| objects.sync())
    }

    fn objects(&self) -> io::Result<Arc<Objects>> {
        let mut objects = self.objects.lock();
        if let Some(objects) = &*objects {
            return Ok(objects.clone());
        }
        let opened = Arc::new(Objects::open(self.fs.clone(), &self.root)?);
        Ok(objects.insert(opened).clone())
    }

    /// Attachments of a range within bundle `number`, with the indices of their entries, and up to where these are all of
    /// them: until they have `most` bytes, and at least one.
    pub(crate) fn read(
        &self,
        number: u64,
        wanted: Range<u64>,
        most: usize,
    ) -> Result<(u64, Vec<(u64, Bytes)>), ReadError> {
        let files = self.files(number)?;
        let mut rows: Vec<_> =
            files.iter().flat_map(|file| file.rows().map(move |row| (row.index, row, file))).collect();
        rows.retain(|(index, ..)| wanted.contains(index));
        rows.sort_unstable_by_key(|(index, ..)| *index);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (index, row, file) in rows {
            bytes += row.len;
            if bytes > most && !found.is_empty() {
                return Ok((index, found));
            }
            found.push((index, file.attachment(row)?));
        }
        Ok((wanted.end, found))
    }

    /// The files of a bundle.
    fn files(&self, number: u64) -> Result<Vec<BlobFile>, ReadError> {
        let classes = self.classes.read().clone();
        let mut files = Vec::new();
        for class in classes {
            let path = file_name(class, number)?;
            match self.fs.open(&self.root.join(&path), Open::Read) {
                Ok(file) => {
                    let name = Name { log: self.log, class, first: number * u64::from(TILE_WIDTH) };
                    let opened = BlobFile::open(file, name);
                    files.push(opened.map_err(|error| error.named(&format!("blobs/{path}")))?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }

    /// Says that nobody will read the attachments of a bundle soon.
    pub(crate) fn forget(&self, number: u64) {
        let classes = self.classes.read().clone();
        for path in classes.into_iter().filter_map(|class| file_name(class, number).ok()) {
            if let Ok(file) = self.fs.open(&self.root.join(path), Open::Read) {
                file.forget();
            }
        }
    }

    /// Removes the files of a class of bundles before `bundles`, and returns how many there were; durable when it returns.
    /// A crash on the way leaves some of them, for the next time.
    pub(crate) fn drop_before(&self, class: u8, bundles: u64) -> io::Result<u64> {
        let folder = format!("{class:03}");
        let mut files = Vec::new();
        if self.fs.exists(&self.root.join(&folder))? {
            self.walk(&folder, &mut |path, number| {
                if number.is_some_and(|number| number < bundles) {
                    files.push(self.root.join(path));
                }
            })?;
        }
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        for file in &files {
            match self.fs.remove_file(file) {
                // Somebody else drops the same.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        folders.into_iter().try_for_each(|folder| self.fs.sync_dir(folder))?;
        Ok(files.len() as u64)
    }

    /// Goes through a folder of files, and says of each which bundle it is of, where its name is one of ours.
    fn walk(&self, folder: &str, visit: &mut impl FnMut(&str, Option<u64>)) -> io::Result<()> {
        for name in self.fs.list(&self.root.join(folder))? {
            let path = format!("{folder}/{name}");
            match name.strip_prefix('x') {
                Some(digits) if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.walk(&path, visit)?;
                }
                _ => visit(&path, number_of(&path)),
            }
        }
        Ok(())
    }

    /// Reads every attachment of sealed entries and tells of what does not hold. `sealed` and `size` count bundles: what a
    /// crash left between these is written again.
    pub(crate) fn check(&self, sealed: u64, size: u64) -> io::Result<Vec<Foreign>> {
        let mut found = Vec::new();
        for folder in if self.fs.exists(&self.root)? { self.fs.list(&self.root)? } else { Vec::new() } {
            let Some(class) = class_of(&folder) else {
                found.push(Foreign {
                    path: format!("blobs/{folder}"),
                    number: None,
                    what: NOT_OURS.to_owned(),
                });
                continue;
            };
            let mut files = Vec::new();
            self.walk(&folder, &mut |path, number| files.push((path.to_owned(), number)))?;
            for (path, number) in files {
                if let Some(what) = self.check_file(class, &path, number, sealed, size) {
                    found.push(Foreign { path: format!("blobs/{path}"), number, what });
                }
            }
        }
        Ok(found)
    }

    fn check_file(
        &self,
        class: u8,
        path: &str,
        number: Option<u64>,
        sealed: u64,
        size: u64,
    ) -> Option<String> {
        let Some(number) = number else { return Some(NOT_OURS.to_owned()) };
        match number {
            _ if number >= size => return Some("its bundle is beyond the log".to_owned()),
            _ if number >= sealed => return None,
            _ => {}
        }
        let name = Name { log: self.log, class, first: number * u64::from(TILE_WIDTH) };
        let read = || -> Result<(), ReadError> {
            let file = BlobFile::open(self.fs.open(&self.root.join(path), Open::Read)?, name)?;
            file.rows().try_for_each(|row| file.attachment(row).map(drop))
        };
        read().err().map(|error| match error {
            ReadError::Damaged(what) => what,
            other => other.to_string(),
        })
    }
}

const NOT_OURS: &str = "no file of that name belongs here";

fn class_of(name: &str) -> Option<u8> {
    name.parse().ok().filter(|class: &u8| format!("{class:03}") == name)
}

fn file_name(class: u8, number: u64) -> io::Result<String> {
    let path = BundlePath::new(number, TILE_WIDTH).ok_or_else(|| io::Error::other("no such bundle"))?;
    let path = path.to_string();
    Ok(format!("{class:03}/{}", path.strip_prefix(ENTRIES).unwrap_or(&path)))
}

/// The number of the bundle that a path `CLASS/N` is of, if it is the one that we would give it.
fn number_of(path: &str) -> Option<u64> {
    let (_, number) = path.split_once('/')?;
    match format!("{ENTRIES}{number}").parse().ok()? {
        Resource::Entries(path) if path.width() == TILE_WIDTH => Some(path.index()),
        _ => None,
    }
}
