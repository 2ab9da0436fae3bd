//! `graven keys`: what a data directory's logs sign with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use graven_log::Env;
use graven_note::{Policy, VerifierKey};
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    output,
};

const EXAMPLES: &str = "\
Reads public keys only, and may run beside the server.

Examples:
  graven keys show --data-dir data
  graven keys show --data-dir data --log audit --policy > audit.policy";

/// Show the keys of a data directory's logs
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Show(ShowArgs),
}

/// Print the verifier keys (vkeys) of all logs, one a line
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct ShowArgs {
    /// The server's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Show the keys of this log only [default: of all]
    #[arg(long, value_name = "NAME")]
    log: Option<String>,

    /// Print a policy that trusts the keys instead
    #[arg(long, conflicts_with = "json")]
    policy: bool,

    /// Print one JSON object a key
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &KeysArgs) -> Outcome {
    let KeysCommand::Show(args) = &args.command;
    let logs = graven_log::log_keys(&Env::system(), &args.data_dir)?;
    let asked = |name: &str| args.log.as_deref().is_none_or(|asked| asked == name);
    let keys: Vec<(String, VerifierKey)> = logs
        .into_iter()
        .filter(|(name, ..)| asked(name.as_str()))
        .flat_map(|(name, keys, _)| keys.into_iter().map(move |key| (name.to_string(), key)))
        .collect();
    if let Some(log) = args.log.as_deref().filter(|_| keys.is_empty()) {
        return Err(Failure::trouble(format_args!("{} has no log {log}", args.data_dir.display())));
    }
    if args.policy {
        let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
        return output::bytes(&Policy::without_witnesses(&keys).map_err(Failure::trouble)?.to_bytes());
    }
    keys.iter().try_for_each(|(log, key)| {
        let object = || json!({ "log": log, "origin": key.name().as_str(), "vkey": key.to_string() });
        output::either(args.json, object, || key.to_string())
    })
}
