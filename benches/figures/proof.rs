//! Proofs from a big log.

use std::path::PathBuf;

use prost::Message;

use crate::calls;
use crate::load::{Load, Sample};
use crate::peer::Peer;
use crate::report::{Table, Target};
use crate::world::World;

const CALLERS: usize = 256;
/// Entries of a multi-entry proof.
const MANY: usize = 64;

pub(crate) async fn proofs(world: &World, table: &mut Table) {
    let big = world.big().await;
    let graven = big.data.serve();
    let load = Load::connect(&graven).await;
    let (answer, bytes) = real_answer(world, &load, big.entries / 3).await;
    let echo = Peer::echo_of(&answer);
    let e = Load::connect(&echo).await;
    let rate = |sample: &Sample| sample.per_second;

    let base = async |time| e.run(CALLERS, time, calls::echo_prove(big.entries)).await;
    let single = async |time| load.run(CALLERS, time, calls::prove(big.entries)).await;
    let found = world.rounds().compare(base, single).await;
    let among = format!("random of {}", big.entries);
    table.add(format!("E: bare echo of a proof, {bytes} B"), "calls/s", found.baseline.series(rate));
    table.add(format!("GetInclusionProof, {among}"), "proofs/s", found.figure.series(rate));
    let ratio = found.ratio(rate);
    table.judge(format!("GetInclusionProof ÷ E, {among}"), "ratio", Target::AtLeast(0.8), ratio);

    let single = async |time| load.run(CALLERS, time, calls::prove(big.entries)).await.per_second;
    let many = async |time| entries(load.run(CALLERS, time, calls::prove_many(big.entries, MANY)).await);
    let found = world.rounds().compare(single, many).await;
    table.add(format!("multi-proof of {MANY}, {among}"), "entries/s", found.figure.series(|rate| *rate));
    let ratio = found.ratio(|rate| *rate);
    table.judge(format!("multi-proof of {MANY} ÷ single proofs"), "ratio", Target::AtLeast(15.0), ratio);

    let run = async |time| entries(load.run(CALLERS, time, calls::prove_run(big.entries, MANY)).await);
    let found = world.rounds().repeat(run).await;
    table.add(format!("multi-proof of {MANY} side by side"), "entries/s", found.series(|rate| *rate));
}

/// Entries that were proven a second.
fn entries(sample: Sample) -> f64 {
    sample.per_second * MANY as f64
}

/// A file with what the server answers, for the echo to give, and its length.
async fn real_answer(world: &World, load: &Load, index: u64) -> (PathBuf, usize) {
    let link = load.link(0);
    let answer = link.log().get_inclusion_proof(link.request(calls::proof_of(index))).await;
    let bytes = answer.expect("there is a proof").into_inner().encode_to_vec();
    let file = world.home("proof");
    std::fs::write(&file, &bytes).expect("the answer can be written");
    (file, bytes.len())
}
