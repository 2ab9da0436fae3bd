//! Policies and offline proofs.

use graven_merkle::{InclusionProof, LeafIndex, leaf_hash};
use graven_note::{Policy, TlogProof};
use serde_json::Value;

use crate::vectors::{b64, name, number, text};
use crate::{assert_count, bytes, for_each_case, hashes, judge, quorum_of, strings, vectors};

#[test]
fn vectors_policies() {
    let count = for_each_case("policy", &["expect"], |subject, _, case| {
        let parsed = Policy::parse(&bytes(case, "policy"));
        if judge(subject, case, parsed.is_ok(), &parsed.as_ref().err()) {
            check_policy(case, &parsed.unwrap());
        }
    });
    assert_count("policies", count, 24);
}

fn check_policy(case: &Value, policy: &Policy) {
    assert_eq!(Policy::parse(&policy.to_bytes()).as_ref(), Ok(policy), "{}", name(case));
    if case.get("logs").is_some() {
        let logs: Vec<_> = policy.logs().iter().map(|log| log.key.to_string()).collect();
        assert_eq!(logs, strings(case, "logs"), "{}", name(case));
    }
    for cosigned in vectors::cases(case, "cosigned_by") {
        let by = strings(cosigned, "witnesses");
        let met = policy.quorum_is_met(|witness| {
            by.iter().any(|witness_name| witness_name.as_bytes() == witness.as_bytes())
        });
        assert_eq!(Some(met), cosigned["satisfied"].as_bool(), "{} {by:?}", name(case));
    }
}

#[test]
fn vectors_tlog_proofs() {
    let count = for_each_case("proof", &["log_vkey"], |subject, _, case| {
        let document = bytes(case, "proof");
        let verified = verify(case, &document);
        if judge(subject, case, verified.is_ok(), &verified) {
            assert_eq!(TlogProof::parse(&document).unwrap().to_string().as_bytes(), document);
        }
    });
    assert_count("proofs", count, 17);
}

fn verify(case: &Value, document: &[u8]) -> Result<(), String> {
    let log = format!("log {}\n", text(case, "log_vkey"));
    let policy = quorum_of(case, &log).ok_or("the quorum cannot be met")?;
    let proof = TlogProof::parse(document).map_err(|error| error.to_string())?;
    proof.verify(leaf_hash(&bytes(case, "leaf")), &policy).map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn vectors_tlog_proof_format() {
    let count = for_each_case("proof", &["text", "hashes"], |_, _, case| {
        let inclusion = InclusionProof::from_hashes(hashes(case, "hashes").unwrap()).unwrap();
        let index = LeafIndex::new(number(case, "index")).unwrap();
        let extra = case["extra_b64"].as_str().map(b64).unwrap_or_default();
        let proof = TlogProof::new(index, inclusion, text(case, "checkpoint")).unwrap().with_extra(extra);
        assert_eq!(proof.to_string(), text(case, "text"), "{}", name(case));
        assert_eq!(TlogProof::parse(text(case, "text").as_bytes()), Ok(proof), "{}", name(case));
    });
    assert_count("proof formats", count, 3);
}
