//! The terms by which an event is found.
//!
//! ```text
//!   0  1  field
//!   1  1  group of the payload that it was read from; 0: the leaf itself, or the group that is about nobody
//!   2  …  clear: the value, at most 256 bytes; personal: the first 16 bytes of
//!         HMAC-SHA256(index key, "graven index v1\n" ‖ field ‖ value)
//! ```
//!
//! An owner's term has the reference of somebody whom the group is about for a value, in clear as it is in the payload. It is what an
//! index finds the group's terms by once that person is erased: with one of the owners gone nobody can read the group
//! again, and no term of it may stay.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::facts::{Facts, Ref, Word};
use crate::frame::Frame;
use crate::group::{Group, View};
use crate::model::Party;
use crate::payload::SecretKey;

/// Longest clear value: of longer ones the beginning counts.
pub const MAX_VALUE_BYTES: usize = 256;
/// Longest word of text: of longer ones the beginning counts.
const MAX_WORD_BYTES: usize = 64;
const BLINDED_BYTES: usize = 16;
const OWNER: u8 = 0xff;

/// What a term is a value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Field {
    Actor = 1,
    Client = 2,
    Target = 3,
    Token = 4,
    Request = 5,
    Session = 6,
    Ip = 7,
    Action = 16,
    Outcome = 17,
    Scope = 18,
    Producer = 19,
    Product = 20,
    Kind = 21,
    Class = 22,
    Label = 23,
    Text = 24,
}

impl Field {
    /// Every field, but for times, with its name; text has none.
    pub const ALL: [(Self, &str); 16] = [
        (Self::Actor, "actor"),
        (Self::Client, "client"),
        (Self::Target, "target"),
        (Self::Token, "token"),
        (Self::Request, "request"),
        (Self::Session, "session"),
        (Self::Ip, "ip"),
        (Self::Action, "action"),
        (Self::Outcome, "outcome"),
        (Self::Scope, "scope"),
        (Self::Producer, "producer"),
        (Self::Product, "product"),
        (Self::Kind, "kind"),
        (Self::Class, "class"),
        (Self::Label, "label"),
        (Self::Text, ""),
    ];

    /// Whether its values may tell of people, so that an index has them blinded only.
    pub fn is_personal(self) -> bool {
        self < Self::Action
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    /// The groups that its values come from; `None`: what is about nobody.
    pub(crate) fn groups(self) -> &'static [Option<Group>] {
        match self {
            Self::Actor | Self::Session => &[Some(Group::Actor)],
            Self::Client | Self::Token => &[Some(Group::Token)],
            Self::Target => &[Some(Group::Targets)],
            Self::Request | Self::Ip => &[Some(Group::Context)],
            Self::Text => &[None, Some(Group::Targets), Some(Group::Decision)],
            _ => &[None],
        }
    }

    /// A value as it is compared: of one case, and not too long.
    pub(crate) fn normal(self, value: &str) -> String {
        let is_exact =
            matches!(self, Self::Token | Self::Request | Self::Session | Self::Scope | Self::Label);
        let value = if is_exact { value.to_owned() } else { value.to_lowercase() };
        match self {
            Self::Text => beginning(&value, MAX_WORD_BYTES).to_owned(),
            _ if self.is_personal() => value,
            _ => beginning(&value, MAX_VALUE_BYTES).to_owned(),
        }
    }
}

/// What an event is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(Vec<u8>);

impl Term {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, to keep.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// That somebody is among those whom a group is about.
    pub fn owner(group: Group, reference: Ref) -> Self {
        Self([&[OWNER, group.number()], &reference.0[..]].concat())
    }

    /// The number of the group that goes unreadable with its owners; 0: what stays.
    pub fn group_number(bytes: &[u8]) -> u8 {
        bytes.get(1).copied().unwrap_or(0)
    }

    /// Whether its value stands in clear, so that it can be asked for by how it begins.
    pub fn is_clear(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|field| (Field::Action as u8..OWNER).contains(field))
    }

    /// The group and the person that an owner's term names.
    pub fn as_owner(bytes: &[u8]) -> Option<(u8, Ref)> {
        let ([OWNER, group], reference) = bytes.split_first_chunk::<2>()? else { return None };
        Some((*group, Ref(reference.try_into().ok()?)))
    }

    /// The same, as a clear beginning of a value.
    pub(crate) fn clear(field: Field, group: Option<Group>, value: &str) -> Self {
        debug_assert!(!field.is_personal());
        Self([&[field as u8, group.map_or(0, Group::number)], value.as_bytes()].concat())
    }
}

/// Blinds personal values with the key of an index. A value that it has seen is found again, and without the key nobody can try values
/// out.
#[derive(Clone)]
pub struct Blinder(Hmac<Sha256>);

impl Blinder {
    /// With the key of an index.
    pub fn new(key: &SecretKey) -> Self {
        let mut mac = Hmac::new_from_slice(&key.0).expect("HMAC takes keys of any length");
        mac.update(b"graven index v1\n");
        Self(mac)
    }

    pub(crate) fn term(&self, field: Field, group: Option<Group>, value: &str) -> Term {
        if !field.is_personal() {
            return Term::clear(field, group, value);
        }
        let mut mac = self.0.clone();
        mac.update(&[field as u8]);
        mac.update(value.as_bytes());
        let tag = mac.finalize().into_bytes();
        Term([&[field as u8, group.map_or(0, Group::number)], &tag[..BLINDED_BYTES]].concat())
    }
}

impl std::fmt::Debug for Blinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinder(…)")
    }
}

/// Everything by which a leaf is found: what it says, what is readable of its payload, and whom those of its groups are about that
/// are readable. Sorted, each term once.
pub fn terms<'a>(
    frame: &Frame,
    view: &View,
    owners: impl IntoIterator<Item = (Group, &'a [Ref])>,
    blinder: &Blinder,
) -> Vec<Term> {
    let mut terms = Vec::with_capacity(32);
    each_value(frame, view, &mut |field, group, value| terms.push(blinder.term(field, group, &value)));
    for (group, references) in owners {
        let is_indexed = Field::ALL.iter().any(|(field, _)| field.groups().contains(&Some(group)));
        if is_indexed {
            terms.extend(references.iter().map(|reference| Term::owner(group, *reference)));
        }
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// Names each value of a leaf, as it is compared.
pub(crate) fn each_value(frame: &Frame, view: &View, found: &mut impl FnMut(Field, Option<Group>, String)) {
    let mut put = |field: Field, group: Option<Group>, value: &str| found(field, group, field.normal(value));
    put(Field::Kind, None, frame.facts.kind_word());
    put(Field::Class, None, &frame.retention.to_string());
    put(Field::Producer, None, &frame.producer.to_string());
    if let Some(outcome) = frame.outcome {
        put(Field::Outcome, None, outcome.as_str());
    }
    each_fact(&frame.facts, &mut put);
    each_person(view, &mut put);
    let context = &view.context;
    maybe(&mut put, Field::Request, Group::Context, context.request_id.as_ref());
    maybe(&mut put, Field::Ip, Group::Context, context.ip.as_ref());
    maybe(&mut put, Field::Session, Group::Actor, view.session.as_ref());
    maybe(&mut put, Field::Token, Group::Token, view.token.as_ref().and_then(|token| token.id.as_ref()));
    for target in &view.targets {
        words(&target.kind, &mut |word| put(Field::Text, Some(Group::Targets), word));
    }
    view.decision
        .policy
        .iter()
        .for_each(|policy| words(policy, &mut |word| put(Field::Text, Some(Group::Decision), word)));
    view.service.iter().for_each(|service| words(service, &mut |word| put(Field::Text, None, word)));
    for (key, value) in &view.labels {
        put(Field::Label, None, &format!("{key}={value}"));
        words(key, &mut |word| put(Field::Text, None, word));
        words(value, &mut |word| put(Field::Text, None, word));
    }
}

/// What the leaf says in clear.
fn each_fact(facts: &Facts, put: &mut impl FnMut(Field, Option<Group>, &str)) {
    let (action, product, scopes): (Option<&Word>, Option<&Word>, [&[Word]; 3]) = match facts {
        Facts::Event(event) => {
            (Some(&event.action), event.product.as_ref(), [&event.requested, &event.granted, &event.used])
        }
        Facts::Scope(command) => {
            put(Field::Action, None, crate::catalogue::of_command(command.command));
            (None, None, [&command.scopes, &[], &[]])
        }
        Facts::Decision(decision) => (Some(&decision.action), None, [&decision.scopes, &[], &[]]),
        _ => (None, None, [&[], &[], &[]]),
    };
    let scopes = scopes.into_iter().flatten().map(|scope| (Field::Scope, scope));
    let named = action.map(|word| (Field::Action, word)).into_iter();
    let named = named.chain(product.map(|word| (Field::Product, word))).chain(scopes);
    for (field, word) in named {
        put(field, None, word.as_str());
        words(word.as_str(), &mut |word| put(Field::Text, None, word));
    }
    if let Facts::Alert(alert) = facts {
        words(alert.name.as_str(), &mut |word| put(Field::Text, None, word));
    }
}

fn each_person(view: &View, put: &mut impl FnMut(Field, Option<Group>, &str)) {
    let mut party = |field: Field, group: Group, kind: &str, id: &str, name: Option<&String>| {
        put(field, Some(group), id);
        put(field, Some(group), &format!("{kind}:{id}"));
        name.into_iter().for_each(|name| put(field, Some(group), name));
    };
    let mut of = |field, group, found: &Party| {
        party(field, group, &found.kind, &found.id, found.name.as_ref());
    };
    view.actor.iter().chain(&view.on_behalf_of).for_each(|found| of(Field::Actor, Group::Actor, found));
    view.client.iter().for_each(|found| of(Field::Client, Group::Token, found));
    for target in &view.targets {
        party(Field::Target, Group::Targets, &target.kind, &target.id, target.name.as_ref());
    }
}

fn maybe(
    put: &mut impl FnMut(Field, Option<Group>, &str),
    field: Field,
    group: Group,
    value: Option<&String>,
) {
    value.into_iter().for_each(|value| put(field, Some(group), value));
}

/// The words of a text: its runs of letters and digits, and what `CamelCase` ones are put together from.
fn words(text: &str, found: &mut impl FnMut(&str)) {
    for run in runs(text) {
        found(run);
        let mut from = 0;
        for (at, pair) in
            run.char_indices().zip(run.chars().skip(1)).map(|((at, a), b)| (at + a.len_utf8(), (a, b)))
        {
            if pair.0.is_lowercase() && pair.1.is_uppercase() {
                found(&run[from..at]);
                from = at;
            }
        }
        if from > 0 {
            found(&run[from..]);
        }
    }
}

/// The runs of letters and digits of a text.
pub(crate) fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty())
}

fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
