//! A whole log in a file: all its entries, and the signed head that they lead to.
//!
//! ```text
//! "graven leaves v1\n"
//! length of the checkpoint in bytes, decimal, "\n"
//! the checkpoint (C2SP tlog-checkpoint), byte for byte as it was signed
//! each entry, the first one first:
//!   0  2  its length in bytes, big-endian
//!   2  …  the entry
//! ```
//!
//! There are as many entries as the checkpoint says, and nothing follows them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use graven_client::VerifiedHead;
use graven_merkle::{Frontier, leaf_hash};
use graven_note::Origin;

use super::{
    ReplayArgs,
    film::Film,
    names,
    run::{Replayed, Replaying},
};
use crate::{
    exit::{self, Failure, Outcome},
    output,
};

const HEADER: &str = "graven leaves v1\n";
/// Longest checkpoint: with the signatures of a few dozen witnesses.
const MAX_CHECKPOINT_BYTES: u64 = 1 << 20;
/// Longest line of a number.
const MAX_LINE_BYTES: u64 = 32;

/// Writes such a file.
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    pub(super) fn create(path: &Path, checkpoint: &str) -> Outcome<Self> {
        let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
        let mut writer = Self { path: path.to_owned(), file: BufWriter::new(file) };
        writer.write(format!("{HEADER}{}\n{checkpoint}", checkpoint.len()).as_bytes())?;
        Ok(writer)
    }

    pub(super) fn push(&mut self, leaf: &[u8]) -> Outcome {
        // No entry of a log is longer.
        let length = u16::try_from(leaf.len()).map_err(Failure::check_failed)?;
        self.write(&length.to_be_bytes())?;
        self.write(leaf)
    }

    pub(super) fn finish(mut self) -> Outcome {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| Failure::file(&self.path, &error))
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.file.write_all(bytes).map_err(|error| Failure::file(&self.path, &error))
    }
}

/// Replays such a file: once through to see that it is genuine, then again.
pub(super) fn replay(args: &ReplayArgs, path: &Path) -> Outcome<Replayed> {
    let head = verified(args, path)?;
    let film = match &args.client {
        None => None,
        Some(client) => {
            let (client, names) = names::given(client)?;
            Some(Film::new(client, names))
        }
    };
    let mut replaying = Replaying::new(args, head.origin().as_str(), film)?;
    let bar = output::progress("replaying");
    bar.set_length(head.size().get());
    let mut reader = Reader::open(path)?;
    while let Some(leaf) = reader.next(head.size().get())? {
        bar.suspend(|| replaying.take(&leaf))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if replaying.root() != *head.root() {
        return Err(changed(path));
    }
    replaying.finish()
}

/// The head in a file, where it counts and its entries lead to it.
fn verified(args: &ReplayArgs, path: &Path) -> Outcome<VerifiedHead> {
    let mut reader = Reader::open(path)?;
    let origin = reader.checkpoint.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let origin = String::from_utf8_lossy(origin).into_owned();
    let pinned = args.log.trust.demanded()?;
    if !pinned.keys().iter().any(|key| key.name().as_str() == origin) {
        return Err(Failure::check_failed(format_args!(
            "{} is of the log {origin:?}, which no pinned key is of",
            path.display()
        )));
    }
    let trust =
        args.log.trust.trust_in(pinned, Origin::new(origin.as_str()).map_err(Failure::check_failed)?)?;
    let head = trust.verify_head(&reader.checkpoint).map_err(|error| {
        Failure::new(exit::exit_of(error.fault()), format_args!("{}: {error}", path.display()))
    })?;
    let bar = output::progress("verifying");
    bar.set_length(head.size().get());
    let mut frontier = Frontier::new();
    while let Some(leaf) = reader.next(head.size().get())? {
        frontier.push(leaf_hash(&leaf));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if frontier.size() == head.size() && frontier.root() == *head.root() {
        Ok(head)
    } else {
        Err(changed(path))
    }
}

fn changed(path: &Path) -> Failure {
    Failure::check_failed(format_args!(
        "{}: its entries do not lead to the root that was signed",
        path.display()
    ))
}

/// Reads such a file.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    checkpoint: Vec<u8>,
    taken: u64,
}

impl Reader {
    fn open(path: &Path) -> Outcome<Self> {
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let mut reader =
            Self { path: path.to_owned(), file: BufReader::new(file), checkpoint: Vec::new(), taken: 0 };
        if reader.line()? != HEADER.trim_end() {
            return Err(Failure::check_failed(format_args!("{} holds no entries of a log", path.display())));
        }
        let length: Option<u64> =
            reader.line()?.parse().ok().filter(|length| *length <= MAX_CHECKPOINT_BYTES);
        let length = length.ok_or_else(|| reader.cut())?;
        let mut checkpoint = vec![0; usize::try_from(length).unwrap_or(0)];
        reader.fill(&mut checkpoint)?;
        reader.checkpoint = checkpoint;
        Ok(reader)
    }

    /// The next entry; `None` after so many, where nothing may follow.
    fn next(&mut self, of: u64) -> Outcome<Option<Vec<u8>>> {
        if self.taken == of {
            let rest = self.file.fill_buf().map_err(|error| Failure::file(&self.path, &error))?;
            return if rest.is_empty() { Ok(None) } else { Err(changed(&self.path)) };
        }
        let mut length = [0; 2];
        self.fill(&mut length)?;
        let mut leaf = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut leaf)?;
        self.taken += 1;
        Ok(Some(leaf))
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = Vec::new();
        let read = (&mut self.file).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| Failure::file(&self.path, &error))?;
        let line = line.strip_suffix(b"\n").map(<[u8]>::to_vec).and_then(|line| String::from_utf8(line).ok());
        line.ok_or_else(|| {
            Failure::check_failed(format_args!("{} holds no entries of a log", self.path.display()))
        })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Outcome {
        match self.file.read_exact(bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.cut()),
            read => read.map_err(|error| Failure::file(&self.path, &error)),
        }
    }

    fn cut(&self) -> Failure {
        Failure::check_failed(format_args!("{} is cut short", self.path.display()))
    }
}
