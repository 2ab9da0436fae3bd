//! Leaves as JSON: what the vectors hold them against, field by field.

use graven_event::facts::{KeyText, Ref, Word};
use graven_event::{Facts, Frame};
use serde_json::{Map, Value, json};

use super::to_hex;

trait Show {
    fn show(&self) -> Value;
}

macro_rules! as_is {
    ($($type:ty),+) => { $(impl Show for $type { fn show(&self) -> Value { json!(self) } })+ };
}
macro_rules! as_text {
    ($($type:ty),+) => { $(impl Show for $type { fn show(&self) -> Value { json!(self.to_string()) } })+ };
}
as_is!(u8, u64);
as_text!(Ref, Word, KeyText);

impl Show for [u8; 32] {
    fn show(&self) -> Value {
        json!(to_hex(self))
    }
}

impl Show for Vec<u8> {
    fn show(&self) -> Value {
        json!(to_hex(self))
    }
}

macro_rules! lists {
    ($($type:ty),+) => {
        $(impl Show for Vec<$type> {
            fn show(&self) -> Value { self.iter().map(Show::show).collect() }
        })+
    };
}
lists!(Ref, Word, u64);

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Show::show)
    }
}

macro_rules! fields {
    ($it:ident: $($field:ident)+) => {
        [$((stringify!($field).to_owned(), $it.$field.show())),+].into_iter().collect()
    };
}

fn facts(facts: &Facts) -> Map<String, Value> {
    match facts {
        Facts::Genesis(it) => fields!(it: origin kind recovery administrators signature),
        Facts::Event(it) => fields!(it: action product event_time actor client targets requested granted used
            token place on_behalf_of about),
        Facts::Scope(it) => {
            fields!(it: command grant revision by client subject scopes resource tier recording
            not_before expires token review verdict refused issued_before approvers approvals longest rules signature)
        }
        Facts::Decision(it) => {
            fields!(it: action client subject token issued scopes resource state_size decided_at
            consistency grants reason place count since bound expires presented rules)
        }
        Facts::Alert(it) => fields!(it: rule name severity leaves count about state_size),
        Facts::Gap(it) | Facts::Filled(it) => fields!(it: producer first last),
        Facts::Erasure(it) => fields!(it: erased by authority),
        Facts::Retention(it) => fields!(it: class name seconds by),
        Facts::Hold(it) => fields!(it: hold subjects classes by authority),
        Facts::Release(it) => fields!(it: hold by authority),
        Facts::Expiry(it) => fields!(it: class before),
        Facts::Rejected(it) => fields!(it: digest reason),
        Facts::Rule(it) => fields!(it: rule name language severity by source),
    }
}

/// Every field of a leaf. Large numbers of 64 bits stand as they are: JSON has no limit, some readers do.
pub(crate) fn frame(frame: &Frame) -> Value {
    json!({
        "kind": frame.facts.kind_word(),
        "outcome": frame.outcome,
        "retention": frame.retention,
        "log_time": frame.log_time.nanoseconds(),
        "id": to_hex(frame.id),
        "producer": frame.producer.to_string(),
        "sequence": frame.sequence,
        "previous": to_hex(frame.previous),
        "commitment": frame.payload.map(|payload| to_hex(payload.commitment)),
        "digest": frame.payload.map(|payload| to_hex(payload.digest)),
        "facts": facts(&frame.facts),
    })
}
