//! `graven keys`: what a data directory's logs sign with, and how that changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use graven_client::{CallError, ErrorReason};
use graven_log::{Env, LogName};
use graven_merkle::TreeSize;
use graven_note::{KeyName, LocalSigner, Policy, RotationText, SignatureType, Signer as _, VerifierKey};
use graven_store::{
    RealFs,
    key_file::{self, KeyFileError},
};
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    output,
    remote::{LogAtServer, ServerArgs},
};

const SHOW_EXAMPLES: &str = "\
Reads public keys only, and may run beside the server.

Examples:
  graven keys show --data-dir data
  graven keys show --data-dir data --log audit --policy > audit.policy
  graven keys show --data-dir data --log audit --recovery";

const ROTATE_EXAMPLES: &str = "\
New keys are made beside the old ones, which mean nothing until the log's recovery key authorises them. From the announcement
on both sign; above the last size the new ones alone do. Whoever pinned the recovery key (--recovery) follows by itself; who
pinned keys alone gets the new ones from `graven keys show`, and witnesses from their operators, while both sign.

With the recovery key at hand, beside the running server:
  graven keys rotate --data-dir data --log audit --recovery-key /media/usb/recovery-key.pem

With the recovery key on another machine:
  graven keys rotate --data-dir data --log audit > request
  graven keys authorise request --recovery-key recovery-key.pem > statement     (there)
  graven keys announce statement";

/// How often an outrun statement is authorised anew, each time with a longer overlap.
const MAX_TRIES: u32 = 5;

/// Show the keys of a data directory's logs, and rotate them
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    Show(ShowArgs),
    Rotate(Box<RotateArgs>),
    Authorise(AuthoriseArgs),
    Announce(AnnounceArgs),
    History(HistoryArgs),
}

/// Print the verifier keys (vkeys) that sign now, one a line
#[derive(Args, Debug)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// The server's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Show the keys of this log only [default: of all]
    #[arg(long, value_name = "NAME")]
    log: Option<String>,

    /// Print a policy that trusts the keys instead
    #[arg(long, conflicts_with_all = ["json", "recovery"])]
    policy: bool,

    /// Print the verifier key of the recovery key instead, which whoever checks the log pins with --recovery
    #[arg(long)]
    recovery: bool,

    /// Print one JSON object a key
    #[arg(long)]
    json: bool,
}

/// Hand a log over to new keys, beside the running server
#[derive(Args, Debug)]
#[command(after_help = ROTATE_EXAMPLES)]
struct RotateArgs {
    /// The server's data directory, where the new keys are made
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Name of the log, in full: this cannot be undone
    #[arg(long, value_name = "NAME", value_parser = LogName::new)]
    log: LogName,

    /// How many more entries the old keys sign: time for witnesses and for those who pinned keys alone to be told
    #[arg(long, value_name = "ENTRIES", default_value_t = 65_536)]
    overlap: u64,

    /// The log's recovery key (PEM), to authorise and announce at once [default: print the request for it]
    #[arg(long, value_name = "FILE")]
    recovery_key: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

/// Authorise a request of `graven keys rotate`, on the machine that has the recovery key
#[derive(Args, Debug)]
struct AuthoriseArgs {
    /// The request
    #[arg(value_name = "FILE")]
    request: PathBuf,

    /// The recovery key (PEM), as `graven init` left it
    #[arg(long, value_name = "FILE")]
    recovery_key: PathBuf,
}

/// Send an authorised statement to the server: the new keys sign from now on
#[derive(Args, Debug)]
struct AnnounceArgs {
    /// The statement, as `graven keys authorise` prints it
    #[arg(value_name = "FILE")]
    statement: PathBuf,

    #[command(flatten)]
    server: ServerArgs,
}

/// Print how a log's keys changed, for `--rotations` and for witnesses
#[derive(Args, Debug)]
struct HistoryArgs {
    #[command(flatten)]
    at: LogAtServer,
}

pub(crate) async fn run(args: KeysArgs) -> Outcome {
    match args.command {
        KeysCommand::Show(args) => show(&args),
        KeysCommand::Rotate(args) => rotate(&args).await,
        KeysCommand::Authorise(args) => authorise(&args),
        KeysCommand::Announce(args) => announce(&args).await,
        KeysCommand::History(args) => history(&args).await,
    }
}

fn show(args: &ShowArgs) -> Outcome {
    let logs = graven_log::log_keys(&Env::system(), &args.data_dir)?;
    let asked = |name: &str| args.log.as_deref().is_none_or(|asked| asked == name);
    let keys: Vec<(String, VerifierKey)> = logs
        .into_iter()
        .filter(|(name, ..)| asked(name.as_str()))
        .flat_map(|(name, keys, recovery)| {
            let shown = if args.recovery { vec![recovery] } else { keys.newest().to_vec() };
            shown.into_iter().map(move |key| (name.to_string(), key))
        })
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

async fn rotate(args: &RotateArgs) -> Outcome {
    let env = Env::system();
    let recovery = match &args.recovery_key {
        Some(file) => Some(recovery_of(&env, &args.data_dir, &args.log, file)?),
        None => None,
    };
    let mut text = graven_log::request_rotation(&env, &args.data_dir, &args.log, args.overlap)?;
    let Some(recovery) = recovery else {
        output::note("next: graven keys authorise REQUEST --recovery-key FILE, where the recovery key is");
        return output::bytes(text.to_string().as_bytes());
    };
    let admin = args.server.connect().await?.admin();
    let mut overlap = args.overlap;
    for _ in 0..MAX_TRIES {
        let statement = text.authorise(&recovery).map_err(Failure::trouble)?;
        match admin.rotate_keys(args.log.as_str(), statement.as_bytes()).await {
            Ok((index, last_size)) => return announced(args.log.as_str(), &text, index, last_size),
            Err(error) => {
                let signed = outrun(&error).ok_or(error)?;
                // The log grew faster than that.
                overlap = overlap.saturating_mul(4).max(1024);
                let last_size = TreeSize::new(signed.saturating_add(overlap)).unwrap_or(TreeSize::MAX);
                let (old, new) = (text.old().to_vec(), text.new_keys().to_vec());
                text = RotationText::new(text.origin().clone(), last_size, old, new)
                    .map_err(Failure::trouble)?;
            }
        }
    }
    Err(Failure::trouble("the log outgrew every last size that was tried: name a longer --overlap"))
}

/// The size that a log had signed already when it refused a statement, if that is why.
fn outrun(error: &CallError) -> Option<u64> {
    let refusal = error.refusal().filter(|refusal| refusal.reason() == ErrorReason::RotationOvertaken)?;
    refusal.fact("size")?.parse().ok()
}

fn authorise(args: &AuthoriseArgs) -> Outcome {
    let request = fs::read_to_string(&args.request).map_err(|error| Failure::file(&args.request, &error))?;
    let bad = |error| Failure::trouble(format_args!("{}: {error}", args.request.display()));
    let text = RotationText::parse(&request).map_err(bad)?;
    let recovery = load_recovery(&args.recovery_key, text.origin().as_str())?;
    output::note(format_args!("recovery key {}", recovery.vkey()));
    output::note(format_args!(
        "{}: {} new keys, the old ones sign up to {}",
        text.origin(),
        text.new_keys().len(),
        output::entries(text.last_size().get())
    ));
    let statement = text.authorise(&recovery).map_err(Failure::trouble)?;
    output::note("next: graven keys announce STATEMENT, where the server is reached");
    output::bytes(statement.as_bytes())
}

async fn announce(args: &AnnounceArgs) -> Outcome {
    let statement = fs::read(&args.statement).map_err(|error| Failure::file(&args.statement, &error))?;
    let bad = |error| Failure::trouble(format_args!("{}: {error}", args.statement.display()));
    let rotation = graven_note::Rotation::parse(&statement).map_err(bad)?;
    let text = rotation.text();
    let log = crate::trust::log_name(text.origin().as_str());
    let (index, last_size) =
        args.server.connect().await?.admin().rotate_keys(log, rotation.as_bytes()).await?;
    announced(log, text, index, last_size)
}

fn announced(log: &str, text: &RotationText, index: u64, last_size: u64) -> Outcome {
    output::note(format_args!(
        "announced as entry {index} of {}: both keys sign up to {}, the new ones alone after",
        text.origin(),
        output::entries(last_size)
    ));
    output::note(format_args!(
        "next: give the new keys to witnesses, and to all who pinned keys without --recovery; \
         `graven keys history --log {log}` is what they need"
    ));
    text.new_keys().iter().try_for_each(output::line)
}

async fn history(args: &HistoryArgs) -> Outcome {
    let history = args.at.appender().await?.key_history().await?;
    if history.is_empty() {
        output::note("its keys are those that it began with");
    }
    output::bytes(history.as_bytes())
}

/// The recovery key that the data directory names.
fn recovery_of(env: &Env, data_dir: &Path, log: &LogName, file: &Path) -> Outcome<LocalSigner> {
    let logs = graven_log::log_keys(env, data_dir)?;
    let found = logs.into_iter().find(|(name, ..)| name == log);
    let no_log = || Failure::trouble(format_args!("{} has no log {log}", data_dir.display()));
    let (_, _, vkey) = found.ok_or_else(no_log)?;
    key_file::load(&RealFs, file, &vkey).map_err(|error| unusable(file, &error))
}

/// A recovery key by its file alone: its name is that of the server's logs, which share it.
pub(crate) fn load_recovery(file: &Path, origin: &str) -> Outcome<LocalSigner> {
    let prefix = origin.rsplit_once('/').map_or(origin, |(prefix, _)| prefix);
    let name = KeyName::new(format!("{prefix}/recovery")).map_err(Failure::trouble)?;
    key_file::read(&RealFs, file, name, SignatureType::Ed25519).map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &KeyFileError) -> Failure {
    match error {
        KeyFileError::Key(error) => Failure::trouble(format_args!("{}: {error}", file.display())),
        names_it => Failure::trouble(names_it),
    }
}
