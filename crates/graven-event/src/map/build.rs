//! What all mappings share: how parties, targets, times and scopes are made of what a record has.

use super::json::{Json, clip};
use crate::check::{MAX_CHANGES_BYTES, MAX_ITEMS, MAX_LONG_TEXT_BYTES, MAX_TEXT_BYTES, MAX_TOKEN_VALUES};
use crate::facts::{MAX_VALUES, Word};
use crate::model::{Change, Context, Decision, Event, Outcome, Party, Scope, Source, Target};
use crate::time::Time;

/// Most people among the targets of one event, so that with its actor and all others there are at most
/// [`MAX_PARTIES`](crate::check::MAX_PARTIES).
const MAX_PEOPLE: usize = 24;

/// Longest kind of a party or target.
const MAX_KIND_BYTES: usize = 256;

/// An event that says no more than it must.
pub(crate) fn event(product: &str, action: String, actor: Party, outcome: Outcome) -> Event {
    Event {
        time: None,
        action,
        actor,
        client: None,
        on_behalf_of: Vec::new(),
        session: None,
        targets: Vec::new(),
        outcome,
        decision: Decision::default(),
        token: None,
        scope: Scope::default(),
        context: Context::default(),
        changes: Vec::new(),
        source: Source { product: Some(product.to_owned()), ..Source::default() },
        labels: std::collections::BTreeMap::new(),
        about: Vec::new(),
        raw: None,
    }
}

/// Whom a record does not name, though somebody did it.
pub(crate) fn unknown() -> Party {
    Party::new("anonymous", "unknown")
}

/// A party with a name that says more than its identifier.
pub(crate) fn party(kind: &str, id: Option<String>, name: Option<String>) -> Option<Party> {
    let id = id.filter(|id| !id.trim().is_empty())?;
    let name = name.filter(|name| *name != id);
    // Together they are what a party is called, with a colon between them.
    let kind = clip(kind, MAX_KIND_BYTES);
    let id = clip(&id, MAX_TEXT_BYTES - kind.len() - 1);
    Some(Party { kind, id, name })
}

impl Event {
    /// Adds a target that is not there yet, while there is room.
    pub(crate) fn target(&mut self, kind: &str, id: Option<String>, name: Option<String>) {
        let Some(Party { kind, id, name }) = party(kind, id, name) else { return };
        let people = self.targets.iter().filter(|target| target.kind == Party::USER).count();
        let full = self.targets.len() == MAX_ITEMS || (kind == Party::USER && people == MAX_PEOPLE);
        let known = self.targets.iter().any(|target| target.kind == kind && target.id == id);
        if !full && !known && !kind.trim().is_empty() {
            self.targets.push(Target { kind, id, name });
        }
    }

    /// Adds a change, while there is room and something to tell.
    pub(crate) fn change(&mut self, field: &str, before: Option<String>, after: Option<String>) {
        let change = Change { field: short(field), before, after };
        let bytes: usize = self.changes.iter().chain([&change]).map(Change::bytes).sum();
        if self.changes.len() < MAX_ITEMS && bytes <= MAX_CHANGES_BYTES && !field.trim().is_empty() {
            self.changes.push(change);
        }
    }

    /// Adds a label where there is a value.
    pub(crate) fn label(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.labels.insert(key.to_owned(), value);
        }
    }
}

/// A value as text for a change: texts as they are, all else as JSON, and nothing of what holds a secret.
pub(crate) fn shown(value: &Json) -> Option<String> {
    if super::secret::within(value).is_some() {
        return None;
    }
    match value {
        Json::Null => None,
        Json::Text(text) => Some(clip(text, MAX_LONG_TEXT_BYTES)),
        other => Some(clip(&other.to_string(), MAX_LONG_TEXT_BYTES)),
    }
}

/// An identifier, name or other short text, cut where it is longer than fits.
pub(crate) fn short(text: &str) -> String {
    clip(text, MAX_TEXT_BYTES)
}

/// A text that people write.
pub(crate) fn long(value: &Json) -> Option<String> {
    value.as_text().map(|text| clip(text, MAX_LONG_TEXT_BYTES))
}

/// The first time that can be read at one of these paths: RFC 3339, UTC where no offset stands, or milliseconds since 1970.
pub(crate) fn time(record: &Json, paths: &[&str]) -> Option<Time> {
    paths.iter().find_map(|path| match record.at(path) {
        Json::Text(text) => text.parse().or_else(|_| format!("{text}Z").parse()).ok(),
        _ => record.whole(path).and_then(Time::from_millis),
    })
}

/// Scopes of a list, or of a text with spaces or commas between them; what is no word is left out.
pub(crate) fn scopes(value: &Json) -> Vec<String> {
    let parts = |text: &str| {
        text.split([' ', ',']).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = match value {
        Json::Text(text) => parts(text),
        Json::List(values) => values.iter().filter_map(Json::as_text).flat_map(parts).collect(),
        _ => Vec::new(),
    };
    all.retain(|scope| Word::new(scope.as_str()).is_ok());
    all.truncate(MAX_VALUES);
    all
}

/// Words of a list, or one that stands alone: what a token says of audience or methods.
pub(crate) fn words(value: &Json) -> Vec<String> {
    let mut all: Vec<String> = match value {
        Json::List(values) => values.iter().filter_map(Json::as_word).collect(),
        other => other.as_word().into_iter().collect(),
    };
    all.truncate(MAX_TOKEN_VALUES);
    all
}

/// Whether a code or message of a system says that something was not allowed.
pub(crate) fn says_denied(code: &str) -> bool {
    let code = code.to_ascii_lowercase().replace([' ', '_', '-'], "");
    ["denied", "unauthorized", "notauthorized", "forbidden", "authfailure"]
        .iter()
        .any(|word| code.contains(word))
}

/// How an HTTP request ended, by its status code (RFC 9110 §15).
pub(crate) fn of_status(code: u64) -> Outcome {
    match code {
        401 | 403 => Outcome::Denied,
        400.. => Outcome::Failure,
        _ => Outcome::Success,
    }
}

/// An address without the port behind it: `192.0.2.7:4711`, `[2001:db8::1]:4711`.
pub(crate) fn host(address: &str) -> String {
    let bracketed = address.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let bracketed = bracketed.map(|(host, _)| host).filter(|host| !host.is_empty());
    let of_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let plain = address
        .rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && !host.contains(':') && of_port(port));
    short(bracketed.or(plain.map(|(host, _)| host)).unwrap_or(address))
}
