//! GitHub: the audit log of an organization or enterprise, and webhooks.
//!
//! People are known by their login: not every record has their number. The hash of a token is its identifier, as GitHub's own search takes
//! it. What was done is a success, except for actions whose last part tells of a failure (`…failed…`) or a refusal (`…rejected…`, `…denied…`),
//! and for workflows that failed.
//!
//! A webhook does not say what it is: its action is that of the thing it brings, as `pull_request.opened`, or `push`.

use super::build::{event, long, party, scopes, shown, time, unknown};
use super::json::Json;
use super::{MapError, action, as_action, wrong};
use crate::model::{Event, Outcome, Party, Token};

/// What a webhook is about, by the first of these members that it has.
const HOOKS: [(&str, &str); 8] = [
    ("review", "pull_request_review"),
    ("comment", "comment"),
    ("workflow_run", "workflow_run"),
    ("workflow_job", "workflow_job"),
    ("pull_request", "pull_request"),
    ("issue", "issues"),
    ("pages", "gollum"),
    ("pusher", "push"),
];
/// A setting and what it was.
const CHANGES: [(&str, &str); 7] = [
    ("visibility", "previous_visibility"),
    ("name", "old_name"),
    ("repo", "old_repo"),
    ("user", "old_user"),
    ("permission", "old_permission"),
    ("ruleset_enforcement", "ruleset_old_enforcement"),
    ("login", "old_login"),
];
/// Members that name a target, with the kind of thing and the member that has its name.
const TARGETS: [(&str, &str, &str); 12] = [
    ("repo", "repository", "repository"),
    ("repository.full_name", "repository", ""),
    ("team", "team", ""),
    ("org", "organization", ""),
    ("business", "enterprise", ""),
    ("hook_id", "hook", "name"),
    ("ruleset_id", "ruleset", "ruleset_name"),
    ("ghsa_id", "advisory", ""),
    ("workflow_run.id", "workflow_run", "workflow_run.name"),
    ("pull_request.number", "pull_request", ""),
    ("issue.number", "issue", ""),
    ("branch", "branch", ""),
];

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    let action = what(record)?;
    let bot = record.flag("actor_is_bot") == Some(true);
    let name = record.first(&["external_identity_username", "external_identity_nameid"]);
    let login = record.first(&["actor", "sender.login", "pusher.name", "pusher"]);
    let actor = party(if bot { "service" } else { Party::USER }, login, name).unwrap_or_else(unknown);
    let outcome = outcome(record, &action);
    let mut event = event("github", action, actor, outcome);
    event.time = time(record, &["created_at", "@timestamp", "at_sign_timestamp"]);
    event.client = party("application", application(record), record.word("oauth_application_name"));
    event.token = token(record);
    event.scope.granted = scopes(record.at("token_scopes"));
    event.decision.reason = record.first(&["reason", "conclusion", "workflow_run.conclusion"]);
    event.context.ip = record.word("actor_ip");
    event.context.user_agent = long(record.at("user_agent"));
    event.context.request_id = record.word("request_id");
    event.source.event_id = record.word("_document_id");
    event.label("operation", record.word("operation_type"));
    event.label("access", record.word("programmatic_access_type"));
    event.label("transport", record.word("transport_protocol_name"));
    let user = record.word("user");
    let deployed = user.filter(|user| Some(user.as_str()) != record.text("actor"));
    event.target(Party::USER, deployed, None);
    for (member, kind, named) in TARGETS {
        let name = if named.is_empty() { None } else { record.word(named) };
        event.target(kind, record.word(member), name);
    }
    for (after, before) in CHANGES {
        if record.at(before) != &Json::Null {
            event.change(after, shown(record.at(before)), shown(record.at(after)));
        }
    }
    Ok(event)
}

fn what(record: &Json) -> Result<String, MapError> {
    let hook =
        HOOKS.iter().find(|(member, _)| record.at(member).is_object() || !record.list(member).is_empty());
    match hook.filter(|_| record.at("repository").is_object()) {
        None => action(record, "action"),
        Some((_, about)) => match record.text("action") {
            Some(done) => as_action("action", format!("{about}.{done}")),
            None if matches!(*about, "gollum" | "push") => Ok((*about).to_owned()),
            None if record.at("pusher").is_object() => Ok("push".to_owned()),
            None => Err(wrong("action", "missing, blank or no text: it says what was done")),
        },
    }
}

fn application(record: &Json) -> Option<String> {
    record.first(&["oauth_application_id", "application_client_id", "integration", "oauth_application_name"])
}

fn token(record: &Json) -> Option<Token> {
    let id = record.first(&["hashed_token", "token_id"])?;
    Some(Token { id: Some(id), ..Token::default() })
}

fn outcome(record: &Json, action: &str) -> Outcome {
    let last = action.rsplit('.').next().unwrap_or_default();
    let conclusion = record.first(&["conclusion", "workflow_run.conclusion", "workflow_job.conclusion"]);
    let says = |word: &str| last.contains(word);
    match conclusion.as_deref() {
        _ if says("rejected") || says("denied") => Outcome::Denied,
        _ if says("failed") => Outcome::Failure,
        Some("failure" | "timed_out" | "cancelled" | "startup_failure") => Outcome::Failure,
        _ => Outcome::Success,
    }
}
