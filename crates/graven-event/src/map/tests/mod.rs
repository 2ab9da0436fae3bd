//! What holds for every mapping: golden files, both sets of records, hostile input. What one mapping decides is in `decisions`.

mod decisions;
mod hostile;
mod sets;
mod splitting;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Format, map};
use crate::model::Event;
use crate::time::Time;

fn vectors(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/events").join(file)
}

fn golden(format: Format) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(vectors(&format!("{format}-v1.jsonl"))).unwrap();
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

/// Fills in the events of golden lines that have none yet, and leaves all others alone.
#[test]
#[ignore = "it writes what the others hold mappings to"]
fn new_golden_lines_get_their_events() {
    for format in Format::ALL {
        let lines = golden(format).into_iter().map(|(record, event)| {
            let made = if event.is_null() { without_raw(&map(format, &record).unwrap()) } else { event };
            format!("{}\n", json!({ "record": record, "event": made }))
        });
        std::fs::write(vectors(&format!("{format}-v1.jsonl")), lines.collect::<String>()).unwrap();
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
