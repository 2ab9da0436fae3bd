//! Kubernetes audit events, `audit.k8s.io/v1`, also as Azure wraps them (a text in `properties.log`), and as Google Cloud rewrites
//! them (`protoPayload`).
//!
//! The action is resource and verb, a subresource as roles name it: `pods.create`, `pods/exec.create`, `secrets.get`; of a request for no
//! resource `nonresource.get`, with its path as target. A target is `namespace/name`, the kind its resource; where a request names none,
//! as lists do, the namespace or `*`.
//!
//! | user | kind |
//! |---|---|
//! | `system:anonymous` | `anonymous` |
//! | `system:serviceaccount:…` | `service` |
//! | `system:…` | `system` |
//! | others | `user` |
//!
//! How it ended is what the last stage says; of `RequestReceived`, at which nothing was decided yet, it is unknown.
//!
//! An event without a verb, which some shippers drop, is `pods.unknown`. An impersonated user is on whose behalf it was done. People and service accounts that a binding names are targets. Nothing else of
//! request and response objects is looked at: secrets are in `raw` at most.

use super::build::{event, long, of_status, party, scopes, short, time, unknown};
use super::json::Json;
use super::{MapError, as_action, wrong};
use crate::model::{Event, Outcome, Party, Token};

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    if let Some(text) = record.text("properties.log") {
        return audit(&Json::parse(text).map_err(|error| wrong("properties.log", error.what))?);
    }
    match record.at("protoPayload").is_object() {
        true => google(record),
        false => audit(record),
    }
}

fn audit(record: &Json) -> Result<Event, MapError> {
    let object = record.at("objectRef");
    let action = as_action("verb", audit_action(record)?)?;
    let actor = record.text("user.username").map_or_else(unknown, who);
    let mut event = event("k8s", action, actor, outcome(record));
    event.on_behalf_of.extend(record.text("impersonatedUser.username").map(who));
    event.time = time(record, &["stageTimestamp", "requestReceivedTimestamp", "timestamp"]);
    event.decision.reason = reason(record.at("responseStatus"));
    event.decision.policy = record.at("annotations").word("authorization.k8s.io/reason");
    event.token = token(record);
    let extra = record.at("user.extra");
    event.scope.granted = scopes(extra.get("scopes.authorization.openshift.io"));
    event.context.request_id = record.word("auditID");
    event.context.ip = record.list("sourceIPs").first().and_then(Json::as_word);
    event.context.user_agent = long(record.at("userAgent"));
    event.source.service = object.word("apiGroup");
    event.source.event_id = record.word("auditID");
    event.label("namespace", object.word("namespace"));
    event.label("stage", record.word("stage"));
    event.label("level", record.word("level"));
    match object.text("resource") {
        Some(resource) => {
            let named = record.first(&["requestObject.metadata.name", "responseObject.metadata.name"]);
            let name = object.word("name").or(named);
            place(&mut event, resource, object.word("namespace"), name);
        }
        None => event.target("path", record.text("requestURI").and_then(path), None),
    }
    bound(&mut event, record.list("requestObject.subjects"));
    Ok(event)
}

fn audit_action(record: &Json) -> Result<String, MapError> {
    let audited = record.text("kind") == Some("Event") || record.at("user").is_object();
    let verb = match record.text("verb") {
        Some(verb) => verb,
        None if audited => "unknown",
        None => return Err(wrong("verb", "missing, blank or no text: it says what was done")),
    };
    let object = record.at("objectRef");
    Ok(match (object.text("resource"), object.text("subresource")) {
        (Some(resource), Some(sub)) => format!("{resource}/{sub}.{verb}"),
        (Some(resource), None) => format!("{resource}.{verb}"),
        (None, _) => format!("nonresource.{verb}"),
    })
}

fn who(name: &str) -> Party {
    let kind = match name {
        "system:anonymous" => "anonymous",
        name if name.starts_with("system:serviceaccount:") => "service",
        name if name.starts_with("system:") => "system",
        _ => Party::USER,
    };
    party(kind, Some(name.to_owned()), None).unwrap_or_else(unknown)
}

fn outcome(record: &Json) -> Outcome {
    let status = record.at("responseStatus");
    let forbidden = record.at("annotations").get("authorization.k8s.io/decision").as_text() == Some("forbid");
    match of_status(status.whole("code").unwrap_or_default()) {
        _ if forbidden => Outcome::Denied,
        Outcome::Success if status.text("status") == Some("Failure") => Outcome::Failure,
        Outcome::Success if record.text("stage") == Some("Panic") => Outcome::Failure,
        Outcome::Success if record.text("stage") == Some("RequestReceived") => Outcome::Unknown,
        by_code => by_code,
    }
}

fn reason(status: &Json) -> Option<String> {
    let both: Vec<&str> = [status.text("reason"), status.text("message")].into_iter().flatten().collect();
    long(&Json::Text(both.join(": ")))
}

fn token(record: &Json) -> Option<Token> {
    let extra = record.at("user.extra").get("authentication.kubernetes.io/credential-id");
    let id = match extra {
        Json::List(values) => values.first().and_then(Json::as_word),
        other => other.as_word(),
    }?;
    Some(Token { id: Some(id.strip_prefix("JTI=").map(str::to_owned).unwrap_or(id)), ..Token::default() })
}

/// A target by where it is.
fn place(event: &mut Event, resource: &str, namespace: Option<String>, name: Option<String>) {
    if let ("users", Some(name)) = (resource, &name) {
        let Party { kind, id, .. } = who(name);
        return event.target(&kind, Some(id), None);
    }
    let id = match (namespace, name) {
        (Some(namespace), Some(name)) => short(&format!("{namespace}/{name}")),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "*".to_owned(),
    };
    event.target(&short(resource), Some(id), None);
}

/// Whom a binding names.
fn bound(event: &mut Event, subjects: &[Json]) {
    for subject in subjects {
        let name = subject.word("name");
        match (subject.text("kind"), subject.text("namespace"), name) {
            (Some("User"), _, Some(name)) => {
                let Party { kind, id, .. } = who(&name);
                event.target(&kind, Some(id), None);
            }
            (Some("ServiceAccount"), Some(namespace), Some(name)) => {
                let id = format!("system:serviceaccount:{namespace}:{name}");
                event.target("service", Some(short(&id)), None);
            }
            (Some("Group"), _, name) => event.target("group", name, None),
            _ => {}
        }
    }
}

/// The path of a request without its query, which may hold anything.
fn path(uri: &str) -> Option<String> {
    let path = uri.split('?').next().filter(|path| !path.trim().is_empty())?;
    Some(short(path))
}

/// Google Cloud's audit log of a cluster: `io.k8s.core.v1.pods.exec.create` on `core/v1/namespaces/default/pods/web/exec`.
fn google(record: &Json) -> Result<Event, MapError> {
    let payload = record.at("protoPayload");
    let method = payload.text("methodName");
    let what = "missing or not of Kubernetes: it begins with `io.k8s.`";
    let rest = method.and_then(|method| method.strip_prefix("io.k8s."));
    let parts: Vec<&str> = rest.ok_or_else(|| wrong("protoPayload.methodName", what))?.split('.').collect();
    let action = match &parts[..] {
        [_, _, resource, rest @ .., verb] => {
            let resource = [&[*resource], rest].concat().join("/");
            format!("{resource}.{verb}")
        }
        [.., verb] => format!("nonresource.{verb}"),
        [] => "nonresource.unknown".to_owned(),
    };
    let action = as_action("protoPayload.methodName", action)?;
    let name = payload.first(&["authenticationInfo.principalEmail", "authenticationInfo.authoritySelector"]);
    let mut event = event("k8s", action, name.as_deref().map_or_else(unknown, who), google_outcome(payload));
    event.time = time(record, &["timestamp", "receiveTimestamp"]);
    event.decision.reason = long(payload.at("status.message"));
    event.context.ip = payload.word("requestMetadata.callerIp");
    event.context.user_agent = long(payload.at("requestMetadata.callerSuppliedUserAgent"));
    event.context.request_id = record.word("operation.id");
    event.context.trace_id = record.text("trace").and_then(|trace| trace.rsplit('/').next()).map(short);
    event.source.service = payload.word("serviceName");
    event.source.event_id = record.word("insertId");
    event.label("project", record.word("resource.labels.project_id"));
    event.label("cluster", record.word("resource.labels.cluster_name"));
    let named: Vec<&str> = payload.text("resourceName").unwrap_or_default().split('/').collect();
    match named[..] {
        [_, _, "namespaces", namespace, resource, ref name @ ..] => {
            place(&mut event, resource, Some(short(namespace)), name.first().map(|name| short(name)));
        }
        [group, _, resource, ref name @ ..] if !group.is_empty() => {
            place(&mut event, resource, None, name.first().map(|name| short(name)));
        }
        _ => event.target("path", payload.word("resourceName"), None),
    }
    bound(&mut event, payload.list("request.subjects"));
    Ok(event)
}

/// By its answer of google.rpc (7 permission denied, 16 not authenticated) or what authorization said.
fn google_outcome(payload: &Json) -> Outcome {
    let refused = payload.list("authorizationInfo").iter().any(|info| info.flag("granted") == Some(false));
    match payload.whole("status.code") {
        Some(7 | 16 | 401 | 403) => Outcome::Denied,
        Some(1..) => Outcome::Failure,
        _ if refused => Outcome::Denied,
        _ => Outcome::Success,
    }
}
