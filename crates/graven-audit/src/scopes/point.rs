//! The state of a log at an earlier point: the fold of a prefix.

use std::sync::Arc;

use graven_event::{Frame, LogState, Party, Ref, Time};
use graven_merkle::leaf_hash;
use graven_vault::{Lookup, SubjectRef};

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::is_statement;

/// Leaves that are read at once.
const STEP: u64 = 4096;

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
    /// The state at a point, with the time at which it is looked at: of `Now`, the present; of a size, the log time of its last leaf.
    ///
    /// # Errors
    /// There are not so many leaves, or they cannot be read.
    pub async fn state_at(&self, book: &Arc<Book>, point: Point) -> Result<(LogState, Time), AuditError> {
        if point == Point::Now {
            let state = self.durably(book, LogState::clone).await?;
            let now = self.now().max(state.time);
            return Ok((state, now));
        }
        let _one_at_a_time = book.replaying.lock().await;
        let book = book.clone();
        let replay = move || {
            let (size, at) = match point {
                Point::Now => (book.log.durable_size(), None),
                Point::Size(size) => (size, None),
                Point::Time(time) => (book.first_since(Time(time.0.saturating_add(1)), 0)?, Some(time)),
            };
            let state = book.replayed(size)?;
            let at = at.unwrap_or(state.time);
            Ok((state, at))
        };
        tokio::task::spawn_blocking(replay).await.map_err(|_| AuditError::Stopping)?
    }
}

impl Book {
    /// The state after the first leaves, from the leaves alone.
    fn replayed(&self, size: u64) -> Result<LogState, AuditError> {
        if size > self.log.durable_size() {
            return Err(AuditError::StateBehind { size: self.log.durable_size() });
        }
        let mut state = LogState::default();
        while state.size < size {
            let leaves = self.log.durable_entries(state.size..size.min(state.size + STEP))?;
            if leaves.is_empty() {
                return Err(AuditError::Damaged(state.size));
            }
            for leaf in leaves {
                match Frame::decode(&leaf) {
                    Ok(frame) => drop(state.take(&frame, leaf_hash(&leaf))),
                    Err(_) if is_statement(&leaf) => state.pass(),
                    Err(_) => return Err(AuditError::Damaged(state.size)),
                }
            }
        }
        Ok(state)
    }

    /// What a reference is called, as long as that is known: `user:alice`, `application:billing`.
    pub fn name_of(&self, reference: Ref) -> Option<Party> {
        let Lookup::Known(found) = self.realm.by_ref(SubjectRef(reference.0)) else { return None };
        std::str::from_utf8(found.name()).ok().map(Party::parse)
    }
}
