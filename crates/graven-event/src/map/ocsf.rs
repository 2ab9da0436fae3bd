//! OCSF 1.x events, of any class; with names of activities for Account Change (3001), Authentication (3002) and API Activity (6003), where
//! a record has numbers only.
//!
//! The action is class and activity in small letters: `authentication.logon`, `account_change.attach_policy`, `api_activity.read`; the label
//! `operation` is the API's own word. The actor is `actor.user`; of an authentication without one, who signs in. Any other `user` is a
//! target. Blocked or denied (by `action_id`, `disposition_id` or what the status says) is denied; with `status_id` 0 it is unknown how it ended.

use super::build::{event, long, party, says_denied, scopes, short, time, unknown, words};
use super::json::Json;
use super::{MapError, as_action, wrong};
use crate::model::{Event, Outcome, Party, Token};

const AUTHENTICATION: u64 = 3002;
/// Classes by number.
const CLASSES: [(u64, &str); 10] = [
    (3001, "account_change"),
    (AUTHENTICATION, "authentication"),
    (3003, "authorize_session"),
    (3004, "entity_management"),
    (3005, "user_access"),
    (3006, "group_management"),
    (6001, "web_resources_activity"),
    (6002, "application_lifecycle"),
    (6003, "api_activity"),
    (6005, "datastore_activity"),
];
/// Activities by class, from number 1.
const ACTIVITIES: [(u64, &[&str]); 3] = [
    (
        3001,
        &[
            "create",
            "enable",
            "password_change",
            "password_reset",
            "disable",
            "delete",
            "attach_policy",
            "detach_policy",
            "lock",
            "mfa_factor_enable",
            "mfa_factor_disable",
            "unlock",
        ],
    ),
    (
        AUTHENTICATION,
        &[
            "logon",
            "logoff",
            "authentication_ticket",
            "service_ticket_request",
            "service_ticket_renew",
            "preauth",
            "account_switch",
        ],
    ),
    (6003, &["create", "read", "update", "delete"]),
];

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    let action = what(record)?;
    let acting = record.at("actor");
    let session =
        |member: &str| acting.at("session").word(member).or_else(|| record.at("session").word(member));
    let subject = user(record.at("user"));
    let signs_in = record.whole("class_uid") == Some(AUTHENTICATION);
    let named = user(acting.at("user")).or_else(|| subject.clone().filter(|_| signs_in));
    let by = ["app_uid", "app_name", "process.name", "invoked_by"];
    let program = party("application", acting.first(&by), acting.word("app_name"));
    let client = program.clone().filter(|_| named.is_some());
    let mut event = event("ocsf", action, named.or(program).unwrap_or_else(unknown), outcome(record));
    event.client = client;
    event.time = time(record, &["time", "time_dt"]);
    event.session = session("uid");
    event.token = token(record, session("issuer"), session("credential_uid"));
    event.scope.granted = scopes(record.at("actor.session.scopes"));
    event.decision.reason = reason(record);
    event.decision.policy = record.first(&["policy.name", "policy.uid", "firewall_rule.name"]);
    if event.decision.policy.is_none() {
        event.decision.policy =
            acting.list("authorizations").iter().find_map(|found| found.word("policy.name"));
    }
    event.context.request_id =
        record.first(&["api.request.uid", "http_request.uid", "metadata.correlation_uid"]);
    event.context.trace_id = record.word("trace.uid");
    event.context.ip = record.first(&["src_endpoint.ip", "src_endpoint.hostname", "src_endpoint.svc_name"]);
    event.context.user_agent = long(record.at("http_request.user_agent"));
    event.source.service = record.first(&["api.service.name", "metadata.product.name"]);
    event.source.event_id = record.word("metadata.uid");
    event.label("operation", record.word("api.operation"));
    event.label("account", record.word("cloud.account.uid"));
    event.label("region", record.word("cloud.region"));
    event.label("severity", record.word("severity"));
    if let Some(Party { kind, id, name }) = subject.filter(|subject| *subject != event.actor) {
        event.target(&kind, Some(id), name);
    }
    targets(&mut event, record);
    Ok(event)
}

fn what(record: &Json) -> Result<String, MapError> {
    let (class, activity) = (record.whole("class_uid"), record.whole("activity_id"));
    let known = CLASSES.iter().find(|(number, _)| Some(*number) == class).map(|(_, name)| (*name).to_owned());
    let class_name = record.text("class_name").map(lowered).filter(|name| !name.is_empty()).or(known);
    let class_name = class_name.or_else(|| class.map(|class| format!("class_{class}")));
    let activities = ACTIVITIES.iter().find(|(number, _)| Some(*number) == class).map(|(_, names)| *names);
    let position = activity.and_then(|activity| usize::try_from(activity).ok()?.checked_sub(1));
    let known = activities.zip(position).and_then(|(names, at)| names.get(at)).map(|name| (*name).to_owned());
    let activity_name = record.text("activity_name").map(lowered).filter(|name| !name.is_empty()).or(known);
    let activity_name = activity_name.or_else(|| activity.map(|activity| format!("activity_{activity}")));
    let class_name = class_name.ok_or_else(|| wrong("class_uid", "missing or no number"))?;
    let activity_name = activity_name.ok_or_else(|| wrong("activity_id", "missing or no number"))?;
    as_action("activity_name", format!("{class_name}.{activity_name}"))
}

/// `Account Change: Attach Policy` as `account_change_attach_policy`.
fn lowered(name: &str) -> String {
    let parts = name.split(|char: char| !char.is_alphanumeric()).filter(|part| !part.is_empty());
    short(&parts.map(str::to_lowercase).collect::<Vec<_>>().join("_"))
}

fn user(user: &Json) -> Option<Party> {
    let kind = match user.whole("type_id") {
        Some(3) => "system",
        Some(4) => "service",
        _ => Party::USER,
    };
    let name = user.first(&["name", "email_addr", "full_name"]);
    party(kind, user.first(&["uid", "email_addr", "name"]), name)
}

fn outcome(record: &Json) -> Outcome {
    let says = ["status_code", "status", "disposition", "action", "api.response.code", "api.response.error"];
    let code = record.first(&["status_code", "api.response.code"]);
    let denied = says.iter().any(|path| record.text(path).is_some_and(says_denied))
        || matches!(code.as_deref(), Some("401" | "403"))
        || record.whole("disposition_id") == Some(2)
        || record.whole("action_id") == Some(2);
    let failed = record.whole("status_id") == Some(2)
        || record.text("status").is_some_and(|status| status.to_ascii_lowercase().starts_with("fail"))
        || record.text("api.response.error").is_some();
    match (denied, failed) {
        (true, _) => Outcome::Denied,
        (false, true) => Outcome::Failure,
        // The schema's own word for it.
        (false, false) if record.whole("status_id") == Some(0) => Outcome::Unknown,
        (false, false) => Outcome::Success,
    }
}

fn reason(record: &Json) -> Option<String> {
    let paths =
        ["status_detail", "api.response.error_message", "api.response.error", "status_code", "message"];
    let told = paths.iter().find_map(|path| long(record.at(path)));
    told.filter(|_| record.whole("status_id") != Some(1))
}

fn token(record: &Json, issuer: Option<String>, session_credential: Option<String>) -> Option<Token> {
    let factors = record.list("auth_factors").iter().filter_map(|factor| factor.word("factor_type"));
    let mut amr: Vec<String> = factors.map(|factor| lowered(&factor)).collect();
    let mfa = [record.flag("is_mfa"), record.flag("actor.session.is_mfa")].contains(&Some(true));
    amr.extend(mfa.then(|| "mfa".to_owned()));
    amr.truncate(crate::check::MAX_TOKEN_VALUES);
    let token = Token {
        id: session_credential.or_else(|| record.word("actor.user.credential_uid")),
        issuer,
        grant_type: record.word("auth_protocol").map(|protocol| lowered(&protocol)),
        audience: words(record.at("authentication_token.audience")),
        amr,
        ..Token::default()
    };
    (token != Token::default()).then_some(token)
}

fn targets(event: &mut Event, record: &Json) {
    for (member, kind) in
        [("entity", "entity"), ("group", "group"), ("policy", "policy"), ("service", "service")]
    {
        thing(event, record.at(member), kind);
    }
    for resource in record.list("resources").iter().chain([record.at("resource")]) {
        thing(event, resource, "resource");
    }
    for member in ["dst_endpoint", "device"] {
        let end = record.at(member);
        event.target("host", end.first(&["uid", "hostname", "ip", "svc_name"]), end.word("name"));
    }
}

fn thing(event: &mut Event, thing: &Json, kind: &str) {
    let kind = thing.text("type").map_or_else(|| kind.to_owned(), lowered);
    event.target(&kind, thing.first(&["uid", "name"]), thing.word("name"));
}
