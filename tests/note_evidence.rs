//! Evidence against a log: what shows a fork, what does not, and that nothing else passes for it.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/trees.rs"]
mod trees;

use graven_merkle::{ConsistencyProof, EMPTY_ROOT, Hash, TreeSize, leaf_hash, prove_consistency, root};
use graven_note::{
    Checkpoint, Evidence, KeyName, LocalSigner, Origin, SignatureType, Signer, VerifiedCheckpoint,
    VerifiedEvidence, VerifierKey,
    evidence::{Asked, EvidenceError, MAX_ASKED, MAX_ASKED_BYTES, ParseEvidenceError, Shows},
    sign_checkpoint,
};
use trees::MemoryTree;

const ORIGIN: &str = "example.com/audit";

/// Trees below this size are tried in all pairs.
const SIZES: u64 = 18;

fn signer(seed: u8) -> LocalSigner {
    LocalSigner::generate(KeyName::new(ORIGIN).unwrap(), SignatureType::Ed25519, &[seed; 32]).unwrap()
}

fn keys() -> [VerifierKey; 1] {
    [signer(1).vkey().clone()]
}

fn signed(origin: &str, size: u64, root: Hash, seed: u8) -> VerifiedCheckpoint {
    let origin = Origin::new(origin).unwrap();
    let head = Checkpoint::new(origin.clone(), TreeSize::new(size).unwrap(), root);
    let note = sign_checkpoint(&head, &[&signer(seed)], 1_763_600_000).unwrap();
    VerifiedCheckpoint::open(note.as_str().as_bytes(), &origin, &[signer(seed).vkey().clone()]).unwrap()
}

/// A history whose entries are others from `fork` on, where that is given.
fn history(fork: Option<u64>) -> MemoryTree {
    let written = |n: u64| if fork.is_some_and(|fork| n >= fork) { "other" } else { "entry" };
    MemoryTree::of((0..SIZES).map(|n| leaf_hash(format!("{} {n}", written(n)).as_bytes())))
}

fn head_of(tree: &MemoryTree, size: u64) -> VerifiedCheckpoint {
    signed(ORIGIN, size, root(tree, TreeSize::new(size).unwrap()).unwrap(), 1)
}

/// What an accuser brings forward: the other tree's beginning and its proof.
fn accuse(honest: &MemoryTree, other: &MemoryTree, from: u64, to: u64) -> Option<VerifiedEvidence> {
    let [from_size, to_size] = [from, to].map(|size| TreeSize::new(size).unwrap());
    let proof = prove_consistency(other, from_size, to_size).unwrap();
    let beginning = root(other, from_size).unwrap();
    VerifiedEvidence::of_beginning(&head_of(honest, from), &head_of(other, to), beginning, proof)
}

/// Through a file, to somebody who has the log's keys and nothing else.
fn published(evidence: &VerifiedEvidence) -> VerifiedEvidence {
    let file = evidence.evidence().to_string();
    let read = Evidence::parse(file.as_bytes()).unwrap();
    assert_eq!(read.to_string(), file);
    read.verify(&keys()).unwrap()
}

#[test]
fn a_fork_shows_at_every_pair_of_sizes_beyond_it_and_at_no_other() {
    let honest = history(None);
    for fork in 0..SIZES {
        let other = history(Some(fork));
        for to in 2..SIZES {
            for from in 1..to {
                let evidence = accuse(&honest, &other, from, to);
                assert_eq!(evidence.is_some(), from > fork, "fork {fork}, {from} to {to}");
                let Some(evidence) = evidence else { continue };
                assert_eq!(published(&evidence), evidence);
                assert!(evidence.to_string().contains("does not begin with it"), "{evidence}");
            }
            let same_size = VerifiedEvidence::of_heads(&head_of(&honest, to), &head_of(&other, to));
            assert_eq!(same_size.is_some(), to > fork);
            if let Some(evidence) = same_size {
                assert_eq!(published(&evidence), evidence);
            }
        }
    }
}

#[test]
fn an_honest_log_cannot_be_accused() {
    let (honest, other) = (history(None), history(Some(0)));
    for to in 2..SIZES {
        for from in 1..to {
            let [from_size, to_size] = [from, to].map(|size| TreeSize::new(size).unwrap());
            let (earlier, later) = (head_of(&honest, from), head_of(&honest, to));
            let genuine = prove_consistency(&honest, from_size, to_size).unwrap();
            let garbage = prove_consistency(&other, from_size, to_size).unwrap();
            let mut bent = genuine.hashes().to_vec();
            bent[0] = leaf_hash(b"bent");
            let bent = ConsistencyProof::from_hashes(bent).unwrap();
            let empty = ConsistencyProof::from_hashes(Vec::new()).unwrap();
            for beginning in [&honest, &other].map(|tree| root(tree, from_size).unwrap()) {
                for proof in [&genuine, &garbage, &bent, &empty] {
                    let evidence = VerifiedEvidence::of_beginning(&earlier, &later, beginning, proof.clone());
                    assert_eq!(evidence, None, "{from} to {to}");
                }
            }
            assert_eq!(VerifiedEvidence::of_heads(&earlier, &later), None);
        }
        assert_eq!(VerifiedEvidence::of_heads(&head_of(&honest, to), &head_of(&honest, to)), None);
    }
    assert_eq!(VerifiedEvidence::of_empty(&signed(ORIGIN, 0, EMPTY_ROOT, 1)), None);
    assert_eq!(VerifiedEvidence::of_empty(&head_of(&honest, 3)), None);
    // From nothing every tree grows, and two logs have nothing to do with one another.
    let nothing = signed(ORIGIN, 0, leaf_hash(b"no such root"), 1);
    let none = ConsistencyProof::from_hashes(Vec::new()).unwrap();
    assert_eq!(VerifiedEvidence::of_beginning(&nothing, &head_of(&honest, 3), EMPTY_ROOT, none), None);
    let elsewhere = signed("example.com/other", 3, leaf_hash(b"other"), 1);
    assert_eq!(VerifiedEvidence::of_heads(&head_of(&honest, 3), &elsewhere), None);
}

#[test]
fn an_empty_tree_has_one_root() {
    let evidence = VerifiedEvidence::of_empty(&signed(ORIGIN, 0, leaf_hash(b"not nothing"), 1)).unwrap();
    assert_eq!(published(&evidence), evidence);
    assert!(matches!(evidence.evidence().shows(), Shows::FalseEmpty { .. }));
}

#[test]
fn nothing_but_what_nobody_signed_can_be_altered() {
    let (honest, other) = (history(None), history(Some(2)));
    let asked = Asked::new(1_763_600_001, "https://log.example.com: the newest head\nand more");
    assert_eq!(asked.text(), "https://log.example.com: the newest head and more");
    let evidence = accuse(&honest, &other, 5, 11).unwrap().asking([asked]);
    let two_roots = VerifiedEvidence::of_heads(&head_of(&honest, 5), &head_of(&other, 5)).unwrap();
    for evidence in [evidence, two_roots] {
        assert_eq!(published(&evidence), evidence);
        let file = evidence.evidence().to_string();
        let unsigned = file.find("asked ").map_or(0..0, |at| at..at + file[at..].find('\n').unwrap());
        for at in (0..file.len()).filter(|at| !unsigned.contains(at)) {
            for bit in [1, 0x20] {
                let mut bytes = file.clone().into_bytes();
                bytes[at] ^= bit;
                let verified = Evidence::parse(&bytes).ok().and_then(|read| read.verify(&keys()).ok());
                assert_eq!(verified, None, "byte {at}");
            }
            assert!(Evidence::parse(&file.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        let longer = format!("{file}\n");
        assert_eq!(Evidence::parse(longer.as_bytes()), Err(ParseEvidenceError::TrailingBytes));
    }
}

#[test]
fn the_keys_are_the_verifiers() {
    let (honest, other) = (history(None), history(Some(2)));
    let evidence = VerifiedEvidence::of_heads(&head_of(&honest, 5), &head_of(&other, 5)).unwrap();
    let file = evidence.evidence().clone();
    let strangers = [signer(2).vkey().clone()];
    assert!(matches!(file.clone().verify(&strangers), Err(EvidenceError::Note { number: 1, .. })));
    // One note by somebody else: no matter what it says.
    let forged = signed(ORIGIN, 5, leaf_hash(b"forged"), 2);
    let text = file.to_string();
    let (before, _) = text.rsplit_once("note ").unwrap();
    let note = forged.note().as_str();
    let framed = Evidence::parse(format!("{before}note {}\n{note}", note.len()).as_bytes()).unwrap();
    assert!(matches!(framed.verify(&keys()), Err(EvidenceError::Note { number: 2, .. })));
    // The same note twice, and the right notes under the wrong claim.
    let first = file.shows().notes()[0];
    let twice = Evidence::parse(format!("{before}note {}\n{first}", first.len()).as_bytes()).unwrap();
    assert!(matches!(twice.verify(&keys()), Err(EvidenceError::NoContradiction(_))));
}

#[test]
fn a_file_has_one_name_and_bounded_talk() {
    let (honest, other) = (history(None), history(Some(2)));
    let (first, second) = (head_of(&honest, 5), head_of(&other, 5));
    let evidence = VerifiedEvidence::of_heads(&first, &second).unwrap();
    let questions = (0..99).map(|n| Asked::new(n, &"é".repeat(MAX_ASKED_BYTES)));
    let talkative = evidence.clone().asking(questions);
    assert_eq!(talkative.evidence().asked().len(), MAX_ASKED);
    assert_eq!(published(&talkative), talkative);
    assert_eq!(talkative.file_name(), evidence.file_name());
    assert_ne!(VerifiedEvidence::of_heads(&second, &first).unwrap().file_name(), evidence.file_name());

    let file = talkative.evidence().to_string();
    let one_more = file.replacen("asked 0 ", "asked 7 x\nasked 0 ", 1);
    assert_eq!(Evidence::parse(one_more.as_bytes()), Err(ParseEvidenceError::Asked));
    let padded = evidence.evidence().to_string().replacen("note ", "note 0", 1);
    assert_eq!(Evidence::parse(padded.as_bytes()), Err(ParseEvidenceError::Note));
}
