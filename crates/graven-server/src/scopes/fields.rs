//! What requests about scopes say, checked: each refusal names the field, and nothing that stands in it.

use std::time::Duration;

use graven_event::scopes::{MAX_APPROVALS, MAX_APPROVERS, MAX_GRANT_SCOPES as MAX_SCOPES};
use graven_event::{Party, Ref, Time, Word};
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use prost_types::Timestamp;

use crate::audit::missing;
use crate::message::nanoseconds;

/// Most scopes of a token that was shown, and their bytes: they stand in the decision's leaf.
const MAX_PRESENTED: (usize, usize) = (256, 8 << 10);
/// Longest justification.
const MAX_JUSTIFICATION_BYTES: usize = 1024;

pub(crate) fn invalid(field: &str, text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorReason::FieldInvalid, text).with_field(field)
}

fn too_many(field: &str, limit: usize) -> Refusal {
    invalid(field, format!("at most {limit} are taken")).with_fact("limit", limit)
}

pub(crate) fn unknown(field: &str) -> Refusal {
    Refusal::new(ErrorReason::EnumValueUnknown, "this server does not know this value").with_field(field)
}

/// The number of a grant or a review, as it was handed out and in no other way.
pub(crate) fn reference(text: &str, field: &str) -> Result<Ref, Refusal> {
    if text.is_empty() {
        return Err(missing(field));
    }
    let number = u128::from_str_radix(text, 16).ok().map(|number| Ref(number.to_be_bytes()));
    let number = number.filter(|number| number.to_string() == text);
    number.ok_or_else(|| invalid(field, "32 hex digits, as they were handed out"))
}

/// A scope token (RFC 6749 §3.3).
pub(crate) fn scope(text: &str, field: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Err(missing(field));
    }
    let is_legal = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    if text.len() <= graven_event::facts::MAX_WORD_BYTES && text.bytes().all(is_legal) {
        return Ok(text.to_owned());
    }
    Err(invalid(field, "a scope is one scope token (RFC 6749 §3.3) of at most 256 bytes"))
}

/// The scopes of a request, none of them twice.
pub(crate) fn scopes(texts: &[String], field: &str) -> Result<Vec<String>, Refusal> {
    if texts.len() > MAX_SCOPES {
        return Err(too_many(field, MAX_SCOPES));
    }
    let mut scopes: Vec<_> = texts.iter().map(|text| scope(text, field)).collect::<Result<_, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// The same, one at least.
pub(crate) fn some_scopes(texts: &[String], field: &str) -> Result<Vec<String>, Refusal> {
    if texts.is_empty() { Err(missing(field)) } else { scopes(texts, field) }
}

/// The scopes of a token that was shown.
pub(super) fn presented(texts: &[String], field: &str) -> Result<Vec<String>, Refusal> {
    let (count, bytes) = MAX_PRESENTED;
    if texts.len() > count {
        return Err(too_many(field, count));
    }
    if texts.iter().map(String::len).sum::<usize>() > bytes {
        return Err(
            invalid(field, format!("at most {bytes} bytes of scopes are taken")).with_fact("limit", bytes)
        );
    }
    texts.iter().map(|text| scope(text, field)).collect()
}

/// What an application or a person is called.
pub(crate) fn name(text: &str, field: &str) -> Result<String, Refusal> {
    if text.trim().is_empty() {
        return Err(missing(field));
    }
    line(text, field)
}

/// The same, or nobody.
pub(crate) fn maybe_name(text: &str, field: &str) -> Result<Option<String>, Refusal> {
    if text.is_empty() { Ok(None) } else { name(text, field).map(Some) }
}

/// Anything on one line.
pub(super) fn line(text: &str, field: &str) -> Result<String, Refusal> {
    Word::new(text).map(|word| word.as_str().to_owned()).map_err(|error| invalid(field, error.to_string()))
}

/// A token's identifier or issuer, which stands in no leaf as it is.
pub(super) fn token_text(text: &str, field: &str) -> Result<String, Refusal> {
    let limit = graven_event::MAX_TEXT_BYTES;
    match text.len() {
        0 => Err(missing(field)),
        length if length > limit => {
            Err(invalid(field, format!("at most {limit} bytes")).with_fact("limit", limit))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Somebody who may approve or administer: `user:alice`, `alice`, `application:billing`.
pub(super) fn party(text: &str, field: &str) -> Result<Party, Refusal> {
    let party = Party::parse(&name(text, field)?);
    if party.id.trim().is_empty() { Err(missing(field)) } else { Ok(party) }
}

pub(super) fn approvers(texts: &[String]) -> Result<Vec<Party>, Refusal> {
    if texts.len() > MAX_APPROVERS {
        return Err(too_many("approvers", MAX_APPROVERS));
    }
    texts.iter().map(|text| party(text, "approvers")).collect()
}

pub(super) fn approvals(count: u32) -> Result<u8, Refusal> {
    let count = u8::try_from(count.max(1)).ok().filter(|count| *count <= MAX_APPROVALS);
    count.ok_or_else(|| {
        invalid("approvals", format!("1 to {MAX_APPROVALS}")).with_fact("limit", MAX_APPROVALS)
    })
}

/// A resource indicator (RFC 8707 §2): an absolute URI without a fragment.
pub(crate) fn resource(text: &str, field: &str) -> Result<Option<String>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_absolute = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_absolute || text.contains('#') || text.contains(char::is_whitespace) {
        return Err(invalid(field, "a resource is an absolute URI without a fragment (RFC 8707 §2)"));
    }
    line(text, field).map(Some)
}

pub(crate) fn time(time: Option<&Timestamp>, field: &str) -> Result<Option<Time>, Refusal> {
    let of =
        |time| nanoseconds(time).map(Time).ok_or_else(|| invalid(field, "no time of the years 1 to 9999"));
    time.map(of).transpose()
}

pub(super) fn needed_time(at: Option<&Timestamp>, field: &str) -> Result<Time, Refusal> {
    time(at, field)?.ok_or_else(|| missing(field))
}

/// A length of time that is not negative.
pub(super) fn duration(span: prost_types::Duration, field: &str) -> Result<Duration, Refusal> {
    Duration::try_from(span).map_err(|_| invalid(field, "no length of time, or a negative one"))
}

/// How long a grant may count: whole seconds, one at least.
pub(super) fn longest(span: Option<prost_types::Duration>) -> Result<Option<Duration>, Refusal> {
    let Some(span) = span else { return Ok(None) };
    let span = duration(span, "longest")?;
    if span.subsec_nanos() != 0 || span.is_zero() {
        return Err(invalid("longest", "whole seconds, one at least; absent: for ever"));
    }
    Ok(Some(span))
}

pub(super) fn justification(text: String) -> Result<Option<String>, Refusal> {
    if text.len() > MAX_JUSTIFICATION_BYTES {
        let what = format!("a justification has at most {MAX_JUSTIFICATION_BYTES} bytes");
        return Err(invalid("options.justification", what).with_fact("limit", MAX_JUSTIFICATION_BYTES));
    }
    Ok((!text.trim().is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> ErrorReason {
        refused.unwrap_err().reason()
    }

    #[test]
    fn a_number_is_taken_as_it_was_handed_out() {
        let number = Ref([0xab; 16]);
        assert_eq!(reference(&number.to_string(), "grant").unwrap(), number);
        assert_eq!(reason(reference("", "grant")), ErrorReason::FieldRequired);
        for wrong in ["ab", "+b".repeat(16).as_str(), "AB".repeat(16).as_str(), "xy".repeat(16).as_str()] {
            assert_eq!(reason(reference(wrong, "grant")), ErrorReason::FieldInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_scope_is_one_token_and_a_resource_an_address() {
        assert!(scope("payroll.read:all!", "scope").is_ok() && scope(&"x".repeat(256), "scope").is_ok());
        for wrong in ["a b", "a\"b", "a\\b", "ä", "a\n", &"x".repeat(257)] {
            assert_eq!(reason(scope(wrong, "scope")), ErrorReason::FieldInvalid, "{wrong}");
        }
        assert_eq!(resource("", "resource"), Ok(None));
        assert!(resource("https://api.example.com/v1?x", "resource").unwrap().is_some());
        assert!(resource("urn:example:payroll", "resource").unwrap().is_some());
        for wrong in ["api", "/v1", "://x", "1s:x", "https://x#y", "https://x y", "https://x\u{202e}"] {
            assert_eq!(reason(resource(wrong, "resource")), ErrorReason::FieldInvalid, "{wrong}");
        }
        let twice = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(scopes(&twice, "scopes").unwrap(), ["a", "b"]);
        assert_eq!(reason(scopes(&vec!["a".to_owned(); 65], "scopes")), ErrorReason::FieldInvalid);
        assert_eq!(reason(some_scopes(&[], "scopes")), ErrorReason::FieldRequired);
        let long = vec!["x".repeat(256); 33];
        assert_eq!(reason(presented(&long, "token.scopes")), ErrorReason::FieldInvalid);
    }

    #[test]
    fn counts_and_times_have_bounds() {
        assert_eq!([0, 1, 16].map(|count| approvals(count).unwrap()), [1, 1, 16]);
        assert!([17, 256, u32::MAX].into_iter().all(|count| approvals(count).is_err()));
        let span = |seconds, nanos| longest(Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(span(60, 0), Ok(Some(Duration::from_secs(60))));
        assert!([(0, 0), (-1, 0), (1, 1), (0, -1)].into_iter().all(|(s, n)| span(s, n).is_err()));
        assert_eq!(
            reason(time(Some(&Timestamp { seconds: 0, nanos: -1 }), "expires")),
            ErrorReason::FieldInvalid
        );
        assert_eq!(reason(needed_time(None, "expires")), ErrorReason::FieldRequired);
        for blank in ["", " ", "user:", "application:\t"] {
            assert!(party(blank, "administrator").is_err(), "{blank:?}");
        }
        assert_eq!(party("alice", "administrator").unwrap().subject(), "user:alice");
        assert!(justification("x".repeat(1025)).is_err() && justification(" ".to_owned()) == Ok(None));
    }
}
