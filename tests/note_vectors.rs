//! Shared test vectors of notes, checkpoints, cosignatures, signatures, policies, proofs and tree heads.
//!
//! Each test walks every file of a sub-folder and tells the cases apart by their fields, so that any folder of
//! the same layout can be named by `GRAVEN_VECTORS`.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/vectors.rs"]
mod vectors;

#[path = "note_vectors/checkpoints.rs"]
mod checkpoints;
#[path = "note_vectors/logs.rs"]
mod logs;
#[path = "note_vectors/notes.rs"]
mod notes;
#[path = "note_vectors/proofs.rs"]
mod proofs;
#[path = "note_vectors/signatures.rs"]
mod signatures;

use std::collections::BTreeSet;
use std::fmt::Debug;

use graven_merkle::Hash;
use graven_note::{OpenError, Origin, Policy, VerifierKey};
use serde_json::Value;
use vectors::{b64, hex, name, number, text};

/// The case counts of our own copy; elsewhere only agreement is asked for.
fn assert_count(what: &str, found: usize, ours: usize) {
    println!("{what}: {found} cases");
    if vectors::is_default() {
        assert_eq!(found, ours, "{what}: a vector was skipped or added");
    }
}

/// Holds one outcome against the case; contested cases are printed with what we decided.
///
/// Returns whether the case is one that everybody accepts, whose details can be compared too.
fn judge(subject: &str, case: &Value, accepted: bool, why: &dyn Debug) -> bool {
    match vectors::verdict(subject, case) {
        Some(expected) => {
            assert_eq!(accepted, expected, "{subject} {}: {why:?}", name(case));
            expected
        }
        None => {
            println!("  decided: {}", if accepted { "accepted" } else { "refused" });
            false
        }
    }
}

/// Runs `check` over every case that has all of `fields`, in every file of the folder, and counts them.
///
/// `check` gets the file's name, the file and the case.
fn for_each_case(folder: &str, fields: &[&str], mut check: impl FnMut(&str, &Value, &Value)) -> usize {
    let mut count = 0;
    for (file_name, file) in vectors::json_files(folder) {
        let subject = format!("{folder}/{file_name}");
        let has = |case: &Value, field: &str| case.get(field).is_some_and(|value| !value.is_null());
        let wanted = |case: &&Value| fields.iter().all(|field| has(case, field));
        for case in vectors::cases(&file, "cases").iter().filter(wanted) {
            check(&subject, &file, case);
            count += 1;
        }
    }
    count
}

/// The bytes of `field`, or of `field_b64` where they are not UTF-8.
fn bytes(case: &Value, field: &str) -> Vec<u8> {
    match case.get(field).and_then(Value::as_str) {
        Some(utf8) => utf8.as_bytes().to_vec(),
        None => b64(text(case, &format!("{field}_b64"))),
    }
}

fn strings<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    vectors::cases(value, field).iter().map(|item| item.as_str().unwrap()).collect()
}

/// The verifier keys that we can use; others are unknown keys to us, and are printed.
fn keys(value: &Value, field: &str) -> Vec<VerifierKey> {
    strings(value, field).into_iter().filter_map(key).collect()
}

fn key(vkey: &str) -> Option<VerifierKey> {
    vkey.parse().inspect_err(|error| println!("not a usable key: {vkey}: {error}")).ok()
}

fn origin(name: &str) -> Origin {
    Origin::new(name).unwrap()
}

/// The hash that `digits` write, if it is one.
fn hash(digits: &str) -> Option<Hash> {
    Hash::try_from(hex(digits).as_slice()).ok()
}

fn hashes(case: &Value, field: &str) -> Option<Vec<Hash>> {
    strings(case, field).into_iter().map(hash).collect()
}

/// In our own copy, the reason of a refusal is compared too.
fn check_error_class(case: &Value, field: &str, error: &OpenError) {
    let found = match error {
        OpenError::Malformed(_) => "malformed",
        OpenError::Unverified => "unverified",
        OpenError::InvalidSignature { .. } => "invalid sig",
        OpenError::AmbiguousKey { .. } => "ambiguous",
    };
    if let (Some(class), true) = (case[field].as_str(), vectors::is_default()) {
        assert_eq!(found, class, "{}: {error}", name(case));
    }
}

/// A policy with these `log` lines in which `quorum` of the case's distinct witnesses have to cosign; `None`
/// where there are too few.
fn quorum_of(case: &Value, log: &str) -> Option<Policy> {
    let witnesses: BTreeSet<_> = strings(case, "witness_vkeys").into_iter().collect();
    let names: Vec<_> = (0..witnesses.len()).map(|index| format!("w{index}")).collect();
    let lines: String =
        names.iter().zip(&witnesses).map(|(name, vkey)| format!("witness {name} {vkey}\n")).collect();
    let quorum = match number(case, "quorum") {
        0 => "quorum none\n".to_owned(),
        quorum => format!("group q {quorum} {}\nquorum q\n", names.join(" ")),
    };
    Policy::parse(format!("{log}{lines}{quorum}").as_bytes()).ok()
}
