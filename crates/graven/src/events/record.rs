//! `graven record`: audit events into a log of events.

use std::path::PathBuf;

use clap::Args;

use super::{
    feed::{self, FeedArgs, RESUMING},
    source::Form,
};
use crate::exit::Outcome;

const EVENTS: &str = r#"An event is one JSON object a line; gzip is unpacked. It must have

  action    what was done: a word of the catalogue (auth.login, oauth.token.issue, data.export, …), `x.` and words
            of your own, or a product's word with source.product
  actor     who did it: "alice", "service:ci", or {"kind": "user", "id": "u-17", "name": "Alice"}
  outcome   success, failure, denied or, where whoever tells of it does not know, unknown

and may have time (RFC 3339), client, on_behalf_of, session, targets [{kind, id, name}], decision {reason, policy},
token {id, issuer, audience, grant_type, expires, confirmation, acr, amr}, scope {requested, granted, used}, context
{request_id, trace_id, ip, user_agent}, changes [{field, before, after}], source {product, service, event_id}, labels
{key: value}, about [others whom it is about] and raw {format, text}. A member that is none of these is refused.

Action, outcome, scopes, product, labels and times can be searched by everybody who may query; all else is sealed under
the keys of the people whom it is about."#;

const EXAMPLES: &str = "\
Examples:
  graven record --log audit events.jsonl
  graven record --log audit --producer import-7 --json events.jsonl.gz
  tail -F app.jsonl | graven record --log audit -";

/// Record audit events, one JSON object a line
#[derive(Args, Debug)]
#[command(after_help = format!("{EVENTS}\n\n{RESUMING}\n\n{EXAMPLES}"))]
pub(crate) struct RecordArgs {
    /// File with the events; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    #[command(flatten)]
    feed: FeedArgs,
}

pub(crate) async fn run(args: RecordArgs) -> Outcome {
    feed::run(&args.feed, &args.file, Form::Events).await
}
