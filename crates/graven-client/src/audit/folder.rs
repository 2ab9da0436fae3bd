//! Where a log's files come from.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use graven_merkle::tile::{MAX_ENTRY_BYTES, TILE_WIDTH};

/// No resource of a log is longer: a full bundle of the longest entries, each with its length.
#[allow(clippy::cast_possible_truncation)]
pub const MAX_RESOURCE_BYTES: usize = TILE_WIDTH as usize * (MAX_ENTRY_BYTES + size_of::<u16>());

/// More threads than this wait for the disk.
const MAX_READERS: usize = 8;

/// Reads the resources of a log, named as C2SP tlog-tiles names them: `checkpoint`, `tile/0/000`, …
pub trait TileSource: Sync {
    /// The bytes of the resource at `path`, at most [`MAX_RESOURCE_BYTES`]; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be told, or the resource is longer.
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// How many threads should fetch at once. A source that is far away wants more of them than there are cores.
    fn readers(&self) -> usize {
        thread::available_parallelism().map_or(1, NonZero::get).min(MAX_READERS)
    }
}

/// A folder that is laid out as a static tlog-tiles site.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that holds `checkpoint` and `tile/`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl TileSource for Folder {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let (file, length) = match open_regular(&self.0.join(path)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let limit = u64::try_from(MAX_RESOURCE_BYTES).unwrap_or(u64::MAX);
        // Room for all of it spares a dozen reads a file, each into twice the room of the one before.
        let room = usize::try_from(length.min(limit)).unwrap_or(0);
        let mut bytes = Vec::with_capacity(room);
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() > MAX_RESOURCE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "longer than any tile, bundle or checkpoint",
            ));
        }
        Ok(Some(bytes))
    }
}

/// Opens a file, and nothing else, and says how long it is: to open a pipe waits for its writer, and to open a device may do anything.
fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    // A link to a file is as good as the file.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((File::open(path)?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, process::Command, sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_and_does_not_hold_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("file"), "bytes").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();

        let source = Folder::new(folder.path());
        let (answers, answered) = mpsc::channel();
        // A thread of its own, as a pipe that is opened after all would hold up the test for ever.
        thread::spawn(move || {
            for name in ["pipe", "socket", "folder", "link", "nowhere"] {
                answers.send(source.fetch(name)).unwrap();
            }
        });
        let next = || answered.recv_timeout(Duration::from_secs(20)).expect("an answer");
        for _ in ["pipe", "socket", "folder"] {
            assert!(next().unwrap_err().to_string().contains("not a regular file"));
        }
        assert_eq!(next().unwrap().as_deref(), Some(&b"bytes"[..]));
        assert_eq!(next().unwrap(), None);
    }
}
