//! Okta System Log, `LogEvent`.
//!
//! | result | outcome |
//! |---|---|
//! | `SUCCESS`, `ALLOW`; `CHALLENGE`, a rule's answer that was given; none, for what is only told | success |
//! | `DENY` | denied |
//! | `FAILURE`, `ABANDONED`, `SKIPPED`, `UNANSWERED`, `UNKNOWN` and all others | failure |
//!
//! The request is `transaction.id`, which all events of one request share. Rules among the targets are the decision's policy.

use super::build::{event, long, party, scopes, short, shown, time, unknown, words};
use super::json::Json;
use super::{MapError, action};
use crate::model::{Event, Outcome, Party, Token};

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    let action = action(record, "eventType")?;
    let actor = who(record.at("actor")).unwrap_or_else(unknown);
    let (outcome, reason) = outcome(record.at("outcome"));
    let mut event = event("okta", action, actor, outcome);
    event.decision.reason = reason;
    event.time = time(record, &["published"]);
    event.client = party("application", known(record, "client.id"), None);
    event.session = ["rootSessionId", "externalSessionId"]
        .into_iter()
        .find_map(|member| known(record.at("authenticationContext"), member));
    let debug = record.at("debugContext.debugData");
    event.scope.requested = scopes(debug.at("requestedScopes"));
    event.scope.granted = scopes(debug.at("grantedScopes"));
    event.context.request_id = record.first(&["transaction.id", "debugContext.debugData.requestId"]);
    event.context.trace_id = debug.word("traceId");
    let chain = record.list("request.ipChain").first();
    event.context.ip = record.word("client.ipAddress").or_else(|| chain?.word("ip"));
    event.context.user_agent = long(record.at("client.userAgent.rawUserAgent"));
    event.source.event_id = record.word("uuid");
    event.label("severity", record.word("severity"));
    event.label("transaction_type", record.word("transaction.type"));
    for target in record.list("target") {
        add(&mut event, target);
    }
    event.token = token(record, debug);
    if let Some(granted) = shown(debug.at("privilegeGranted")) {
        event.change("privilegeGranted", None, Some(granted));
    }
    Ok(event)
}

/// A word, where it is one that says something.
fn known(value: &Json, path: &str) -> Option<String> {
    value.word(path).filter(|word| !matches!(word.as_str(), "unknown" | "null"))
}

fn who(entity: &Json) -> Option<Party> {
    let name = known(entity, "alternateId").or_else(|| known(entity, "displayName"));
    let id = known(entity, "id").or_else(|| known(entity, "alternateId"));
    party(&kind(entity), id, name)
}

fn kind(entity: &Json) -> String {
    let kind = entity.text("type").unwrap_or(Party::USER);
    match kind {
        "User" | "AppUser" => Party::USER.to_owned(),
        "SystemPrincipal" => "system".to_owned(),
        "AppInstance" | "PublicClientApp" | "PublicClientAppEntity" => "application".to_owned(),
        other => other.to_ascii_lowercase().replace(' ', "_"),
    }
}

fn outcome(found: &Json) -> (Outcome, Option<String>) {
    let result = found.text("result");
    let outcome = match result {
        None | Some("SUCCESS" | "ALLOW" | "CHALLENGE") => Outcome::Success,
        Some("DENY") => Outcome::Denied,
        Some(_) => Outcome::Failure,
    };
    let plain = matches!(result, None | Some("SUCCESS" | "FAILURE" | "DENY"));
    let word = result.filter(|_| !plain).map(short);
    (outcome, long(found.at("reason")).or(word))
}

fn add(event: &mut Event, target: &Json) {
    let Some(Party { kind, id, name }) = who(target) else { return };
    if matches!(target.text("type"), Some("PolicyEntity" | "PolicyRule" | "Rule")) {
        event.decision.policy.get_or_insert_with(|| name.clone().unwrap_or_else(|| id.clone()));
    }
    event.target(&kind, Some(id), name);
    let (from, to) = (target.at("changeDetails.from"), target.at("changeDetails.to"));
    for (field, after) in to.members() {
        event.change(field, shown(from.get(field)), shown(after));
    }
    for (field, before) in from.members().filter(|(field, _)| *to.get(field) == Json::Null) {
        event.change(field, shown(before), None);
    }
}

fn token(record: &Json, debug: &Json) -> Option<Token> {
    let shown = record.list("target").iter().find(|target| target.text("type") == Some("access_token"));
    let token = Token {
        id: shown.and_then(|target| known(target, "id")),
        issuer: record.word("authenticationContext.issuer.id"),
        grant_type: debug.word("grantType"),
        amr: words(record.at("authenticationContext.credentialType")),
        ..Token::default()
    };
    (token != Token::default()).then_some(token)
}
