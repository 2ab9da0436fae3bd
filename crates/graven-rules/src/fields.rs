//! What an expression sees of a leaf.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use graven_event::catalogue::of_command;
use graven_event::facts::{DecisionFacts, EventFacts, ScopeCommand};
use graven_event::{Event, Facts, Frame, Outcome, Party, Ref, Time, View, Word};
use serde_json::{Map, Value, json};

/// Most items of a list, and most members of a map, that are seen.
pub const MAX_ITEMS: usize = 256;
/// Most values of a leaf that are seen, in all.
pub const MAX_NODES: usize = 16_384;
/// Deepest nesting of a record that is seen.
pub const MAX_NESTING: usize = 32;

/// A leaf as `event`, for expressions to read. What is not known, hidden or erased is not there.
///
/// | member | what |
/// |---|---|
/// | `kind` | `event`, `decision` or `scope` |
/// | `action` | what was done: a word of the catalogue, also of a command: `scope.request`, `scope.grant`, `scope.revoke`, … |
/// | `product` | whose word the action is |
/// | `outcome` | `success`, `failure`, `denied` or `unknown`; of a command `success`, or `denied` where it was refused |
/// | `time`, `log_time` | when it happened and when the log took it in, as RFC 3339 |
/// | `actor`, `client` | `kind`, `id`, `name` |
/// | `on_behalf_of`, `about`, `targets` | lists of the same |
/// | `session`, `service`, `event_id` | texts |
/// | `scope` | `requested`, `granted` and `used`: lists of texts |
/// | `resource`, `tier` | of a decision or command: where it counts; how far a scope reaches |
/// | `token` | `id`, `issuer`, `audience`, `grant_type`, `expires`, `confirmation`, `acr`, `amr`; of a decision `scopes` |
/// | `context` | `ip`, `user_agent`, `request_id`, `trace_id` |
/// | `decision` | `reason` and `policy`; of a decision also `state_size` and `count` |
/// | `changes` | a list of `field`, `before`, `after` |
/// | `labels` | a map of texts |
/// | `refs` | what stands for them in the leaf, as hex, also after an erasure: `actor`, `client`, `token`, `place`, `grant` |
/// | `raw` | the producer's record, parsed |
/// | `truncated` | whether the leaf has more than can be seen here |
#[derive(Debug)]
pub struct Fields(Box<dyn Val>);

impl Fields {
    /// Of a leaf, with what can be read of its payload; `None` where it is of a kind that rules do not look at.
    pub fn of(frame: &Frame, view: View) -> Option<Self> {
        let mut event = match &frame.facts {
            Facts::Event(facts) => of_facts(facts),
            Facts::Decision(facts) => of_decision(facts),
            Facts::Scope(command) => of_scope(command),
            _ => return None,
        };
        let outcome = match &frame.facts {
            Facts::Scope(command) => {
                if command.refused.is_some() {
                    Outcome::Denied
                } else {
                    Outcome::Success
                }
            }
            _ => frame.outcome.unwrap_or(Outcome::Unknown),
        };
        event.insert("outcome".to_owned(), outcome.as_str().into());
        event.insert("log_time".to_owned(), frame.log_time.to_string().into());
        add_view(&mut event, view);
        Some(Self::from_json(event))
    }

    /// Of an event that is in no log yet.
    pub fn of_event(event: &Event) -> Self {
        let view = View {
            actor: Some(event.actor.clone()),
            on_behalf_of: event.on_behalf_of.clone(),
            session: event.session.clone(),
            targets: event.targets.clone(),
            about: event.about.clone(),
            client: event.client.clone(),
            token: event.token.clone(),
            context: event.context.clone(),
            decision: event.decision.clone(),
            changes: event.changes.clone(),
            raw: event.raw.clone(),
            service: event.source.service.clone(),
            event_id: event.source.event_id.clone(),
            labels: event.labels.clone(),
        };
        let mut fields = object(json!({
            "kind": "event",
            "action": event.action,
            "outcome": event.outcome.as_str(),
            "scope": { "requested": event.scope.requested, "granted": event.scope.granted, "used": event.scope.used },
            "refs": {},
        }));
        put(&mut fields, "product", event.source.product.clone());
        put(&mut fields, "time", event.time.map(|time| time.to_string()));
        add_view(&mut fields, view);
        Self::from_json(fields)
    }

    fn from_json(event: Map<String, Value>) -> Self {
        let mut room = Room { nodes: MAX_NODES, is_truncated: false };
        let Some(mut members) = room.members(event, 0) else { return Self(Box::new(CelNull)) };
        members.insert("truncated".into(), Box::new(CelBool::from(room.is_truncated)));
        Self(Box::new(CelMap::from(members)))
    }

    pub(crate) fn value(&self) -> &dyn Val {
        &*self.0
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn put(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}

fn words(words: &[Word]) -> Vec<&str> {
    words.iter().map(Word::as_str).collect()
}

fn refs(of: &[(&str, Option<Ref>)]) -> Value {
    let known =
        of.iter().filter_map(|(name, it)| Some(((*name).to_owned(), Value::from((*it)?.to_string()))));
    Value::Object(known.collect())
}

fn of_facts(facts: &EventFacts) -> Map<String, Value> {
    let mut event = object(json!({
        "kind": "event",
        "action": facts.action.as_str(),
        "scope": { "requested": words(&facts.requested), "granted": words(&facts.granted), "used": words(&facts.used) },
        "refs": refs(&[
            ("actor", Some(facts.actor)),
            ("client", facts.client),
            ("token", facts.token),
            ("place", facts.place),
        ]),
    }));
    put(&mut event, "product", facts.product.as_ref().map(Word::as_str));
    put(&mut event, "time", facts.event_time.map(|time| Time(time).to_string()));
    event
}

fn of_decision(facts: &DecisionFacts) -> Map<String, Value> {
    let mut event = object(json!({
        "kind": "decision",
        "action": facts.action.as_str(),
        "time": Time(facts.decided_at).to_string(),
        "scope": { "requested": words(&facts.scopes), "granted": [], "used": words(&facts.scopes) },
        "token": { "scopes": words(&facts.presented) },
        "decision": {
            "reason": facts.reason.as_str(),
            "state_size": facts.state_size,
            "count": facts.count.unwrap_or(1),
        },
        "refs": refs(&[
            ("actor", facts.subject),
            ("client", Some(facts.client)),
            ("token", facts.token),
            ("place", facts.place),
        ]),
    }));
    put(&mut event, "resource", facts.resource.as_ref().map(Word::as_str));
    event
}

fn of_scope(command: &ScopeCommand) -> Map<String, Value> {
    let mut event = object(json!({
        "kind": "scope",
        "action": of_command(command.command),
        "scope": { "requested": words(&command.scopes), "granted": [], "used": [] },
        "refs": refs(&[
            ("actor", Some(command.by)),
            ("client", command.client),
            ("token", command.token),
            ("grant", command.grant),
        ]),
    }));
    put(&mut event, "resource", command.resource.as_ref().map(Word::as_str));
    put(&mut event, "tier", command.tier);
    if let Some(why) = &command.refused {
        event.insert("decision".to_owned(), json!({ "reason": why.as_str() }));
    }
    event
}

/// What can be read of a payload. It never takes the place of what stands in the leaf.
fn add_view(event: &mut Map<String, Value>, view: View) {
    let party = |party: &Party| {
        let mut it = object(json!({ "kind": party.kind, "id": party.id }));
        put(&mut it, "name", party.name.clone());
        Value::Object(it)
    };
    let parties = |all: &[Party]| Value::Array(all.iter().map(party).collect());
    let of = |value: Result<Value, serde_json::Error>| value.unwrap_or(Value::Null);
    put(event, "actor", view.actor.as_ref().map(party));
    put(event, "client", view.client.as_ref().map(party));
    put(event, "session", view.session);
    put(event, "service", view.service);
    put(event, "event_id", view.event_id);
    put(event, "on_behalf_of", Some(parties(&view.on_behalf_of)));
    put(event, "about", Some(parties(&view.about)));
    put(event, "targets", Some(of(serde_json::to_value(&view.targets))));
    put(event, "changes", Some(of(serde_json::to_value(&view.changes))));
    put(event, "labels", Some(of(serde_json::to_value(&view.labels))));
    put(event, "context", Some(of(serde_json::to_value(&view.context))));
    for (name, value) in [
        ("token", of(serde_json::to_value(&view.token))),
        ("decision", of(serde_json::to_value(&view.decision))),
    ] {
        let known = event.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if let (Value::Object(known), Value::Object(mut more)) = (known, value) {
            more.retain(|key, _| !known.contains_key(key));
            known.append(&mut more);
        }
    }
    let raw = view.raw.and_then(|raw| serde_json::from_str::<Value>(&raw.text).ok());
    put(event, "raw", raw);
}

/// How much more can be seen.
struct Room {
    nodes: usize,
    is_truncated: bool,
}

type Members = HashMap<CelMapKey<'static>, Box<dyn Val>>;

impl Room {
    fn value(&mut self, value: Value, depth: usize) -> Option<Box<dyn Val>> {
        if self.nodes == 0 || depth > MAX_NESTING {
            self.is_truncated = true;
            return None;
        }
        self.nodes -= 1;
        Some(match value {
            Value::Null => Box::new(CelNull),
            Value::Bool(it) => Box::new(CelBool::from(it)),
            Value::Number(it) => match (it.as_i64(), it.as_u64()) {
                (Some(it), _) => Box::new(CelInt::from(it)),
                (None, Some(it)) => Box::new(CelUInt::from(it)),
                (None, None) => Box::new(CelDouble::from(it.as_f64().unwrap_or(f64::NAN))),
            },
            Value::String(it) => Box::new(CelString::from(it)),
            Value::Array(items) => {
                self.is_truncated |= items.len() > MAX_ITEMS;
                let items = items.into_iter().take(MAX_ITEMS);
                let items: Vec<_> = items.map_while(|item| self.value(item, depth + 1)).collect();
                Box::new(CelList::from(items))
            }
            Value::Object(members) => Box::new(CelMap::from(self.members(members, depth)?)),
        })
    }

    fn members(&mut self, members: Map<String, Value>, depth: usize) -> Option<Members> {
        self.is_truncated |= members.len() > MAX_ITEMS;
        let members = members.into_iter().take(MAX_ITEMS);
        Some(members.map_while(|(name, value)| Some((name.into(), self.value(value, depth + 1)?))).collect())
    }
}
