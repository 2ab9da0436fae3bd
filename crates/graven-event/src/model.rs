//! An audit event: who did what to what, when, with which token and scope, and what was decided.
//!
//! The same type is what producers hand in, what mappings make of other systems' records, what is sealed into a payload and
//! what comes out of it again. As JSON (one object a line) it is also what `graven record` reads:
//!
//! ```json
//! {"time": "2026-03-01T09:30:00Z", "action": "auth.login", "actor": "alice", "outcome": "success",
//!  "targets": [{"kind": "application", "id": "payroll"}], "scope": {"used": ["payroll.read"]},
//!  "context": {"ip": "192.0.2.7", "request_id": "b7e1"}}
//! ```
//!
//! Unknown members are refused: a field that nobody reads would be lost.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// An audit event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When it happened, as its producer says. The order of a log is that of its leaves, never this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// What was done: a word of the [catalogue](crate::catalogue), `x.` and words of one's own, or, where
    /// [`Source::product`] is given, what that product calls it.
    pub action: String,
    /// Who did it.
    pub actor: Party,
    /// Through which application, where that is not the actor itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Party>,
    /// For whom it was done, nearest first (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<Party>,
    /// The session in which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// To what it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so, and by which rule.
    #[serde(default, skip_serializing_if = "Decision::is_empty")]
    pub decision: Decision,
    /// The token that was shown. Never the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// OAuth scopes.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// From where, and as part of what.
    #[serde(default, skip_serializing_if = "Context::is_empty")]
    pub context: Context,
    /// What it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Which system told of it.
    #[serde(default, skip_serializing_if = "Source::is_empty")]
    pub source: Source,
    /// Words of the producer's own. They are searchable, so nothing personal belongs here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Others whom it is about: what it says becomes unreadable with any of them erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<Party>,
    /// The record that it was made from, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
}

/// A person, service or application. `"alice"` in JSON is short for a user, `"service:ci"` for another kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "PartyForm")]
pub struct Party {
    /// `user`, `service`, `application`, or a word of the producer's.
    pub kind: String,
    /// Its identifier within the producer's world.
    pub id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Something that was acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What it is: `document`, `role`, `user`. A `user` is a [party](Party) that the event is about.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was allowed and did not succeed.
    Failure,
    /// It was not allowed.
    Denied,
    /// Whoever told of it did not know: it had only begun, say.
    Unknown,
}

/// Why an action ended as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// In the producer's words: an error code, a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policy or rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What is kept of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// Its `jti`, or another identifier that does not open anything (RFC 7519 §4.1.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `iss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// `aud`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// How it was got: `authorization_code`, `client_credentials`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// `exp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// `cnf`: `jkt:THUMBPRINT` (RFC 9449 §6.1) or `x5t#S256:THUMBPRINT` (RFC 8705 §3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<String>,
    /// `acr`: how strongly its owner was authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// `amr`: by which methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

/// OAuth scopes (RFC 6749 §3.3), one token each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<String>,
    /// Given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    /// Needed for what was done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<String>,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// The producer's number for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Its address, or what stands for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The program that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// One thing that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The system that told of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// `cloudtrail`, `okta`, … With it, an [action](Event::action) is a word of that product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its identifier for the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// A record as a system wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// What it is: a word of [`map`](crate::map) for what can be mapped again, or a media type.
    pub format: String,
    /// Its text.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PartyForm {
    Short(String),
    Long(LongParty),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongParty {
    #[serde(default = "user")]
    kind: String,
    id: String,
    #[serde(default)]
    name: Option<String>,
}

fn user() -> String {
    Party::USER.to_owned()
}

impl From<PartyForm> for Party {
    fn from(form: PartyForm) -> Self {
        match form {
            PartyForm::Short(text) => Self::parse(&text),
            PartyForm::Long(LongParty { kind, id, name }) => Self { kind, id, name },
        }
    }
}

impl Party {
    /// The kind of people.
    pub const USER: &str = "user";
    /// The kinds that stand before a colon in the short form.
    pub const KINDS: [&str; 5] = [Self::USER, "service", "application", "system", "anonymous"];

    /// Somebody of a kind.
    pub fn new(kind: &str, id: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), id: id.into(), name: None }
    }

    /// The short form: `service:ci`, and `alice` for `user:alice`. A colon after another word belongs to the identifier.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((kind, id)) if Self::KINDS.contains(&kind) => Self::new(kind, id),
            _ => Self::new(Self::USER, text),
        }
    }

    /// Whether it goes by this identifier, whatever it is called.
    pub(crate) fn is_same(&self, kind: &str, id: &str) -> bool {
        self.kind == kind && self.id == id
    }

    /// `user:alice`: what it is called where subjects are named.
    pub fn subject(&self) -> String {
        format!("{}:{}", self.kind, self.id)
    }
}

impl Change {
    /// How long its texts are in all.
    pub(crate) fn bytes(&self) -> usize {
        let values = self.before.iter().chain(&self.after).map(String::len).sum::<usize>();
        self.field.len() + values
    }
}

impl Target {
    /// The party that it is, where it is a person.
    pub fn as_party(&self) -> Option<Party> {
        (self.kind == Party::USER).then(|| Party {
            kind: self.kind.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
        })
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Denied, Self::Unknown];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! empty_is_default {
    ($($type:ty),+) => {
        $(impl $type {
            /// Whether nothing is said.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }
        })+
    };
}

empty_is_default!(Decision, Scope, Context, Source);
