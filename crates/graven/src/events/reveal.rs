//! `graven reveal`: chosen groups of chosen events, with what proves them to anybody.

use std::path::PathBuf;

use clap::Args;
use graven_client::events::{MAX_REVEALED, VerifiedDisclosure};
use graven_event::{Group, disclosure::Record};
use graven_merkle::LeafIndex;
use serde_json::{Map, Value, json};

use crate::{
    exit::{Failure, Outcome},
    indices, output,
    output::shown,
    remote::TrustedLog,
};

/// How the files of disclosures end.
const EXTENSION: &str = "graven-disclosure";

const EXAMPLES: &str = "\
A disclosure shows some groups of an event and hides the others. It is verified before it is written, and whoever \
gets it verifies it again, offline, with the log's keys: what it shows is what was sealed when the event was recorded.

Groups: actor, targets, token, context, decision, changes, raw, origin.

Without --out a single disclosure goes to standard output. Who revealed what, and why, is an entry of the server's \
access log.

Examples:
  graven reveal --policy audit.policy --groups actor,targets --out case-7 --purpose case-7 17 90-93
  graven verify --policy audit.policy case-7/17.graven-disclosure";

/// Disclose chosen parts of events, provably
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RevealArgs {
    /// Indices of the events, strictly increasing, at most 256: 3 17 90-93
    #[arg(value_name = "INDEX", required = true)]
    indices: Vec<String>,

    /// Groups to show, and no other [default: all that can be read]
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', value_parser = group)]
    groups: Vec<Group>,

    /// Folder to write INDEX.graven-disclosure to; it is made where there is none
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,

    /// Why, for the access log: at most 256 bytes
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    purpose: String,

    /// Print one JSON object a disclosure
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

pub(crate) async fn run(args: RevealArgs) -> Outcome {
    let wanted = indices::list(&args.indices.join(",")).map_err(Failure::trouble)?.0;
    let to_stdout = args.out.is_none() && !args.json;
    if to_stdout && wanted.len() > 1 {
        return Err(Failure::trouble("several disclosures need --out FOLDER, or --json"));
    }
    let log = args.log.open().await?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    }
    for part in wanted.chunks(MAX_REVEALED) {
        for disclosure in log.reveal(part, &args.groups, &args.purpose).await? {
            args.hand_out(&disclosure)?;
        }
    }
    Ok(())
}

impl RevealArgs {
    fn hand_out(&self, disclosure: &VerifiedDisclosure) -> Outcome {
        let path = self.out.as_ref().map(|folder| folder.join(file_name(disclosure.index())));
        if let Some(path) = &path {
            output::write_file(path, disclosure.text().as_bytes())?;
        }
        if self.json {
            let mut object = object(disclosure);
            object.extend(path.map(|path| ("out".to_owned(), json!(path))));
            return output::object(object);
        }
        match path {
            Some(path) => output::line(format_args!("{}: {}", path.display(), describe(disclosure))),
            None => output::bytes(disclosure.text().as_bytes()),
        }
    }
}

fn file_name(index: LeafIndex) -> String {
    format!("{index}.{EXTENSION}")
}

fn group(word: &str) -> Result<Group, String> {
    let words: Vec<_> = Group::ALL.iter().map(|group| group.as_str()).collect();
    Group::named(word).ok_or_else(|| format!("no such group: there are {}", words.join(", ")))
}

/// What a verified disclosure shows, in a line.
pub(crate) fn describe(disclosure: &VerifiedDisclosure) -> String {
    let shown: Vec<_> = disclosure.disclosed().shown.iter().map(|group| group.as_str()).collect();
    let shown = if shown.is_empty() { "no group".to_owned() } else { shown.join(", ") };
    let (head, time) = (disclosure.head(), output::signed_at(disclosure.head()));
    format!(
        "verified: entry {} of {}, under the head of {} signed {time}, shows {shown}{}",
        disclosure.index(),
        head.origin(),
        output::entries(head.size().get()),
        record(disclosure.disclosed().record).map_or(String::new(), |(_, words)| format!("; {words}"))
    )
}

/// What is known of the producer's record, where it is shown.
fn record(record: Record) -> Option<(&'static str, &'static str)> {
    match record {
        Record::Hidden => None,
        Record::Agrees => Some(("agrees", "the producer's record says the same")),
        Record::Unmapped => {
            Some(("unmapped", "whether the producer's record says the same is for its reader to judge"))
        }
    }
}

/// A verified disclosure for programs: what it shows, and nothing that it does not.
pub(crate) fn object(disclosure: &VerifiedDisclosure) -> Map<String, Value> {
    let disclosed = disclosure.disclosed();
    let event = match &disclosed.frame.facts {
        graven_event::Facts::Event(facts) => {
            disclosed.frame.outcome.map(|outcome| super::show::event(Some(&disclosed.view), facts, outcome))
        }
        _ => None,
    };
    let shown: Vec<_> = disclosed.shown.iter().map(|group| group.as_str()).collect();
    Map::from_iter([
        ("ok".to_owned(), json!(true)),
        ("verified".to_owned(), json!(true)),
        ("origin".to_owned(), json!(disclosure.head().origin().as_str())),
        ("index".to_owned(), json!(disclosure.index().get())),
        ("leaf_hash".to_owned(), json!(disclosed.leaf_hash.to_string())),
        ("log_time".to_owned(), json!(disclosed.frame.log_time.to_string())),
        ("tree_size".to_owned(), json!(disclosure.head().size().get())),
        ("root".to_owned(), json!(disclosure.head().root().to_string())),
        (
            "time".to_owned(),
            json!(disclosure.head().time_seconds().and_then(output::time_of).map(output::time)),
        ),
        ("shown".to_owned(), json!(shown)),
        ("record".to_owned(), json!(record(disclosed.record).map(|(word, _)| word))),
        ("event".to_owned(), json!(event)),
    ])
}

/// What a verified disclosure shows, for people: a line for each thing.
pub(crate) fn lines(disclosure: &VerifiedDisclosure) -> Vec<String> {
    let mut object = object(disclosure);
    let event = object.remove("event");
    let Some(Value::Object(event)) = event else { return Vec::new() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let told = event.iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| format!("  {name}: {}", shown(&text(value)))).collect()
}
