//! Witnesses: those that come to the log, and those that it goes to.
//!
//! ```text
//! witness that polls  ──WatchPending, GetPendingConsistency, AddCosignature──▶ service ─┐
//!                                                                                       ├─▶ engine: verify, journal, show
//! witness with a URL  ◀──────────── add-checkpoint (C2SP tlog-witness) ─────── push ────┘
//! ```
//!
//! Both only carry: what a cosignature is worth is decided in the engine, by the log's policy.

mod client;
mod push;
mod service;

pub use client::{WitnessAnswer, WitnessCallError, WitnessClient};
pub use graven_auth::{Roots as WitnessRoots, RootsError as WitnessRootsError};

pub(crate) use push::push_until;
pub(crate) use service::WitnessApi;

use graven_note::SignatureLine;
use graven_note::witness::parse_signature_lines;
use graven_proto::limits::{MAX_COSIGNATURES, MAX_COSIGNATURES_BYTES};

/// Signature lines as witnesses answer them (C2SP tlog-witness). `None`: they are none, or too many.
fn signature_lines(bytes: &[u8]) -> Option<Vec<SignatureLine>> {
    let bytes = Some(bytes).filter(|bytes| bytes.len() <= MAX_COSIGNATURES_BYTES)?;
    parse_signature_lines(bytes).ok().filter(|lines| lines.len() <= MAX_COSIGNATURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_few() {
        let line = "— w.example/1 AAAAAQIDBAUG\n";
        assert_eq!(signature_lines(line.repeat(16).as_bytes()).unwrap().len(), 16);
        for bad in [
            "",
            "\n",
            "— w.example/1 AAAAAQIDBAUG",
            "— w.example/1\n",
            &format!("{line}\n"),
            &line.repeat(17),
        ] {
            assert!(signature_lines(bad.as_bytes()).is_none(), "{bad:?}");
        }
        let long = format!("— {} AAAAAQIDBAUG\n", "w".repeat(MAX_COSIGNATURES_BYTES));
        assert!(signature_lines(long.as_bytes()).is_none());
        assert!(signature_lines(b"\xff\n").is_none());
    }
}
