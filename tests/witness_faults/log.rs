//! A log of which the tests hold the key.

use graven_merkle::{ConsistencyProof, Hash, leaf_hash};
use graven_note::{
    Checkpoint, LocalSigner, Origin, SignatureType, Signer as _, VerifierKey, sign_checkpoint,
    witness::AddCheckpoint,
};

use crate::trees::{mth, size, subproof};

pub(crate) struct Log {
    number: u8,
    signer: LocalSigner,
    leaves: Vec<Hash>,
}

impl Log {
    pub(crate) fn new(number: u8, leaves: u32) -> Self {
        let name = format!("example.com/log-{number}").parse().unwrap();
        let signer = LocalSigner::generate(name, SignatureType::Ed25519, &[number; 32]).unwrap();
        Self { number, signer, leaves: (0..leaves).map(|n| leaf_hash(&n.to_be_bytes())).collect() }
    }

    /// The same key, and another history.
    pub(crate) fn rewritten(&self) -> Self {
        let mut log = Self::new(self.number, u32::try_from(self.leaves.len()).unwrap());
        log.leaves[0] = leaf_hash(b"another");
        log
    }

    pub(crate) fn origin(&self) -> Origin {
        self.signer.vkey().name().as_str().parse().unwrap()
    }

    pub(crate) fn key(&self) -> VerifierKey {
        self.signer.vkey().clone()
    }

    /// The body of a request to cosign the first `to` leaves after the first `from`.
    pub(crate) fn request(&self, from: usize, to: usize) -> Vec<u8> {
        let leaves = &self.leaves[..to];
        let head = Checkpoint::new(self.origin(), size(to as u64), mth(leaves));
        let proof = if from == 0 || from == to { Vec::new() } else { subproof(from, leaves, true) };
        let proof = ConsistencyProof::from_hashes(proof).unwrap();
        let note = sign_checkpoint(&head, &[&self.signer], 0).unwrap();
        AddCheckpoint::new(size(from as u64), proof, note).unwrap().to_string().into_bytes()
    }
}
