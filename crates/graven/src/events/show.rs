//! An entry of a log of events, for people and for programs.

use std::borrow::Cow;

use graven_client::events::Hit;
use graven_event::{
    Event, Facts, Party, Time, View,
    facts::{EventFacts, GapFacts},
};
use serde_json::{Map, Value, json};

use crate::output::shown;

/// What stands above the rows.
pub(super) fn header() -> String {
    columns(["INDEX", "TIME", "OUTCOME", "ACTION", "ACTOR", "TARGET", "IP"].map(Cow::Borrowed))
}

/// An entry in a line. What comes from producers is never more than text on a terminal.
pub(super) fn row(hit: &Hit) -> String {
    let frame = hit.frame();
    let view = hit.view().cloned().unwrap_or_default();
    let outcome = frame.and_then(|frame| frame.outcome).map_or("-", |outcome| outcome.as_str());
    let (time, action) = match frame.map(|frame| &frame.facts) {
        Some(Facts::Event(facts)) => {
            (facts.event_time.map(Time).or(hit.log_time()), facts.action.as_str().to_owned())
        }
        Some(facts) => (hit.log_time(), in_words(facts)),
        None => (hit.log_time(), hit.kind().to_owned()),
    };
    let is_event = hit.kind() == "event";
    let group = |name: &str, text: Option<String>| match text {
        Some(text) => text,
        None if !is_event => "-".to_owned(),
        None if hit.is_dropped() => "(dropped)".to_owned(),
        None if hit.is_missing() => "(missing)".to_owned(),
        None if hit.erased().iter().any(|erased| erased == name) => "(erased)".to_owned(),
        None if hit.hidden().iter().any(|hidden| hidden == name) => "(hidden)".to_owned(),
        None => "-".to_owned(),
    };
    let targets: Vec<_> =
        view.targets.iter().map(|target| format!("{}:{}", target.kind, target.id)).collect();
    let targets = (!targets.is_empty()).then(|| targets.join(", "));
    columns([
        Cow::Owned(hit.index().to_string()),
        Cow::Owned(time.map_or_else(|| "-".to_owned(), to_the_second)),
        Cow::Borrowed(outcome),
        Cow::Owned(action),
        Cow::Owned(group("actor", view.actor.as_ref().map(party))),
        Cow::Owned(group("targets", targets)),
        Cow::Owned(group("context", view.context.ip)),
    ])
}

fn columns(cells: [Cow<'_, str>; 7]) -> String {
    let [index, time, outcome, action, actor, target, ip] = cells.map(|cell| shown(&cell).into_owned());
    format!("{index:>9}  {time:<20}  {outcome:<7}  {action:<28}  {actor:<24}  {target:<36}  {ip}")
        .trim_end()
        .to_owned()
}

/// `alice`, or `service:ci` where it is no user.
fn party(party: &Party) -> String {
    if party.kind == Party::USER { party.id.clone() } else { party.subject() }
}

fn to_the_second(time: Time) -> String {
    Time::from_seconds(time.seconds()).to_string()
}

/// What an entry says that is no event.
fn in_words(facts: &Facts) -> String {
    let range = |gap: &GapFacts| {
        if gap.first == gap.last { format!("{}", gap.first) } else { format!("{}-{}", gap.first, gap.last) }
    };
    match facts {
        Facts::Gap(gap) => format!("gap: {} missing", range(gap)),
        Facts::Filled(gap) => format!("filled: {} came", range(gap)),
        Facts::Erasure(erasure) => format!("erasure by {}", erasure.authority),
        Facts::Retention(class) => format!("retention of {}", class.name),
        Facts::Hold(hold) => format!("hold by {}", hold.authority),
        Facts::Release(release) => format!("release by {}", release.authority),
        Facts::Expiry(expiry) => format!("expiry before {}", expiry.before),
        Facts::Rejected(rejected) => format!("rejected: {}", rejected.reason),
        Facts::Decision(decision) => decision.action.to_string(),
        Facts::Alert(alert) => format!("alert: {}", alert.name),
        other => other.kind_word().to_owned(),
    }
}

/// An entry for programs: the event's own JSON form, and what the log says of it.
pub(super) fn object(hit: &Hit) -> Map<String, Value> {
    let mut object = match hit.frame().map(|frame| (&frame.facts, frame.outcome)) {
        Some((Facts::Event(facts), Some(outcome))) => event(hit.view(), facts, outcome),
        Some((facts, _)) => Map::from_iter([("facts".to_owned(), in_json(facts))]),
        None => Map::new(),
    };
    let leaf = hit.frame();
    object.extend([
        ("index".to_owned(), json!(hit.index().get())),
        ("log_time".to_owned(), json!(hit.log_time().map(|time| time.to_string()))),
        ("kind".to_owned(), json!(hit.kind())),
        ("id".to_owned(), json!(leaf.map(|frame| hex(&frame.id)))),
        ("outcome".to_owned(), json!(leaf.and_then(|frame| frame.outcome))),
        ("hidden".to_owned(), json!(hit.hidden())),
        ("erased".to_owned(), json!(hit.erased())),
        ("dropped".to_owned(), json!(hit.is_dropped())),
        ("missing".to_owned(), json!(hit.is_missing())),
    ]);
    object
}

pub(super) fn event(
    view: Option<&View>,
    facts: &EventFacts,
    outcome: graven_event::Outcome,
) -> Map<String, Value> {
    let mut view = view.cloned().unwrap_or_default();
    let is_hidden = view.actor.is_none();
    view.actor.get_or_insert_with(|| Party::new(Party::USER, ""));
    let event: Option<Event> = view.event(facts, outcome);
    let mut object = match serde_json::to_value(event) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    if is_hidden {
        object.insert("actor".to_owned(), Value::Null);
    }
    object.entry("time").or_insert(Value::Null);
    object
}

/// What an entry says that is no event.
fn in_json(facts: &Facts) -> Value {
    let references = |list: &[graven_event::Ref]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    match facts {
        Facts::Gap(gap) | Facts::Filled(gap) => {
            json!({ "producer": gap.producer.to_string(), "first": gap.first, "last": gap.last })
        }
        Facts::Erasure(it) => json!({
            "erased": references(&it.erased),
            "by": it.by.to_string(),
            "authority": it.authority.as_str(),
        }),
        Facts::Retention(it) => json!({
            "class": it.class,
            "name": it.name.as_str(),
            "seconds": it.seconds,
            "by": it.by.to_string(),
        }),
        Facts::Hold(it) => json!({
            "hold": it.hold.to_string(),
            "subjects": references(&it.subjects),
            "classes": it.classes,
            "by": it.by.to_string(),
            "authority": it.authority.as_str(),
        }),
        Facts::Release(it) => json!({
            "hold": it.hold.to_string(),
            "by": it.by.to_string(),
            "authority": it.authority.as_str(),
        }),
        Facts::Expiry(it) => json!({ "class": it.class, "before": it.before }),
        Facts::Rejected(it) => json!({ "digest": hex(&it.digest), "reason": it.reason.as_str() }),
        Facts::Genesis(it) => json!({
            "origin": it.origin.as_str(),
            "kind": it.kind.as_str(),
            "recovery": it.recovery.as_str(),
            "administrators": references(&it.administrators),
        }),
        Facts::Rule(it) => json!({
            "rule": hex(&it.rule),
            "name": it.name.as_str(),
            "language": it.language.as_str(),
            "severity": it.severity,
            "by": it.by.to_string(),
        }),
        // What scopes and alerts say has commands of its own.
        Facts::Event(_) | Facts::Scope(_) | Facts::Decision(_) | Facts::Alert(_) => Value::Null,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
