//! Teleport audit events.
//!
//! The action is the event, such as `user.login`; its code's last letter says how grave it is, and `W` or `E` that it went wrong. Where a
//! certificate is made for an impersonator, that is the actor, and on whose behalf is whose it is.

use super::build::{event, host, long, party, time, unknown, words};
use super::json::Json;
use super::{MapError, action};
use crate::model::{Event, Outcome, Party, Token};

/// Events about a thing called `name`, by their first part.
const NAMED: [&str; 9] =
    ["role", "user", "lock", "token", "github", "saml", "oidc", "access_list", "trusted_cluster"];

pub(crate) fn v1(record: &Json) -> Result<Event, MapError> {
    let action = action(record, "event")?;
    let user = record.first(&["user", "identity.user"]);
    let impersonator =
        record.first(&["impersonator", "identity.impersonator"]).filter(|by| Some(by) != user.as_ref());
    let editor = record.word("updated_by");
    let person = |id| party(Party::USER, id, None);
    let subject = person(user);
    let (actor, behind) = match (person(impersonator), subject) {
        (Some(actor), subject) => (actor, subject),
        (None, subject) => (subject.or_else(|| person(editor)).unwrap_or_else(unknown), None),
    };
    let outcome = outcome(record, &action);
    let mut event = event("teleport", action, actor, outcome);
    event.on_behalf_of.extend(behind);
    event.time = time(record, &["time"]);
    event.session = record.word("sid");
    event.token = token(record);
    event.decision.reason = long(record.at("error")).or_else(|| long(record.at("message")));
    event.context.ip = record.get("addr.remote").as_text().or(record.text("src_addr")).map(host);
    event.context.user_agent = long(record.at("user_agent"));
    event.source.service = record.word("cluster_name");
    event.source.event_id = record.word("uid");
    event.label("code", record.word("code"));
    let first = event.action.split('.').next().unwrap_or_default().to_owned();
    if NAMED.contains(&first.as_str()) {
        event.target(&first, record.word("name"), None);
    }
    event.target(Party::USER, record.word("target.user"), None);
    event.target("server", record.word("server_id"), record.word("server_hostname"));
    event.target("login", record.word("login"), None);
    event.target("command", record.word("path"), record.word("program"));
    event.target("host", record.word("dst_addr"), None);
    event.target("database", record.word("db_service"), record.word("db_name"));
    event.target("cluster", record.word("kubernetes_cluster"), None);
    Ok(event)
}

fn token(record: &Json) -> Option<Token> {
    let amr = words(record.at("mfa_device.mfa_device_type"));
    let made = (record.text("event") == Some("cert.create")).then(|| record.at("identity"));
    let expires = made.and_then(|identity| time(identity, &["expires"]));
    (!amr.is_empty() || expires.is_some()).then(|| Token { amr, expires, ..Token::default() })
}

fn outcome(record: &Json, action: &str) -> Outcome {
    let denied = ["rejected", "denied"].iter().any(|word| action.contains(word));
    let failed = record.flag("success") == Some(false)
        || action.ends_with(".failure")
        || record
            .text("code")
            .is_some_and(|code| code.ends_with(['W', 'E']) && record.flag("success") != Some(true))
        || record.whole("return_code").is_some_and(|code| code != 0);
    match (denied, failed) {
        (true, _) => Outcome::Denied,
        (false, true) => Outcome::Failure,
        (false, false) => Outcome::Success,
    }
}
