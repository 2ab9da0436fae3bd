//! `graven replay`: everything that follows from a log's entries, computed again.

mod bundle;
mod directory;
mod film;
mod names;
mod run;
mod server;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    output,
    remote::TrustedLog,
};
use run::Replayed;

const EXAMPLES: &str = "\
Reads every entry of a log of events and decides again: whether each command counts, how each decision came out, which alerts of built-in rules \
had to follow, and what producers lack. Each entry that says something else is named. Nothing is taken from anybody's word: from a server \
the entries are read under a signed head, --bundle holds the signed head that its entries lead to, and those of --data-dir are compared with all that \
was signed. Alerts of rules in CEL need the events opened, and are not computed again.

With --client, that application's film is printed: every command about it and every decision for it, in the order of the log. A client is \
named as requests name it, or by what stands for it in entries (32 hex digits), which is all that a bundle knows.

Ends with exit code 1 where anything does not follow, and where the entries are not those that were signed.

Examples:
  graven replay --policy audit.policy --server https://log.example.com:4740 --log audit
  graven replay --policy audit.policy --log audit --client billing
  graven replay --data-dir data --log audit                        # of a stopped server
  graven replay --policy audit.policy --log audit --save audit.leaves
  graven replay --policy audit.policy --bundle audit.leaves        # anywhere, offline";

/// Compute every decision, command and alert of a log again, and report what differs
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// Data directory of a stopped server, instead of a server
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// File that --save wrote, instead of a server
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    bundle: Option<PathBuf>,

    /// Keep the entries and the signed head that they lead to, for --bundle
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "bundle"])]
    save: Option<PathBuf>,

    /// Print the film of this application
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// The folder of the key store, for names [default: vault in the data directory]
    #[arg(long, value_name = "FOLDER", requires = "data_dir")]
    vault: Option<PathBuf>,

    /// The file of its master key [default: vault-key in the data directory]
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    master_key: Option<PathBuf>,

    /// Print one JSON object a line: of each mismatch, of each entry of the film, and of the whole
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: ReplayArgs) -> Outcome {
    let replayed = match (&args.data_dir, &args.bundle) {
        (Some(dir), _) => directory::replay(&args, dir)?,
        (None, Some(file)) => vec![bundle::replay(&args, file)?],
        (None, None) => vec![server::replay(&args).await?],
    };
    for replayed in &replayed {
        report(&args, replayed)?;
    }
    let wrong = replayed.iter().find_map(|log| Some((&log.origin, log.first_mismatch.as_ref()?)));
    wrong
        .map_or(Ok(()), |(origin, mismatch)| Err(Failure::check_failed(format_args!("{origin}: {mismatch}"))))
}

fn report(args: &ReplayArgs, replayed: &Replayed) -> Outcome {
    let (counts, size) = (&replayed.counts, replayed.size);
    if args.json {
        return output::line(json!({
            "ok": replayed.first_mismatch.is_none(),
            "origin": replayed.origin,
            "entries": size,
            "root": replayed.root.to_string(),
            "commands": counts.commands,
            "commands_refused": counts.refused,
            "decisions": counts.decisions,
            "decisions_denied": counts.denied,
            "alerts": counts.alerts,
            "events": counts.events,
            "mismatches": replayed.mismatches,
        }));
    }
    output::line(format_args!(
        "replayed: all {} of {}: {} commands ({} refused), {} decisions ({} denied), {} alerts, {} events; {}",
        output::entries(size),
        replayed.origin,
        counts.commands,
        counts.refused,
        counts.decisions,
        counts.denied,
        counts.alerts,
        counts.events,
        match replayed.mismatches {
            0 => "all of it follows from the entries".to_owned(),
            1 => "1 does not follow".to_owned(),
            wrong => format!("{wrong} do not follow"),
        }
    ))
}
