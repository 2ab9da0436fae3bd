//! Proofs for keeps: what Graven writes, Python verifies, and nothing that was altered.

use std::fs;

use crate::{
    rig::{Place, flip, graven},
    tools::python,
};

#[test]
#[ignore = "needs python3"]
fn python_verifies_a_proof_and_refuses_every_altered_one() {
    let place = Place::new("private");
    let server = place.serve_openly();
    place.fill(&server, 600);
    place.write("entry", "what happened");
    place
        .run_at(&server, &mut graven("append --policy data/audit.policy --wait published --out proof entry"))
        .ok();
    server.stop();

    let verify = || place.run(python("verify_proof.py").args(["--keys", "audit.vkeys", "entry", "proof"]));
    verify().says("this is entry 600 of example.com/audit, under the signed head of 601 entries");

    place.write("entry", "what did not happen");
    verify().refuses("is not in the tree");
    place.write("entry", "what happened");

    // One bit in each line: the format, the index, each hash, the checkpoint, each signature.
    let proof = fs::read(place.path("proof")).unwrap();
    let mut start = 0;
    for line in proof.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > 1 {
            flip(&place.path("proof"), start + line.len() / 2);
            verify().refuses("refused: ");
            place.write("proof", &proof);
        }
        start += line.len();
    }
    verify().ok();
}
