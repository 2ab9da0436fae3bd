//! What a question asks of an index.

use std::ops::Range;

use super::ast::{Pattern, Query, What, When};
use super::term::{Blinder, Field, Term};

/// A question in terms: all of `all`, none of `none`, within the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each must hold.
    pub all: Vec<AnyOf>,
    /// None may hold.
    pub none: Vec<AllOf>,
    /// Log time, in nanoseconds since 1970.
    pub logged: Range<u64>,
    /// Event time; only entries that have one fit, where it is given.
    pub happened: Option<Range<u64>>,
}

/// One of these is there.
pub type AnyOf = Vec<Lookup>;
/// One of each is there.
pub type AllOf = Vec<AnyOf>;

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A term.
    Term(Term),
    /// All terms that begin so.
    Prefix(Term),
}

impl Query {
    /// What it asks of the index whose personal terms were blinded so. The plan names no personal value.
    pub fn plan(&self, blinder: &Blinder) -> Plan {
        let mut plan = Plan { all: Vec::new(), none: Vec::new(), logged: 0..u64::MAX, happened: None };
        for clause in &self.clauses {
            let terms = match &clause.what {
                What::Is(field, patterns) => {
                    vec![patterns.iter().flat_map(|pattern| lookups(*field, pattern, blinder)).collect()]
                }
                What::Text(pattern) => words(pattern, blinder),
                What::Since(when, time) => {
                    let range = plan.range(*when);
                    range.start = range.start.max(time.0);
                    continue;
                }
                What::Until(when, time) => {
                    let range = plan.range(*when);
                    range.end = range.end.min(time.0);
                    continue;
                }
            };
            match clause.is_negated {
                true => plan.none.push(terms),
                false => plan.all.extend(terms),
            }
        }
        plan
    }
}

impl Plan {
    fn range(&mut self, when: When) -> &mut Range<u64> {
        match when {
            When::Logged => &mut self.logged,
            When::Happened => self.happened.get_or_insert(0..u64::MAX),
        }
    }
}

fn lookups(field: Field, pattern: &Pattern, blinder: &Blinder) -> AnyOf {
    let value = field.normal(pattern.as_str());
    let terms = field.groups().iter().map(|group| blinder.term(field, *group, &value));
    terms
        .map(|term| match pattern {
            Pattern::Exact(_) => Lookup::Term(term),
            Pattern::Prefix(_) => Lookup::Prefix(term),
        })
        .collect()
}

fn words(pattern: &Pattern, blinder: &Blinder) -> AllOf {
    let any_group = |(word, begins)| match begins {
        true => lookups(Field::Text, &Pattern::Prefix(word), blinder),
        false => lookups(Field::Text, &Pattern::Exact(word), blinder),
    };
    pattern.words().into_iter().map(any_group).collect()
}
