//! A client of C2SP tlog-mirror, written from the specification alone: the bytes that it sends, and trees by their definition.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use base64ct::{Base64, Encoding as _};
use graven_merkle::{Hash, leaf_hash};
use graven_note::{
    Checkpoint, KeyName, LocalSigner, Origin, SignatureType, SignedNote, Signer as _, sign_checkpoint,
};

use crate::trees::{mth, size, subproof};

/// A log whose key the client has. The one that `site.rs` makes has the same entries and the same key.
pub(crate) struct Log {
    signer: LocalSigner,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
}

/// What a mirror says of itself with 202 and 409.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) size: usize,
    pub(crate) next: usize,
    pub(crate) ticket: Vec<u8>,
}

impl Log {
    pub(crate) fn new(entries: usize) -> Self {
        Self::of((0..entries).map(|index| format!("entry {index}").into_bytes()).collect())
    }

    pub(crate) fn of(entries: Vec<Vec<u8>>) -> Self {
        let name = KeyName::new("example.com/audit").unwrap();
        let signer = LocalSigner::generate(name, SignatureType::Ed25519, &[7; 32]).unwrap();
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        Self { signer, entries, leaves }
    }

    /// The same key, and another history from entry `from` on.
    pub(crate) fn rewritten(&self, from: usize) -> Self {
        let mut entries = self.entries.clone();
        entries[from..].iter_mut().for_each(|entry| entry.push(b'!'));
        Self::of(entries)
    }

    pub(crate) fn origin(&self) -> &str {
        self.signer.vkey().name().as_str()
    }

    pub(crate) fn vkey(&self) -> String {
        self.signer.vkey().to_string()
    }

    pub(crate) fn root(&self, to: usize) -> Hash {
        mth(&self.leaves[..to])
    }

    pub(crate) fn checkpoint(&self, to: usize) -> SignedNote {
        let origin = Origin::new(self.origin()).unwrap();
        sign_checkpoint(&Checkpoint::new(origin, size(to as u64), self.root(to)), &[&self.signer], 0).unwrap()
    }

    /// The body of add-checkpoint.
    pub(crate) fn add_checkpoint(&self, old: usize, to: usize) -> Vec<u8> {
        let proof = if old == 0 || old >= to { Vec::new() } else { subproof(old, &self.leaves[..to], true) };
        let proof: String = proof.iter().map(|hash| Base64::encode_string(hash.as_bytes()) + "\n").collect();
        format!("old {old}\n{proof}\n{}", self.checkpoint(to)).into_bytes()
    }

    /// The body of add-entries with the first `packages` of the canonical sequence.
    pub(crate) fn add_entries(&self, start: usize, end: usize, ticket: &[u8], packages: usize) -> Vec<u8> {
        let mut body = header(self.origin(), start as u64, end as u64, ticket);
        for (from, to) in sequence(start, end).into_iter().take(packages) {
            body.extend(self.package(from, to, end));
        }
        body
    }

    pub(crate) fn package(&self, from: usize, to: usize, end: usize) -> Vec<u8> {
        let mut package = self.bundle(from, to);
        let proof = subtree_proof(from / 256 * 256, to, &self.leaves[..end], true);
        package.push(u8::try_from(proof.len()).unwrap());
        proof.iter().for_each(|hash| package.extend(hash.as_bytes()));
        package
    }

    /// Entries, each behind its length.
    pub(crate) fn bundle(&self, from: usize, to: usize) -> Vec<u8> {
        let entries = self.entries[from..to].iter();
        let framed = entries
            .map(|entry| [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], entry.as_slice()].concat());
        framed.flatten().collect()
    }
}

pub(crate) fn header(origin: &str, start: u64, end: u64, ticket: &[u8]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    [counted(origin.as_bytes()), start.to_be_bytes().to_vec(), end.to_be_bytes().to_vec(), counted(ticket)]
        .concat()
}

/// The intervals of the canonical sequence, as the specification computes them.
pub(crate) fn sequence(start: usize, end: usize) -> Vec<(usize, usize)> {
    if start == end {
        return Vec::new();
    }
    let (rounded_start, rounded_end) = (start / 256 * 256, end.div_ceil(256) * 256);
    let packages = (rounded_end - rounded_start) / 256;
    let interval = |i: usize| (start.max(rounded_start + i * 256), end.min(rounded_start + (i + 1) * 256));
    (0..packages).map(interval).collect()
}

/// SUBTREE_SUBPROOF of draft-ietf-plants-merkle-tree-certs: that `leaves[start..end]` is a subtree of `leaves`.
fn subtree_proof(start: usize, end: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if start == 0 && end == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if end <= k {
        (subtree_proof(start, end, left, known), right)
    } else if k <= start {
        (subtree_proof(start - k, end - k, right, known), left)
    } else {
        (subtree_proof(0, end - k, right, false), left)
    };
    proof.push(mth(other));
    proof
}

impl Info {
    /// Reads the three lines, and nothing else.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap();
        let lines: Vec<_> = text.strip_suffix('\n').unwrap().split('\n').collect();
        let [size, next, ticket] = lines[..] else { panic!("{text:?}") };
        let ticket = Base64::decode_vec(ticket).unwrap();
        Self { size: size.parse().unwrap(), next: next.parse().unwrap(), ticket }
    }
}
