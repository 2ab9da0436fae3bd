//! What stands in facts in place of people and free text.

use std::fmt;
use std::sync::Arc;

use crate::codec::Value;

/// Longest word among facts.
pub const MAX_WORD_BYTES: usize = 256;
/// Longest text of a key: an ML-DSA-44 vkey has 1,770 bytes and its name.
pub const MAX_KEY_BYTES: usize = 4096;

/// A reference: 128 random bits that stand for a person, an application or a producer, or the keyed hash of a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ref(pub [u8; 16]);

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({self})")
    }
}

impl Value for Ref {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        Value::take(bytes).map(Self)
    }
}

/// A word of a vocabulary: a line of 1 to [`MAX_WORD_BYTES`] bytes.
pub type Word = Line<MAX_WORD_BYTES>;

/// A key's text: a line of 1 to [`MAX_KEY_BYTES`] bytes.
pub type KeyText = Line<MAX_KEY_BYTES>;

/// A text of 1 to `MOST` bytes without anything that would make it look like another one: control characters, separators of lines, marks
/// that turn the direction of writing. It stands on one line, as it is, wherever it is shown. Clones share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line<const MOST: usize>(Arc<str>);

/// Not a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must have 1 to {0} bytes, no control characters, line separators or marks of direction")]
pub struct NoWord(usize);

impl<const MOST: usize> Line<MOST> {
    /// Checks a word.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: impl Into<String>) -> Result<Self, NoWord> {
        Self::of(&text.into())
    }

    fn of(text: &str) -> Result<Self, NoWord> {
        let fits = (1..=MOST).contains(&text.len()) && !text.chars().any(misleads);
        fits.then(|| Self(text.into())).ok_or(NoWord(MOST))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A fixed list: what is refused today was never in a leaf, and what is in a leaf is never refused.
fn misleads(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

impl<const MOST: usize> fmt::Display for Line<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MOST: usize> fmt::Debug for Line<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<const MOST: usize> Value for Line<MOST> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        Self::of(std::str::from_utf8(bytes).ok()?).ok()
    }
}
