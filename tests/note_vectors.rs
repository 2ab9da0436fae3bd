//! Shared test vectors of notes, checkpoints, cosignatures, signatures, policies, proofs and tree heads.
//!
//! Each test walks every file of a sub-folder and tells the cases apart by their fields, so that any folder of
//! the same layout can be named by `GRAVEN_VECTORS`.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/vectors.rs"]
mod vectors;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use graven_merkle::{Hash, InclusionProof, LeafIndex, Subtree, TreeSize, leaf_hash, verify_inclusion};
use graven_note::cosignature::{CosignedMessage, CosignedSubtree, v1_message};
use graven_note::sth::SignedTreeHead;
use graven_note::{
    Checkpoint, Equivocation, OpenError, Origin, Policy, PublicKey, SignatureLine, TlogProof,
    VerifiedCheckpoint, VerifierKey, open,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use vectors::{b64, hex, hex_field, name, number, text};

/// The case counts of our own copy; elsewhere only agreement is asked for.
fn assert_count(what: &str, found: usize, ours: usize) {
    println!("{what}: {found} cases");
    if vectors::is_default() {
        assert_eq!(found, ours, "{what}: a vector was skipped or added");
    }
}

/// Holds one outcome against the case; contested cases are printed with what we decided.
fn judge(subject: &str, case: &Value, accepted: bool, why: &dyn std::fmt::Debug) {
    match vectors::verdict(subject, case) {
        Some(expected) => assert_eq!(accepted, expected, "{subject} {}: {why:?}", name(case)),
        None => println!("  decided: {}", if accepted { "accepted" } else { "refused" }),
    }
}

/// Runs `check` over every case that has all of `fields`, in every file of the folder, and counts them.
fn for_each_case(folder: &str, fields: &[&str], mut check: impl FnMut(&str, &Value, &Value)) -> usize {
    let mut count = 0;
    for (file_name, file) in vectors::json_files(folder) {
        let subject = format!("{folder}/{file_name}");
        let wanted =
            |case: &&Value| fields.iter().all(|field| case.get(field).is_some_and(|value| !value.is_null()));
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

fn keys(value: &Value, field: &str) -> Vec<VerifierKey> {
    strings(value, field).into_iter().map(key).collect()
}

fn key(vkey: &str) -> VerifierKey {
    vkey.parse().unwrap_or_else(|error| panic!("{vkey}: {error}"))
}

fn origin(name: &str) -> Origin {
    Origin::new(name).unwrap()
}

fn hash(bytes: &[u8]) -> Hash {
    Hash::try_from(bytes).unwrap()
}

fn short(key: &VerifierKey) -> String {
    format!("{}+{}", key.name(), key.key_id())
}

fn error_class(error: &OpenError) -> &'static str {
    match error {
        OpenError::Malformed(_) => "malformed",
        OpenError::Unverified => "unverified",
        OpenError::InvalidSignature { .. } => "invalid sig",
        OpenError::AmbiguousKey { .. } => "ambiguous",
    }
}

#[test]
fn vectors_verifier_keys() {
    let count = for_each_case("notes", &["vkey"], |subject, _, case| {
        let vkey = text(case, "vkey");
        let parsed = VerifierKey::parse(vkey);
        judge(subject, case, parsed.is_ok(), &parsed.as_ref().err());
        if let Ok(key) = parsed {
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
        judge(subject, case, opened.is_ok(), &opened.as_ref().err());
        match opened {
            Ok(opened) => check_opened(case, &note, &opened),
            Err(error) => check_error_class(case, "error_class", &error),
        }
    });
    assert_count("signed notes", count, 27);
}

fn check_opened(case: &Value, note: &[u8], opened: &graven_note::VerifiedNote) {
    assert_eq!(opened.as_str().as_bytes(), note);
    let counts = [("verified", opened.signatures().len()), ("unverified", opened.unverified().len())];
    for (field, found) in counts {
        if case[field].is_u64() {
            assert_eq!(u64::try_from(found).unwrap(), number(case, field), "{} {field}", name(case));
        }
    }
    if case["timestamp"].is_u64() {
        let times: Vec<_> =
            opened.signatures().iter().filter_map(|signature| signature.timestamp()).collect();
        assert_eq!(times, [number(case, "timestamp")], "{}", name(case));
    }
}

fn check_error_class(case: &Value, field: &str, error: &OpenError) {
    if let (Some(class), true) = (case[field].as_str(), vectors::is_default()) {
        assert_eq!(error_class(error), class, "{}: {error}", name(case));
    }
}

#[test]
fn vectors_checkpoint_bodies() {
    let mut check = |subject: &str, _: &Value, case: &Value| {
        let body = bytes(case, "text");
        let parsed = std::str::from_utf8(&body).ok().and_then(|body| Checkpoint::parse(body).ok());
        judge(subject, case, parsed.is_some(), &parsed);
        if let Some(checkpoint) = parsed {
            assert_eq!(checkpoint.to_string().as_bytes(), body);
            check_checkpoint(&case["value"], &checkpoint);
        }
    };
    let utf8 = for_each_case("checkpoints", &["text"], &mut check);
    let other = for_each_case("checkpoints", &["text_b64"], &mut check);
    assert_count("checkpoint bodies", utf8 + other, 16);
}

fn check_checkpoint(value: &Value, checkpoint: &Checkpoint) {
    if value.is_null() {
        return;
    }
    assert_eq!(checkpoint.origin().as_str(), text(value, "origin"));
    assert_eq!(checkpoint.size().get(), number(value, "size"));
    assert_eq!(*checkpoint.root(), hash(&hex_field(value, "root")));
    if value.get("extensions").is_some() {
        assert_eq!(checkpoint.extensions(), strings(value, "extensions"));
    }
}

#[test]
fn vectors_origin_ids() {
    let count = for_each_case("checkpoints", &["origin_sha256"], |_, _, case| {
        let log = text(case, "origin");
        assert_eq!(origin(log).sha256().to_vec(), hex_field(case, "origin_sha256"), "{log}");
        let other: [u8; 32] = Sha256::digest(format!("o:{log}")).into();
        assert_eq!(other.to_vec(), hex_field(case, "transparency_dev_log_id"), "{log}");
    });
    assert_count("origin ids", count, 5);
}

/// A policy of unlisted logs in which `quorum` of the witnesses have to cosign; `None` where there are too few.
fn quorum_of(case: &Value, log: &str) -> Option<Policy> {
    let witnesses: BTreeSet<_> = strings(case, "witness_vkeys").into_iter().collect();
    let mut lines = log.to_owned();
    for (index, vkey) in witnesses.iter().enumerate() {
        lines.push_str(&format!("witness w{index} {vkey}\n"));
    }
    let names: Vec<_> = (0..witnesses.len()).map(|index| format!("w{index}")).collect();
    match number(case, "quorum") {
        0 => lines.push_str("quorum none\n"),
        quorum => lines.push_str(&format!("group q {quorum} {}\nquorum q\n", names.join(" "))),
    }
    Policy::parse(lines.as_bytes()).ok()
}

#[test]
fn vectors_checkpoint_acceptance() {
    let count = for_each_case("checkpoints", &["log_vkey"], |subject, _, case| {
        let accepted = quorum_of(case, "").and_then(|policy| {
            let log = [key(text(case, "log_vkey"))];
            policy.verify_checkpoint_of(&bytes(case, "note"), &origin(text(case, "origin")), &log).ok()
        });
        judge(subject, case, accepted.is_some(), &accepted);
        if let (Some(accepted), true) = (accepted, case["witnesses"].is_u64()) {
            assert_eq!(u64::try_from(accepted.witnesses().len()).unwrap(), number(case, "witnesses"));
        }
    });
    assert_count("checkpoint acceptance", count, 9);
}

#[test]
fn vectors_real_checkpoints() {
    let count = for_each_case("checkpoints", &["note", "verified"], |subject, file, case| {
        let note = bytes(case, "note");
        let opened = open(&note, &keys(file, "vkeys"));
        judge(subject, case, opened.is_ok(), &opened.as_ref().err());
        let Ok(opened) = opened else { return };
        let signed_by: BTreeSet<_> =
            opened.signatures().iter().map(|signature| short(signature.key())).collect();
        assert_eq!(
            signed_by,
            strings(case, "verified").into_iter().map(str::to_owned).collect(),
            "{}",
            name(case)
        );
        let unknown = opened.unverified().iter().map(|line| format!("{}+{}", line.name(), line.key_id()));
        assert_eq!(unknown.collect::<Vec<_>>(), strings(case, "unverified"), "{}", name(case));
        let verified = VerifiedCheckpoint::open(&note, &origin(text(case, "origin")), &keys(file, "vkeys"));
        check_checkpoint(case, verified.unwrap().checkpoint());
    });
    assert_count("real checkpoints", count, 93);
}

#[test]
fn vectors_equivocations() {
    let count = for_each_case("checkpoints", &["vkey", "notes"], |_, _, case| {
        let (log, keys) = (origin(text(case, "origin")), [key(text(case, "vkey"))]);
        let heads: Vec<_> = strings(case, "notes")
            .into_iter()
            .map(|note| VerifiedCheckpoint::open(note.as_bytes(), &log, &keys).unwrap())
            .collect();
        for (index, head) in heads.iter().enumerate() {
            assert_eq!(head.checkpoint().size().get(), number(case, "size"));
            assert_eq!(head.checkpoint().root().to_string(), strings(case, "roots")[index]);
            for (other_index, other) in heads.iter().enumerate() {
                let conflict = Equivocation::between(head, other);
                assert_eq!(conflict.is_some(), index != other_index, "{} {index} {other_index}", name(case));
            }
        }
    });
    assert_count("equivocations", count, 3);
}

#[test]
fn vectors_cosigned_messages() {
    let ml_dsa = for_each_case("cosignature", &["message_hex"], |_, _, case| {
        let root = hash(&hex_field(case, "hash"));
        let message = CosignedMessage {
            cosigner_name: text(case, "cosigner"),
            timestamp_seconds: number(case, "timestamp"),
            log_origin: text(case, "origin"),
            start: number(case, "start"),
            end: number(case, "end"),
            hash: &root,
        };
        assert_eq!(message.to_bytes().unwrap(), hex_field(case, "message_hex"), "{}", name(case));
    });
    let v1 = for_each_case("cosignature", &["message", "body"], |_, _, case| {
        let message = v1_message(number(case, "timestamp"), text(case, "body"));
        assert_eq!(message, text(case, "message"), "{}", name(case));
    });
    assert_count("cosigned messages", ml_dsa + v1, 2);
}

#[test]
fn vectors_subtree_cosignatures() {
    let count = for_each_case("cosignature", &["signature_line"], |subject, _, case| {
        let timestamp = verify_subtree(case);
        judge(subject, case, timestamp.is_some(), &timestamp);
        if let Some(timestamp) = timestamp {
            assert_eq!(timestamp.unwrap_or(0), number(case, "timestamp"), "{}", name(case));
        }
    });
    assert_count("subtree cosignatures", count, 9);
}

fn verify_subtree(case: &Value) -> Option<Option<u64>> {
    let key = key(text(case, "vkey"));
    let line = SignatureLine::parse(text(case, "signature_line")).ok()?;
    let (origin, hash) = (origin(text(case, "origin")), hash(&hex_field(case, "hash")));
    let subtree = Subtree::new(number(case, "start")..number(case, "end"))?;
    assert_eq!(key.name().as_str(), text(case, "cosigner"));
    let statement = CosignedSubtree { origin: &origin, subtree, hash: &hash };
    line.claims(&key).then(|| statement.verify(&key, line.signature()).ok()).flatten()
}

#[test]
fn vectors_wycheproof() {
    let mut count = 0;
    for (file_name, file) in vectors::json_files("crypto") {
        let verify: fn(&Value) -> bool = match file_name.as_str() {
            file if file.starts_with("ecdsa_secp256r1_sha256") && file.contains("p1363") => verify_p1363,
            file if file.starts_with("ecdsa_secp256r1_sha256") => verify_ecdsa,
            file if file.starts_with("ed25519") => verify_ed25519,
            file if file.starts_with("mldsa_44") => verify_ml_dsa_44,
            _ => {
                println!("skipped: crypto/{file_name} is of an algorithm that is not ours");
                continue;
            }
        };
        for case in vectors::cases(&file, "cases") {
            let found = verify(case);
            match text(case, "result") {
                "valid" => assert!(found, "{file_name} {}", case["tc"]),
                "invalid" => assert!(!found, "{file_name} {}", case["tc"]),
                _ => println!("either will do: {file_name} {} was {found}", case["tc"]),
            }
            count += 1;
        }
    }
    assert_count("Wycheproof signatures", count, 418);
}

/// DER of a P-256 `SubjectPublicKeyInfo` up to the uncompressed point.
const P256_SPKI_PREFIX: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

fn p256_key(case: &Value) -> Option<PublicKey> {
    PublicKey::p256_spki(&[hex(P256_SPKI_PREFIX), hex_field(case, "pk")].concat())
}

fn verify_ecdsa(case: &Value) -> bool {
    p256_key(case).is_some_and(|key| key.verifies(&hex_field(case, "msg"), &hex_field(case, "sig")))
}

/// IEEE P1363 signatures are r ‖ s; a note carries DER, so they are translated first.
fn verify_p1363(case: &Value) -> bool {
    let signature = hex_field(case, "sig");
    let Some((r, s)) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32) else {
        return false;
    };
    let body = [der_integer(r), der_integer(s)].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();
    p256_key(case).is_some_and(|key| key.verifies(&hex_field(case, "msg"), &der))
}

fn der_integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len() - 1);
    let sign: &[u8] = if big_endian[start] < 0x80 { &[] } else { &[0] };
    let value = [sign, &big_endian[start..]].concat();
    [&[0x02, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
}

fn verify_ed25519(case: &Value) -> bool {
    PublicKey::ed25519(&hex_field(case, "pk"))
        .is_some_and(|key| key.verifies(&hex_field(case, "msg"), &hex_field(case, "sig")))
}

fn verify_ml_dsa_44(case: &Value) -> bool {
    let (message, signature) = (hex_field(case, "msg"), hex_field(case, "sig"));
    let ours =
        PublicKey::ml_dsa_44(&hex_field(case, "pk")).is_some_and(|key| key.verifies(&message, &signature));
    let context = case["ctx"].as_str().map(hex).unwrap_or_default();
    if context.is_empty() {
        return ours;
    }
    // Cosignatures have the empty context, so ours must refuse; the case itself is the library's to answer.
    assert!(!ours, "{}: accepted without its context", case["tc"]);
    let key = ml_dsa::EncodedVerifyingKey::<ml_dsa::MlDsa44>::try_from(hex_field(case, "pk").as_slice());
    let signature = ml_dsa::Signature::<ml_dsa::MlDsa44>::try_from(signature.as_slice());
    let (Ok(key), Ok(signature)) = (key, signature) else { return false };
    ml_dsa::VerifyingKey::decode(&key).verify_with_context(&message, &context, &signature)
}

#[test]
fn vectors_policies() {
    let count = for_each_case("policy", &["expect"], |subject, _, case| {
        let file = bytes(case, "policy");
        let parsed = Policy::parse(&file);
        judge(subject, case, parsed.is_ok(), &parsed.as_ref().err());
        let Ok(policy) = parsed else { return };
        assert_eq!(Policy::parse(&policy.to_bytes()).as_ref(), Ok(&policy), "{}", name(case));
        if case.get("logs").is_some() {
            let logs: Vec<_> = policy.logs().iter().map(|log| log.key.to_string()).collect();
            assert_eq!(logs, strings(case, "logs"), "{}", name(case));
        }
        for cosigned in vectors::cases(case, "cosigned_by") {
            let by = strings(cosigned, "witnesses");
            let met =
                policy.quorum_is_met(|witness| by.iter().any(|name| name.as_bytes() == witness.as_bytes()));
            assert_eq!(met, cosigned["satisfied"].as_bool().unwrap(), "{} {by:?}", name(case));
        }
    });
    assert_count("policies", count, 24);
}

#[test]
fn vectors_tlog_proofs() {
    let count = for_each_case("proof", &["log_vkey"], |subject, _, case| {
        let document = bytes(case, "proof");
        let verified = verify_proof(case, &document);
        judge(subject, case, verified.is_ok(), &verified);
        if verified.is_ok() {
            assert_eq!(TlogProof::parse(&document).unwrap().to_string().as_bytes(), document);
        }
    });
    assert_count("proofs", count, 17);
}

fn verify_proof(case: &Value, document: &[u8]) -> Result<(), String> {
    let log = format!("log {}\n", text(case, "log_vkey"));
    let policy = quorum_of(case, &log).ok_or("too few witnesses for the quorum")?;
    let proof = TlogProof::parse(document).map_err(|error| error.to_string())?;
    proof.verify(leaf_hash(&bytes(case, "leaf")), &policy).map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn vectors_tlog_proof_format() {
    let count = for_each_case("proof", &["text", "hashes"], |_, _, case| {
        let hashes = strings(case, "hashes").into_iter().map(|digits| hash(&hex(digits))).collect();
        let inclusion = InclusionProof::from_hashes(hashes).unwrap();
        let index = LeafIndex::new(number(case, "index")).unwrap();
        let extra = case["extra_b64"].as_str().map(b64).unwrap_or_default();
        let proof = TlogProof::new(index, inclusion, text(case, "checkpoint")).unwrap().with_extra(extra);
        assert_eq!(proof.to_string(), text(case, "text"), "{}", name(case));
        assert_eq!(TlogProof::parse(text(case, "text").as_bytes()), Ok(proof), "{}", name(case));
    });
    assert_count("proof formats", count, 3);
}

#[test]
fn vectors_rfc6962_tree_heads() {
    let count = for_each_case("sth", &["tree_head_signature"], |subject, _, case| {
        let verified = verify_tree_head(case);
        judge(subject, case, verified.is_some(), &verified);
    });
    assert_count("tree heads", count, 4);
}

fn verify_tree_head(case: &Value) -> Option<()> {
    use base64ct::{Base64, Encoding as _};
    let root = hash(&b64(text(case, "sha256_root_hash")));
    let signature = Base64::decode_vec(text(case, "tree_head_signature")).ok()?;
    let head = SignedTreeHead {
        timestamp_ms: number(case, "timestamp"),
        size: TreeSize::new(number(case, "tree_size"))?,
        root: &root,
        signature: &signature,
    };
    head.verify(&PublicKey::p256_spki(&b64(text(case, "spki_b64")))?).ok()
}

/// Inclusion proofs with the checkpoint that they lead to: all three of proof, note and match must hold.
#[test]
fn vectors_merkle_checkpoints() {
    let count = for_each_case("merkle", &["checkpoint", "leaf_hash", "root"], |subject, file, case| {
        let included = verify_case_inclusion(case);
        let opened = open(text(case, "checkpoint").as_bytes(), &keys(file, "vkeys"));
        let matches = opened.as_ref().ok().map(|note| matches_case(case, note.text()));
        judge(subject, case, included && matches == Some(true), &(included, matches, opened.as_ref().err()));
        if let (Some(inclusion), true) = (case["inclusion"].as_str(), vectors::is_default()) {
            assert_eq!(included, inclusion == "ok", "{}", name(case));
            assert_eq!(matches, case["checkpoint_matches"].as_bool(), "{}", name(case));
        }
        if let Err(error) = opened {
            check_error_class(case, "checkpoint_note", &error);
        }
    });
    assert_count("Merkle checkpoints", count, 23);
}

fn verify_case_inclusion(case: &Value) -> bool {
    let proof = strings(case, "proof").into_iter().map(|digits| hash(&hex(digits))).collect();
    let (index, size) = (LeafIndex::new(number(case, "index")), TreeSize::new(number(case, "size")));
    let (Some(index), Some(size), Ok(proof)) = (index, size, InclusionProof::from_hashes(proof)) else {
        return false;
    };
    let (leaf, root) = (hash(&hex_field(case, "leaf_hash")), hash(&hex_field(case, "root")));
    verify_inclusion(leaf, index, size, &proof, &root).is_ok()
}

fn matches_case(case: &Value, note_text: &str) -> bool {
    Checkpoint::parse(note_text).is_ok_and(|checkpoint| {
        checkpoint.size().get() == number(case, "size")
            && *checkpoint.root() == hash(&hex_field(case, "root"))
    })
}

#[test]
fn vectors_log_checkpoints() {
    let mut count = 0;
    for folder in vectors::folders("logs") {
        let Some(meta) = vectors::json_file(&folder.join("meta.json")) else { continue };
        let (log, keys) = (origin(text(&meta, "origin")), [key(text(&meta, "vkey"))]);
        for (file, note, expected) in notes_in(&folder) {
            let head = VerifiedCheckpoint::open(note.as_bytes(), &log, &keys)
                .unwrap_or_else(|error| panic!("{} {file}: {error}", folder.display()));
            assert_eq!(head.note().as_str(), note);
            if let Some((size, root)) = expected {
                assert_eq!(head.checkpoint().size().get(), size);
                assert_eq!(root.unwrap_or(*head.checkpoint().root()), *head.checkpoint().root());
            }
            count += 1;
        }
    }
    assert_count("log checkpoints", count, 2_998 + 17);
}

type NamedNote = (String, String, Option<(u64, Option<Hash>)>);

/// The checkpoints of a log's folder, one a line in `checkpoints.jsonl` or one a file in `checkpoint[.N]`, with
/// what is known of them.
fn notes_in(folder: &Path) -> Vec<NamedNote> {
    let lines = fs::read_to_string(folder.join("checkpoints.jsonl")).unwrap_or_default();
    let mut notes: Vec<NamedNote> = lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let known = (number(&line, "size"), Some(hash(&hex_field(&line, "root"))));
            ("checkpoints.jsonl".to_owned(), text(&line, "note").to_owned(), Some(known))
        })
        .collect();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if file == "checkpoint" || file.starts_with("checkpoint.") {
            let size = file.strip_prefix("checkpoint.").map(|size| (size.parse().unwrap(), None));
            notes.push((file, fs::read_to_string(&path).unwrap(), size));
        }
    }
    notes
}
