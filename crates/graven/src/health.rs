//! `graven health`: whether a server is ready, for containers that have no other program to ask with.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use graven_client::{RetryPolicy, WebOptions, WebSite, audit::TileSource as _};

use crate::{
    credentials,
    exit::{Failure, Outcome},
    output,
};

/// A probe that waits longer says nothing that its caller does not know.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Ends with exit code 0 when the server takes entries, and with 2 when it does not, or does not answer within 5 s.

Examples:
  graven health
  graven health --url https://localhost:4740/readyz --ca ca.pem";

/// Ask a server whether it is ready
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    /// What to ask: /readyz, or /healthz for whether the process lives at all, at the main or the operators' port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4741/readyz")]
    url: String,

    /// Believe that the server is the right one if these CAs signed its certificate (PEM) [default: those that the
    /// system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(crate) async fn run(args: HealthArgs) -> Outcome {
    let HealthArgs { url, ca } = args;
    let asked = url.rsplit_once('/').map(|(prefix, probe)| (prefix.to_owned(), probe.to_owned()));
    let (prefix, probe) =
        asked.ok_or_else(|| Failure::trouble(format_args!("{url:?} is no address of a probe")))?;
    let options = WebOptions {
        roots: ca.as_deref().map(credentials::roots).transpose()?.unwrap_or_default(),
        connect_timeout: PATIENCE,
        attempt_timeout: PATIENCE,
        retries: RetryPolicy::NEVER,
        ..WebOptions::default()
    };
    let server = WebSite::new(&prefix, options)?;
    let answer = tokio::task::spawn_blocking(move || server.fetch(&probe)).await.map_err(Failure::trouble)?;
    match answer {
        Ok(Some(_)) => output::line("ok"),
        Ok(None) => Err(Failure::trouble(format_args!("there is no probe at {url}"))),
        Err(error) => Err(Failure::trouble(format_args!("{url}: {error}"))),
    }
}
