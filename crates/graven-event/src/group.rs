//! The groups of an event: what is sealed, disclosed and erased together.
//!
//! | group | what | about |
//! |---|---|---|
//! | 1 actor | actor, on whose behalf, session | those |
//! | 2 targets | targets, others whom it is about | the people among them |
//! | 3 token | client, what is kept of the token | actor, client |
//! | 4 context | request, trace, address, program | actor |
//! | 5 decision | reason, policy | everybody |
//! | 6 changes | changes | everybody |
//! | 7 raw | the producer's record | everybody |
//! | 8 origin | service, its event id, labels | nobody |
//!
//! Action, outcome, scopes, product and time are in the leaf itself.
//!
//! # Bytes
//! Fields as tagged in `codec`, as in [`facts`](crate::facts); a value in capitals is fields again. A group without fields is not there.
//!
//! ```text
//! 1 actor      1 actor PARTY · 2 on_behalf_of PARTY* · 3 session text?
//! 2 targets    1 targets PARTY* · 2 about PARTY*
//! 3 token      1 client PARTY? · 2 token TOKEN?
//! 4 context    1 request_id text? · 2 trace_id text? · 3 ip text? · 4 user_agent text?
//! 5 decision   1 reason text? · 2 policy text?
//! 6 changes    1 changes CHANGE*
//! 7 raw        1 format text, and then the text of the record to the end, which may be longer than a field
//! 8 origin     1 service text? · 2 event_id text? · 3 labels LABEL*, by rising key
//!
//! PARTY        1 kind text · 2 id text · 3 name text?
//! TOKEN        1 id text? · 2 issuer text? · 3 audience text* · 4 grant_type text? · 5 expires u64? · 6 confirmation text?
//!              7 acr text? · 8 amr text*
//! CHANGE       1 field text · 2 before text? · 3 after text?
//! LABEL        1 key text · 2 value text
//!
//! text: UTF-8, also none · u64: 8 bytes, big-endian: nanoseconds since 1970
//! ```

use std::collections::BTreeMap;

use crate::codec::{Malformed, Reader, Value, Writer, tagged};
use crate::facts::EventFacts;
use crate::model::{Change, Context, Decision, Event, Outcome, Party, Raw, Scope, Source, Target, Token};
use crate::time::Time;

/// A group's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Group {
    Actor = 1,
    Targets = 2,
    Token = 3,
    Context = 4,
    Decision = 5,
    Changes = 6,
    Raw = 7,
    Origin = 8,
}

impl Group {
    /// Every group, by number.
    pub const ALL: [Self; 8] = [
        Self::Actor,
        Self::Targets,
        Self::Token,
        Self::Context,
        Self::Decision,
        Self::Changes,
        Self::Raw,
        Self::Origin,
    ];

    /// The group of a number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Targets => "targets",
            Self::Token => "token",
            Self::Context => "context",
            Self::Decision => "decision",
            Self::Changes => "changes",
            Self::Raw => "raw",
            Self::Origin => "origin",
        }
    }

    /// The group of a word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == word)
    }

    /// Whether a group of this event is about one of its [parties].
    pub(crate) fn is_about(self, event: &Event, party: &Party) -> bool {
        let is = |other: &Party| party.is_same(&other.kind, &other.id);
        let is_target =
            |target: &Target| target.kind == Party::USER && party.is_same(&target.kind, &target.id);
        match self {
            Self::Actor => is(&event.actor) || event.on_behalf_of.iter().any(is),
            Self::Targets => event.targets.iter().any(is_target) || event.about.iter().any(is),
            Self::Token => is(&event.actor) || event.client.as_ref().is_some_and(is),
            Self::Context => is(&event.actor),
            Self::Decision | Self::Changes | Self::Raw => true,
            Self::Origin => false,
        }
    }
}

/// Everybody whom an event is about: each once, whatever they are called.
pub fn parties(event: &Event) -> Vec<Party> {
    let mut all = vec![event.actor.clone()];
    all.extend(event.client.clone());
    all.extend(event.on_behalf_of.iter().cloned());
    all.extend(event.targets.iter().filter_map(Target::as_party));
    all.extend(event.about.iter().cloned());
    keep_first(&mut all);
    all
}

fn keep_first(parties: &mut Vec<Party>) {
    let mut seen = std::collections::BTreeSet::new();
    let is_first: Vec<bool> = parties.iter().map(|party| seen.insert((&party.kind, &party.id))).collect();
    let mut is_first = is_first.into_iter();
    parties.retain(|_| is_first.next() == Some(true));
}

macro_rules! nested {
    ($type:ty { $($tag:literal $how:ident $field:ident),+ $(,)? }) => {
        impl Value for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let mut writer = Writer::default();
                $(writer.$how($tag, &self.$field);)+
                out.extend_from_slice(&writer.finish());
            }

            fn take(bytes: &[u8]) -> Option<Self> {
                let mut reader = Reader::new(bytes);
                $(let $field = reader.$how($tag).ok()?;)+
                reader.end().ok()?;
                Some(Self { $($field),+ })
            }
        }
    };
}

nested!(Party { 1 put kind, 2 put id, 3 maybe name });
nested!(Target { 1 put kind, 2 put id, 3 maybe name });
nested!(Change { 1 put field, 2 maybe before, 3 maybe after });
nested!(Token {
    1 maybe id,
    2 maybe issuer,
    3 each audience,
    4 maybe grant_type,
    5 maybe expires,
    6 maybe confirmation,
    7 maybe acr,
    8 each amr,
});
nested!(Context { 1 maybe request_id, 2 maybe trace_id, 3 maybe ip, 4 maybe user_agent });
nested!(Decision { 1 maybe reason, 2 maybe policy });
nested!(Label { 1 put key, 2 put value });

impl Value for Time {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        u64::take(bytes).map(Self)
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Label {
    key: String,
    value: String,
}

tagged! {
    struct ActorGroup {
        1 put actor: Party,
        2 each on_behalf_of: Vec<Party>,
        3 maybe session: Option<String>,
    }
}

tagged! {
    struct TargetsGroup {
        1 each targets: Vec<Target>,
        2 each about: Vec<Party>,
    }
}

tagged! {
    struct TokenGroup {
        1 maybe client: Option<Party>,
        2 maybe token: Option<Token>,
    }
}

tagged! {
    struct ChangesGroup {
        1 each changes: Vec<Change>,
    }
}

tagged! {
    struct OriginGroup {
        1 maybe service: Option<String>,
        2 maybe event_id: Option<String>,
        3 each labels: Vec<Label>,
    }
}

/// What is readable of an event: groups that are hidden, erased or not asked for are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `None`: hidden.
    pub actor: Option<Party>,
    /// Empty where hidden.
    pub on_behalf_of: Vec<Party>,
    /// `None` where hidden.
    pub session: Option<String>,
    /// Empty where hidden.
    pub targets: Vec<Target>,
    /// Empty where hidden.
    pub about: Vec<Party>,
    /// `None` where hidden.
    pub client: Option<Party>,
    /// `None` where hidden.
    pub token: Option<Token>,
    /// Empty where hidden.
    pub context: Context,
    /// Empty where hidden.
    pub decision: Decision,
    /// Empty where hidden.
    pub changes: Vec<Change>,
    /// `None` where hidden.
    pub raw: Option<Raw>,
    /// `None` where hidden.
    pub service: Option<String>,
    /// `None` where hidden.
    pub event_id: Option<String>,
    /// Empty where hidden.
    pub labels: BTreeMap<String, String>,
}

/// The bytes of each group that an event has, by number.
pub fn split(event: &Event) -> Vec<(Group, Vec<u8>)> {
    Group::ALL
        .into_iter()
        .map(|group| (group, encode(group, event)))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

fn encode(group: Group, event: &Event) -> Vec<u8> {
    match group {
        Group::Actor => ActorGroup {
            actor: event.actor.clone(),
            on_behalf_of: event.on_behalf_of.clone(),
            session: event.session.clone(),
        }
        .encode(),
        Group::Targets => {
            TargetsGroup { targets: event.targets.clone(), about: event.about.clone() }.encode()
        }
        Group::Token => TokenGroup { client: event.client.clone(), token: event.token.clone() }.encode(),
        Group::Context => bytes_of(&event.context),
        Group::Decision => bytes_of(&event.decision),
        Group::Changes => ChangesGroup { changes: event.changes.clone() }.encode(),
        Group::Raw => event.raw.as_ref().map(encode_raw).unwrap_or_default(),
        Group::Origin => OriginGroup {
            service: event.source.service.clone(),
            event_id: event.source.event_id.clone(),
            labels: event
                .labels
                .iter()
                .map(|(key, value)| Label { key: key.clone(), value: value.clone() })
                .collect(),
        }
        .encode(),
    }
}

fn bytes_of(value: &impl Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    bytes
}

fn encode_raw(raw: &Raw) -> Vec<u8> {
    let mut bytes = Writer::default().put(1, &raw.format).finish();
    bytes.extend_from_slice(raw.text.as_bytes());
    bytes
}

fn decode_raw(bytes: &[u8]) -> Result<Raw, Malformed> {
    let no_raw = Malformed("not a raw group");
    let Some(([1, hi, lo], rest)) = bytes.split_first_chunk::<3>() else { return Err(no_raw) };
    let format_bytes = usize::from(u16::from_be_bytes([*hi, *lo]));
    let (format, text) = rest.split_at_checked(format_bytes).ok_or(no_raw)?;
    match (String::take(format), String::take(text)) {
        (Some(format), Some(text)) => Ok(Raw { format, text }),
        _ => Err(no_raw),
    }
}

impl View {
    /// What an event says but for its record and what it changed: by neither it is found.
    pub fn to_find(event: &Event) -> Self {
        Self {
            actor: Some(event.actor.clone()),
            on_behalf_of: event.on_behalf_of.clone(),
            session: event.session.clone(),
            targets: event.targets.clone(),
            about: event.about.clone(),
            client: event.client.clone(),
            token: event.token.clone(),
            context: event.context.clone(),
            decision: event.decision.clone(),
            changes: Vec::new(),
            raw: None,
            service: event.source.service.clone(),
            event_id: event.source.event_id.clone(),
            labels: event.labels.clone(),
        }
    }

    /// Takes in a group's bytes.
    ///
    /// # Errors
    /// They are not what any event has in this group.
    pub fn add(&mut self, group: Group, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.is_empty() {
            return Err(Malformed("an empty group"));
        }
        let of_type = Malformed("not a group of its number");
        match group {
            Group::Actor => {
                let found = ActorGroup::decode(bytes)?;
                self.actor = Some(found.actor);
                self.on_behalf_of = found.on_behalf_of;
                self.session = found.session;
            }
            Group::Targets => {
                let found = TargetsGroup::decode(bytes)?;
                (self.targets, self.about) = (found.targets, found.about);
            }
            Group::Token => {
                let found = TokenGroup::decode(bytes)?;
                (self.client, self.token) = (found.client, found.token);
            }
            Group::Context => self.context = Context::take(bytes).ok_or(of_type)?,
            Group::Decision => self.decision = Decision::take(bytes).ok_or(of_type)?,
            Group::Changes => self.changes = ChangesGroup::decode(bytes)?.changes,
            Group::Raw => self.raw = Some(decode_raw(bytes)?),
            Group::Origin => {
                let found = OriginGroup::decode(bytes)?;
                let labels: BTreeMap<_, _> =
                    found.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
                if !labels.iter().zip(&found.labels).all(|((key, _), label)| *key == label.key)
                    || labels.len() != found.labels.len()
                {
                    return Err(Malformed("labels are out of order or there twice"));
                }
                (self.service, self.event_id, self.labels) = (found.service, found.event_id, labels);
            }
        }
        Ok(())
    }

    /// The event, where the group of its actor is readable; what is hidden is absent from it.
    pub fn event(self, facts: &EventFacts, outcome: Outcome) -> Option<Event> {
        let words =
            |words: &[crate::facts::Word]| words.iter().map(|word| word.as_str().to_owned()).collect();
        Some(Event {
            time: facts.event_time.map(Time),
            action: facts.action.as_str().to_owned(),
            actor: self.actor?,
            client: self.client,
            on_behalf_of: self.on_behalf_of,
            session: self.session,
            targets: self.targets,
            outcome,
            decision: self.decision,
            token: self.token,
            scope: Scope {
                requested: words(&facts.requested),
                granted: words(&facts.granted),
                used: words(&facts.used),
            },
            context: self.context,
            changes: self.changes,
            source: Source {
                product: facts.product.as_ref().map(|word| word.as_str().to_owned()),
                service: self.service,
                event_id: self.event_id,
            },
            labels: self.labels,
            about: self.about,
            raw: self.raw,
        })
    }
}
