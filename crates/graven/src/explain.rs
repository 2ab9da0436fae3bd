//! `graven explain`: why a decision came out as it did.

use clap::Args;
use graven_client::scopes::VerifiedExplanation;
use graven_event::{Time, Word};
use graven_merkle::LeafIndex;
use serde_json::json;

use crate::{
    exit::{Failure, Outcome},
    indices, output,
    output::shown,
    remote::TrustedLog,
    scopes::{show, times::brief},
};

const EXAMPLES: &str = "\
The decision, and the entries that made the grants it could have had, are proven to be in the log before anything is printed. Ends with exit \
code 1 where deciding again from the same entries says something else; that is the server's word, `graven replay` is everybody's own.

Examples:
  graven explain --policy audit.policy 4711
  graven explain --policy audit.policy 4711 --json | jq .reason";

/// Say why a decision came out as it did, proven
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// The decision's entry, as `graven check` names it
    #[arg(value_name = "INDEX", value_parser = indices::index)]
    index: LeafIndex,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: ExplainArgs) -> Outcome {
    let explained = args.log.open().await?.explain(args.index).await?;
    if args.json {
        output::line(as_json(&explained))?;
    } else {
        in_words(&explained)?;
    }
    if explained.is_reproduced() {
        return Ok(());
    }
    let (allowed, reason) = explained.again();
    Err(Failure::check_failed(format_args!(
        "entry {} says {}, and deciding again says {}",
        args.index,
        verdict(explained.is_allowed(), explained.decision().reason.as_str()),
        verdict(allowed, reason)
    )))
}

fn verdict(allowed: bool, reason: &str) -> String {
    format!("{}: {}", if allowed { "allowed" } else { "denied" }, shown(reason))
}

fn in_words(explained: &VerifiedExplanation) -> Outcome {
    let decision = explained.decision();
    let scopes: Vec<_> = decision.scopes.iter().map(Word::as_str).collect();
    let subject =
        show::text(explained.subject()).map_or_else(String::new, |subject| format!(" for {subject}"));
    let resource = decision.resource.as_ref().map_or_else(String::new, |resource| format!(" at {resource}"));
    output::line(format_args!(
        "{}, entry {}",
        verdict(explained.is_allowed(), decision.reason.as_str()),
        explained.index()
    ))?;
    output::line(format_args!(
        "  {} wanted {}{subject}{resource}, to do {}",
        shown(explained.client()),
        shown(&scopes.join(", ")),
        shown(decision.action.as_str())
    ))?;
    output::line(format_args!(
        "  decided {} from the first {}, by rules {}",
        brief(Some(Time(decision.decided_at))),
        output::entries(decision.state_size),
        decision.rules
    ))?;
    if let Some(count) = decision.count.filter(|count| *count > 1) {
        output::line(format_args!(
            "  stands for {count} decisions alike, since {}",
            brief(decision.since.map(Time))
        ))?;
    }
    if decision.token.is_some() {
        let issued =
            decision.issued.map(Time).map_or_else(|| "at no stated time".to_owned(), |at| brief(Some(at)));
        let presented: Vec<_> = decision.presented.iter().map(Word::as_str).collect();
        output::line(format_args!(
            "  a token issued {issued} was shown, with {}",
            shown(&presented.join(", "))
        ))?;
    }
    output::line("")?;
    show::grants(explained.grants()).print()?;
    output::note(format_args!(
        "{} entries, proven by one proof of {} hashes under the signed head of {}; deciding again says {}",
        explained.leaves().len(),
        explained.proof().proof().hashes().len(),
        output::entries(explained.head().size().get()),
        verdict(explained.again().0, explained.again().1)
    ));
    Ok(())
}

fn as_json(explained: &VerifiedExplanation) -> serde_json::Value {
    let decision = explained.decision();
    let words = |words: &[Word]| words.iter().map(|word| word.as_str().to_owned()).collect::<Vec<_>>();
    let time = |time: Option<u64>| time.map(|time| Time(time).to_string());
    json!({
        "index": explained.index().get(),
        "allowed": explained.is_allowed(),
        "reason": decision.reason.as_str(),
        "allowed_again": explained.again().0,
        "reason_again": explained.again().1,
        "reproduced": explained.is_reproduced(),
        "state_size": decision.state_size,
        "decided_at": Time(decision.decided_at).to_string(),
        "action": decision.action.as_str(),
        "client": explained.client(),
        "subject": show::text(explained.subject()),
        "scopes": words(&decision.scopes),
        "resource": decision.resource.as_ref().map(Word::as_str),
        "token": decision.token.map(|_| json!({
            "issued": time(decision.issued),
            "expires": time(decision.expires),
            "presented": words(&decision.presented),
        })),
        "count": decision.count.unwrap_or(1),
        "rules": decision.rules,
        "grants": explained.grants().iter().map(show::grant_json).collect::<Vec<_>>(),
        "definitions": explained.scopes().iter().map(show::scope_json).collect::<Vec<_>>(),
        "proven": explained.leaves().keys().map(|index| index.get()).collect::<Vec<_>>(),
        "proven_in_size": explained.head().size().get(),
    })
}
