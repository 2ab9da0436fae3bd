//! `graven consistency`: that one tree of a log begins another.

use clap::Args;
use graven_client::VerifiedConsistency;
use graven_merkle::TreeSize;
use serde_json::{Value, json};

use crate::{exit::Outcome, indices, output, remote::TrustedLog};

const EXAMPLES: &str = "\
Both roots are traced to the newest signed head, so nothing before --to was changed, removed or inserted.

Examples:
  graven consistency --policy audit.policy --from 1000 --to 5000";

/// Prove that a log only grew between two sizes
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConsistencyArgs {
    /// Size of the smaller tree, in entries
    #[arg(long, value_name = "M", value_parser = indices::size)]
    from: TreeSize,

    /// Size of the larger tree, in entries, at most the published size
    #[arg(long, value_name = "N", value_parser = indices::size)]
    to: TreeSize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: ConsistencyArgs) -> Outcome {
    if args.from > args.to {
        return Err(crate::exit::Failure::trouble(format_args!(
            "--from {} is above --to {}: give the smaller size first",
            args.from, args.to
        )));
    }
    let proven = args.log.open().await?.consistency(args.from, args.to).await?;
    output::either(args.json, || as_json(&proven), || describe(&proven))
}

fn describe(proven: &VerifiedConsistency) -> String {
    format!(
        "the tree of {} begins with the tree of {}: {} hashes lead from root {} to root {}",
        output::entries(proven.to.get()),
        output::entries(proven.from.get()),
        proven.proof.hashes().len(),
        output::brief(&proven.from_root),
        output::brief(&proven.to_root)
    )
}

fn as_json(proven: &VerifiedConsistency) -> Value {
    json!({
        "from": proven.from.get(),
        "from_root": proven.from_root.to_string(),
        "to": proven.to.get(),
        "to_root": proven.to_root.to_string(),
        "proof": proven.proof.hashes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tree_size": proven.head.size().get(),
    })
}
