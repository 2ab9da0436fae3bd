//! Rules over a log of events: which are applied, and what those in CEL find.
//!
//! Built-in rules are the log's own: their alerts follow in the commit of the leaf that fires them ([`graven_event::alerts`]). Rules in CEL
//! ([`graven_rules`]) read what can be opened of a leaf, so they come after it: a [follower](Audit::raise_alerts) looks at every durable leaf
//! once for each, and what it finds becomes an entry within a second.
//!
//! # No alert is lost, none comes twice
//! An entry names the leaf up to which its rule had looked (`state_size`), a rule's entries rise by it, and the log's one writer takes no
//! other: so a second follower, or one that starts again and finds the same again, is refused. Where a follower goes on follows from that: after
//! the newest alert of a rule, or after the position that it keeps in a file now and then, once everything below has been said. Without
//! the file it looks at all leaves since that alert again.
//! What a rule remembers at that point follows from the leaves before it, as far back as it [reaches](graven_rules::Rule::reach), and from
//! the alerts about them: these are read again, and nothing is said of them.
//!
//! What a rule cannot read, as it was erased or dropped meanwhile, it does not find again; and one that is retired says nothing any more,
//! of what was there before neither.

mod follow;
mod follower;
mod place;
mod trial;

use graven_event::alerts::{Applied, BUILTIN, Builtin, MAX_RULES, MAX_SEVERITY};
use graven_event::facts::RuleFacts;
use graven_event::{Facts, Word};
use graven_rules::Rule;
use sha2::{Digest, Sha256};

pub use trial::{Trial, Tried};

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::record::word;

/// The language of rules that are written, as it stands in a leaf.
pub const CEL: &str = "cel";
/// Longest name of a rule.
const MAX_NAME_BYTES: usize = 63;

/// A rule that somebody wants to have applied, or tried.
#[derive(Clone, Copy, Debug)]
pub struct NewRule<'a> {
    /// Its name.
    pub name: &'a str,
    /// `cel` or `builtin`.
    pub language: &'a str,
    /// 1 low to 4 critical; 0: a built-in rule's own.
    pub severity: u8,
    /// Its text. Of a built-in one: nothing, or its text.
    pub source: &'a str,
}

/// A rule of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRule {
    /// Its name.
    pub name: String,
    /// `cel` or `builtin`.
    pub language: String,
    /// 1 low to 4 critical.
    pub severity: u8,
    /// Its text.
    pub source: String,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// The index of the entry since which it is applied; `None`: it is built in, and is not.
    pub since: Option<u64>,
}

impl Audit {
    /// Applies a rule to what follows; it replaces one of the same name. Returns the index of the entry, and the rule's hash. Where the very
    /// same is applied already, nothing changes.
    ///
    /// # Errors
    /// It is no rule, or there are as many as fit.
    pub async fn define_rule(
        &self,
        book: &Book,
        caller: &str,
        rule: NewRule<'_>,
    ) -> Result<(u64, [u8; 32]), AuditError> {
        let checked = checked(rule)?;
        let by = self.by(book, caller).await?;
        let _one_at_a_time = book.deciding.lock().await;
        let said = self.durably(book, |state| {
            let known = state.alerts.rules().find(|(name, _)| **name == checked.name);
            let same =
                known.filter(|(_, known)| is_same(&known.facts, &checked)).map(|(_, known)| known.index);
            let is_full = known.is_none() && state.alerts.rules().count() >= MAX_RULES;
            (same, is_full)
        });
        match said.await? {
            (Some(index), _) => Ok((index, checked.rule)),
            (None, true) => {
                Err(AuditError::BadRule(format!("{MAX_RULES} rules are applied: retire one first")))
            }
            (None, false) => {
                let hash = checked.rule;
                let facts = Facts::Rule(RuleFacts { by, ..checked });
                Ok((self.decide(book, facts, by).await?, hash))
            }
        }
    }

    /// No longer applies a rule. Returns the index of the entry.
    ///
    /// # Errors
    /// No rule of that name is applied.
    pub async fn retire_rule(&self, book: &Book, caller: &str, name: &str) -> Result<u64, AuditError> {
        let by = self.by(book, caller).await?;
        let _one_at_a_time = book.deciding.lock().await;
        let find = |applied: &Applied| applied.facts.name.as_str() == name;
        let known = self.durably(book, |state| {
            state.alerts.rules().map(|(_, applied)| applied).find(|applied| find(applied)).cloned()
        });
        let known = known.await?.ok_or(AuditError::NoRule)?.facts;
        self.decide(book, Facts::Rule(RuleFacts { severity: 0, by, source: None, ..known }), by).await
    }

    /// The rules that are applied, and the built-in ones that could be, by name.
    ///
    /// # Errors
    /// The engine stopped.
    pub async fn rules(&self, book: &Book) -> Result<Vec<KnownRule>, AuditError> {
        let applied = self.durably(book, |state| {
            state.alerts.rules().map(|(_, applied)| applied.clone()).collect::<Vec<_>>()
        });
        let mut rules: Vec<KnownRule> = applied.await?.into_iter().map(known).collect();
        for builtin in Builtin::ALL {
            if !rules.iter().any(|rule| rule.name == builtin.as_str()) {
                rules.push(unapplied(builtin));
            }
        }
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(rules)
    }
}

/// What a leaf would say of a rule, by nobody yet.
fn checked(rule: NewRule<'_>) -> Result<RuleFacts, AuditError> {
    let bad = |what: &str| Err(AuditError::BadRule(what.to_owned()));
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_NAME_BYTES).contains(&rule.name.len()) || !rule.name.bytes().all(is_legal) {
        return bad("a rule's name has 1 to 63 of a-z, 0-9 and -");
    }
    let (name, builtin) = (word("name", rule.name)?, Builtin::named(rule.name));
    let facts = |language: &str, severity, source: &str| {
        Ok(RuleFacts {
            rule: Sha256::digest(source).into(),
            name: name.clone(),
            language: word("language", language)?,
            severity,
            by: graven_event::Ref::default(),
            source: Some(source.as_bytes().to_vec()),
        })
    };
    match (rule.language, builtin, rule.severity) {
        (_, _, MAX_SEVERITY_AND_MORE..) => bad("a severity is 1 to 4"),
        (BUILTIN, None, _) => bad("there is no built-in rule of that name: `graven rules list` shows them"),
        (BUILTIN, Some(builtin), severity) => {
            if !rule.source.is_empty() && rule.source != builtin.source() {
                return bad("a built-in rule's text cannot be changed");
            }
            facts(BUILTIN, if severity == 0 { builtin.severity() } else { severity }, builtin.source())
        }
        (CEL, Some(_), _) => bad("that is the name of a built-in rule"),
        (CEL, None, 0) => bad("a severity is 1 to 4"),
        (CEL, None, severity) => {
            parsed(rule.source)?;
            facts(CEL, severity, rule.source)
        }
        _ => bad("a rule's language is cel or builtin"),
    }
}

const MAX_SEVERITY_AND_MORE: u8 = MAX_SEVERITY + 1;

fn parsed(source: &str) -> Result<Rule, AuditError> {
    Rule::parse(source).map_err(|error| AuditError::BadRule(error.to_string()))
}

fn is_same(one: &RuleFacts, other: &RuleFacts) -> bool {
    (one.rule, &one.language, one.severity) == (other.rule, &other.language, other.severity)
}

fn known(applied: Applied) -> KnownRule {
    let facts = applied.facts;
    KnownRule {
        name: facts.name.to_string(),
        language: facts.language.to_string(),
        severity: facts.severity,
        source: String::from_utf8(facts.source.unwrap_or_default()).unwrap_or_default(),
        hash: facts.rule,
        since: Some(applied.index),
    }
}

fn unapplied(rule: Builtin) -> KnownRule {
    KnownRule {
        name: rule.as_str().to_owned(),
        language: BUILTIN.to_owned(),
        severity: rule.severity(),
        source: rule.source().to_owned(),
        hash: rule.hash(),
        since: None,
    }
}

/// Whether a rule is one that the follower runs.
fn is_cel(applied: &Applied) -> bool {
    applied.facts.language.as_str() == CEL
}

/// The rule of an applied one, if this version understands it.
fn rule_of(name: &Word, applied: &Applied) -> Option<Rule> {
    let source = applied.facts.source.as_deref().and_then(|source| std::str::from_utf8(source).ok())?;
    match Rule::parse(source) {
        Ok(rule) => Some(rule),
        Err(error) => {
            tracing::error!(rule = %name, index = applied.index, %error, "a rule is applied that this version cannot run");
            None
        }
    }
}
