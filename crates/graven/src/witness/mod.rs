//! `graven witness`: whoever remembers what logs said, and cosigns nothing else.

mod poll;
mod serve;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use graven_note::VerifierKey;
use graven_store::{RealFs, key_file::KeyFileError};
use graven_witness::{HomeError, KEY_TYPES, KeyType, add_log, follow_log, init, known_logs, poll_log};

use crate::{
    exit::{Exit, Failure, Outcome},
    output,
    trust::vkeys,
};

const INIT_EXAMPLES: &str = "\
Prints the witness's verifier keys, one a line and nothing else: they go into the policies of logs and of those who check \
them, as `witness NAME VKEY URL`.

The state in FOLDER/state is what makes a witness: without it, it does not start, and a copy of it that is not the newest \
must not be put in its place.

Examples:
  graven witness init --data-dir w1 --name example.com/w1 > w1.vkeys
  graven witness add-log --data-dir w1 --origin example.com/audit --key VKEY
  graven witness serve --data-dir w1";

const ADD_LOG_EXAMPLES: &str = "\
A checkpoint counts when one of the log's keys signed it, and none of the others wrongly. A running witness notices at once.

Logs that know of the witness come by themselves. Any other is polled, with --poll by its tiles, and its cosigned checkpoint is \
at the witness's /HEX/checkpoint. With --poll-server, over gRPC, its server gets the cosignatures; a log that publishes heads with \
their quorum only has to be polled so, for nobody else is shown the head that waits. Certificates and tokens are remembered by the \
names of their files, and read again when a connection is made anew. What --poll or --poll-server says takes the place of \
everything that was said before; a running witness follows within seconds.

Examples:
  graven witness add-log --data-dir w1 --origin example.com/audit --key VKEY --key VKEY
  graven witness add-log --data-dir w1 --origin example.com/audit --keys audit.vkeys --poll https://log.example.com/audit
  graven witness add-log --data-dir w1 --origin example.com/audit --poll-server https://log.example.com:4740 --log audit \
--token-file w1.token
  graven witness add-log --data-dir w1 --origin example.com/audit --no-poll";

/// Be a witness: remember what logs said, and cosign only what is consistent with it (C2SP tlog-witness)
#[derive(Args, Debug)]
pub(crate) struct WitnessArgs {
    #[command(subcommand)]
    command: WitnessCommand,
}

#[derive(Debug, Subcommand)]
enum WitnessCommand {
    Init(InitArgs),
    AddLog(AddLogArgs),
    List(ListArgs),
    Serve(serve::ServeArgs),
}

/// Make a witness, with keys of its own
#[derive(Args, Debug)]
#[command(after_help = INIT_EXAMPLES)]
struct InitArgs {
    /// Folder to make; refused where it holds anything
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Name of the witness, unique in the world: its keys have it
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What to cosign with: ed25519, ml-dsa-44 or both
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_values = ["ed25519", "ml-dsa-44"])]
    key_types: Vec<String>,
}

/// Make a log known to a witness, known by one more key, or polled
#[derive(Args, Debug)]
#[command(after_help = ADD_LOG_EXAMPLES)]
struct AddLogArgs {
    /// The witness's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// The log's origin: the first line of its checkpoints
    #[arg(long, value_name = "ORIGIN")]
    origin: String,

    /// A verifier key of the log; may be given several times
    #[arg(long = "key", value_name = "VKEY")]
    #[arg(required_unless_present_any = ["key_files", "recovery", "rotations", "poll", "poll_server", "no_poll"])]
    keys: Vec<String>,

    /// File with verifier keys of the log, one a line
    #[arg(long = "keys", value_name = "FILE")]
    key_files: Vec<PathBuf>,

    /// The verifier key of the log's recovery key, which may hand the log over to new keys
    #[arg(long, value_name = "VKEY")]
    recovery: Option<String>,

    /// How the log's keys changed, as `graven keys history` prints it and --recovery authorised it: the new keys count as well,
    /// and the old ones no more above their last size
    #[arg(long, value_name = "FILE")]
    rotations: Option<PathBuf>,

    #[command(flatten)]
    poll: poll::PollArgs,
}

/// Print the logs that a witness knows, with their keys and where they are polled
#[derive(Args, Debug)]
struct ListArgs {
    /// The witness's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
}

pub(crate) async fn run(args: WitnessArgs) -> Outcome {
    match args.command {
        WitnessCommand::Init(args) => run_init(&args),
        WitnessCommand::AddLog(args) => run_add_log(&args),
        WitnessCommand::List(args) => run_list(&args),
        WitnessCommand::Serve(args) => serve::run(args).await,
    }
}

fn run_init(args: &InitArgs) -> Outcome {
    let known = |name: &String| KEY_TYPES.into_iter().find(|kind| kind.name == name);
    let types: Option<Vec<KeyType>> = args.key_types.iter().map(known).collect();
    let types = types.ok_or_else(|| Failure::trouble("a key type is ed25519 or ml-dsa-44"))?;
    let made = init(&RealFs, &args.data_dir, &args.name, &types)?;
    made.keys.iter().try_for_each(output::line)?;
    output::note(format_args!(
        "next: graven witness add-log --data-dir {} --origin ORIGIN --key VKEY",
        args.data_dir.display()
    ));
    Ok(())
}

fn run_add_log(args: &AddLogArgs) -> Outcome {
    let keys = vkeys(&args.keys, &args.key_files)?;
    let change = args.poll.change()?;
    let mut log = add_log(&RealFs, &args.data_dir, &args.origin, &keys)?;
    if let Some(poll) = change {
        log = poll_log(&RealFs, &args.data_dir, &args.origin, poll)?;
    }
    for key in keys.iter().filter(|key| key.name().as_str() != log.origin.as_str()) {
        output::note(format_args!(
            "warning: the key {}+{} is not named like the log: if one of them is misspelt, its checkpoints are refused",
            key.name(),
            key.key_id()
        ));
    }
    if args.recovery.is_some() || args.rotations.is_some() {
        let parse = |vkey: &String| VerifierKey::parse(vkey);
        let recovery = args.recovery.as_ref().map(parse).transpose();
        let recovery = recovery.map_err(|error| Failure::trouble(format_args!("--recovery: {error}")))?;
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| Failure::file(path, &error));
        let history = args.rotations.as_ref().map(read).transpose()?.unwrap_or_default();
        log = follow_log(&RealFs, &args.data_dir, &args.origin, recovery, &history)?;
    }
    let known = log.current.all().len();
    let (count, s) = (known, if known == 1 { "" } else { "s" });
    let polled = log.poll.as_ref().map_or_else(String::new, |poll| format!(", and {}", poll::shown(poll)));
    output::note(format_args!("{} is known by {count} key{s}{polled}", log.origin));
    Ok(())
}

fn run_list(args: &ListArgs) -> Outcome {
    for log in known_logs(&RealFs, &args.data_dir)? {
        output::line(&log.origin)?;
        log.current.all().iter().try_for_each(|key| match log.current.last_size_of(key) {
            Some(last_size) => {
                output::line(format_args!("  {key} up to {}", output::entries(last_size.get())))
            }
            None => output::line(format_args!("  {key}")),
        })?;
        let polled = log.poll.iter().map(poll::shown);
        polled.into_iter().try_for_each(|polled| output::line(format_args!("  {polled}")))?;
    }
    Ok(())
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        match error {
            HomeError::Forgot(_) => Self::new(Exit::Rollback, error),
            HomeError::State(_) | HomeError::Damaged(_) | HomeError::KeyFile(KeyFileError::Mismatch(_)) => {
                Self::check_failed(error)
            }
            _ => Self::trouble(error),
        }
    }
}
