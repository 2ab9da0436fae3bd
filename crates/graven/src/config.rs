//! `graven config`: whether a server could run with its settings.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use graven_log::Publish;
use std::time::Duration;

use crate::{
    exit::Outcome,
    output,
    serve::{OpsPort, Prepared, ServeArgs},
};

const EXAMPLES: &str = "\
Reads the settings, certificates, keys and credentials as `graven serve` would, and ends with exit code 2 and one line \
where it would refuse. Opens no socket and no data directory.

Examples:
  graven config check --config graven.toml";

/// Tokens that expire within this time are named.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Check a server's settings
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(CheckArgs),
}

/// Check everything that a server reads before it starts
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct CheckArgs {
    /// Settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(args: ConfigArgs) -> Outcome {
    let ConfigCommand::Check(args) = args.command;
    let shown = args.config.display().to_string();
    let prepared = Prepared::new(&ServeArgs::of_file(args.config))?;
    let scheme = if prepared.options.tls.is_some() { "https" } else { "http" };
    output::line(format_args!("data_dir     {}", prepared.data_dir.display()))?;
    output::line(format_args!("listen       {scheme}://{}", prepared.listen))?;
    let ops = match prepared.ops {
        OpsPort::Off => "off".to_owned(),
        OpsPort::Default(address) | OpsPort::At(address) => address.to_string(),
    };
    output::line(format_args!("ops.listen   {ops}"))?;
    if let Some(tls) = &prepared.options.tls {
        let ends = humantime::format_rfc3339_seconds(tls.not_after());
        output::line(format_args!("tls          the certificate is good until {ends}"))?;
    }
    let credentials = prepared.material.credentials();
    let expiring = credentials.expiring_within(SOON);
    output::line(format_args!("access       {} credentials", credentials.len()))?;
    if !expiring.is_empty() {
        output::line(format_args!("             expired, or soon: {}", expiring.join(", ")))?;
    }
    for issuer in credentials.validator().iter().flat_map(|validator| validator.issuers()) {
        let asked = match &issuer.introspection {
            None => "its tokens are checked by its keys alone",
            Some(asked) if asked.signed => "it is asked about its tokens",
            Some(_) => "it is asked about opaque tokens",
        };
        output::line(format_args!("issuer       {}: {}: {asked}", issuer.name, issuer.rules.issuer))?;
    }
    for (log, witnessing) in &prepared.config.witnessing {
        let count = witnessing.policy().witnesses().count();
        let publish = match witnessing.publish {
            Publish::Signed => "as soon as they are signed",
            Publish::Witnessed => "with their quorum",
        };
        output::line(format_args!("witnessing   {log}: {count} witnesses, heads are published {publish}"))?;
    }
    if let Some(traces) = &prepared.traces {
        output::line(format_args!(
            "traces       {} of calls to {}",
            traces.sample_ratio, traces.otlp_endpoint
        ))?;
    }
    output::line(format_args!("{shown}: all is well"))
}
