//! Every key type signs what it verifies, the same way each time, and gives its secret to nobody.

use graven_merkle::{Subtree, leaf_hash};
use graven_note::cosignature::CosignedSubtree;
use graven_note::{
    KeyName, LocalSigner, NoteError, Origin, PublicKey, SignError, SignatureError, SignatureType, Signer,
    SigningKeyError, VerifierKey, VkeyError, sign_note,
};

use crate::{ORIGIN, SIGNING_TYPES, TIME, checkpoint, signer};

#[test]
fn every_type_signs_what_it_verifies_and_nothing_else() {
    let text = checkpoint(ORIGIN, 7, leaf_hash(b"root")).to_string();
    let other = checkpoint(ORIGIN, 8, leaf_hash(b"root")).to_string();
    for signature_type in SIGNING_TYPES {
        let signer = signer(ORIGIN, signature_type, 3);
        let signature = signer.sign(&text, TIME).unwrap();
        assert_eq!(
            signer.sign(&text, TIME).unwrap(),
            signature,
            "{signature_type}: signing is deterministic"
        );
        let verified = signer.vkey().verify(text.as_bytes(), &signature).unwrap();
        let timed = matches!(signature_type, SignatureType::CosignatureV1 | SignatureType::MlDsa44);
        assert_eq!(verified.timestamp(), timed.then_some(TIME));
        assert!(signer.vkey().verify(other.as_bytes(), &signature).is_err());
        for at in 0..signature.len() {
            let mut altered = signature.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(signer.vkey().verify(text.as_bytes(), &altered).is_err(), "{signature_type} byte {at}");
        }
        assert!(signer.vkey().verify(text.as_bytes(), &signature[1..]).is_err());
        assert!(signer.vkey().verify(text.as_bytes(), &[&signature[..], &[0]].concat()).is_err());
    }
}

#[test]
fn keys_survive_pkcs8_and_stay_out_of_debug() {
    for signature_type in SIGNING_TYPES {
        let made = signer("key.example", signature_type, 0x5a);
        let pem = made.to_pkcs8_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let name = KeyName::new("key.example").unwrap();
        let read = LocalSigner::from_pkcs8_pem(name.clone(), signature_type, &pem).unwrap();
        assert_eq!(read.vkey(), made.vkey());
        assert_eq!(made.vkey().to_string().parse().as_ref(), Ok(made.vkey()));
        assert_eq!(format!("{made:?}"), format!("LocalSigner({})", made.vkey()));
        let wrong = if signature_type == SignatureType::EcdsaP256 {
            SignatureType::MlDsa44
        } else {
            SignatureType::EcdsaP256
        };
        assert!(LocalSigner::from_pkcs8_pem(name.clone(), wrong, &pem).is_err());
        assert!(LocalSigner::from_pkcs8_pem(name, signature_type, &pem[..pem.len() / 2]).is_err());
    }
}

#[test]
fn entropy_outside_the_group_order_still_makes_a_key() {
    let zero = signer("k", SignatureType::EcdsaP256, 0);
    let above_order = signer("k", SignatureType::EcdsaP256, 0xff);
    assert_ne!(zero.vkey(), above_order.vkey());
}

/// RFC 6979 A.2.5, key and SHA-256 signatures, in low-S form: the s of "sample" is high there.
#[test]
fn p256_signatures_are_rfc_6979_and_low_s() {
    let seed = hex32("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let signer = LocalSigner::generate(KeyName::new("k").unwrap(), SignatureType::EcdsaP256, &seed).unwrap();
    let cases = [
        (
            "sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9",
        ),
        (
            "test",
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        ),
    ];
    for (text, r, s) in cases {
        let der = signer.sign(text, 0).unwrap();
        let signature = p256::ecdsa::Signature::from_der(&der).unwrap();
        let (found_r, found_s) = signature.split_bytes();
        assert_eq!((<[u8; 32]>::from(found_r), <[u8; 32]>::from(found_s)), (hex32(r), hex32(s)));
    }
}

#[test]
fn both_forms_of_a_p256_signature_verify_and_only_low_s_is_made() {
    let signer = signer("k", SignatureType::EcdsaP256, 9);
    for message in 0..64_u32 {
        let text = format!("message {message}\n");
        let signature = p256::ecdsa::Signature::from_der(&signer.sign(&text, 0).unwrap()).unwrap();
        assert_eq!(signature, signature.normalize_s(), "signers emit low-S");
        let (r, s) = signature.split_scalars();
        let high = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap().to_der();
        assert!(signer.vkey().verify(text.as_bytes(), high.as_bytes()).is_ok(), "verifiers accept both");
    }
}

fn hex32(digits: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn small_order_and_non_canonical_ed25519_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(PublicKey::ed25519(&identity), None);
    assert_eq!(PublicKey::ed25519(&[0; 32]), None);
    // y = p + 3 encodes the point of y = 3 a second time.
    let mut beyond_field = [0xff; 32];
    (beyond_field[0], beyond_field[31]) = (0xf0, 0x7f);
    let mut three = [0; 32];
    three[0] = 3;
    assert!(PublicKey::ed25519(&three).is_some());
    assert_eq!(PublicKey::ed25519(&beyond_field), None);
}

#[test]
fn checkpoint_signers_refuse_other_texts() {
    for signature_type in [SignatureType::CosignatureV1, SignatureType::MlDsa44] {
        let refused = sign_note("no checkpoint\n", &[&signer("k", signature_type, 1)], TIME);
        assert!(matches!(refused, Err(SignError::NotACheckpoint(_))), "{refused:?}");
    }
    let text = checkpoint(ORIGIN, 1, leaf_hash(b"x")).to_string();
    let too_late = sign_note(&text, &[&signer("k", SignatureType::CosignatureV1, 1)], 1 << 63);
    assert!(matches!(too_late, Err(SignError::Refused(_))));
    assert!(matches!(sign_note(&text, &[], TIME), Err(SignError::Note(NoteError::NoSignatures))));
}

/// A signer that answers for a key it does not have.
struct Impostor(VerifierKey, LocalSigner);

impl Signer for Impostor {
    fn vkey(&self) -> &VerifierKey {
        &self.0
    }

    fn sign(&self, text: &str, time_seconds: u64) -> Result<Vec<u8>, SignError> {
        self.1.sign(text, time_seconds)
    }
}

#[test]
fn a_signature_that_does_not_verify_is_never_released() {
    let impostor = Impostor(
        signer("k", SignatureType::Ed25519, 1).vkey().clone(),
        signer("k", SignatureType::Ed25519, 2),
    );
    assert!(matches!(sign_note("text\n", &[&impostor], 0), Err(SignError::SelfCheck(_))));
}

#[test]
fn subtrees_are_cosigned_without_a_time_unless_they_start_at_zero() {
    let signer = signer("w.example", SignatureType::MlDsa44, 1);
    let (origin, hash) = (Origin::new(ORIGIN).unwrap(), leaf_hash(b"root"));
    let statement =
        |leaves| CosignedSubtree { origin: &origin, subtree: Subtree::new(leaves).unwrap(), hash: &hash };
    for (leaves, time, allowed) in
        [(8..16, 0, true), (8..16, TIME, false), (0..11, TIME, true), (0..11, 0, true)]
    {
        let signed = signer.sign_subtree(&statement(leaves.clone()), time);
        assert_eq!(signed.is_ok(), allowed, "{leaves:?} at {time}");
        if let Ok(signature) = signed {
            let verified = statement(leaves).verify(signer.vkey(), &signature).unwrap();
            assert_eq!(verified, (time != 0).then_some(time));
            assert!(statement(0..8).verify(signer.vkey(), &signature).is_err());
        }
    }
    let ed25519 = crate::signer("w.example", SignatureType::CosignatureV1, 1);
    let wrong = SignError::Refused(SignatureError::WrongKeyType);
    assert_eq!(ed25519.sign_subtree(&statement(0..8), 0), Err(wrong));
}

/// ML-DSA-44 signs names and origins with a length of one byte.
#[test]
fn names_that_ml_dsa_cannot_sign_are_refused() {
    let (longest, too_long) = ("x".repeat(255), "x".repeat(256));
    let key =
        |name: &str| LocalSigner::generate(KeyName::new(name).unwrap(), SignatureType::MlDsa44, &[1; 32]);
    assert!(matches!(key(&too_long), Err(SigningKeyError::Vkey(VkeyError::NameTooLong))));
    let signer = key(&longest).unwrap();
    let sign = |origin: &str| signer.sign(&checkpoint(origin, 1, leaf_hash(b"x")).to_string(), TIME);
    assert!(sign(&longest).is_ok());
    assert_eq!(sign(&too_long), Err(SignError::Refused(SignatureError::NameLength)));
}
