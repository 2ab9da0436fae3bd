//! Bare signatures: Wycheproof, cosigned messages, subtree cosignatures, RFC 6962 tree heads.

use base64ct::{Base64, Encoding as _};
use graven_merkle::{Hash, Subtree, TreeSize};
use graven_note::cosignature::{CosignedMessage, CosignedSubtree, v1_message};
use graven_note::sth::SignedTreeHead;
use graven_note::{PublicKey, SignatureLine};
use serde_json::Value;

use crate::vectors::{hex, hex_field, name, number, text};
use crate::{assert_count, for_each_case, hash, judge, key, origin, vectors};

#[test]
fn vectors_cosigned_messages() {
    let ml_dsa = for_each_case("cosignature", &["message_hex"], |_, _, case| {
        let root = hash(text(case, "hash")).unwrap();
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
        if judge(subject, case, timestamp.is_some(), &timestamp) {
            assert_eq!(timestamp.flatten().unwrap_or(0), number(case, "timestamp"), "{}", name(case));
        }
    });
    assert_count("subtree cosignatures", count, 9);
}

fn verify_subtree(case: &Value) -> Option<Option<u64>> {
    let key = key(text(case, "vkey"))?;
    let line = SignatureLine::parse(text(case, "signature_line")).ok()?;
    let (origin, hash) = (origin(text(case, "origin")), hash(text(case, "hash"))?);
    let subtree = Subtree::new(number(case, "start")..number(case, "end"))?;
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
fn vectors_rfc6962_tree_heads() {
    let count = for_each_case("sth", &["tree_head_signature"], |subject, _, case| {
        let verified = verify_tree_head(case);
        judge(subject, case, verified.is_some(), &verified);
    });
    assert_count("tree heads", count, 4);
}

fn verify_tree_head(case: &Value) -> Option<()> {
    let decode = |field| Base64::decode_vec(text(case, field)).ok();
    let head = SignedTreeHead {
        timestamp_ms: number(case, "timestamp"),
        size: TreeSize::new(number(case, "tree_size"))?,
        root: &Hash::try_from(decode("sha256_root_hash")?.as_slice()).ok()?,
        signature: &decode("tree_head_signature")?,
    };
    head.verify(&PublicKey::p256_spki(&decode("spki_b64")?)?).ok()
}
