//! Input that nobody means well with: it is refused or mapped, never repeated and never a panic.

use serde_json::{Value, json};

use super::super::{Format, MAX_RECORD_BYTES, carries_secret, map};
use super::{now, samples};
use crate::check::MAX_RAW_BYTES;
use crate::model::Event;
use crate::payload::{MAX_GROUP_BYTES, Sealer};

const PLANTED: &str = "planted-Zx81";

/// Every place of a value, as JSON pointers (RFC 6901).
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(i, value)| places(value, &format!("{at}/{i}"), all));
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            places(value, &format!("{at}/{name}"), all);
        }),
        _ => {}
    }
}

fn substitutes() -> Vec<Value> {
    let long = format!("{PLANTED}{}", "ä".repeat(9_000));
    vec![
        Value::Null,
        json!(true),
        json!(-7),
        json!(u64::MAX),
        json!(1.5e300),
        json!(""),
        json!(" \t"),
        json!(format!("{PLANTED}\n\u{1}")),
        json!(long),
        json!([]),
        json!({}),
        json!([PLANTED, 1, null, {PLANTED: PLANTED}]),
        json!({PLANTED: {PLANTED: [PLANTED]}}),
        json!((0..300).map(|n| format!("{PLANTED} {n}")).collect::<Vec<_>>()),
    ]
}

#[test]
fn any_value_of_any_type_at_any_place_is_mapped_or_refused() {
    let (mut mapped, mut refused) = (0, 0);
    for (format, record) in samples() {
        let value: Value = serde_json::from_str(&record).unwrap();
        let mut all = Vec::new();
        places(&value, "", &mut all);
        for place in all {
            for substitute in substitutes() {
                let mut changed = value.clone();
                *changed.pointer_mut(&place).unwrap() = substitute;
                match map(format, &changed.to_string()) {
                    Ok(event) => {
                        let event = Event { raw: None, ..event };
                        assert_eq!(event.check(now()), Ok(()), "{format} {place}");
                        let groups = crate::group::split(&event);
                        assert!(groups.iter().all(|(_, text)| text.len() <= MAX_GROUP_BYTES));
                        assert!(!event.actor.id.trim().is_empty() && !event.action.trim().is_empty());
                        mapped += 1;
                    }
                    Err(error) => {
                        assert!(!error.to_string().contains(PLANTED), "{error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(mapped > 10_000 && refused > 500, "{mapped} {refused}");
}

#[test]
fn what_is_no_record_is_refused_and_not_repeated() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        String::new(),
        "null".to_owned(),
        format!("\"{PLANTED}\""),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("{{\"{PLANTED}\": "),
        format!("{{\"eventName\": {PLANTED}}}"),
        format!("{{\"eventName\": \"A\", \"{PLANTED}\": 1, \"{PLANTED}\": 2}}"),
        format!("{{\"eventName\": \"A\", \"x\": [{{\"{PLANTED}\": 1, \"{PLANTED}\": 1}}]}}"),
        format!("{{\"eventName\": \"A\", \"x\": {deep}}}"),
        "{\"eventName\": \"A\", \"x\": 1e999}".to_owned(),
        "{\"eventName\": \"A\"} x".to_owned(),
        format!("{{\"eventName\": \"A\", \"x\": \"{}\"}}", "y".repeat(MAX_RECORD_BYTES)),
        format!("{{\"eventName\": \"{}\"}}", "y".repeat(257)),
        "{\"eventName\": \"a\\nb\"}".to_owned(),
        "{\"eventName\": \"a\", \"EVENTNAME\": 1, \"eventName\": \"b\"}".to_owned(),
    ];
    for case in cases {
        let error = map(Format::CloudTrail, &case).unwrap_err().to_string();
        assert!(!error.contains(PLANTED) && error.len() < 200, "{error}");
    }
}

#[test]
fn a_record_too_long_to_be_kept_is_mapped_for_those_who_leave_it_out() {
    let long = format!("{{\"eventName\": \"A\", \"x\": \"{}\"}}", "y".repeat(MAX_RAW_BYTES));
    let mut event = map(Format::CloudTrail, &long).unwrap();
    assert_eq!(event.check(now()).unwrap_err().field, "raw.text");
    event.raw = None;
    assert_eq!(event.check(now()), Ok(()));
}

#[test]
fn names_in_another_case_count_only_where_the_name_itself_is_missing() {
    let lower = map(Format::CloudTrail, r#"{"eventname": "A"}"#).unwrap();
    let both = map(Format::CloudTrail, r#"{"EVENTNAME": "B", "eventName": "A", "eventname": "C"}"#).unwrap();
    assert_eq!((lower.action.as_str(), both.action.as_str()), ("A", "A"));
}

#[test]
fn secrets_are_found_by_shape_and_by_name() {
    let signature = "k".repeat(43);
    let jwt = format!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.{signature}");
    let inner = json!({"password": "hunter2hunter2"}).to_string();
    let github = format!("ghp_{}", "a".repeat(36));
    for secret in [
        json!({"headers": {"x": jwt}}),
        json!({"message": format!("got {jwt}.")}),
        json!({"a": ["Bearer 0123456789abcdef01234"]}),
        json!({"token": "gvn_0123456789abcdef0123"}),
        json!({"url": format!("https://{github}@example.com")}),
        json!({"requestParameters": {"masterUserPassword": "hunter2hunter2"}}),
        json!({"credentials": {"secretAccessKey": "wJalrXUtnFEMI"}}),
        json!({"body": {"client_secret": "0123456789"}}),
        json!({"Authorization": "Basic YWxpY2U6aHVudGVyMg=="}),
        json!({"log": inner}),
        json!({"requestObject": {"kind": "Secret", "data": {"k": "dg=="}}}),
        json!({"k": "-----BEGIN PRIVATE KEY-----"}),
    ] {
        assert!(carries_secret(&secret.to_string()).is_some(), "{secret}");
    }
    assert!(carries_secret(&format!("not JSON {jwt}")).is_some());
    for harmless in [
        json!({"masterUserPassword": "****", "clientSecret": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
        json!({"password": "[REDACTED]", "accessToken": "*****"}),
        json!({"password": true, "secret_key": null, "idToken": 7, "apiKey": {}}),
        json!({"passwordResetRequired": "yes, required", "passwordPolicy": "minimum-twelve"}),
        json!({"description": "password reset by an administrator"}),
        json!({"password": "reset by an administrator"}),
        json!({"sessionToken": "IQoJb3JpZ2luX2VjECwaCXVzLWVhc3QtMSJGMEQCIBxqGB94lob6KrCdvS338BkpG"}),
        json!({"host": "eyJ.example.com", "file": "a.b.c"}),
        json!({"hashed_token": "9kPZ3mJ1sXq0Yw8m0b3cKxYt8Kk0hR2rG8mYw2f1d3s="}),
        json!({"kind": "Secret", "metadata": {"name": "db"}}),
    ] {
        assert_eq!(carries_secret(&harmless.to_string()), None, "{harmless}");
    }
}

#[test]
fn secrets_reach_no_field() {
    let body = json!({"password": "hunter2", "name": PLANTED, "nested": {"client_secret": "hunter2hunter2"}});
    let record = json!({"type": "sapi", "details": {"request": {"body": body}}});
    let event = map(Format::Auth0, &record.to_string()).unwrap();
    let fields: Vec<_> =
        event.changes.iter().map(|change| (change.field.as_str(), change.after.as_deref())).collect();
    assert_eq!(fields, [("name", Some(PLANTED)), ("nested", None), ("password", None)]);
    let secret = json!({"verb": "create", "user": {"username": "a"}, "objectRef": {"resource": "secrets"},
        "requestObject": {"kind": "Secret", "metadata": {"name": "db"}, "data": {"k": PLANTED}}});
    let event = map(Format::Kubernetes, &secret.to_string()).unwrap();
    assert!(!super::without_raw(&event).to_string().contains(PLANTED));
}

#[test]
fn the_largest_events_can_be_opened_again() {
    let long = "x".repeat(1 << 14);
    let body: serde_json::Map<_, _> = (0..100).map(|n| (format!("m{n}"), json!(long))).collect();
    let audience: Vec<_> = (0..100).map(|n| format!("{n}{long}")).collect();
    let record = json!({"type": "sapi", "audience": audience, "details": {"request": {"body": body}}});
    let event = Event { raw: None, ..map(Format::Auth0, &record.to_string()).unwrap() };
    assert_eq!(event.check(now()), Ok(()));
    assert_eq!(event.token.as_ref().unwrap().audience.len(), 24);
    assert_eq!(event.changes.len(), 15);
    assert_eq!(super::sets::there_and_back(&mut Sealer::default(), &event), event);
}
