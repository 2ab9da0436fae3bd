//! `graven prove`: that entries are in a log; of one as a bundle to keep, of many as one compact proof.

use std::path::{Path, PathBuf};

use clap::Args;
use graven_client::{LogClient, VerifiedMulti};
use graven_merkle::{LeafIndex, plan};
use serde_json::{Value, json};

use crate::{
    exit::Outcome,
    indices::{self, Indices},
    output,
    remote::TrustedLog,
};

const EXAMPLES: &str = "\
Every proof is verified before anything is written or printed. Without --out the bundle of --index goes to \
standard output.

Examples:
  graven prove --policy audit.policy --index 17 --out 17.tlog-proof
  graven verify --policy audit.policy --entry entry 17.tlog-proof     # later, anywhere, offline
  graven prove --policy audit.policy --indices 3,17,90-120            # one proof for 33 entries";

/// Prove that entries are in a log
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProveArgs {
    /// Index of the entry to prove; the first one is 0
    #[arg(long, value_name = "N", value_parser = indices::index, required_unless_present = "indices")]
    index: Option<LeafIndex>,

    /// Indices to prove together, strictly increasing, at most 1,024: 3,17,90-120
    #[arg(long, value_name = "LIST", value_parser = indices::list, conflicts_with = "index")]
    indices: Option<Indices>,

    /// File to write: the bundle (C2SP tlog-proof) of --index, a JSON object with the proof of --indices
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: ProveArgs) -> Outcome {
    let log = args.log.open().await?;
    let out = args.out.as_deref();
    match (args.index, args.indices) {
        (Some(index), _) => one(&log, index, out, args.json).await,
        (None, Some(Indices(indices))) => many(&log, &indices, out, args.json).await,
        (None, None) => Ok(()), // clap demands one of them
    }
}

async fn one(log: &LogClient, index: LeafIndex, out: Option<&Path>, as_json: bool) -> Outcome {
    let proof = log.prove(index).await?;
    let bundle = proof.bundle().to_string();
    match out {
        Some(path) => output::write_file(path, bundle.as_bytes())?,
        None if !as_json => return output::bytes(bundle.as_bytes()),
        None => {}
    }
    let (size, hashes) = (proof.head().size().get(), proof.inclusion().hashes().len());
    output::either(
        as_json,
        || {
            json!({
                "index": index.get(),
                "leaf_hash": proof.leaf_hash().to_string(),
                "tree_size": size,
                "hashes": hashes,
                "bundle": bundle,
                "out": out,
            })
        },
        || format!("entry {index} is in the log: {hashes} hashes lead to the signed root of {size} entries"),
    )
}

async fn many(log: &LogClient, indices: &[LeafIndex], out: Option<&Path>, as_json: bool) -> Outcome {
    let proof = log.prove_many(indices).await?;
    if let Some(path) = out {
        output::write_file(path, format!("{:#}\n", multi_json(&proof)).as_bytes())?;
    }
    output::either(as_json, || multi_json(&proof), || describe(&proof))
}

fn describe(proof: &VerifiedMulti) -> String {
    format!(
        "{} are in the log: one proof of {} hashes leads to the signed root of {} entries; \
         single proofs would take {} hashes",
        output::entries(u64::try_from(proof.indices().len()).unwrap_or(u64::MAX)),
        proof.proof().hashes().len(),
        proof.head().size(),
        hashes_of_singles(proof)
    )
}

/// How many hashes a proof for each entry by itself would take together.
fn hashes_of_singles(proof: &VerifiedMulti) -> usize {
    let single =
        |index: &LeafIndex| plan::inclusion(*index, proof.head().size()).map_or(0, |plan| plan.len());
    proof.indices().iter().map(single).sum()
}

/// The proof with all that it takes to verify it: indices, leaf hashes, proof, signed head.
fn multi_json(proof: &VerifiedMulti) -> Value {
    let indices: Vec<_> = proof.indices().iter().map(|index| index.get()).collect();
    let texts = |hashes: &[graven_merkle::Hash]| hashes.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "indices": indices,
        "leaf_hashes": texts(proof.leaf_hashes()),
        "proof": texts(proof.proof().hashes()),
        "hashes": proof.proof().hashes().len(),
        "hashes_of_single_proofs": hashes_of_singles(proof),
        "tree_size": proof.head().size().get(),
        "checkpoint": proof.head().note(),
    })
}
