//! Verifier keys and signed notes.

use graven_note::{LocalSigner, Signer, VerifiedNote, VerifierKey, open, sign_line};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::vectors::{name, number, text};
use crate::{assert_count, bytes, check_error_class, for_each_case, judge, keys, strings, vectors};

#[test]
fn vectors_verifier_keys() {
    let count = for_each_case("notes", &["vkey"], |subject, _, case| {
        let vkey = text(case, "vkey");
        let parsed = VerifierKey::parse(vkey);
        if judge(subject, case, parsed.is_ok(), &parsed.as_ref().err()) {
            let key = parsed.unwrap();
            assert_eq!(key.to_string(), vkey);
            if case["type"].is_u64() {
                assert_eq!(u64::from(key.signature_type().byte()), number(case, "type"), "{}", name(case));
            }
        }
    });
    assert_count("verifier keys", count, 19);
}

#[test]
fn vectors_signed_notes() {
    let count = for_each_case("notes", &["vkeys"], |subject, _, case| {
        let note = bytes(case, "note");
        let opened = open(&note, &keys(case, "vkeys"));
        let agreed = judge(subject, case, opened.is_ok(), &opened.as_ref().err());
        match opened {
            Ok(opened) if agreed => check_opened(case, &note, &opened),
            Ok(_) => {}
            Err(error) => check_error_class(case, "error_class", &error),
        }
    });
    assert_count("signed notes", count, 27);
}

fn check_opened(case: &Value, note: &[u8], opened: &VerifiedNote) {
    assert_eq!(opened.as_str().as_bytes(), note);
    let counts = [("verified", opened.signatures().len()), ("unverified", opened.unverified().len())];
    for (field, found) in counts {
        if case[field].is_u64() {
            assert_eq!(u64::try_from(found).unwrap(), number(case, field), "{} {field}", name(case));
        }
    }
    if case["timestamp"].is_u64() {
        let time = Some(number(case, "timestamp"));
        assert!(opened.signatures().iter().any(|signature| signature.timestamp() == time), "{}", name(case));
    }
}

/// The vectors' README gives the seeds of their own test keys: our signers make the same keys of them, and
/// where a note is by these keys, the same signature lines.
#[test]
fn vectors_test_keys() {
    let mut made = 0;
    for_each_case("cosignature", &["vkey"], |_, _, case| {
        made += remake(text(case, "vkey"), "vectors/mldsa/").iter().count();
    });
    for_each_case("checkpoints", &["log_vkey"], |_, _, case| {
        let vkeys = strings(case, "witness_vkeys").into_iter().chain([text(case, "log_vkey")]);
        let signers: Vec<_> = vkeys.filter_map(|vkey| remake(vkey, "vectors/")).collect();
        signers.iter().for_each(|signer| assert_signs_again(case, signer));
        made += signers.len();
    });
    if vectors::is_default() {
        assert_eq!(made, 9 + 9 * 3);
    }
}

/// The signer of the seed SHA-256(prefix ‖ name), if its key is `vkey`.
fn remake(vkey: &str, prefix: &str) -> Option<LocalSigner> {
    let key = VerifierKey::parse(vkey).ok()?;
    let seed: [u8; 32] = Sha256::digest(format!("{prefix}{}", key.name())).into();
    let signer = LocalSigner::generate(key.name().clone(), key.signature_type(), &seed).ok()?;
    (*signer.vkey() == key).then_some(signer)
}

/// Where the note has a valid line by the signer, signing again gives that line.
fn assert_signs_again(case: &Value, signer: &LocalSigner) {
    let Ok(note) = open(&bytes(case, "note"), &[signer.vkey().clone()]) else { return };
    let time_seconds = note.signatures()[0].timestamp().unwrap_or(0);
    let line = sign_line(note.text(), signer, time_seconds).unwrap();
    assert!(note.note().signatures().contains(&line), "{}: {line}", name(case));
}
