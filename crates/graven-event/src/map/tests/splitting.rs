//! Files as users have them, whole and in pieces.

use super::super::{Broken, Format, MAX_RECORD_BYTES, Record, Splitter, records};

fn lines(found: &[Record]) -> Vec<(u64, &str)> {
    found.iter().map(|record| (record.line, record.text.as_str())).collect()
}

#[test]
fn records_are_found_in_every_form() {
    let (a, b) = (r#"{"a": "\"}]\\", "Records": {"Records": [1]}}"#, r#"{"b": [{}, [2]]}"#);
    let both = [(1, a), (1, b)];
    for (format, text, expected) in [
        (Format::CloudTrail, format!("{a}\n\n{b}\n"), [(1, a), (3, b)]),
        (Format::CloudTrail, format!("[{a},\r\n{b}]"), [(1, a), (2, b)]),
        (
            Format::CloudTrail,
            format!("{{\"x\": {{\"y\": 1}}, \"Records\" : [ {a} , {b} ], \"z\": [1]}}"),
            both,
        ),
        (Format::CloudTrail, format!("{{\"Records\": []}}\n{{\"Records\":[{a}]}} {b}"), [(2, a), (2, b)]),
        (Format::Kubernetes, format!("{{\"kind\":\"EventList\",\"items\":[{a},{b}]}}"), both),
        (Format::Auth0, format!("{{\"total\":2,\"logs\":[{a},{b}]}}"), both),
        (Format::Okta, format!("[{a},{b}][]"), both),
    ] {
        assert_eq!(lines(&records(format, &text).unwrap()), expected, "{text}");
        for size in 1..text.len() {
            let mut splitter = Splitter::new(format);
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                splitter.push(piece).unwrap();
                found.extend(splitter.by_ref());
            }
            splitter.finish().unwrap();
            assert_eq!(lines(&found), expected, "in pieces of {size}");
        }
    }
    assert_eq!(records(Format::Okta, " \n"), Ok(Vec::new()));
}

#[test]
fn only_the_format_s_own_container_is_one() {
    let text = r#"{"Records": [{"a": 1}], "items": [], "x\"logs": [1]}"#;
    for format in Format::ALL.into_iter().filter(|format| *format != Format::CloudTrail) {
        let found = records(format, text).unwrap();
        assert_eq!(found.len(), usize::from(format != Format::Kubernetes), "{format}");
    }
}

#[test]
fn what_is_no_record_is_told_with_its_line_and_without_what_stands_there() {
    for (text, line) in [
        ("{}\n{}\nplanted", 3),
        ("\n\"planted\"", 2),
        ("[{} {}]", 1),
        ("[{},\n]", 2),
        ("[1]", 1),
        ("[[{}]]", 1),
        ("{}\n{\"planted\": \"a\n\"}", 2),
        ("{}\n\n{\"planted\": {}\n", 3),
        ("[{}", 1),
        ("{\"Records\": [{}]", 1),
        ("{\"Records\": [{}] planted}", 1),
        ("{\"Records\": [{}], \"Records\": [{}]}", 1),
        ("{\"Records\": [{}]]}", 1),
        ("}", 1),
    ] {
        let Broken { line: found, error } = records(Format::CloudTrail, text).unwrap_err();
        assert_eq!(found, line, "{text}: {error}");
        assert!(!error.to_string().contains("planted"), "{error}");
    }
}

#[test]
fn a_record_that_does_not_end_is_not_held_for_ever() {
    let mut splitter = Splitter::new(Format::Okta);
    splitter.push(b"{\"a\": \"").unwrap();
    let piece = vec![b'x'; MAX_RECORD_BYTES - 7];
    assert_eq!(splitter.push(&piece), Ok(()));
    assert!(splitter.push(b"x").is_err());
}

#[test]
fn an_error_of_a_record_has_its_line() {
    let found = records(Format::Okta, "{\"eventType\": \"a\"}\n{\"uuid\": 1}").unwrap();
    let error = found[1].map(Format::Okta).unwrap_err();
    assert_eq!((error.line, error.error.field.as_str()), (2, "eventType"));
    assert!(error.to_string().starts_with("line 2: eventType: "));
}
