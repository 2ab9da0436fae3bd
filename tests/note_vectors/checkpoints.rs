//! Checkpoint bodies, acceptance by origin, key and witnesses, and forks.

use std::collections::BTreeSet;

use graven_note::{Checkpoint, Equivocation, Evidence, VerifiedCheckpoint, VerifiedEvidence, open};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::vectors::{hex_field, name, number, text};
use crate::{assert_count, bytes, for_each_case, hash, judge, key, keys, origin, quorum_of, strings};

#[test]
fn vectors_checkpoint_bodies() {
    let mut check = |subject: &str, _: &Value, case: &Value| {
        let body = bytes(case, "text");
        let parsed = std::str::from_utf8(&body).ok().and_then(|body| Checkpoint::parse(body).ok());
        if judge(subject, case, parsed.is_some(), &parsed) {
            let checkpoint = parsed.unwrap();
            assert_eq!(checkpoint.to_string().as_bytes(), body);
            check_value(&case["value"], &checkpoint);
            assert_eq!(checkpoint.extensions(), strings(&case["value"], "extensions"), "{}", name(case));
        }
    };
    let utf8 = for_each_case("checkpoints", &["text"], &mut check);
    let other = for_each_case("checkpoints", &["text_b64"], &mut check);
    assert_count("checkpoint bodies", utf8 + other, 16);
}

fn check_value(value: &Value, checkpoint: &Checkpoint) {
    assert_eq!(checkpoint.origin().as_str(), text(value, "origin"));
    assert_eq!(checkpoint.size().get(), number(value, "size"));
    assert_eq!(Some(*checkpoint.root()), hash(text(value, "root")));
}

#[test]
fn vectors_origin_ids() {
    let count = for_each_case("checkpoints", &["origin_sha256"], |_, _, case| {
        let log = text(case, "origin");
        assert_eq!(origin(log).sha256().to_vec(), hex_field(case, "origin_sha256"), "{log}");
        assert_eq!(origin(log).sha256_hex(), text(case, "origin_sha256"), "{log}");
        let other: [u8; 32] = Sha256::digest(format!("o:{log}")).into();
        assert_eq!(other.to_vec(), hex_field(case, "transparency_dev_log_id"), "{log}");
    });
    assert_count("origin ids", count, 5);
}

#[test]
fn vectors_checkpoint_acceptance() {
    let count = for_each_case("checkpoints", &["log_vkey"], |subject, _, case| {
        let accepted = quorum_of(case, "").zip(key(text(case, "log_vkey"))).and_then(|(policy, log)| {
            policy.verify_checkpoint_of(&bytes(case, "note"), &origin(text(case, "origin")), &[log]).ok()
        });
        if judge(subject, case, accepted.is_some(), &accepted) && case["witnesses"].is_u64() {
            let witnesses = u64::try_from(accepted.unwrap().witnesses().len()).unwrap();
            assert_eq!(witnesses, number(case, "witnesses"), "{}", name(case));
        }
    });
    assert_count("checkpoint acceptance", count, 9);
}

#[test]
fn vectors_real_checkpoints() {
    let count = for_each_case("checkpoints", &["note", "verified"], |subject, file, case| {
        let (note, keys) = (bytes(case, "note"), keys(file, "vkeys"));
        let opened = open(&note, &keys);
        if !judge(subject, case, opened.is_ok(), &opened.as_ref().err()) {
            return;
        }
        let opened = opened.unwrap();
        let signers = opened.signatures().iter().map(|signature| signature.key());
        let signed_by =
            signers.map(|key| format!("{}+{}", key.name(), key.key_id())).collect::<BTreeSet<_>>();
        let expected = strings(case, "verified").into_iter().map(str::to_owned).collect();
        assert_eq!(signed_by, expected, "{}", name(case));
        let unknown = opened.unverified().iter().map(|line| format!("{}+{}", line.name(), line.key_id()));
        assert_eq!(unknown.collect::<Vec<_>>(), strings(case, "unverified"), "{}", name(case));
        let verified = VerifiedCheckpoint::open(&note, &origin(text(case, "origin")), &keys);
        check_value(case, verified.unwrap().checkpoint());
    });
    assert_count("real checkpoints", count, 93);
}

#[test]
fn vectors_equivocations() {
    let count = for_each_case("checkpoints", &["vkey", "notes"], |_, _, case| {
        let (log, keys) = (origin(text(case, "origin")), [key(text(case, "vkey")).unwrap()]);
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
                let evidence = VerifiedEvidence::of_heads(head, other);
                assert_eq!(evidence.is_some(), conflict.is_some());
                if let Some(evidence) = evidence {
                    let file = Evidence::parse(evidence.evidence().to_string().as_bytes()).unwrap();
                    assert_eq!(file.verify(&keys), Ok(evidence), "{}", name(case));
                }
            }
        }
    });
    assert_count("equivocations", count, 3);
}
