//! Saying what is missing: a producer's number that did not come in time becomes an entry.

use std::sync::Arc;
use std::time::Duration;

use graven_event::{Facts, Time};
use graven_log::AppendError;

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::random;

/// How long requests may overtake each other before a number counts as missing.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
/// How often it is looked: with the grace, an entry comes within a second.
const INTERVAL: Duration = Duration::from_millis(200);

impl Audit {
    /// Tells of gaps for as long as the server runs.
    pub async fn tell_gaps(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            for book in self.books() {
                if let Err(error) = self.tell_overdue(&book).await {
                    tracing::warn!(log = %book.log.meta().name, %error, "a gap is not told of yet");
                }
            }
        }
    }

    /// Writes an entry for each gap that is overdue. Returns how many.
    ///
    /// # Errors
    /// An entry is not durable.
    pub async fn tell_overdue(&self, book: &Book) -> Result<usize, AuditError> {
        let before = self.now().0.saturating_sub(u64::try_from(GRACE.as_nanos()).unwrap_or(u64::MAX));
        let overdue = {
            let state = book.state.lock();
            if !state.producers.is_waiting() {
                return Ok(0);
            }
            state.producers.overdue(Time(before))
        };
        let mut told = 0;
        for gap in overdue {
            let missing = gap.last - gap.first + 1;
            match self.append(book, &bare(Facts::Gap(gap), random()?)).await {
                Ok(at) => {
                    told += 1;
                    let log = book.log.meta().name.to_string();
                    metrics::counter!("graven_producer_gaps_total", "log" => log).increment(1);
                    tracing::warn!(log = %book.log.meta().name, index = at.first, missing, "a producer's events are missing");
                }
                // It came, or somebody else told of it.
                Err(AuditError::Append(AppendError::Refused(refusal))) if refusal.code == refused::STALE => {}
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }
}
