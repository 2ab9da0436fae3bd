//! What is written parses back, and nothing parses but what would be written.

use graven_merkle::{Hash, InclusionProof, LeafIndex};
use graven_note::{
    Checkpoint, Evidence, Policy, SignatureLine, SignatureType, SignedNote, Signer, TlogProof, VerifierKey,
};
use proptest::prelude::*;

use crate::{SIGNING_TYPES, checkpoint, signer};

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
    fn any_line()(
        name in key_name(),
        seed: u8,
        signature in prop::collection::vec(any::<u8>(), 1..90),
    ) -> SignatureLine {
        SignatureLine::new(signer(&name, SignatureType::Ed25519, seed).vkey(), signature)
    }
}

proptest! {
    #[test]
    fn checkpoints_round_trip(checkpoint in any_checkpoint()) {
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
    }

    #[test]
    fn notes_round_trip(
        text in "([^\\x00-\\x1f]{0,30}\n){1,5}",
        lines in prop::collection::vec(any_line(), 1..5),
    ) {
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
        let index = LeafIndex::new(index).unwrap();
        let proof = TlogProof::new(index, inclusion, checkpoint).unwrap().with_extra(extra);
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
        if let Ok(evidence) = Evidence::parse(&bytes) {
            prop_assert_eq!(evidence.to_string().into_bytes(), bytes.clone());
        }
        if let Ok(policy) = Policy::parse(&bytes) {
            prop_assert_eq!(Policy::parse(&policy.to_bytes()), Ok(policy));
        }
    }

    #[test]
    fn lines_like_those_of_the_formats_never_panic(
        words in prop::collection::vec(prop::sample::select(&[
            "— ", "log", "witness", "group", "quorum", "none", "any", "all", "index ", "extra ", "0", "1", "63",
            "AQ==", "c2sp.org/tlog-proof@v1", "k+", "\n", "\n\n", " ", "\t", "#", "example.com", "=", "é",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "graven-evidence@v1\norigin o\n", "asked 1 w\n", "shows two-roots\n", "shows other-beginning\nroot ",
            "note 1\n",
        ][..]), 0..30),
    ) {
        let text = words.concat();
        let note = SignedNote::parse(text.as_bytes());
        prop_assert!(note.is_err() || note.unwrap().as_str() == text);
        let proof = TlogProof::parse(text.as_bytes());
        prop_assert!(proof.is_err() || proof.unwrap().to_string() == text);
        let evidence = Evidence::parse(text.as_bytes());
        prop_assert!(evidence.is_err() || evidence.unwrap().to_string() == text);
        let checkpoint = Checkpoint::parse(&text);
        prop_assert!(checkpoint.is_err() || checkpoint.unwrap().to_string() == text);
        let policy = Policy::parse(text.as_bytes());
        prop_assert!(policy.is_err() || Policy::parse(&policy.unwrap().to_bytes()).is_ok());
    }
}
