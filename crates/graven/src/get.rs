//! `graven get`: one entry, verified.

use clap::Args;
use graven_merkle::LeafIndex;
use serde_json::json;

use crate::{exit::Outcome, indices, output, remote::TrustedLog};

const EXAMPLES: &str = "\
The entry comes with its proof and is printed only if that leads to a head that the log signed.

Examples:
  graven get --policy audit.policy --index 17 > entry
  graven get --policy audit.policy --index 17 --json    # index, leaf_hash, tree_size, entry (base64)";

/// Print one entry of a log, as it was appended
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// Index of the entry; the first one is 0
    #[arg(long, value_name = "N", value_parser = indices::index)]
    index: LeafIndex,

    /// Print one JSON object, with the entry in base64
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: GetArgs) -> Outcome {
    let entry = args.log.open().await?.entry(args.index).await?;
    if !args.json {
        return output::bytes(entry.bytes());
    }
    output::line(json!({
        "index": entry.index().get(),
        "leaf_hash": entry.leaf_hash().to_string(),
        "tree_size": entry.head().size().get(),
        "entry": output::base64(entry.bytes()),
    }))
}
