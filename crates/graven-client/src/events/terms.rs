//! What of a query can be held against a leaf.

use graven_event::{
    Frame, Time, View,
    query::{ParseError, Query},
};

/// The clauses of a query that a leaf alone can answer: what was done, how it ended, scopes, kinds, times.
#[derive(Clone, Debug)]
pub(super) struct ClearTerms(Query);

impl ClearTerms {
    /// Of a query. Its times are counted from `now`; the text that is answered names them, so that the server and this client count
    /// alike.
    pub(super) fn of(text: &str, now: Time) -> Result<(Self, String), ParseError> {
        let query = Query::parse(text, now)?;
        let text = query.to_string();
        let in_leaf = |clause: &_| Query { clauses: vec![Clone::clone(clause)] }.groups().next().is_none();
        let clauses = query.clauses.into_iter().filter(in_leaf).collect();
        Ok((Self(Query { clauses }), text))
    }

    /// Whether the leaf says all that they ask. A statement of rotated keys says nothing, so only what excludes it finds it.
    pub(super) fn hold(&self, frame: Option<&Frame>) -> bool {
        match frame {
            Some(frame) => self.0.matches(frame, &View::default()),
            None => self.0.clauses.iter().all(|clause| clause.is_negated),
        }
    }
}
