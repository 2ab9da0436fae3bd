//! The state of a log at an earlier point: the fold of a prefix.

use std::sync::Arc;

use graven_event::{LogState, Party, Ref, Time};

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;

/// A point of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Point {
    /// All that is durable.
    #[default]
    Now,
    /// After so many leaves.
    Size(u64),
    /// After the leaves of up to this log time.
    Time(Time),
}

impl Audit {
    /// The state at a point, with the log time at which it stood so: of `Now`, the present.
    ///
    /// # Errors
    /// There are not so many leaves, or they cannot be read.
    pub async fn state_at(&self, book: &Arc<Book>, point: Point) -> Result<(LogState, Time), AuditError> {
        let _ = (book, point);
        unimplemented!()
    }
}

impl Book {
    /// What a reference is called, as long as that is known: `user:alice`, `application:billing`.
    pub fn name_of(&self, reference: Ref) -> Option<Party> {
        let _ = reference;
        unimplemented!()
    }
}
