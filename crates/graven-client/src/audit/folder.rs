//! Where a log's files come from.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use graven_merkle::tile::{MAX_ENTRY_BYTES, TILE_WIDTH};

/// No resource of a log is longer: a full bundle of the longest entries, each with its length.
#[allow(clippy::cast_possible_truncation)]
pub const MAX_RESOURCE_BYTES: usize = TILE_WIDTH as usize * (MAX_ENTRY_BYTES + size_of::<u16>());

/// Reads the resources of a log, named as C2SP tlog-tiles names them: `checkpoint`, `tile/0/000`, …
pub trait TileSource: Sync {
    /// The bytes of the resource at `path`, at most [`MAX_RESOURCE_BYTES`]; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be told, or the resource is longer.
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
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
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let limit = u64::try_from(MAX_RESOURCE_BYTES).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
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
