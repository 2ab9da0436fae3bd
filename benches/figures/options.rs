//! What the command line says.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure Graven against what its machine can do, and print a table and JSON
#[derive(Clone, Debug, Parser)]
#[command(name = "figures")]
pub(crate) struct Options {
    /// Few short rounds and 10^6 entries instead of 10^7: shows that everything runs, and says nothing about speed
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure these figures only; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Family>,

    /// List the names of all figures
    #[arg(long)]
    pub(crate) list: bool,

    /// Write the JSON into a file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Cargo says so to every benchmark
    #[arg(long, hide = true)]
    bench: bool,

    /// Be the echo
    #[arg(long, hide = true)]
    pub(crate) echo_server: bool,

    /// What the echo answers when it is asked for a proof
    #[arg(long, hide = true, requires = "echo_server")]
    pub(crate) answer: Option<PathBuf>,
}

/// Figures that are measured together, in the order of a complete run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    /// Unary durable append ÷ E, at concurrency 256 and 1,024, and its 99th percentile
    Append,
    /// Acknowledgement at concurrency 1 ÷ (E + F)
    Ack,
    /// AppendBatch of 256 ÷ L, at 256 B and 1 KiB, with all of it sealed
    Batch,
    /// AppendStream ÷ unary append
    Stream,
    /// Append with 100 ms checkpoints ÷ without
    Checkpoints,
    /// Disk and memory after 10^7 entries
    Size,
    /// GetInclusionProof ÷ E, multi-entry proofs ÷ single ones
    Proof,
    /// Append and proof at 10^7 entries ÷ at 10^4
    Growth,
    /// `graven audit` ÷ bare hashing
    Audit,
    /// Start after kill -9 at 10^7 entries
    Start,
    /// Witnessed − published append, with two of three local witnesses
    Witnessed,
    /// One witness: add-checkpoint over many logs, in process and over HTTP
    Witness,
    /// A mirror's hashing ÷ bare SHA-256 over the same bytes
    Mirror,
    /// Record ÷ Append with a JWT, found by the index; batches, streams, and the parts of it
    Record,
    /// From an event's acknowledgement to the answer that has it, at 10,000 a second
    Visible,
    /// Disk an event ÷ its raw record, of CloudTrail's
    EventSize,
    /// Questions to a log of 10^6 events, among them a seeded incident
    Find,
    /// CheckAccess with its durable decision ÷ E, plain, with a context, and recorded in sums
    Check,
}

impl Family {
    /// Its name and what it measures.
    pub(crate) fn line(self) -> String {
        let value = self.to_possible_value().expect("no figure is hidden");
        format!("{:<12} {}", value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default())
    }
}

impl Options {
    /// What is to be measured.
    pub(crate) fn families(&self) -> Vec<Family> {
        let all = Family::value_variants().iter().copied();
        all.filter(|family| self.only.is_empty() || self.only.contains(family)).collect()
    }
}
