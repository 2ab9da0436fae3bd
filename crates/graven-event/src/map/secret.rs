//! Whether a text holds something that opens a door: whoever reads it could use it.
//!
//! It knows few shapes and few names, and is meant to be right where it speaks, not to find everything. What systems write in place
//! of a secret (`****`, `HIDDEN_DUE_TO_SECURITY_REASONS`) is none. The session token of an AWS access key opens nothing without the
//! secret key, which CloudTrail never has.

use super::json::Json;

/// Names of members whose text is a secret, in small letters without separators.
const NAMES: [(&str, &str); 17] = [
    ("password", "a password"),
    ("passwd", "a password"),
    ("newpassword", "a password"),
    ("oldpassword", "a password"),
    ("masteruserpassword", "a password"),
    ("clientsecret", "a client secret"),
    ("secretaccesskey", "a secret access key"),
    ("secretkey", "a secret key"),
    ("secretstring", "a secret"),
    ("privatekey", "a private key"),
    ("accesstoken", "an access token"),
    ("refreshtoken", "a refresh token"),
    ("idtoken", "an id token"),
    ("bearertoken", "a bearer token"),
    ("apikey", "an API key"),
    ("authorization", "an Authorization header"),
    ("cookie", "a cookie"),
];
/// Shortest text that is taken for a secret because of its member's name.
const MIN_NAMED_CHARS: usize = 6;
/// What tokens begin with, and how many characters of base64url follow at least.
const PREFIXES: [(&str, usize, &str); 8] = [
    ("gvn_", 16, "a token of Graven"),
    ("ghp_", 36, "a GitHub token"),
    ("gho_", 36, "a GitHub token"),
    ("ghs_", 36, "a GitHub token"),
    ("github_pat_", 36, "a GitHub token"),
    ("xoxb-", 20, "a Slack token"),
    ("Bearer ", 20, "a bearer token"),
    ("-----BEGIN PRIVATE KEY", 0, "a private key"),
];
/// Shortest signature of a JSON Web Token: of HMAC-SHA256, 32 bytes.
const MIN_SIGNATURE_CHARS: usize = 43;
/// JSON within texts within JSON is followed so deep.
const MAX_NESTED: usize = 2;

/// What secret a text holds, if it is one of those that are known: a JSON Web Token, a token of Graven or GitHub, a private key, or, in
/// JSON, a text whose member's name says so (`password`, `client_secret`, `secretAccessKey`, …) and the data of a Kubernetes secret.
///
/// A record that holds one must not be kept as [`raw`](crate::Event::raw): nothing in it can be left out without the rest losing its
/// proof. It is refused, or recorded without `raw`.
pub fn carries_secret(text: &str) -> Option<&'static str> {
    match Json::parse(text) {
        Ok(value) => search(&value, MAX_NESTED),
        Err(_) => shape(text),
    }
}

/// What secret a value holds.
pub(crate) fn within(value: &Json) -> Option<&'static str> {
    search(value, MAX_NESTED)
}

/// What secret a member holds by its name, whatever its length.
pub(crate) fn member(name: &str, value: &Json) -> Option<&'static str> {
    match value {
        Json::Text(_) => named(name),
        _ => None,
    }
}

fn search(value: &Json, nested: usize) -> Option<&'static str> {
    match value {
        Json::Text(text) => shape(text).or_else(|| {
            let json = nested > 0 && text.trim_start().starts_with(['{', '[']);
            json.then(|| Json::parse(text).ok()).flatten().and_then(|inner| search(&inner, nested - 1))
        }),
        Json::List(values) => values.iter().find_map(|value| search(value, nested)),
        Json::Object(members) => {
            let data = ["data", "stringData"].iter().any(|name| value.at(name).is_object());
            let of_cluster = value.text("kind") == Some("Secret") && data;
            of_cluster.then_some("the data of a Kubernetes secret").or_else(|| {
                members
                    .iter()
                    .find_map(|(name, value)| by_name(name, value).or_else(|| search(value, nested)))
            })
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

fn by_name(name: &str, value: &Json) -> Option<&'static str> {
    let text = value.as_text().filter(|text| text.chars().count() >= MIN_NAMED_CHARS && !is_mask(text))?;
    named(name).filter(|_| !text.contains(char::is_whitespace) || text.starts_with("Basic "))
}

fn named(name: &str) -> Option<&'static str> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    NAMES.iter().find(|(known, _)| plain.eq_ignore_ascii_case(known)).map(|(_, what)| *what)
}

/// What stands in place of a secret.
fn is_mask(text: &str) -> bool {
    let same =
        text.chars().next().is_some_and(|first| !first.is_alphanumeric() && text.chars().all(|c| c == first));
    let lower = text.to_ascii_lowercase();
    same || ["hidden", "redact", "masked", "sensitive"].iter().any(|word| lower.contains(word))
}

fn shape(text: &str) -> Option<&'static str> {
    if text.split(|char: char| !is_token(char) && char != '.').any(is_jwt) {
        return Some("a JSON Web Token");
    }
    PREFIXES.iter().find(|(prefix, least, _)| follows(text, prefix, *least)).map(|(_, _, what)| *what)
}

/// Whether somewhere this prefix begins a word and so many characters of a token follow.
fn follows(text: &str, prefix: &str, least: usize) -> bool {
    text.match_indices(prefix).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), &text[at + prefix.len()..]);
        let starts = before.is_none_or(|char| !is_token(char));
        starts && after.chars().take_while(|char| is_token(*char)).count() >= least
    })
}

fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.trim_matches('.').split('.').collect();
    match parts[..] {
        [header, claims, signature] => {
            header.starts_with("eyJ") && claims.starts_with("eyJ") && signature.len() >= MIN_SIGNATURE_CHARS
        }
        _ => false,
    }
}

/// Base64url (RFC 4648 §5).
fn is_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}
