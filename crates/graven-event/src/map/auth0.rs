//! Auth0 log events, as the Management API gives them and as log streams wrap them (in `data`).
//!
//! The action is the type code, such as `s`, `fp`, `sapi`. Codes that begin with `f`, or end in `_failed`, are failures; limits and blocks
//! (`limit_…`, `api_limit`, `pwd_leak`, `signup_pwd_leak`, `pla`, `reset_pwd_leak`) are denied; calls of the Management API
//! end as their status code says; all others are a success.
//!
//! For calls of the Management API (`sapi`, `fapi`, `mgmt_api_read`) the actor is whose token it was, the label `operation` says which call,
//! its path names the targets (`user`, `client`, …, or `setting` and the path), and the members of its body are the changes; those that hold a secret are named without their value.

use super::build::{event, long, of_status, party, scopes, short, shown, time, unknown, words};
use super::json::Json;
use super::{MapError, action};
use crate::model::{Event, Outcome, Party, Token};

/// Codes of what was not allowed.
const DENIED: [&str; 7] =
    ["api_limit", "pwd_leak", "signup_pwd_leak", "reset_pwd_leak", "pla", "ublkdu", "refresh_token_reuse"];
/// Collections whose paths name settings and no things with an identifier.
const SETTINGS: [&str; 9] = [
    "actions",
    "anomaly",
    "attack-protection",
    "branding",
    "emails",
    "guardian",
    "keys",
    "prompts",
    "tenants",
];
/// Codes whose calls of the Management API are told in full.
const CALLS: [&str; 3] = ["sapi", "fapi", "mgmt_api_read"];
/// How a token was got, by what follows `s` or `f` in the code of its exchange.
const EXCHANGES: [(&str, &str); 9] = [
    ("eacft", "authorization_code"),
    ("eccft", "client_credentials"),
    ("ertft", "refresh_token"),
    ("errt", "refresh_token"),
    ("epft", "password"),
    ("ede", "urn:ietf:params:oauth:grant-type:device_code"),
    ("eoobft", "http://auth0.com/oauth/grant-type/mfa-oob"),
    ("eotpft", "http://auth0.com/oauth/grant-type/mfa-otp"),
    ("ercft", "http://auth0.com/oauth/grant-type/mfa-recovery-code"),
];

pub(crate) fn v1(outer: &Json) -> Result<Event, MapError> {
    let record = if outer.at("data").is_object() { outer.at("data") } else { outer };
    let code = action(record, "type")?;
    let request = record.at("details.request");
    let client = party("application", record.word("client_id"), record.word("client_name"));
    let person = person(record, request);
    let client_of = if person.is_some() { client.clone() } else { None };
    let outcome = outcome(record, &code);
    let mut event = event("auth0", code.clone(), person.or(client).unwrap_or_else(unknown), outcome);
    event.client = client_of;
    event.time = time(record, &["date"]);
    event.session = record.first(&["session_id", "details.session_id"]);
    event.token = token(record, request, &code);
    let scope = scopes(record.at("scope"));
    match outcome {
        Outcome::Success => event.scope.granted = scope,
        _ => event.scope.requested = scope,
    }
    let of_token = scopes(request.at("auth.credentials.scopes"));
    if !of_token.is_empty() {
        event.scope.granted = of_token;
    }
    let called = CALLS.contains(&code.as_str());
    if !called || outcome != Outcome::Success {
        event.decision.reason =
            long(record.at("description")).or_else(|| long(record.at("details.error.message")));
    }
    event.context.ip = record.word("ip").or_else(|| request.word("ip"));
    event.context.user_agent = long(record.at("user_agent")).or_else(|| long(request.at("userAgent")));
    event.context.request_id = record.first(&["tracking_id", "details.request.id"]);
    event.source.event_id = record.first(&["log_id", "_id"]);
    event.source.service = record.first(&["hostname", "tenant_name"]);
    event.label("connection", record.word("connection"));
    event.target("organization", record.word("organization_id"), record.word("organization_name"));
    if called {
        event.label("operation", record.word("description"));
        call(&mut event, request, record.at("details.response.body"));
    }
    Ok(event)
}

/// The user of the token that was shown, or else the one whom it is about: who signs in does so for themselves.
fn person(record: &Json, request: &Json) -> Option<Party> {
    let user = request.at("auth.user");
    let name = || user.first(&["email", "name"]);
    party(Party::USER, user.word("user_id"), name())
        .or_else(|| party(Party::USER, record.word("user_id"), record.word("user_name")))
        .or_else(|| party(Party::USER, record.word("user_name").or_else(name), None))
}

fn outcome(record: &Json, code: &str) -> Outcome {
    let status = record.first(&["details.response.statusCode"]).and_then(|code| code.parse().ok());
    match (status, code) {
        (Some(status), "sapi" | "fapi" | "mgmt_api_read") if status >= 400 => of_status(status),
        (_, code) if DENIED.contains(&code) || code.starts_with("limit_") => Outcome::Denied,
        (_, code) if code.starts_with('f') || code.ends_with("_failed") => Outcome::Failure,
        _ => Outcome::Success,
    }
}

fn token(record: &Json, request: &Json, code: &str) -> Option<Token> {
    let exchange = code.strip_prefix(['s', 'f']);
    let grant = EXCHANGES.iter().find(|(rest, _)| exchange == Some(*rest)).map(|(_, grant)| *grant);
    let token = Token {
        id: request.word("auth.credentials.jti"),
        audience: words(record.at("audience")),
        grant_type: grant.map(str::to_owned),
        ..Token::default()
    };
    (token != Token::default()).then_some(token)
}

fn call(event: &mut Event, request: &Json, answer: &Json) {
    let path = request.text("path").unwrap_or_default();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let parts = parts.strip_prefix(&["api".to_owned()]).unwrap_or(&parts);
    if let [_version, collection, rest @ ..] = parts {
        let kind = collection.strip_suffix('s').unwrap_or(collection);
        let made = || answer.first(&["user_id", "client_id", "id"]);
        match rest {
            _ if SETTINGS.contains(&collection.as_str()) => {
                event.target("setting", Some(short(&parts[1..].join("/"))), None);
            }
            [id, ..] => event.target(kind, Some(short(id)), None),
            [] => event.target(kind, made().or_else(|| Some(short(path))), answer.word("name")),
        }
    }
    let body = request.at("body");
    let people = body.list("users").iter().chain(body.list("members"));
    people.filter_map(Json::as_word).for_each(|id| event.target(Party::USER, Some(id), None));
    for (field, value) in body.members() {
        let after = if super::secret::member(field, value).is_some() { None } else { shown(value) };
        event.change(field, None, after);
    }
}

/// A part of a path without its percent-encoding (RFC 3986 §2.1): identifiers of users have a `|`.
fn decoded(part: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
    while let Some((byte, tail)) = rest.split_first() {
        let code = match (byte, tail) {
            (b'%', [hi, lo, ..]) => (char::from(*hi).to_digit(16)).zip(char::from(*lo).to_digit(16)),
            _ => None,
        };
        let code = code.and_then(|(hi, lo)| u8::try_from(hi * 16 + lo).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned())
}
