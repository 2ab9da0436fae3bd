//! Properties of notes, proofs and policies: what is written parses back, what is altered never passes for
//! something else, and signing is deterministic.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "note_properties/opening.rs"]
mod opening;
#[path = "note_properties/policies.rs"]
mod policies;
#[path = "note_properties/round_trips.rs"]
mod round_trips;
#[path = "note_properties/signing.rs"]
mod signing;
#[path = "note_properties/tampering.rs"]
mod tampering;

use graven_merkle::{Frontier, Hash, InclusionProof, LeafIndex, TreeSize, leaf_hash, node_hash};
use graven_note::{
    Checkpoint, KeyName, LocalSigner, Origin, SignatureType, SignedNote, Signer, TlogProof, VerifierKey,
    sign_checkpoint,
};

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
