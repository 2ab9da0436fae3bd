//! What was altered on its way never comes to mean something else.

use graven_merkle::{LeafIndex, leaf_hash};
use graven_note::{Origin, Policy, SignatureType, Signer, TlogProof, VerifiedCheckpoint};

use crate::{ORIGIN, TIME, log, signer};

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
