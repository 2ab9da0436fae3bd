//! `graven scopes history`: what was ever done about an application and a scope.

use clap::Args;
use serde_json::{Value, json};

use super::show;
use crate::{exit::Outcome, output, remote::TrustedLog};

const EXAMPLES: &str = "\
Who asked, who approved, when it was first and last used and when it was revoked, each with its entry; what was refused too. All entries are \
proven to be in the log by one proof, before anything is printed. What was done, when, and whether it counts stands in the entries; who \
somebody is, is the server's word. That a step was left out, no proof shows: `graven replay --client CLIENT` reads every entry.

Examples:
  graven scopes history --policy audit.policy billing payroll.read
  graven scopes history --policy audit.policy billing --json";

/// Print what was ever done about an application and a scope, proven
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct HistoryArgs {
    /// The application: its OAuth client id
    #[arg(value_name = "CLIENT")]
    client: String,

    /// The scope [default: all of its scopes]
    #[arg(value_name = "SCOPE", default_value = "", hide_default_value = true)]
    scope: String,

    /// Print one JSON object a step, and one with the proof at the end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) log: TrustedLog,
}

pub(super) async fn run(args: HistoryArgs) -> Outcome {
    let history = args.log.open().await?.history(&args.client, &args.scope).await?;
    if args.json {
        for step in history.steps() {
            output::object(show::step_json(step))?;
        }
        let proof = history.proof().map(|proof| {
            let indices: Vec<_> = proof.indices().iter().map(|index| index.get()).collect();
            let hashes: Vec<_> = proof.proof().hashes().iter().map(output::base64).collect();
            json!({ "indices": indices, "hashes": hashes })
        });
        let mut object = output::head_json(history.head());
        object["proof"] = proof.unwrap_or(Value::Null);
        object["steps"] = json!(history.steps().len());
        object["truncated"] = json!(history.is_truncated());
        return output::line(object);
    }
    if !history.steps().is_empty() {
        output::line(show::step_header())?;
    }
    history.steps().iter().try_for_each(|step| output::line(show::step(step)))?;
    let hashes = history.proof().map_or(0, |proof| proof.proof().hashes().len());
    output::note(format_args!(
        "{} steps, proven by one proof of {hashes} hashes under the signed head of {}",
        history.steps().len(),
        output::entries(history.head().size().get())
    ));
    if history.is_truncated() {
        output::note("there were more: these are the newest");
    }
    Ok(())
}
