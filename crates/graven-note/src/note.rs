//! Signed notes, C2SP signed-note: a text and the lines that sign it.
//!
//! ```text
//! <text: one or more lines, may contain empty ones>\n
//! \n                                                   the last empty line separates
//! — <key name> base64(<key id: 4 bytes, big endian> <signature>)\n
//! …one line per signature, at least one
//! ```
//!
//! The whole note is UTF-8 without ASCII control characters but newline. Parsing accepts exactly what
//! [`SignedNote::as_str`] gives back, so a note has one text. Nothing here is verified:
//! see [`SignedNote::verify`].

use std::fmt;

use thiserror::Error;

use crate::base64;
use crate::name::{KeyId, KeyName};
use crate::vkey::VerifierKey;

/// The most signature lines in a note: as many as Go's `x/mod` takes; the specification asks for 16 or more.
pub const MAX_SIGNATURES: usize = 100;

/// The longest note, in bytes: [`MAX_SIGNATURES`] ML-DSA-44 lines of about 3.3 kB, and a text beside them.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;

const SIGNATURE_PREFIX: &str = "— ";

/// A note as it was received or made: well formed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    raw: String,
    text_len: usize,
    signatures: Vec<SignatureLine>,
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

/// Why bytes are not a signed note. Whoever made or altered the note is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note has at most {MAX_NOTE_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("a note is UTF-8 text, and this is not")]
    NotUtf8,
    /// An ASCII control character other than newline.
    #[error("a note has no control characters: was it saved with CR LF line ends?")]
    ControlCharacter,
    /// The text does not end in a newline.
    #[error("the text of a note is not empty and ends in a newline")]
    Text,
    /// No empty line followed by signatures.
    #[error("no empty line followed by signature lines: was the note cut short?")]
    NoSignatures,
    /// The last line is not ended.
    #[error("the note does not end in a newline: was it cut short?")]
    NoFinalNewline,
    /// A line after the last empty line is not a signature line.
    #[error("signature line {0} is not '— <name> <base64>'")]
    SignatureLine(usize),
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("a note has at most {MAX_SIGNATURES} signatures")]
    TooManySignatures,
}

impl SignedNote {
    /// Parses a note; nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let raw = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        if has_control_characters(raw) {
            return Err(NoteError::ControlCharacter);
        }
        let text_len = raw.rfind("\n\n").ok_or(NoteError::NoSignatures)? + 1;
        let lines = &raw[text_len + 1..];
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoFinalNewline)?;
        Ok(Self { raw: raw.to_owned(), text_len, signatures: parse_lines(lines)? })
    }

    /// A note of `text` and its signature lines, checked as [`SignedNote::parse`] does.
    pub fn new(text: &str, signatures: &[SignatureLine]) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        let lines: String = signatures.iter().map(ToString::to_string).collect();
        let note = Self::parse(format!("{text}\n{lines}").as_bytes())?;
        debug_assert_eq!(note.text(), text);
        Ok(note)
    }

    /// The same note with one more signature line at its end.
    pub fn with_signature(&self, line: &SignatureLine) -> Result<Self, NoteError> {
        Self::parse(format!("{}{line}", self.raw).as_bytes())
    }

    /// The signed text, with its final newline.
    pub fn text(&self) -> &str {
        &self.raw[..self.text_len]
    }

    /// The signature lines, in order.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The note's exact bytes.
    pub fn as_str(&self) -> &str {
        &self.raw
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl SignatureLine {
    /// A line that carries `signature` by `key`; it is not checked.
    pub fn new(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().clone(), key_id: key.key_id(), signature }
    }

    /// Parses a line with its final newline, as tlog-witness sends cosignatures.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        line.strip_suffix('\n').and_then(parse_line).ok_or(NoteError::SignatureLine(1))
    }

    /// The name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature, without the key id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the line claims to be by `key`.
    pub fn claims(&self, key: &VerifierKey) -> bool {
        self.key_id == key.key_id() && &self.name == key.name()
    }
}

impl fmt::Display for SignatureLine {
    /// The line, with its final newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.0.to_be_bytes(), self.signature.as_slice()].concat();
        writeln!(f, "{SIGNATURE_PREFIX}{} {}", self.name, base64::encode(&bytes))
    }
}

/// Whether `text` has a control character that a note may not have.
pub(crate) fn has_control_characters(text: &str) -> bool {
    text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}

fn parse_lines(lines: &str) -> Result<Vec<SignatureLine>, NoteError> {
    let mut signatures = Vec::new();
    for (index, line) in lines.split('\n').enumerate() {
        if index == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(parse_line(line).ok_or(NoteError::SignatureLine(index + 1))?);
    }
    Ok(signatures)
}

fn parse_line(line: &str) -> Option<SignatureLine> {
    let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = base64::decode(signature)?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    // A key id alone signs nothing.
    if signature.is_empty() {
        return None;
    }
    Some(SignatureLine {
        name: KeyName::new(name).ok()?,
        key_id: KeyId(u32::from_be_bytes(*key_id)),
        signature: signature.to_vec(),
    })
}
