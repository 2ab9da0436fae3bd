//! `graven fsck`: a data directory, by its operator.

use std::path::PathBuf;

use clap::Args;
use graven_log::{Env, FsckReport, LogReport, Problem};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure, Outcome},
    output,
};

const EXAMPLES: &str = "\
Run it while no server runs on the directory. Every entry is read and hashed, every tile and every signed head \
compared. Nothing is repaired. Ends with exit code 1 where something is wrong, 4 where entries that were signed \
are missing.

Examples:
  graven fsck --data-dir data
  graven fsck --data-dir data --json";

/// Check a server's data directory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FsckArgs {
    /// The server's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Print one JSON object a log
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &FsckArgs) -> Outcome {
    let bar = output::progress("checking");
    let report = graven_log::fsck(&Env::system(), &args.data_dir, |_, at, of| {
        bar.set_length(of);
        bar.set_position(at);
    });
    bar.finish_and_clear();
    let report = report?;
    for log in &report.logs {
        output::either(args.json, || as_json(log), || describe(log))?;
    }
    verdict(&report)
}

/// The first thing that is wrong, if anything is.
fn verdict(report: &FsckReport) -> Outcome {
    if let Some(journal) = &report.journal {
        // Entries that are missing as well went with it.
        return Err(Failure::check_failed(journal));
    }
    let mut problems =
        report.logs.iter().flat_map(|log| log.problems.iter().map(move |problem| (log, problem)));
    let behind = |(_, problem): &(_, &Problem)| matches!(problem, Problem::Behind { .. });
    let worst = problems.clone().find(behind).or_else(|| problems.next());
    let Some((log, problem)) = worst else { return Ok(()) };
    let exit = if behind(&(log, problem)) { Exit::Rollback } else { Exit::CheckFailed };
    Err(Failure::new(
        exit,
        format_args!("log {}: {problem}; restore the data directory from a copy", log.name),
    ))
}

fn describe(log: &LogReport) -> String {
    let mut lines = vec![format!(
        "{}: {} ({} sealed), signed at {}, {} signed heads compared: {}",
        log.name,
        output::entries(log.entries),
        log.sealed,
        log.signed,
        log.heads,
        if log.problems.is_empty() { "all is well" } else { "damaged" }
    )];
    lines.extend(log.problems.iter().map(|problem| format!("  {problem}")));
    if log.more_problems > 0 {
        lines.push(format!("  and {} more", log.more_problems));
    }
    lines.join("\n")
}

fn as_json(log: &LogReport) -> Value {
    json!({
        "log": log.name.as_str(),
        "ok": log.problems.is_empty(),
        "entries": log.entries,
        "sealed": log.sealed,
        "signed": log.signed,
        "heads": log.heads,
        "problems": log.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "more_problems": log.more_problems,
    })
}
