//! Properties of notes, proofs and policies: what is written parses back, what is altered never passes for
//! something else, and signing is deterministic.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use graven_merkle::{Frontier, Hash, InclusionProof, LeafIndex, TreeSize, leaf_hash, node_hash};
use graven_note::{
    Checkpoint, KeyName, LocalSigner, MAX_SIGNATURES, NoteError, OpenError, Origin, Policy, PublicKey,
    SignError, SignatureLine, SignatureType, SignedNote, Signer, TlogProof, VerifiedCheckpoint, VerifierKey,
    VerifyCheckpointError, open, sign_checkpoint, sign_line, sign_note,
};
use proptest::prelude::*;

const TIME: u64 = 1_763_600_000;
const SIGNING_TYPES: [SignatureType; 4] =
    [SignatureType::Ed25519, SignatureType::EcdsaP256, SignatureType::CosignatureV1, SignatureType::MlDsa44];

fn signer(name: &str, signature_type: SignatureType, seed: u8) -> LocalSigner {
    LocalSigner::generate(KeyName::new(name).unwrap(), signature_type, &[seed; 32]).unwrap()
}

fn checkpoint(origin: &str, size: u64, root: Hash) -> Checkpoint {
    Checkpoint::new(Origin::new(origin).unwrap(), TreeSize::new(size).unwrap(), root)
}

/// A log of four entries with its three keys, its checkpoint, and the proof of its third entry.
struct Log {
    keys: Vec<VerifierKey>,
    head: Checkpoint,
    note: SignedNote,
    proof: TlogProof,
    entry: Hash,
}

const ORIGIN: &str = "example.com/audit";

fn log() -> Log {
    let leaves = [b"a", b"b", b"c", b"d"].map(|entry| leaf_hash(entry));
    let mut frontier = Frontier::default();
    frontier.append(leaves);
    let head = checkpoint(ORIGIN, 4, frontier.root());
    let types = [SignatureType::Ed25519, SignatureType::EcdsaP256, SignatureType::MlDsa44];
    let signers = types.map(|signature_type| signer(ORIGIN, signature_type, signature_type.byte()));
    let note = sign_checkpoint(&head, &signers.each_ref().map(|signer| signer as &dyn Signer), TIME).unwrap();
    let inclusion = InclusionProof::from_hashes(vec![leaves[3], node_hash(&leaves[0], &leaves[1])]).unwrap();
    Log {
        keys: signers.iter().map(|signer| signer.vkey().clone()).collect(),
        head,
        proof: TlogProof::new(LeafIndex::from(2), inclusion, note.as_str()).unwrap(),
        note,
        entry: leaves[2],
    }
}

/// Every byte of `bytes` changed in three ways, left out, doubled, and every proper prefix.
fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(move |at| {
        let with = |middle: &[u8]| [&bytes[..at], middle, &bytes[at + 1..]].concat();
        let byte = bytes[at];
        let other = if byte == b'\n' { b' ' } else { b'\n' };
        [
            with(&[byte ^ 1]),
            with(&[byte ^ 0x20]),
            with(&[other]),
            with(&[]),
            with(&[byte, byte]),
            bytes[..at].to_vec(),
        ]
    })
}

#[test]
fn an_altered_note_never_means_something_else() {
    let log = log();
    let origin = Origin::new(ORIGIN).unwrap();
    let mut opened = 0;
    for altered in mutations(log.note.as_str().as_bytes()) {
        if let Ok(verified) = VerifiedCheckpoint::open(&altered, &origin, &log.keys) {
            assert_eq!(*verified.checkpoint(), log.head);
            assert!(verified.time().is_none_or(|time| time == TIME));
            opened += 1;
        }
    }
    // Damage to one line's name or id leaves a line by an unknown key, and the two other signatures.
    assert!(opened > 0);
}

#[test]
fn an_altered_proof_never_proves_something_else() {
    let log = log();
    let policy = Policy::without_witnesses(&log.keys).unwrap();
    log.proof.verify(log.entry, &policy).unwrap();
    for altered in mutations(log.proof.to_string().as_bytes()) {
        let Ok(proof) = TlogProof::parse(&altered) else { continue };
        assert_eq!(proof.to_string().as_bytes(), altered);
        if let Ok(included) = proof.verify(log.entry, &policy) {
            assert_eq!(included.index(), LeafIndex::from(2));
            assert_eq!(*included.checkpoint().verified().checkpoint(), log.head);
        }
        assert!(proof.verify(leaf_hash(b"x"), &policy).is_err());
    }
}

#[test]
fn an_altered_policy_parses_to_what_it_writes() {
    let witness = |seed| signer("w.example", SignatureType::CosignatureV1, seed).vkey().clone();
    let file = format!(
        "log {} https://log.example\nwitness a {}\nwitness b {} u\ngroup g any a b\nquorum g\n",
        log().keys[0],
        witness(7),
        witness(8),
    );
    let policy = Policy::parse(file.as_bytes()).unwrap();
    for altered in mutations(file.as_bytes()) {
        if let Ok(other) = Policy::parse(&altered) {
            assert_eq!(Policy::parse(&other.to_bytes()).as_ref(), Ok(&other));
            let keys =
                |policy: &Policy| policy.witnesses().map(|witness| witness.key.clone()).collect::<Vec<_>>();
            assert_eq!(keys(&other), keys(&policy), "a key changed without its id");
        }
    }
}

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
fn a_note_has_a_limited_number_of_signatures() {
    let line = SignatureLine::new(signer("k", SignatureType::Ed25519, 1).vkey(), vec![1]);
    let lines = vec![line; MAX_SIGNATURES + 1];
    assert!(SignedNote::new("text\n", &lines[1..]).is_ok());
    assert_eq!(SignedNote::new("text\n", &lines), Err(NoteError::TooManySignatures));
}

/// Text that may stand on a line: no ASCII control characters.
fn line() -> impl Strategy<Value = String> {
    "[^\\x00-\\x1f]{1,40}"
}

fn key_name() -> impl Strategy<Value = String> {
    "[^\\x00-\\x20+\\s]{1,20}"
}

prop_compose! {
    fn any_checkpoint()(
        origin in line(),
        size in 0..1_u64 << 63,
        root: [u8; 32],
        extensions in prop::collection::vec(line(), 0..3),
    ) -> Checkpoint {
        checkpoint(&origin, size, Hash::from(root)).with_extensions(extensions).unwrap()
    }
}

prop_compose! {
    fn any_line()(name in key_name(), seed: u8, signature in prop::collection::vec(any::<u8>(), 1..90)) -> SignatureLine {
        SignatureLine::new(signer(&name, SignatureType::Ed25519, seed).vkey(), signature)
    }
}

proptest! {
    #[test]
    fn checkpoints_round_trip(checkpoint in any_checkpoint()) {
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
    }

    #[test]
    fn notes_round_trip(text in "([^\\x00-\\x1f]{0,30}\n){1,5}", lines in prop::collection::vec(any_line(), 1..5)) {
        let note = SignedNote::new(&text, &lines).unwrap();
        prop_assert_eq!(note.text(), text);
        prop_assert_eq!(note.signatures(), &lines);
        prop_assert_eq!(SignedNote::parse(note.as_str().as_bytes()), Ok(note));
    }

    #[test]
    fn proofs_round_trip(
        index in 0..(1_u64 << 63) - 1,
        hashes in prop::collection::vec(any::<[u8; 32]>(), 0..=63),
        extra in prop::collection::vec(any::<u8>(), 0..50),
        checkpoint in "\\PC{1,60}\n",
    ) {
        let inclusion = InclusionProof::from_hashes(hashes.into_iter().map(Hash::from).collect()).unwrap();
        let proof = TlogProof::new(LeafIndex::new(index).unwrap(), inclusion, checkpoint).unwrap().with_extra(extra);
        prop_assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
    }

    #[test]
    fn keys_round_trip(name in key_name(), seed: u8, signature_type in prop::sample::select(&SIGNING_TYPES)) {
        let key = signer(&name, signature_type, seed).vkey().clone();
        prop_assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn what_parses_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(note) = SignedNote::parse(&bytes) {
            prop_assert_eq!(note.as_str().as_bytes(), &bytes);
        }
        if let Ok(proof) = TlogProof::parse(&bytes) {
            prop_assert_eq!(proof.to_string().into_bytes(), bytes.clone());
        }
        if let Ok(policy) = Policy::parse(&bytes) {
            prop_assert_eq!(Policy::parse(&policy.to_bytes()), Ok(policy));
        }
    }

    #[test]
    fn lines_like_those_of_the_formats_never_panic(
        words in prop::collection::vec(prop::sample::select(&[
            "— ", "log", "witness", "group", "quorum", "none", "any", "all", "index ", "extra ", "0", "1", "63", "AQ==",
            "c2sp.org/tlog-proof@v1", "k+", "\n", "\n\n", " ", "\t", "#", "example.com", "=", "é",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ][..]), 0..30),
    ) {
        let text = words.concat();
        let note = SignedNote::parse(text.as_bytes());
        prop_assert!(note.is_err() || note.unwrap().as_str() == text);
        let proof = TlogProof::parse(text.as_bytes());
        prop_assert!(proof.is_err() || proof.unwrap().to_string() == text);
        let checkpoint = Checkpoint::parse(&text);
        prop_assert!(checkpoint.is_err() || checkpoint.unwrap().to_string() == text);
        let policy = Policy::parse(text.as_bytes());
        prop_assert!(policy.is_err() || Policy::parse(&policy.unwrap().to_bytes()).is_ok());
    }
}
