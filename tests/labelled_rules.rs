//! How well rules of this language tell what should be looked at: a set of them over events with the verdict that others gave them.
//!
//! Each case names an idea, and whether it should be found in the case's event. A rule for that idea is in `tests/rules`; a case is found if
//! the rule fires on the event alone. Events go through the mappings of their systems, where they are records of these.
//!
//! The rules were written with these cases at hand, so the figures say what the language can tell apart, not how it would fare with events
//! that nobody has looked at. What is missed needs what no single event says: what came before it, or a setting of somebody's.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use graven_event::map::{Format, map};
use graven_event::{Event, Outcome, Party, Raw, Time};
use graven_rules::{Evaluator, Fields, Rule};
use serde_json::Value;

const CASES: &[u8] = include_bytes!("vectors/events/labelled.jsonl.gz");
/// Where the rules are, one file for each source.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rules");
/// What was reached, and must not be lost: precision and recall of each source.
const FLOORS: [(&str, f64, f64); 6] = [
    ("auth0", 1.0, 1.0),
    ("cloudtrail", 1.0, 0.98),
    ("github", 0.98, 1.0),
    ("kubernetes", 1.0, 1.0),
    ("okta", 1.0, 0.97),
    ("teleport", 1.0, 1.0),
];

#[derive(Clone, Copy, Default)]
struct Tally {
    found: u32,
    missed: u32,
    wrongly: u32,
    rightly_not: u32,
}

impl Tally {
    fn add(&mut self, is_expected: bool, is_found: bool) {
        match (is_expected, is_found) {
            (true, true) => self.found += 1,
            (true, false) => self.missed += 1,
            (false, true) => self.wrongly += 1,
            (false, false) => self.rightly_not += 1,
        }
    }

    fn precision(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.wrongly).max(1))
    }

    fn recall(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.missed).max(1))
    }

    fn say(self, of: &str) {
        println!(
            "{of:<12} precision {:.3}, recall {:.3} ({} found, {} missed, {} wrongly, {} rightly not)",
            self.precision(),
            self.recall(),
            self.found,
            self.missed,
            self.wrongly,
            self.rightly_not
        );
    }
}

/// The event of a record: mapped where its system's mapping takes it, with nothing but the record where not.
fn event(source: &str, record: &str) -> Event {
    let format: Format = if source == "kubernetes" { Format::Kubernetes } else { source.parse().unwrap() };
    map(format, record).unwrap_or_else(|_| {
        let empty = r#"{"action": "x.record", "actor": "anonymous:unknown", "outcome": "unknown"}"#;
        let raw = Some(Raw { format: source.to_owned(), text: record.to_owned() });
        let actor = Party::new("anonymous", "unknown");
        Event { raw, actor, outcome: Outcome::Unknown, ..serde_json::from_str(empty).unwrap() }
    })
}

/// A record that Azure wraps as a text in one of its own, with what was added outside.
fn unwrapped(record: &Value) -> Value {
    let text = record["properties"]["log"].as_str();
    let Some(Ok(mut inner)) = text.map(serde_json::from_str::<Value>) else { return record.clone() };
    inner["p_enrichment"] = record["p_enrichment"].clone();
    inner
}

fn rules() -> BTreeMap<String, String> {
    let file = |source: &str| std::fs::read_to_string(format!("{RULES}/{source}.toml")).unwrap();
    let tables = FLOORS.iter().flat_map(|(source, ..)| toml::from_str::<toml::Table>(&file(source)).unwrap());
    tables.map(|(name, rule)| (name, toml::to_string(&rule).unwrap())).collect()
}

#[test]
fn what_others_would_find_is_found() {
    let mut text = String::new();
    GzDecoder::new(CASES).read_to_string(&mut text).unwrap();
    let rules = rules();
    let (mut tallies, mut all) = (BTreeMap::<String, Tally>::new(), Tally::default());
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (source, name) = (case["source"].as_str().unwrap(), case["rule"].as_str().unwrap());
        let rule = rules.get(name).unwrap_or_else(|| panic!("no rule for {name}"));
        let rule = Rule::parse(rule).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fields = Fields::of_event(&event(source, &unwrapped(&case["event"]).to_string()));
        let is_found = Evaluator::new(rule).step(0, Time(0), &fields).is_some();
        let is_expected = case["expected"].as_bool().unwrap();
        if is_found != is_expected {
            println!(
                "{} {name}: {}",
                if is_expected { "missed " } else { "wrongly" },
                case["case"].as_str().unwrap()
            );
        }
        tallies.entry(source.to_owned()).or_default().add(is_expected, is_found);
        all.add(is_expected, is_found);
    }
    tallies.iter().for_each(|(source, tally)| tally.say(source));
    all.say("all");
    for (source, precision, recall) in FLOORS {
        let tally = tallies[source];
        assert!(tally.precision() >= precision && tally.recall() >= recall, "{source} got worse");
    }
}
