//! A question as it may be written down.

use super::{Blinder, Clause, Field, Pattern, Query, What};

/// Hex digits that stand for a value.
const DIGITS: usize = 16;

impl Query {
    /// The question with each value that may tell of people replaced by `~` and a keyed hash: the same value is the same hash, and
    /// nobody reads it out of that. What was typed as free text is such a value too.
    pub fn blinded(&self, blinder: &Blinder) -> String {
        let clauses = self.clauses.iter().map(|clause| {
            let what = match &clause.what {
                What::Is(field, patterns) if field.is_personal() => {
                    let hidden = |pattern: &Pattern| hidden(*field, pattern, blinder);
                    What::Is(*field, patterns.iter().map(hidden).collect())
                }
                What::Text(pattern) => What::Text(hidden(Field::Actor, pattern, blinder)),
                other => other.clone(),
            };
            Clause { what, ..clause.clone() }
        });
        Query { clauses: clauses.collect() }.to_string()
    }
}

fn hidden(field: Field, pattern: &Pattern, blinder: &Blinder) -> Pattern {
    let term = blinder.term(field, None, &field.normal(pattern.as_str()));
    let digits: String =
        term.as_bytes().iter().skip(2).map(|byte| format!("{byte:02x}")).take(DIGITS / 2).collect();
    Pattern::Exact(format!("~{digits}"))
}
