//! What holds for every mapping: golden files, both sets of records, hostile input. What one mapping decides is in `decisions`.

mod decisions;
mod hostile;
mod sets;
mod splitting;

use serde_json::{Value, json};

use super::{Format, map};
use crate::model::Event;
use crate::time::Time;

macro_rules! vectors {
    ($include:ident, $file:literal) => {
        $include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/events/", $file))
    };
}
use vectors;

fn golden(format: Format) -> Vec<(String, Value)> {
    let text = match format {
        Format::CloudTrail => vectors!(include_str, "cloudtrail-v1.jsonl"),
        Format::Okta => vectors!(include_str, "okta-v1.jsonl"),
        Format::Kubernetes => vectors!(include_str, "k8s-v1.jsonl"),
        Format::Auth0 => vectors!(include_str, "auth0-v1.jsonl"),
        Format::GitHub => vectors!(include_str, "github-v1.jsonl"),
        Format::Ocsf => vectors!(include_str, "ocsf-v1.jsonl"),
        Format::Teleport => vectors!(include_str, "teleport-v1.jsonl"),
    };
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["record"].as_str().unwrap().to_owned(), line["event"].clone())).collect()
}

/// The records of all golden files.
fn samples() -> impl Iterator<Item = (Format, String)> {
    Format::ALL
        .into_iter()
        .flat_map(|format| golden(format).into_iter().map(move |(record, _)| (format, record)))
}

fn without_raw(event: &Event) -> Value {
    serde_json::to_value(Event { raw: None, ..event.clone() }).unwrap()
}

fn now() -> Time {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_mapping_never_changes() {
    for format in Format::ALL {
        let golden = golden(format);
        assert!(golden.len() >= 6, "{format}");
        for (at, (record, event)) in golden.iter().enumerate() {
            let mapped = map(format, record).unwrap();
            assert_eq!(without_raw(&mapped), *event, "{format}, line {}", at + 1);
            let raw = mapped.raw.as_ref().unwrap();
            assert_eq!((raw.format.as_str(), &raw.text), (&*format!("{format}/v1"), record));
            assert_eq!(super::remap(raw), Some(Ok(mapped.clone())));
            assert_eq!(mapped.check(now()), Ok(()), "{format}, line {}", at + 1);
        }
    }
}

/// Shows whole golden lines for those that have no event yet.
#[test]
#[ignore = "it only prints"]
fn new_golden_lines_with_their_events() {
    for format in Format::ALL {
        for (record, _) in golden(format).into_iter().filter(|(_, event)| event.is_null()) {
            let event = without_raw(&map(format, &record).unwrap());
            println!("{format} {}", json!({ "record": record, "event": event }));
        }
    }
}

#[test]
fn words_name_formats() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert!("CloudTrail".parse::<Format>().is_err());
    let foreign = crate::Raw { format: "application/json".to_owned(), text: "{}".to_owned() };
    assert_eq!(super::remap(&foreign), None);
}
