//! `graven fsck`: a data directory, by its operator.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use graven_audit::{Checked, Checking};
use graven_log::{Attached, Env, FsckReport, LogMeta, LogName, LogReport, Look, Problem};
use graven_vault::Sight;
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure, Outcome},
    output,
    settings::Settings,
};

const EXAMPLES: &str = "\
Run it while no server runs on the directory. Every entry is read and hashed, every tile and every signed head \
compared. In logs of events every payload must be the one that its entry commits to, or have been dropped by an entry that \
says so; and where the key store can be opened, every person whom payloads name must have a key, or have been erased \
by an entry. Nothing is repaired, and of the key store not a byte is changed. Ends with exit code 1 where something is wrong, 4 where entries that were signed \
are missing.

Examples:
  graven fsck --data-dir data
  graven fsck --data-dir data --config graven.toml
  graven fsck --data-dir data --json";

/// Check a server's data directory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FsckArgs {
    /// The server's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// The server's settings, for where its key store is and what opens it: the only way to a key in a token (PKCS#11)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The folder of the key store [default: vault in the data directory]
    #[arg(long, value_name = "FOLDER")]
    vault: Option<PathBuf>,

    /// The file of its master key [default: vault-key in the data directory]
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,

    /// Print one JSON object a log
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &FsckArgs) -> Outcome {
    let (bar, env) = (output::progress("checking"), Env::system());
    let progress = |_: &LogName, at, of| {
        bar.set_length(of);
        bar.set_position(at);
    };
    let settings = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let vault = settings.vault.at(args.vault.clone(), args.master_key.clone());
    let open = || vault.look(&env, &args.data_dir);
    let mut looking = Looking { checking: Checking::default(), open, found: Ok(BTreeMap::new()) };
    let report = graven_log::fsck_with(&env, &args.data_dir, progress, &mut looking);
    bar.finish_and_clear();
    let (report, events) = (report?, looking.found?);
    for log in &report.logs {
        let events = events.get(&log.name);
        output::either(args.json, || as_json(log, events), || describe(log, events))?;
    }
    verdict(&report)?;
    verdict_of_events(&events)
}

/// Compares with the key store while no server can change it.
struct Looking<F> {
    checking: Checking,
    open: F,
    found: Outcome<BTreeMap<LogName, Checked>>,
}

impl<F: Fn() -> Outcome<Option<Sight>>> Look for Looking<F> {
    fn entry(&mut self, log: &LogMeta, index: u64, entry: &[u8], attached: Attached) {
        self.checking.entry(log, index, entry, attached);
    }

    fn end(&mut self) {
        let checking = std::mem::take(&mut self.checking);
        self.found = (self.open)().map(|vault| checking.finish(vault.as_ref()));
    }
}

/// The first thing that nobody decided, if there is any.
fn verdict_of_events(events: &BTreeMap<LogName, Checked>) -> Outcome {
    let first = events.iter().find_map(|(log, checked)| Some((log, checked.doubts.first()?)));
    first.map_or(Ok(()), |(log, doubt)| Err(Failure::check_failed(format_args!("log {log}: {doubt}"))))
}

/// The first thing that is wrong, if anything is.
pub(crate) fn verdict(report: &FsckReport) -> Outcome {
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

fn describe(log: &LogReport, events: Option<&Checked>) -> String {
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
    lines.extend(events.map(describe_events));
    lines.join("\n")
}

fn describe_events(events: &Checked) -> String {
    let mut lines = vec![format!(
        "  payloads: {} there, {} dropped with authority, of {}: {}",
        events.present,
        events.dropped,
        events.payloads,
        if events.is_clean() { "all is as the log says" } else { "not as the log says" }
    )];
    lines.push(match events.with_keys {
        true => format!("  people: {} named, {} of them erased with authority", events.people, events.erased),
        false => format!("  people: {} named, not compared: there is no key store to open", events.people),
    });
    lines.extend(events.doubts.iter().map(|doubt| format!("  {doubt}")));
    if events.more_doubts > 0 {
        lines.push(format!("  and {} more", events.more_doubts));
    }
    lines.join("\n")
}

fn as_json(log: &LogReport, events: Option<&Checked>) -> Value {
    let mut object = json!({
        "log": log.name.as_str(),
        "ok": log.problems.is_empty() && events.is_none_or(Checked::is_clean),
        "entries": log.entries,
        "sealed": log.sealed,
        "signed": log.signed,
        "heads": log.heads,
        "problems": log.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "more_problems": log.more_problems,
    });
    if let Some(events) = events {
        object["events"] = json!({
            "payloads": events.payloads,
            "present": events.present,
            "dropped": events.dropped,
            "keys_compared": events.with_keys,
            "people": events.people,
            "erased": events.erased,
            "doubts": events.doubts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "more_doubts": events.more_doubts,
        });
    }
    object
}
