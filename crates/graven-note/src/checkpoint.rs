//! Checkpoint bodies, C2SP tlog-checkpoint: what a log signs about its tree.
//!
//! ```text
//! <origin>\n                      not empty
//! <tree size>\n                   canonical decimal, at most 2^63 − 1 (contested: u64 elsewhere)
//! base64(<root hash: 32 bytes>)\n
//! <extension line>\n              zero or more, none empty (contested: Go keeps the rest as it is)
//! ```
//!
//! No ASCII control characters, since a checkpoint is the text of a note. The logs of this project write no
//! extension lines: ML-DSA-44 signatures don't cover them and monitors cannot audit them.

use std::fmt;
use std::str::FromStr;

use graven_merkle::{Hash, TreeSize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::note::has_control_characters;
use crate::{base64, decimal};

/// The identity of a log: the first line of its checkpoints. Not empty, one line, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

/// The text cannot be an origin line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an origin is one line, not empty, without control characters")]
pub struct InvalidOrigin;

impl Origin {
    /// Checks `origin`.
    pub fn new(origin: impl Into<String>) -> Result<Self, InvalidOrigin> {
        let origin = origin.into();
        if origin.is_empty() || origin.bytes().any(|byte| byte < b' ') {
            return Err(InvalidOrigin);
        }
        Ok(Self(origin))
    }

    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the origin.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The same in lower-case hex: what names the log in the URLs of tlog-witness and tlog-mirror, and in file names.
    pub fn sha256_hex(&self) -> String {
        self.sha256().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(origin: &str) -> Result<Self, InvalidOrigin> {
        Self::new(origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a log says about its tree; not verified until it comes out of a
/// [`VerifiedCheckpoint`](crate::VerifiedCheckpoint). Its `Display` is the note text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: Origin,
    size: TreeSize,
    root: Hash,
    extensions: Vec<String>,
}

/// Why a text is not a checkpoint body. Whoever wrote the text is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// A control character, no final newline, or fewer than three lines.
    #[error("a checkpoint is at least three lines of text, each ended by a newline")]
    Lines,
    /// The first line is no origin.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// The second line is no tree size.
    #[error("the tree size is not a canonical decimal up to 2^63 - 1")]
    Size,
    /// The third line is no root hash.
    #[error("the root hash is not 32 bytes in canonical base64")]
    Root,
    /// An extension line is empty or more than one line.
    #[error("an extension line is one line and not empty")]
    Extension,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub fn new(origin: Origin, size: TreeSize, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// The same checkpoint with these extension lines.
    pub fn with_extensions(mut self, extensions: Vec<String>) -> Result<Self, CheckpointError> {
        let line = |text: &String| !text.is_empty() && !text.bytes().any(|byte| byte < b' ');
        if !extensions.iter().all(line) {
            return Err(CheckpointError::Extension);
        }
        self.extensions = extensions;
        Ok(self)
    }

    /// Parses a note text; accepts exactly what `Display` writes.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if has_control_characters(text) {
            return Err(CheckpointError::Lines);
        }
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let size = decimal::parse(size).and_then(TreeSize::new).ok_or(CheckpointError::Size)?;
        let root = base64::decode_hash(root).ok_or(CheckpointError::Root)?;
        Self::new(Origin::new(origin)?, size, root).with_extensions(lines.map(str::to_owned).collect())
    }

    /// The log's identity.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of entries.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The root hash of the tree of that size.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The extension lines, without their newlines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        Self::parse(text)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = base64::encode(self.root.as_bytes());
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size.get())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
