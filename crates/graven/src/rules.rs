//! `graven rules`: what is to raise an alert.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use graven_client::alerts::{ReportedRule, RuleText, Severity};
use serde_json::{Value, json};

use crate::{
    alerts::{self, SeverityArg},
    exit::{Failure, Outcome},
    output,
    output::shown,
    remote::LogAtServer,
    table::Table,
};

/// Longest rule.
const MAX_RULE_BYTES: u64 = 4096;

/// Characters of a sentence that stand in a table.
const MAX_SHOWN: usize = 80;

const EXAMPLES: &str = "\
A rule is applied to every entry after the one that says so; what it finds is itself an entry. Built-in rules are part of what a log is: their \
alerts follow in the same commit, and `graven replay` sees where one is missing. Rules in CEL read events as far as they can be opened; their \
alerts come within a second.

A rule in CEL is TOML with these keys and no others:

  when          expression over `event`: whether an entry counts; whatever fails in it is false
  by            expression: what entries are counted by [default: all together]
  count         how many of them [default: 1]
  within        within which time: 30s, 10m, 2h, 1d
  quiet         for how long nothing more is said of the same [default: as within]
  description   what it is for

  description = \"somebody guesses a password\"
  when = '''event.action == \"auth.login\" && event.outcome == \"denied\"'''
  by = \"event.actor.id\"
  count = 3
  within = \"10m\"

Examples:
  graven rules list
  graven rules enable denial-burst
  graven rules test guessed.toml --from 0
  graven rules define guessed.toml --severity high
  graven rules retire guessed";

/// Define, try, enable, retire or list rules that raise alerts
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    List(ListArgs),
    Define(DefineArgs),
    Enable(EnableArgs),
    Retire(RetireArgs),
    Test(TestArgs),
}

/// List the rules that are applied, and the built-in ones that could be
#[derive(Args, Debug)]
struct ListArgs {
    /// Print one JSON object a rule
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// Apply a rule in CEL to what follows; it replaces one of the same name
#[derive(Args, Debug)]
struct DefineArgs {
    /// The rule: at most 4,096 bytes
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Its name: 1 to 63 of a-z, 0-9 and - [default: the file's, without what follows the first dot]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How bad it is
    #[arg(long, value_name = "SEVERITY")]
    severity: SeverityArg,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// Apply a built-in rule to what follows
#[derive(Args, Debug)]
struct EnableArgs {
    /// Its name, as `rules list` prints it
    #[arg(value_name = "RULE")]
    name: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// No longer apply a rule
#[derive(Args, Debug)]
struct RetireArgs {
    /// Its name
    #[arg(value_name = "RULE")]
    name: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// Print what a rule would have raised over a range of the past; nothing is raised
#[derive(Args, Debug)]
struct TestArgs {
    /// The rule
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The first entry
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,

    /// The entry after the last [default: all that there are]
    #[arg(long, value_name = "INDEX", default_value_t = 0, hide_default_value = true)]
    to: u64,

    /// Print one JSON object an alert
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

pub(crate) async fn run(args: RulesArgs) -> Outcome {
    match args.command {
        RulesCommand::List(args) => list(args).await,
        RulesCommand::Define(args) => define(args).await,
        RulesCommand::Enable(args) => enable(args).await,
        RulesCommand::Retire(args) => retire(args).await,
        RulesCommand::Test(args) => test(args).await,
    }
}

async fn list(args: ListArgs) -> Outcome {
    let rules = args.log.alerts().await?.rules().await?;
    if args.json {
        return rules.iter().map(as_json).try_for_each(output::line);
    }
    let mut table = Table::new(["RULE", "LANGUAGE", "SEVERITY", "APPLIED SINCE", "HASH", "WHAT"]);
    for rule in &rules {
        table.row([
            rule.text.name.clone(),
            rule.text.language.clone(),
            rule.text.severity.map_or_else(String::new, |severity| severity.as_str().to_owned()),
            if rule.is_active { format!("entry {}", rule.index) } else { String::new() },
            hex(&rule.hash).chars().take(16).collect(),
            what(&rule.text.source),
        ]);
    }
    table.print()
}

/// What a rule is for, as its text says: its first sentence.
fn what(source: &str) -> String {
    let said = match (source.split_once("meaning = \"\"\"\n"), source.split_once("description = \"")) {
        (Some((_, meaning)), _) => meaning.split(". ").next(),
        (None, Some((_, description))) => description.split('"').next(),
        (None, None) => source.lines().next(),
    };
    let said = said.unwrap_or_default().lines().next().unwrap_or_default();
    let brief: String = said.chars().take(MAX_SHOWN).collect();
    if brief.len() < said.len() { brief + "…" } else { brief }
}

async fn define(args: DefineArgs) -> Outcome {
    let severity = Some(args.severity.into());
    let rule = RuleText { name: name_of(args.name, &args.file)?, severity, ..read(&args.file)? };
    let (index, hash) = args.log.alerts().await?.define(&rule).await?;
    applied(&rule.name, index.get(), &hash, args.json)
}

async fn enable(args: EnableArgs) -> Outcome {
    let (index, hash) = args.log.alerts().await?.enable(&args.name).await?;
    applied(&args.name, index.get(), &hash, args.json)
}

fn applied(name: &str, index: u64, hash: &[u8], as_json: bool) -> Outcome {
    output::either(
        as_json,
        || json!({ "rule": name, "index": index, "hash": hex(hash) }),
        || format!("{} is applied to what follows entry {index}: hash {:.16}…", shown(name), hex(hash)),
    )
}

async fn retire(args: RetireArgs) -> Outcome {
    let index = args.log.alerts().await?.retire(&args.name).await?;
    output::either(
        args.json,
        || json!({ "rule": args.name, "index": index.get() }),
        || format!("{} is no longer applied: entry {index} says so", shown(&args.name)),
    )
}

async fn test(args: TestArgs) -> Outcome {
    let rule = RuleText { severity: Some(Severity::Low), ..read(&args.file)? };
    let mut test = args.log.alerts().await?.test(&rule, args.from..args.to).await?;
    let mut alerts: u64 = 0;
    while let Some(alert) = test.next().await? {
        if args.json {
            output::object(alerts::object(&alert))?;
        } else {
            if alerts == 0 {
                output::line(alerts::header())?;
            }
            output::line(alerts::row(&alert))?;
        }
        alerts += 1;
    }
    let tested = test.tested();
    let unreadable = match tested.unreadable {
        0 => String::new(),
        entries => format!("; {entries} could not be read, as they are erased or dropped"),
    };
    output::note(format_args!(
        "{alerts} alerts from entry {} to {}{unreadable}",
        args.from,
        tested.next_index.saturating_sub(1)
    ));
    Ok(())
}

/// A rule in CEL out of a file, without name and severity.
fn read(file: &Path) -> Outcome<RuleText> {
    let length = fs::metadata(file).map_err(|error| Failure::file(file, &error))?.len();
    if length > MAX_RULE_BYTES {
        let path = file.display();
        return Err(Failure::trouble(format_args!(
            "{path} is longer than a rule, which has {MAX_RULE_BYTES} bytes at most"
        )));
    }
    let source = fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    Ok(RuleText { name: "test".to_owned(), language: "cel".to_owned(), severity: None, source })
}

fn name_of(given: Option<String>, file: &Path) -> Outcome<String> {
    let of_file = || file.file_name()?.to_str()?.split('.').next().map(str::to_owned);
    given.or_else(of_file).ok_or_else(|| Failure::trouble("the file has no name for a rule: give --name"))
}

fn as_json(rule: &ReportedRule) -> Value {
    json!({
        "rule": rule.text.name,
        "language": rule.text.language,
        "severity": rule.text.severity.map(Severity::as_str),
        "source": rule.text.source,
        "hash": hex(&rule.hash),
        "index": rule.is_active.then_some(rule.index),
        "active": rule.is_active,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
