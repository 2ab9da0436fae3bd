//! `graven evidence`: what proves something to others, offline: that a log lied, or what it says about a control.

mod archive;
mod collect;
mod controls;
mod fork;
mod names;
mod pack;
mod summary;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{exit::Outcome, remote::TrustedLog, trust::TrustArgs};

pub(crate) use fork::{against, keep, keep_of, write_new};

const VERIFY_EXAMPLES: &str = "\
Needs no server and no network. The keys are yours, as the log's operator published them: none is taken from the file. Ends with exit code 0 \
where the evidence is genuine, and with 1 where it proves nothing.

Evidence of a split view proves that the log's keys signed what cannot both be true. A pack (`graven evidence collect`) proves that each of its entries is \
in the log, and that its counts and its summary say what the entries say. Names in a pack are what the server called the references in the entries.

Examples:
  graven evidence verify --policy audit.policy 3f0c…-5-a1baec9d-5-bf8d4e2c.evidence
  graven evidence verify --key VKEY --origin example.com/audit FILE
  graven evidence verify --policy audit.policy CC6.1-2026-Q1";

/// Collect evidence for a control, or check evidence
#[derive(Args, Debug)]
pub(crate) struct EvidenceArgs {
    #[command(subcommand)]
    command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
enum EvidenceCommand {
    Collect(Box<collect::CollectArgs>),
    Verify(VerifyArgs),
}

/// Check, offline, what a file of evidence or a pack proves
#[derive(Args, Debug)]
#[command(after_help = VERIFY_EXAMPLES)]
struct VerifyArgs {
    /// The file, as the commands that meet a split view write it; or the pack, a folder or a .tar file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The log that the keys given by --key are of [default: the one that they are named after]
    #[arg(long, value_name = "ORIGIN", conflicts_with = "policy", help_heading = "Trust")]
    origin: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

impl EvidenceArgs {
    /// The log, where evidence against it may be met.
    pub(crate) fn log(&self) -> Option<&TrustedLog> {
        match &self.command {
            EvidenceCommand::Collect(args) => Some(&args.log),
            EvidenceCommand::Verify(_) => None,
        }
    }
}

pub(crate) async fn run(args: EvidenceArgs) -> Outcome {
    match args.command {
        EvidenceCommand::Collect(args) => collect::run(*args).await,
        EvidenceCommand::Verify(args) if archive::is_pack(&args.file) => pack::check(&args),
        EvidenceCommand::Verify(args) => fork::check(&args),
    }
}
