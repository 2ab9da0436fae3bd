//! `graven import`: other systems' audit records into a log of events.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use graven_event::map::Format;

use super::{
    feed::{self, FeedArgs, RESUMING},
    source::Form,
};
use crate::exit::Outcome;

const RECORDS: &str = "\
Each record becomes one event: its action is the system's own word (of CloudTrail the eventName), and the record stays \
in it, byte for byte and sealed, so that what was made of it can be checked for ever. Records come one after another, \
as a list, or in the containers that the systems write ({\"Records\": […]}, {\"items\": […]}, {\"logs\": […]}); gzip is \
unpacked.

A record that holds a secret (a token, a private key, a member named password or the like) is recorded without the \
record itself, and counted.";

const EXAMPLES: &str = "\
Examples:
  graven import cloudtrail --log audit --producer trail-2026-11 AccountTrail.json.gz
  kubectl logs -f audit | graven import k8s --log cluster -
  graven import okta --log audit --skip-invalid --json system-log.jsonl";

/// Record other systems' audit records
#[derive(Args, Debug)]
#[command(after_help = format!("{RECORDS}\n\n{RESUMING}\n\n{EXAMPLES}"))]
pub(crate) struct ImportArgs {
    /// Whose records they are
    #[arg(value_name = "SYSTEM")]
    system: System,

    /// File with the records; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Leave the records out of the events
    #[arg(long)]
    no_raw: bool,

    #[command(flatten)]
    feed: FeedArgs,
}

/// A system whose records are known.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    /// AWS CloudTrail
    #[value(name = "cloudtrail")]
    CloudTrail,
    /// Okta System Log
    Okta,
    /// Kubernetes audit events
    #[value(name = "k8s")]
    Kubernetes,
    /// Auth0 tenant logs
    Auth0,
    /// GitHub audit log
    #[value(name = "github")]
    GitHub,
    /// Open Cybersecurity Schema Framework
    Ocsf,
    /// Teleport audit events
    Teleport,
}

pub(crate) async fn run(args: ImportArgs) -> Outcome {
    let form = Form::Records { format: args.system.into(), keep_raw: !args.no_raw };
    feed::run(&args.feed, &args.file, form).await
}

impl From<System> for Format {
    fn from(system: System) -> Self {
        match system {
            System::CloudTrail => Self::CloudTrail,
            System::Okta => Self::Okta,
            System::Kubernetes => Self::Kubernetes,
            System::Auth0 => Self::Auth0,
            System::GitHub => Self::GitHub,
            System::Ocsf => Self::Ocsf,
            System::Teleport => Self::Teleport,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_can_be_imported_under_its_word() {
        let words: Vec<_> =
            System::value_variants().iter().map(|it| it.to_possible_value().unwrap()).collect();
        for (format, word) in Format::ALL.iter().zip(words) {
            assert_eq!(format.as_str(), word.get_name());
        }
    }
}
