//! Cosignatures of subtrees.

use graven_merkle::{ConsistencyProof, Subtree, leaf_hash, prove_subtree_consistency};
use graven_note::{
    Origin, SignatureType,
    cosignature::CosignedSubtree,
    witness::{SignSubtree, parse_signature_lines},
};

use crate::{
    rig::{Log, Place, Running},
    trees::{MemoryTree, mth, size},
};

fn request(log: &Log, running: &Running, leaves: std::ops::Range<u64>) -> SignSubtree {
    let cosigned = running.connect().get(&format!("/{}/checkpoint", log.hex()), &[]).body;
    let note = graven_note::SignedNote::parse(&cosigned).unwrap();
    let checkpoint = graven_note::Checkpoint::parse(note.text()).unwrap();
    let subtree = Subtree::new(leaves).unwrap();
    let tree = MemoryTree::of(log.leaves().iter().copied());
    let proof: ConsistencyProof = prove_subtree_consistency(&tree, subtree, checkpoint.size()).unwrap();
    let range = usize::try_from(subtree.start()).unwrap()..usize::try_from(subtree.end().get()).unwrap();
    SignSubtree { subtree, hash: mth(&log.leaves()[range]), proof, note, checkpoint }
}

#[test]
fn subtrees_of_what_it_cosigned_and_nothing_else() {
    let place = Place::new();
    let log = Log::new("example.com/subtrees");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 90)).status, 200);
    let key = place.keys.iter().find(|key| key.signature_type() == SignatureType::MlDsa44).unwrap();
    let origin: Origin = log.origin().parse().unwrap();
    for leaves in [0..90, 0..64, 64..90, 8..13, 88..90] {
        let request = request(&log, &running, leaves);
        let answer = running.post("sign-subtree", request.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let lines = parse_signature_lines(&answer.body).unwrap();
        let subtree = CosignedSubtree { origin: &origin, subtree: request.subtree, hash: &request.hash };
        assert_eq!(subtree.verify(key, lines[0].signature()), Ok(None), "no statement about time");

        let mut other = request.clone();
        other.hash = leaf_hash(b"another");
        assert_eq!(running.post("sign-subtree", other.to_string().as_bytes()).status, 422);
    }
    // A checkpoint that the log alone signed.
    let mut request = request(&log, &running, 8..13);
    request.note = log.checkpoint(90);
    assert_eq!(running.post("sign-subtree", request.to_string().as_bytes()).status, 403);
    assert_eq!(size(90), request.checkpoint.size());
}
