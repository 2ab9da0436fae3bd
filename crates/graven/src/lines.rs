//! Entries that come one a line: from a file, or from standard input as they are typed.

use std::{io, path::Path};

use bytes::Bytes;
use graven_merkle::tile::MAX_ENTRY_BYTES;
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
};

use crate::exit::{Failure, Outcome};

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The lines of an input. A line's bytes are an entry, verbatim, without the newline that ends it.
pub(crate) struct Lines {
    input: Box<dyn AsyncBufRead + Send + Unpin>,
    name: String,
    count: u64,
}

/// Opens a file, or standard input for `-`.
pub(crate) async fn open(path: &Path) -> Outcome<Box<dyn AsyncRead + Send + Unpin>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(tokio::io::stdin()));
    }
    let file = File::open(path).await.map_err(|error| Failure::file(path, &error))?;
    Ok(Box::new(file))
}

/// The whole input as one entry.
pub(crate) async fn whole(path: &Path) -> Outcome<Bytes> {
    let mut entry = Vec::new();
    let limit = u64::try_from(MAX_ENTRY_BYTES + 1).unwrap_or(u64::MAX);
    let read = open(path).await?.take(limit).read_to_end(&mut entry).await;
    read.map_err(|error| Failure::file(path, &error))?;
    check(&entry).map_err(|what| Failure::trouble(format_args!("{} {what}", path.display())))?;
    Ok(entry.into())
}

impl Lines {
    pub(crate) async fn open(path: &Path) -> Outcome<Self> {
        let input = Box::new(BufReader::with_capacity(BUFFER_BYTES, open(path).await?));
        Ok(Self { input, name: path.display().to_string(), count: 0 })
    }

    /// The next line; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Bytes>> {
        let limit = u64::try_from(MAX_ENTRY_BYTES + 1).unwrap_or(u64::MAX);
        let mut line = Vec::new();
        // One byte more than an entry may have tells a line that is too long from one that just fits.
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut line).await;
        read.map_err(|error: io::Error| Failure::trouble(format_args!("{}: {error}", self.name)))?;
        if line.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        line.pop_if(|byte| *byte == b'\n');
        check(&line)
            .map_err(|what| Failure::trouble(format_args!("{} line {} {what}", self.name, self.count)))?;
        Ok(Some(line.into()))
    }
}

fn check(entry: &[u8]) -> Result<(), String> {
    match entry.len() {
        0 => Err("is empty: an entry has at least one byte".to_owned()),
        length if length > MAX_ENTRY_BYTES => {
            Err(format!("has more than {MAX_ENTRY_BYTES} bytes: an entry has no more"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &'static [u8]) -> Lines {
        Lines { input: Box::new(input), name: "input".to_owned(), count: 0 }
    }

    #[tokio::test]
    async fn a_line_is_its_bytes_without_the_newline() {
        let mut lines = lines(b"one\n two\r\n\xff\nlast");
        for expected in [&b"one"[..], b" two\r", b"\xff", b"last"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected);
        }
        assert!(lines.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_line_that_is_no_entry_is_named() {
        let mut empty = lines(b"one\n\nthree\n");
        empty.next().await.unwrap();
        assert!(empty.next().await.unwrap_err().to_string().starts_with("input line 2 is empty"));

        let longest: &[u8] = Box::leak([vec![b'x'; MAX_ENTRY_BYTES], b"\n".to_vec()].concat().into());
        assert_eq!(lines(longest).next().await.unwrap().unwrap().len(), MAX_ENTRY_BYTES);
        let longer: &[u8] = Box::leak(vec![b'x'; MAX_ENTRY_BYTES + 1].into());
        let said = lines(longer).next().await.unwrap_err().to_string();
        assert!(said.starts_with("input line 1 has more than 65535 bytes"), "{said}");
    }
}
