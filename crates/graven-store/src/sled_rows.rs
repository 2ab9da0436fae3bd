//! Small rows in sled, made durable properly.
//!
//! sled 0.34's own flush is no fsync on Linux (`sync_file_range`), and values above a page become files that are never
//! synced. [`DurableSled::sync`] flushes, then calls `fdatasync` on its file, and [`Rows::insert`] bounds
//! values. Even so nothing here is truth: a database that is missing, does not open or panics while opening is set
//! aside and begun anew, and whoever keeps rows in it rebuilds them.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Longest value: beyond about 7 KB sled writes a blob file of its own, which nobody syncs.
pub const MAX_VALUE_BYTES: usize = 4096;
/// A row of the default tree, so that a database that opens silently empty is told from one that holds its rows.
const MARK: &[u8] = b"graven";
/// Memory for pages.
const CACHE_BYTES: u64 = 32 << 20;

/// A sled database whose sync is one.
pub struct DurableSled {
    db: sled::Db,
    file: File,
}

/// A set of rows within a database.
#[derive(Clone)]
pub struct Rows(sled::Tree);

impl DurableSled {
    /// Opens a database, or sets a broken one aside and begins a new one. `true`: it holds rows from before; one that
    /// lost its end opens too, so the caller compares the position that it wrote last. A database that somebody else
    /// has open, or that only the machine keeps from opening, is an error and stays.
    pub fn open(path: &Path) -> io::Result<(Self, bool)> {
        match try_open(path) {
            Ok(opened) => Ok(opened),
            Err(error) if is_elsewhere(&error) => Err(error),
            Err(error) => {
                let aside = set_aside(path)?;
                tracing::warn!(%error, aside = %aside.display(), "index does not open: set aside, to be rebuilt");
                try_open(path)
            }
        }
    }

    /// The rows called `name`.
    pub fn rows(&self, name: &str) -> io::Result<Rows> {
        Ok(Rows(self.db.open_tree(name)?))
    }

    /// Makes every change so far durable.
    pub fn sync(&self) -> io::Result<()> {
        #[allow(clippy::disallowed_methods)] // the one place: the fdatasync below makes it durable
        self.db.flush()?;
        self.file.sync_data()
    }
}

impl Rows {
    /// Sets a row, which is durable after the next [`DurableSled::sync`].
    pub fn insert(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a row's value has at most 4,096 bytes"));
        }
        self.0.insert(key, value)?;
        Ok(())
    }

    /// Sets many rows at once.
    pub fn insert_all<'a>(&self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            if value.len() > MAX_VALUE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a row's value has at most 4,096 bytes",
                ));
            }
            batch.insert(key, value);
        }
        Ok(self.0.apply_batch(batch)?)
    }

    /// A row's value.
    pub fn row(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }

    /// Values of all rows whose key begins with `prefix`, in key order, at most `limit`.
    pub fn with_prefix(&self, prefix: &[u8], limit: usize) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let rows = self.0.scan_prefix(prefix).take(limit);
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(io::Error::from))
            .collect()
    }

    /// Removes every row.
    pub fn clear(&self) -> io::Result<()> {
        Ok(self.0.clear()?)
    }
}

/// sled panics on some damage; what it holds can be rebuilt, so a panic is just another way of not opening.
fn try_open(path: &Path) -> io::Result<(DurableSled, bool)> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open()?;
        let is_marked = db.insert(MARK, MARK)?.is_some();
        Ok::<_, sled::Error>((db, is_marked))
    }));
    let (db, is_marked) = opened.map_err(|_| io::Error::other("sled panicked while opening"))??;
    let file = File::open(path.join("db"))?;
    Ok((DurableSled { db, file }, is_marked))
}

/// Whether the cause lies outside the database's files.
fn is_elsewhere(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull, WouldBlock};
    let is_held = error.to_string().contains("could not acquire lock");
    is_held || matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | StorageFull | WouldBlock)
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (1..).map(|n| path.with_extension(format!("broken-{n}"))).find(|aside| !aside.exists());
    let aside = aside.ok_or_else(|| io::Error::other("no free name"))?;
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_a_broken_database_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let (db, existed) = DurableSled::open(&path).unwrap();
        assert!(!existed);
        let rows = db.rows("heads").unwrap();
        rows.insert(b"a", b"1").unwrap();
        assert!(rows.insert(b"b", &[0; MAX_VALUE_BYTES + 1]).is_err());
        db.sync().unwrap();
        drop((rows, db));

        let (db, existed) = DurableSled::open(&path).unwrap();
        assert!(existed);
        assert_eq!(db.rows("heads").unwrap().row(b"a").unwrap().as_deref(), Some(&b"1"[..]));
        drop(db);

        std::fs::write(path.join("conf"), b"this is no configuration").unwrap();
        let (db, existed) = DurableSled::open(&path).unwrap();
        assert!(!existed, "a database that does not open is begun anew");
        assert_eq!(db.rows("heads").unwrap().row(b"a").unwrap(), None);
        assert!(dir.path().join("index.broken-1").exists());
    }

    #[test]
    fn a_database_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let (_held, _) = DurableSled::open(&path).unwrap();
        assert!(DurableSled::open(&path).is_err());
        assert!(path.exists() && !dir.path().join("index.broken-1").exists());
    }

    #[test]
    fn a_cut_file_opens_and_what_was_written_last_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let db = DurableSled::open(&path).unwrap().0;
        let rows = db.rows("heads").unwrap();
        for n in 0..2000_u32 {
            rows.insert(&n.to_be_bytes(), &[7; 200]).unwrap();
        }
        rows.insert(b"position", b"2000").unwrap();
        db.sync().unwrap();
        drop((rows, db));
        let whole = std::fs::read(path.join("db")).unwrap();
        for keep in [0, 1, 511, 4096, whole.len() / 2] {
            std::fs::write(path.join("db"), &whole[..keep]).unwrap();
            let (db, existed) = DurableSled::open(&path).unwrap();
            assert!(keep > 1 || !existed, "{keep} bytes left");
            assert_eq!(db.rows("heads").unwrap().row(b"position").unwrap(), None, "{keep} bytes left");
        }
    }
}
