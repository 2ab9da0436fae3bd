//! What a mirror and its logs are called, and the files that say so: text, one `key value` a line, each ended by a newline.
//!
//! ```text
//! DATA/mirror                        DATA/logs/HASH/log
//!
//! graven-mirror/v1                   graven-mirrored-log/v1
//! key <vkey>       (once or more)    origin example.com/audit
//!                                    url https://log.example.com/audit
//!                                    key <vkey>       (once or more)
//!                                    witness <vkey>   (any number: its cosignatures are kept)
//! ```

use std::path::Path;

use graven_note::{Origin, SignatureType, VerifierKey};
use graven_store::Fs;

use crate::error::MirrorError;

/// The types of a mirror's keys, with the file of each: both kinds of cosignature.
pub const MIRROR_KEY_TYPES: [(SignatureType, &str); 2] =
    [(SignatureType::CosignatureV1, "ed25519.pem"), (SignatureType::MlDsa44, "ml-dsa-44.pem")];

/// Longest manifest.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 10;

const MIRROR_FORMAT: &str = "graven-mirror/v1";
const LOG_FORMAT: &str = "graven-mirrored-log/v1";

/// A mirrored log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogMeta {
    pub(crate) origin: Origin,
    /// The tlog-tiles prefix that has it.
    pub(crate) url: String,
    pub(crate) keys: Vec<VerifierKey>,
    /// Witnesses whose cosignatures are kept.
    pub(crate) witnesses: Vec<VerifierKey>,
}

pub(crate) fn mirror_text(keys: &[VerifierKey]) -> String {
    let lines = keys.iter().map(|key| format!("key {key}\n"));
    format!("{MIRROR_FORMAT}\n{}", lines.collect::<String>())
}

pub(crate) fn parse_mirror(text: &str) -> Option<Vec<VerifierKey>> {
    let lines = text.strip_prefix(MIRROR_FORMAT)?.strip_prefix('\n')?.lines();
    let keys: Vec<_> = lines.map(|line| key(line, "key ")).collect::<Option<_>>()?;
    // Whatever else would say the same is none that was written here.
    (!keys.is_empty() && mirror_text(&keys) == text).then_some(keys)
}

/// The manifest of the log in a folder.
pub(crate) fn read_log(fs: &dyn Fs, folder: &Path) -> Result<LogMeta, MirrorError> {
    let text = fs.read(&folder.join("log"), MAX_MANIFEST_BYTES)?;
    let what = "its manifest does not hold together".to_owned();
    let meta = std::str::from_utf8(&text).ok().and_then(LogMeta::parse);
    meta.ok_or_else(|| MirrorError::Damaged { path: folder.to_owned(), what })
}

impl LogMeta {
    pub(crate) fn to_text(&self) -> String {
        let Self { origin, url, keys, witnesses } = self;
        let keys = keys.iter().map(|key| format!("key {key}\n"));
        let witnesses = witnesses.iter().map(|key| format!("witness {key}\n"));
        let lines: String = keys.chain(witnesses).collect();
        format!("{LOG_FORMAT}\norigin {origin}\nurl {url}\n{lines}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == LOG_FORMAT)?;
        let origin = Origin::new(lines.next()?.strip_prefix("origin ")?).ok()?;
        let url = lines.next()?.strip_prefix("url ")?.to_owned();
        let (keys, witnesses): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("key "));
        let keys: Vec<_> = keys.into_iter().map(|line| key(line, "key ")).collect::<Option<_>>()?;
        let witnesses: Vec<_> =
            witnesses.into_iter().map(|line| key(line, "witness ")).collect::<Option<_>>()?;
        let meta = Self { origin, url, keys, witnesses };
        (!meta.keys.is_empty() && meta.to_text() == text).then_some(meta)
    }
}

fn key(line: &str, word: &str) -> Option<VerifierKey> {
    VerifierKey::parse(line.strip_prefix(word)?).ok()
}

#[cfg(test)]
mod tests {
    use graven_note::{KeyName, LocalSigner, Signer as _};

    use super::*;

    fn vkey(name: &str, kind: SignatureType) -> VerifierKey {
        LocalSigner::generate(KeyName::new(name).unwrap(), kind, &[7; 32]).unwrap().vkey().clone()
    }

    #[test]
    fn manifests_read_as_they_were_written_and_nothing_else_does() {
        let keys = vec![vkey("m.example/m", SignatureType::CosignatureV1)];
        let text = mirror_text(&keys);
        assert_eq!(parse_mirror(&text), Some(keys));
        let meta = LogMeta {
            origin: Origin::new("example.com/audit").unwrap(),
            url: "https://log.example.com/audit".to_owned(),
            keys: vec![vkey("example.com/audit", SignatureType::Ed25519)],
            witnesses: vec![vkey("w.example/w", SignatureType::CosignatureV1)],
        };
        let log = meta.to_text();
        assert_eq!(LogMeta::parse(&log), Some(meta));
        for end in 0..text.len() {
            assert_eq!(parse_mirror(&text[..end]), None, "{end}");
        }
        for damaged in [log.replace("key ", "key  "), log.replace('\n', "\r\n"), format!("{log}\n")] {
            assert_eq!(LogMeta::parse(&damaged), None, "{damaged}");
        }
    }
}
