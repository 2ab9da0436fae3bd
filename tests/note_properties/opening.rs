//! Which notes open: repeated, contradicting and missing signatures, and lines that no signature covers.

use graven_merkle::leaf_hash;
use graven_note::{
    MAX_SIGNATURES, NoteError, OpenError, Origin, SignatureLine, SignatureType, SignedNote, Signer,
    VerifiedCheckpoint, VerifyCheckpointError, open, sign_line, sign_note,
};

use crate::{ORIGIN, TIME, checkpoint, log, signer};

#[test]
fn one_key_counts_once_with_its_latest_time() {
    let witness = signer("w.example", SignatureType::CosignatureV1, 1);
    let text = checkpoint(ORIGIN, 1, leaf_hash(b"x")).to_string();
    let line = |time| sign_line(&text, &witness, time).unwrap();
    let note = SignedNote::new(&text, &[line(5), line(9), line(7)]).unwrap();
    let opened = note.verify(&[witness.vkey().clone()]).unwrap();
    assert_eq!(opened.signatures().len(), 1);
    assert_eq!(opened.signatures()[0].timestamp(), Some(9));
}

#[test]
fn an_invalid_line_refuses_the_note_even_beside_a_valid_one_of_the_same_key() {
    let log = signer(ORIGIN, SignatureType::Ed25519, 1);
    let good = sign_line("text\n", &log, 0).unwrap();
    let bad = SignatureLine::new(log.vkey(), vec![0; 64]);
    for lines in [[good.clone(), bad.clone()], [bad, good]] {
        let opened = SignedNote::new("text\n", &lines).unwrap().verify(&[log.vkey().clone()]);
        assert!(matches!(opened, Err(OpenError::InvalidSignature { .. })), "{opened:?}");
    }
}

#[test]
fn a_key_given_twice_is_ambiguous_once_it_signed() {
    let log = signer(ORIGIN, SignatureType::Ed25519, 1);
    let other = signer(ORIGIN, SignatureType::Ed25519, 2);
    let note = sign_note("text\n", &[&log], 0).unwrap();
    let twice = [log.vkey().clone(), other.vkey().clone(), log.vkey().clone()];
    assert!(matches!(note.clone().verify(&twice), Err(OpenError::AmbiguousKey { .. })));
    let unused = [log.vkey().clone(), other.vkey().clone(), other.vkey().clone()];
    assert!(note.verify(&unused).is_ok());
}

#[test]
fn all_keys_or_types_can_be_required() {
    let log = log();
    let opened = open(log.note.as_str().as_bytes(), &log.keys).unwrap();
    opened.require_keys(&log.keys).unwrap();
    opened.require_types(&[SignatureType::EcdsaP256, SignatureType::MlDsa44]).unwrap();
    let one = open(log.note.as_str().as_bytes(), &log.keys[..1]).unwrap();
    assert_eq!(one.require_keys(&log.keys).unwrap_err().missing.len(), 2);
    assert_eq!(one.require_types(&[SignatureType::MlDsa44]).unwrap_err().missing, ["ML-DSA-44"]);
}

#[test]
fn extension_lines_need_a_signature_that_covers_them() {
    let (origin, text) = (Origin::new(ORIGIN).unwrap(), checkpoint(ORIGIN, 1, leaf_hash(b"x")).to_string());
    let pq = signer(ORIGIN, SignatureType::MlDsa44, 1);
    let classic = signer(ORIGIN, SignatureType::Ed25519, 1);
    let keys = [pq.vkey().clone(), classic.vkey().clone()];
    let extended = format!("{text}added\n");
    let uncovered = SignedNote::new(&extended, &[sign_line(&text, &pq, TIME).unwrap()]).unwrap();
    let refused = VerifiedCheckpoint::open(uncovered.as_str().as_bytes(), &origin, &keys);
    assert_eq!(refused, Err(VerifyCheckpointError::UnsignedExtensions));
    let covered = uncovered.with_signature(&sign_line(&extended, &classic, 0).unwrap()).unwrap();
    let accepted = VerifiedCheckpoint::open(covered.as_str().as_bytes(), &origin, &keys).unwrap();
    assert_eq!(accepted.checkpoint().extensions(), ["added"]);
}

#[test]
fn a_note_has_a_limited_number_of_signatures() {
    let line = SignatureLine::new(signer("k", SignatureType::Ed25519, 1).vkey(), vec![1]);
    let lines = vec![line; MAX_SIGNATURES + 1];
    assert!(SignedNote::new("text\n", &lines[1..]).is_ok());
    assert_eq!(SignedNote::new("text\n", &lines), Err(NoteError::TooManySignatures));
}
